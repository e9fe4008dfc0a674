"""Turn the errors of the libraries that read files into one, which tells a missing library from a damaged file."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path

from ..data.minari_dataset import DatasetError


def require_libraries(what: str, *names: str) -> None:
    """Check that libraries are installed.

    Args:
        what: name of the format that they read.
        names: names of the modules.

    Raises:
        DatasetError: one is missing.
    """
    for name in names:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise _missing(what, error) from error


@contextlib.contextmanager
def reading(what: str, path: Path) -> Iterator[None]:
    """Raise `DatasetError` for every error that a damaged file causes in the libraries that read it.

    Args:
        what: name of the data set, such as ``"a Minari data set"``.
        path: where it is.
    """
    try:
        yield
    except DatasetError:
        raise
    except ImportError as error:
        raise _missing(what, error) from error
    except MemoryError as error:
        raise DatasetError(f"expected {what} at {path} to fit into the memory, got: {error}; free some") from error
    except (ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError,
            SyntaxError, TypeError, ValueError, RecursionError) as error:  # fmt: skip
        raise damaged(what, path, f"{type(error).__name__}: {error}") from error
    except Exception as error:
        if not type(error).__module__.startswith(("pyarrow", "h5py", "PIL", "zlib")):
            raise
        raise damaged(what, path, f"{type(error).__name__}: {error}") from error


def damaged(what: str, path: Path, found: str) -> DatasetError:
    """Return the error for a damaged data set.

    Args:
        what: name of the data set.
        path: where it is.
        found: what is wrong with it.
    """
    return DatasetError(f"expected {what} at {path}, got a damaged one ({found}); take another copy, or write it again")


def _missing(what: str, error: ImportError) -> DatasetError:
    return DatasetError(
        f"expected the libraries that read {what}, got: {error}. Install them with: pip install 'equiact[data,formats]'"
    )
