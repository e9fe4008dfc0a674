"""Say on standard error which encoders are not usable, before their latents are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..progress import console

if TYPE_CHECKING:
    from ...representations.encoders.encoder import Encoder


def report_useless_encoder(encoder: Encoder, option: str) -> None:
    """Print a line if the card of an encoder says that it predicts worse than no change.

    Args:
        encoder: the encoder.
        option: option that names it, such as ``"--encoder"``.
    """
    ratio = encoder.metrics.get("equivariance_ratio_1")
    if isinstance(ratio, int | float) and ratio >= 1:
        console.print(
            f"The encoder of {option} is not usable: its card says that its predictions are {ratio:.3g} times as wrong "
            "as predicting no change (equivariance_ratio_1). Train it longer before you trust this comparison.",
            markup=False,
        )
