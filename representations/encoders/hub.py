"""Save encoders to, and load them from, the Hugging Face Hub or a local folder."""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

from huggingface_hub import PyTorchModelHubMixin, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils._validators import validate_repo_id

from ...envs.storage.artifacts import CARD, README, ArtifactError, check_output_folder

MODEL_CARD = """---
{{ card_data }}
---

This encoder was saved by `equiact`. It maps images to named latents on which a group acts. Load it with

```python
from equiact.representations.encoders.encoder import Encoder

encoder = Encoder.from_pretrained("user/name")  # the name of this repository
latents = encoder.encode(images)  # (B, H, W, C) uint8
```

The group, the shape of the images, the hyper-parameters and the metrics are in `card.json`.
"""


class HubMixin(
    PyTorchModelHubMixin,
    library_name="equiact",
    tags=["equivariance", "representation-learning"],
    model_card_template=MODEL_CARD,
):
    """Add `save_pretrained`, `from_pretrained` and `push_to_hub` to a class with `save` and `load`.

    A folder on the Hub is the folder that `save` writes, with a README. Its hash is verified after the download.
    Nothing uses the network but `push_to_hub`, and `from_pretrained` with the name of a repository.

    Example:
        >>> from equiact.representations.encoders.hub import HubMixin
        >>> class Constant(HubMixin):
        ...     def save(self, folder): ...
        ...     @classmethod
        ...     def load(cls, folder, device="cpu"): ...
        >>> Constant.__mro__[1].__name__
        'HubMixin'
    """

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Create the object; the Hub's own copy of the arguments is not kept, since the card has the configuration."""
        instance: Self = object.__new__(cls)
        return instance

    @abstractmethod
    def save(self, folder: str | Path) -> None:
        """Write the encoder as a folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: str | Path, device: str = "cpu") -> Self:
        """Read a saved encoder."""

    def save_pretrained(
        self,
        save_directory: str | Path,
        *,
        config: Any = None,
        repo_id: str | None = None,
        push_to_hub: bool = False,
        model_card_kwargs: dict[str, Any] | None = None,
        **push_to_hub_kwargs: Any,
    ) -> str | None:
        """Write the encoder as a folder with a README, and upload it if asked to.

        Args:
            save_directory: a new folder, or one with a saved encoder, which is replaced. A README in it is kept.
            config: must be None; the configuration is part of the card.
            repo_id: name of the repository, ``"user/name"``; the name of the folder if None.
            push_to_hub: whether to upload the folder.
            model_card_kwargs: entries of the README.
            push_to_hub_kwargs: arguments of `push_to_hub`, such as ``private=True``.

        Returns:
            The address of the upload, or None if there was none.

        Raises:
            ArtifactError: the folder holds other things or cannot be written to.
        """
        if config is not None:
            raise ValueError("expected no config, since the encoder saves its own; leave the argument out")
        folder = check_output_folder(save_directory, "encoder")
        self._save_pretrained(folder)
        readme = folder / README
        if not readme.exists():
            self.generate_model_card(**(model_card_kwargs or {})).save(readme)
        if not push_to_hub:
            return None
        address: str = self.push_to_hub(
            repo_id or folder.name, model_card_kwargs=model_card_kwargs, **push_to_hub_kwargs
        )
        return address

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """Load an encoder from a folder, or from a repository of the Hub.

        Args:
            pretrained_model_name_or_path: a folder that was saved, or the name of a repository, ``"user/name"``.
            force_download: whether to download files that are in the cache.
            token: access token of the Hub; True for the one of ``hf auth login``.
            cache_dir: folder of the cache.
            local_files_only: whether to use the cache only, without the network.
            revision: branch, tag or commit.
            model_kwargs: arguments of `load`, such as ``device``.

        Raises:
            ArtifactError: there is no such folder, or what is there is damaged, altered or another class of encoder.
        """
        return cls._from_pretrained(
            model_id=str(pretrained_model_name_or_path),
            revision=revision,
            cache_dir=cache_dir,
            force_download=force_download,
            local_files_only=local_files_only,
            token=token,
            **model_kwargs,
        )

    def _save_pretrained(self, save_directory: Path) -> None:
        self.save(save_directory)

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> Self:
        folder = Path(model_id)
        if not folder.exists():
            _require_repository(model_id)
            folder = Path(
                snapshot_download(
                    model_id,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=[CARD, "weights-*.safetensors"],
                )
            )
        return cls.load(folder, **model_kwargs)


def _require_repository(model_id: str) -> None:
    """Check that a name may be that of a repository: a mistyped folder is not looked for on the Hub."""
    try:
        validate_repo_id(model_id)
    except HFValidationError as error:
        raise ArtifactError(
            f"expected a folder or the name of a repository ('user/name'), got {model_id!r}; check the path"
        ) from error
