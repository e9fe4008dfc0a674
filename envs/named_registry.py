"""Registries: names of worlds, groups, encoders and everything else that a user adds in one file."""

from __future__ import annotations

import contextlib
import difflib
import importlib
import pkgutil
import threading
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

Entry = TypeVar("Entry")
Registered = TypeVar("Registered")


class RegistryError(ValueError):
    """A name is unknown, is already taken, or is no name at all."""


class _Plugins(threading.local):
    """The modules that installed packages list under the entry-point group ``equiact.plugins``.

    They are imported once in a process, before a name is reported as unknown. While modules of this package are being
    imported they wait: a plugin needs the whole package.
    """

    lock = threading.RLock()
    loaded = False  # of the class: shared by all threads, unlike `waiting`

    def __init__(self) -> None:
        self.waiting = 0

    @contextlib.contextmanager
    def deferred(self) -> Iterator[None]:
        """Import no plugin in this thread until the end of the context."""
        self.waiting += 1
        try:
            yield
        finally:
            self.waiting -= 1

    def load(self) -> None:
        """Import the plugins, unless they have been imported or must wait; one that fails is a warning."""
        if self.waiting:
            return
        with _Plugins.lock:
            if _Plugins.loaded:
                return
            _Plugins.loaded = True  # before the imports, since a plugin may look up a name while it is imported
            for plugin in entry_points(group="equiact.plugins"):
                try:
                    plugin.load()
                except Exception as error:  # a stranger's package may fail in any way, and must not make ours unusable
                    warnings.warn(
                        f"the plugin {plugin.name!r} ({plugin.value}) failed to import: {error!r}", stacklevel=4
                    )


_PLUGINS = _Plugins()


class Registry(Generic[Entry]):
    """Map names to entries, which register themselves where they are defined.

    The modules of a package are imported at the first look-up, so that a new entry is one file in that package with one
    decorator. Other packages register entries at import, or list a module under the entry-point group
    ``equiact.plugins``.

    Args:
        what: name of an entry in error messages, such as ``"world"``.
        *packages: names of the packages whose modules register entries.
        base: path ``"module:Class"`` of the class that all entries are subclasses of; None for entries of any kind.

    Example:
        >>> shapes = Registry[type]("shape")
        >>> @shapes.register("square")
        ... class Square: ...
        >>> shapes.get("squaer")
        Traceback (most recent call last):
        equiact.envs.named_registry.RegistryError: unknown shape 'squaer'; did you mean 'square'? Choose from square
    """

    def __init__(self, what: str, *packages: str, base: str | None = None) -> None:
        self._what = what
        self._packages = packages
        self._base = base
        self._entries: dict[str, Entry] = {}
        self._lock = threading.RLock()
        self._imported = False

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """Return a decorator that registers a class or function under a name.

        Raises:
            RegistryError: another entry has this name.
        """

        def add(entry: Registered) -> Registered:
            self.add(name, entry)  # type: ignore[arg-type]
            return entry

        return add

    def add(self, name: str, entry: Entry) -> None:
        """Register an entry under a name.

        A class that is defined again, as in a notebook cell that is run twice, replaces itself.

        Raises:
            RegistryError: another entry has this name, it is no name, or the entry is of the wrong kind.
        """
        if not isinstance(name, str) or not name.strip() or ":" in name:
            raise RegistryError(f"the name of a {self._what} must be text without ':', got {name!r}")
        self._require_kind(entry, name)
        known = self._entries.get(name)
        if known is not None and known is not entry and _origin(known) != _origin(entry):
            raise RegistryError(f"the {self._what} {name!r} is already registered as {known!r}; choose another name")
        self._entries[name] = entry

    def get(self, name: str) -> Entry:
        """Return the entry with this name.

        Raises:
            RegistryError: no entry has this name.
        """
        if not isinstance(name, str):
            raise RegistryError(f"the name of a {self._what} must be text, got {name!r}")
        if name not in self:
            close = difflib.get_close_matches(name, self._entries, 1)
            hint = f"; did you mean {close[0]!r}? C" if close else "; c"
            raise RegistryError(f"unknown {self._what} {name!r}{hint}hoose from {', '.join(self.names())}")
        return self._entries[name]

    def resolve(self, name: str) -> Entry:
        """Return the entry with this name, or the one at the path ``"module:Name"``.

        A path imports a module. Use `get` for names that come from files of others, such as the card of an encoder.

        Raises:
            RegistryError: no entry has this name, or there is none at this path.
        """
        if not isinstance(name, str) or ":" not in name:
            return self.get(name)
        try:
            found = _imported(name)
        except (ImportError, AttributeError) as error:
            raise RegistryError(
                f"there is no {self._what} {name!r}: {error}; write 'module:Name', with a module that Python can import"
            ) from error
        self._require_kind(found, name)
        entry: Entry = found
        return entry

    def __contains__(self, name: object) -> bool:
        """Return whether an entry has this name."""
        if name not in self._entries:
            self.discover()
        return name in self._entries

    def names(self) -> list[str]:
        """Return all names, sorted."""
        self.discover()
        return sorted(self._entries)

    def items(self) -> Iterator[tuple[str, Entry]]:
        """Iterate over names and entries, sorted by name."""
        return ((name, self._entries[name]) for name in self.names())

    def name_of(self, entry: Entry) -> str:
        """Return the name of an entry.

        Raises:
            RegistryError: it is not registered.
        """
        self.discover()
        for name, known in self._entries.items():
            if known is entry:
                return name
        raise RegistryError(f"{entry!r} is not a registered {self._what}; decorate it with the register function")

    def discover(self, plugins: bool = True) -> None:
        """Import the modules that register entries, once.

        Args:
            plugins: whether to import the modules that other installed packages list, too. One that fails to import is
                reported as a warning.
        """
        with self._lock:
            if not self._imported:
                self._imported = True  # before the imports, since a module may look up an entry while it is imported
                try:
                    self._import_packages()
                except BaseException:
                    self._imported = False
                    raise
        if plugins:
            _PLUGINS.load()

    def _import_packages(self) -> None:
        with _PLUGINS.deferred():
            for name in self._packages:
                package = importlib.import_module(name)
                for module in pkgutil.iter_modules(package.__path__, f"{name}."):
                    importlib.import_module(module.name)

    def _require_kind(self, entry: object, name: str) -> None:
        """Check that an entry is a subclass of the base class, if there is one."""
        if self._base is None:
            return
        if not (isinstance(entry, type) and issubclass(entry, _imported(self._base))):
            raise RegistryError(f"{name!r} is not a subclass of {self._base}, but {entry!r}")


def _imported(path: str) -> Any:
    """Return what is at the path ``"module:Name"``.

    Raises:
        ImportError: there is no such module, or the path has another form.
        AttributeError: the module has no such name.
    """
    module, _, name = path.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), name)):
        raise ImportError(f"{path!r} is no path of that form")
    return getattr(importlib.import_module(module), name)


def _origin(entry: object) -> tuple[object, object]:
    """Return the module and the qualified name by which an entry was defined."""
    return getattr(entry, "__module__", None), getattr(entry, "__qualname__", id(entry))
