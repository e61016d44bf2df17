"""In which order a reader sees what: training items first, then batch by batch, repeats in the second half.

The order is drawn from the study's seed and the reader's number: two readers have different orders, and the same
reader has the same one on every machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.design import Design
from lesionforge.reader_study.study import Item, Study

Kind = Literal["training", "reading", "repeat"]


@dataclass(frozen=True)
class Showing:
    """An item's place in a reader's list."""

    item: int
    kind: Kind
    batch: int  # −1 while training


def reading_list(study: Study, reader: int) -> list[Showing]:
    """What reader number ``reader`` (from 0) is shown, in order."""
    design = study.design
    rng = np.random.default_rng([design.seed, 2, reader])
    training = [at for at, item in enumerate(study.items) if item.training]
    begun = [Showing(training[at], "training", -1) for at in rng.permutation(len(training))]
    mine = [(reader * design.batches_read + number) % design.batches for number in range(design.batches_read)]
    reading: list[Showing] = []
    for batch in rng.permutation(mine):
        inside = [at for at, item in enumerate(study.items) if item.batch == batch]
        reading += [Showing(inside[at], "reading", int(batch)) for at in rng.permutation(len(inside))]
    return begun + _with_repeats(reading, design.repeats, rng)


def check_repeats(items: Sequence[Item], design: Design) -> None:
    """Raise LesionForgeError if some reader would have more repeats than items in the first half."""
    sizes = sorted(sum(item.batch == batch for item in items) for batch in range(design.batches))
    half = sum(sizes[: design.batches_read]) // 2
    if design.repeats > half:
        raise LesionForgeError(
            f"repeats must be items of the first half, here at most {half}, but {design.repeats} came: ask for fewer."
        )


def _with_repeats(reading: list[Showing], count: int, rng: np.random.Generator) -> list[Showing]:
    """Show some items of the first half again, at random places of the second."""
    half = len(reading) // 2
    again = [reading[at] for at in rng.permutation(half)[:count]]
    later = reading[half:]
    for place, showing in zip(sorted(rng.integers(1, len(later) + 1, count), reverse=True), again, strict=True):
        later.insert(int(place), Showing(showing.item, "repeat", later[int(place) - 1].batch))
    return reading[:half] + later
