"""Frozen dataclasses to JSON and back, and ``key=value`` overrides from the command line.

Hyper-parameters are fields of frozen dataclasses; this file is how they are read, written and changed, with
types checked and misspelt names answered by the nearest one there is.
"""

import dataclasses
import difflib
import json
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, TypeGuard, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from lesionforge.errors import LesionForgeError

T = TypeVar("T")


def _odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError("must be odd")
    return value


# What a field may hold beyond its type; checked where settings are read or overridden.
Count = Annotated[int, Field(ge=1)]
CountOrZero = Annotated[int, Field(ge=0)]
Odd = Annotated[int, Field(ge=1), AfterValidator(_odd)]
Share = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1)]


def to_json(value: object) -> Any:
    """Turn a dataclass, and the dataclasses and tuples inside it, into what JSON can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [to_json(item) for item in value]
    return value


def from_json(cls: type[T], values: Mapping[str, Any]) -> T:
    """Make a frozen dataclass from JSON values; missing fields keep their defaults.

    Raises
    ------
    LesionForgeError
        A name is not a field of ``cls``, or a value does not fit its type.
    """
    return cls(**{name: _fitted(cls, name, value) for name, value in values.items()})


def with_overrides(value: T, overrides: Sequence[str]) -> T:
    """Return the dataclass ``value`` with each ``key=text`` set, the text read as the field's type.

    A key with dots reaches into a field that is itself a dataclass, or into one of several by its name:
    ``tuning.trials=20``, ``generators.dcgan.method.learning_rate=1e-4``.

    Raises
    ------
    LesionForgeError
        An override is not ``key=text``, or as for `from_json`.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise LesionForgeError(f"a setting must look like key=value, but {override!r} came.")
        value = _set(value, key.strip().split("."), text.strip())
    return value


def nearest(name: str, known: Iterable[str]) -> str:
    """Finish an error about an unknown ``name``: the nearest known one, and all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1)
    meant = f"; did you mean {close[0]!r}?" if close else "."
    return f"{meant} There are: {', '.join(known) or 'none'}."


def _set(value: T, path: Sequence[str], text: str) -> T:
    name, *rest = path
    if not rest:
        return dataclasses.replace(value, **{name: _fitted(type(value), name, text)})  # type: ignore[type-var]
    inner = getattr(value, name, None)
    if _are_named(inner):
        return dataclasses.replace(value, **{name: _set_named(inner, rest, text, of=name)})  # type: ignore[type-var]
    if not dataclasses.is_dataclass(inner):
        nested = [key for key in vars(value) if _has_settings(getattr(value, key))]
        raise LesionForgeError(f"{type(value).__name__} has no settings under {name!r}{nearest(name, nested)}")
    return dataclasses.replace(value, **{name: _set(inner, rest, text)})  # type: ignore[type-var]


def _set_named(those: tuple[Any, ...], path: Sequence[str], text: str, *, of: str) -> tuple[Any, ...]:
    """Set something in the one of several dataclasses whose ``name`` the path begins with."""
    name, *rest = path
    known = [each.name for each in those]
    if name not in known or not rest:
        raise LesionForgeError(
            f"{of} must be followed by a name and a setting, but {'.'.join(path)!r} came{nearest(name, known)}"
        )
    return tuple(_set(each, rest, text) if each.name == name else each for each in those)


def _are_named(value: object) -> TypeGuard[tuple[Any, ...]]:
    """Whether these are dataclasses with names of their own."""
    return (
        isinstance(value, tuple)
        and bool(value)
        and all(dataclasses.is_dataclass(each) and hasattr(each, "name") for each in value)
    )


def _has_settings(value: object) -> bool:
    return dataclasses.is_dataclass(value) or _are_named(value)


def _fitted(cls: type[Any], name: str, value: object) -> object:
    """Return ``value`` as the type of the field ``name`` of ``cls``."""
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    if name not in names:
        raise LesionForgeError(f"{cls.__name__} has no setting {name!r}{nearest(name, names)}")
    adapter: TypeAdapter[object] = TypeAdapter(typing.get_type_hints(cls, include_extras=True)[name])
    complaint = ""
    for reading in _readings(value):
        try:
            return adapter.validate_python(reading)
        except ValidationError as error:
            complaint = complaint or error.errors()[0]["msg"]
    raise LesionForgeError(f"setting {name} does not fit: {complaint}, but {value!r} came.")


def _readings(value: object) -> Iterator[object]:
    """What a value may mean: itself, or a text from the command line that is JSON, or a list with commas."""
    yield value
    if isinstance(value, str):
        try:
            yield json.loads(value)
        except json.JSONDecodeError:
            yield [item.strip() for item in value.split(",")]
