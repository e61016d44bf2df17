"""The folder is the registry.

A method is one file in a ``methods`` (or ``protocols``) folder; the file's name is the method's name on the
command line, in an experiment and in a test's id. Nothing is registered by hand.
"""

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import TypeVar

from lesionforge.errors import LesionForgeError
from lesionforge.settings import nearest

T = TypeVar("T")


def names(folder: ModuleType) -> tuple[str, ...]:
    """Names of the files in a package folder, sorted."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(folder.__path__)))


def module_named(folder: ModuleType, name: str) -> ModuleType:
    """Import the file of that name; raise LesionForgeError with the nearest name if there is none."""
    known = names(folder)
    if name not in known:
        kind = folder.__name__.removeprefix("lesionforge.").replace(".", " ")
        raise LesionForgeError(f"{name!r} is not among the {kind}{nearest(name, known)}")
    return importlib.import_module(f"{folder.__name__}.{name}")


def class_named(folder: ModuleType, name: str, base: type[T]) -> type[T]:
    """Return the one subclass of ``base`` that the file of that name defines."""
    module = module_named(folder, name)
    (found,) = (
        member
        for _, member in inspect.getmembers(module, inspect.isclass)
        if issubclass(member, base) and member.__module__ == module.__name__
    )
    return found


def name_of(value: object) -> str:
    """Name of the method that ``value`` is, or is an instance of: its file's."""
    return (value if isinstance(value, type) else type(value)).__module__.rpartition(".")[2]
