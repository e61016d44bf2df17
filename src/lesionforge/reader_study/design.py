"""What a reader study asks, and of how many lesions: fixed when it is created, and registered before it begins.

In a *visual Turing test* readers see real and synthetic lesions in random order and say which is which. *Training
items* come first, with feedback, and count for nothing; *repeats* are items that a reader is shown again later, for the
agreement with oneself; *batches* are parts of the items between which readers rest, and which can be divided among
them (Wang et al. 2022 give each of four readers one of four). In *teaching mode* every item has feedback: for residents
who learn to tell.
"""

from dataclasses import dataclass
from typing import Any, Literal

from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.scales import SCALE, WORDS
from lesionforge.settings import Count, CountOrZero, Rate, to_json

MOST_BATCHES = 100
LONGEST_TITLE = 120


@dataclass(frozen=True)
class Design:
    """Settings of a study. Numbers of items are for each class, and each origin (real, synthetic) unless named."""

    title: str = "Real or synthetic?"
    scale: Literal["two-way", "four-level"] = "four-level"
    classes: tuple[str, ...] = ()  # none: all that have real and synthetic lesions
    ask_class: bool = False
    ask_comment: bool = False
    ask_region: bool = False
    per_class: Count = 50
    synthetic_per_class: CountOrZero = 0  # 0: as many as real ones
    training_per_class: CountOrZero = 0
    repeats: CountOrZero = 0
    batches: Count = 1
    batches_each: CountOrZero = 0  # that one reader reads; 0: all
    totals_told: bool = True
    teaching: bool = False
    window: str = "lung"  # intensities outside it are cut off, alike for both origins
    step: Rate = 1.0  # intensities are rounded to its multiples, alike for both origins
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.title.strip() or len(self.title) > LONGEST_TITLE or not self.title.isprintable():
            raise LesionForgeError(f"a study needs a printable title of at most {LONGEST_TITLE} letters; give another.")
        if self.batches > MOST_BATCHES or self.batches_each > self.batches:
            raise LesionForgeError(
                f"there may be {MOST_BATCHES} batches at most, and a reader reads at most all of them, but "
                f"{self.batches} batches and {self.batches_each} for each reader came."
            )
        if self.batches > (items := sum(map(self.count, (True, False)))):
            raise LesionForgeError(f"{self.batches} batches need as many items of a class, but there are {items}.")

    def count(self, synthetic: bool) -> int:
        """Lesions of a class that count."""
        return (self.synthetic_per_class or self.per_class) if synthetic else self.per_class

    @property
    def words(self) -> tuple[str, ...]:
        """The answers to choose from, from fake to real."""
        return SCALE if self.scale == "four-level" else WORDS

    @property
    def batches_read(self) -> int:
        """Batches that one reader reads."""
        return self.batches_each or self.batches

    def to_json(self) -> dict[str, Any]:
        """As JSON, for the study's manifest and for its registration."""
        return dict(to_json(self))
