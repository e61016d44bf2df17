"""What may be searched of a method's settings: its fields say so themselves.

A field whose type carries one of the marks below is searched: ``learning_rate: TunedRate = 1e-3``. Settings inside
settings (``decision.cost``) are found too.
"""

import dataclasses
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from lesionforge.settings import Rate, Share


@dataclass(frozen=True)
class Around:
    """From the method's own value divided by ``factor`` to that times ``factor``, its logarithm evenly."""

    factor: float


@dataclass(frozen=True)
class Between:
    """From ``low`` to ``high`` evenly, and to the method's own value if it lies beyond."""

    low: float
    high: float


@dataclass(frozen=True)
class AnyOf:
    """Each of the values of a ``Literal``."""


Mark = Around | Between | AnyOf

TunedRate = Annotated[Rate, Around(10)]
TunedDecay = Annotated[Share, Around(10)]
TunedDropout = Annotated[Share, Between(0.0, 0.6)]
TunedCost = Annotated[Rate, Around(100)]


@dataclass(frozen=True)
class Searched:
    """One setting that may be searched; ``name`` has dots where it lies inside others, as ``--set`` takes it."""

    name: str
    own: Any
    mark: Mark
    choices: tuple[Any, ...] = ()


def searched(value: object, prefix: str = "") -> Iterator[Searched]:
    """Yield all settings of a method that may be searched, in the order of its fields."""
    hints = typing.get_type_hints(type(value), include_extras=True)
    for field in dataclasses.fields(value):  # type: ignore[arg-type]
        own, name = getattr(value, field.name), f"{prefix}{field.name}"
        if dataclasses.is_dataclass(own):
            yield from searched(own, f"{name}.")
        kind, *marks = typing.get_args(hints[field.name]) or (None,)
        for mark in marks:
            if isinstance(mark, Mark):
                yield Searched(name, own, mark, typing.get_args(kind))
