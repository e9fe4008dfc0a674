"""The command ``equiact analyze lattice``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import tyro

from ..commands.command import Command
from ..commands.registry import register_command
from ..progress import progress_bar

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ...representations.analysis.lattices.bases import LatticeReduction


@register_command("analyze lattice")
@dataclass(frozen=True)
class AnalyzeLattice(Command):
    """Reduce bases of lattices, or find the periods of closed loops.

    Prints the geometric mean of the orthogonality defect before and after each reduction: pairwise moves, pairwise and
    projection moves, LLL (if python-flint is installed), and a network (with --reducer). With --loops prints the
    reduced periods. With --output writes the bases and transforms of the best reduction, or the periods and windings.
    With --train writes a network to the folder --reducer.
    """

    bases: Annotated[Path | None, tyro.conf.Positional] = None
    """NPY file of bases (..., n, n), whose columns span the lattices."""
    loops: Path | None = None
    """NPY file of summed displacements over closed loops (m, n)."""
    tolerance: float | None = None
    """Largest error of a loop, in units of the displacements; by default from the loops that do not wind."""
    support: int = 1
    """Number of loops that must agree; raise it if some loops are false."""
    reducer: Path | None = None
    """Folder of a trained lattice reducer; none by default."""
    train: bool = False
    """Train a network on random bases first, about a minute; write it to --reducer, in place of one that is there."""
    output: Path | None = None
    """NPZ file to write; none by default."""

    def run(self) -> dict[str, Any]:
        from ...envs.storage.artifacts import check_output_file

        self.require_at_least(support=1)
        self._check_training()
        if self.output is not None:
            if self.output.suffix != ".npz":
                raise ValueError(f"expected --output to end in .npz, got {self.output}")
            check_output_file(self.output)
        if self.bases is not None and self.loops is None:
            return self._reduce(load_numbers(self.bases, "BASES"))
        if self.loops is not None and self.bases is None:
            return self._find_periods(load_numbers(self.loops, "--loops"))
        raise ValueError("expected an NPY file BASES, or --loops FILE, got both or none; name one file")

    def _check_training(self) -> None:
        """Check that a network can be trained and written.

        Raises:
            ValueError: --train is given without BASES or --reducer, or the folder holds other things.
        """
        from ...representations.analysis.lattices.lattice_network import KIND

        if not self.train:
            return
        if self.bases is None or self.reducer is None:
            missing = "BASES" if self.bases is None else "--reducer FOLDER"
            raise ValueError(f"expected BASES and --reducer FOLDER with --train, got no {missing}; add it")
        self.check_output("reducer", KIND)

    def _train_reducer(self, folder: Path, dim: int) -> None:
        """Train a network on random bases of a dimension, and write it."""
        from ...representations.analysis.lattices.lattice_network import LatticeReducerConfig
        from ...representations.analysis.lattices.lattice_training import train_lattice_reducer

        config = LatticeReducerConfig()
        with progress_bar("Training the reducer", config.steps, "updates") as show:
            reducer = train_lattice_reducer(
                dim, config, self.seed, lambda done, _, loss: show(done, note=f"loss {loss:.4f}")
            )
        reducer.save(folder)

    def _reduce(self, given: NDArray[np.float64]) -> dict[str, Any]:
        from ...representations.analysis.lattices.bases import check_basis, log_orthogonality_defect

        bases = check_basis(given)
        if self.train and self.reducer is not None:
            self._train_reducer(self.reducer, bases.shape[-1])
        reductions = {name: reduce(bases) for name, reduce in self._methods().items()}
        mean = {name: float(log_orthogonality_defect(each.basis).mean()) for name, each in reductions.items()}
        best = min(mean, key=lambda name: mean[name])
        self._write(basis=reductions[best].basis, transform=reductions[best].transform)
        mean = {"given": float(log_orthogonality_defect(bases).mean()), **mean}
        return {
            "lattices": int(np.prod(bases.shape[:-2])),
            "dimension": bases.shape[-1],
            "defect": {name: float(np.exp(value)) for name, value in mean.items()},
            "best": best,
            **self._output(),
        }

    def _methods(self) -> dict[str, Callable[[Any], LatticeReduction]]:
        """Return the reductions by name."""
        from importlib.util import find_spec

        from ...representations.analysis.lattices.lattice_network import LatticeReducer
        from ...representations.analysis.lattices.lll import lll_reduce
        from ...representations.analysis.lattices.move_reduction import pairwise_reduce, projection_reduce

        methods: dict[str, Callable[[Any], LatticeReduction]] = {
            "pairwise": pairwise_reduce,
            "projection": projection_reduce,
        }
        if find_spec("flint") is not None:
            methods["LLL"] = lll_reduce
        if self.reducer is not None:
            methods["network"] = LatticeReducer.load(self.reducer).reduce
        return methods

    def _find_periods(self, loops: NDArray[np.float64]) -> dict[str, Any]:
        from ...representations.analysis.lattices.bases import orthogonality_defect
        from ...representations.analysis.lattices.latent_periods import estimate_periods

        if loops.ndim == 2 and len(loops) == 0:
            raise ValueError(
                "expected closed loops in --loops, got zero loops; raise the threshold of closed_loops, or record a "
                "longer trajectory"
            )
        if self.tolerance is not None and not 0 < self.tolerance < np.inf:
            raise ValueError(f"expected a positive --tolerance, got {self.tolerance}")
        periods = estimate_periods(loops, self.tolerance, self.support)
        self._write(periods=periods.basis, windings=periods.coefficients)
        return {
            "loops": len(periods.fits),
            "share that fits": float(periods.fits.mean()),
            "median residual": float(np.median(periods.residual)),
            "periods": {f"period {k}": str(column.round(6).tolist()) for k, column in enumerate(periods.basis.T, 1)},
            "defect": float(orthogonality_defect(periods.basis)),
            **self._output(),
        }

    def _write(self, **arrays: NDArray[Any]) -> None:
        from ...envs.storage.artifacts import write_npz

        if self.output is not None:
            write_npz(self.output, arrays)

    def _output(self) -> dict[str, str]:
        return {} if self.output is None else {"output": str(self.output)}


def load_numbers(path: Path, option: str) -> NDArray[np.float64]:
    """Return the array of real numbers of an NPY file; nothing in it is executed.

    Args:
        path: the file.
        option: argument that names it, for messages.

    Raises:
        ValueError: no such file, a damaged or too large one, or no real numbers.
    """
    from .array_files import read_npy

    array = read_npy(path, option)
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected real numbers in {option} {path}, got {array.dtype}")
    return np.asarray(array, np.float64)
