"""What experiments are made of: named generators and classifiers, regimes of training data, what is asked of them.

Frozen and comparable, without weights or patches; `lesionforge.experiments.experiment` puts them together.
"""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from lesionforge.classifiers.contract import Classifier
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan
from lesionforge.settings import Count, CountOrZero

Portion = Annotated[float, Field(gt=0, le=1)]


@dataclass(frozen=True)
class Generation:
    """How a fold's synthetic patches are made: by one generator for each class, or one for all if it can be asked."""

    name: str
    method: GenerativeMethod
    training: TrainingPlan = TrainingPlan()  # of each generator
    patches: CountOrZero = 0  # classically augmented patches of each class that generators learn from


@dataclass(frozen=True)
class Contender:
    """A classifier under the name that regimes call it by."""

    name: str
    method: Classifier


@dataclass(frozen=True)
class Regime:
    """What a classifier learns from in a fold: its real training patches, and what is added to them."""

    name: str
    classic: CountOrZero = 0  # classically augmented patches, as many of each lesion
    synthetic_per_class: CountOrZero = 0  # samples of each class, of generators trained on the fold
    given: bool = False  # the synthetic patches that the experiment was given
    portion: Portion = 1.0  # of the fold's training patients, for generators too; the smaller are in the larger
    real: bool = True  # False: the real patches train the generators alone (train on synthetic, test on real)
    classic_of: str = ""  # a choice, whose amount of classic patches is taken instead of ``classic``
    generator: str = ""  # the name of a `Generation`; none said: the first
    classifier: str = ""  # the name of a `Contender`; none said: the first
    classic_classes: tuple[str, ...] = ()  # that get classic patches; none said: all
    synthetic_classes: tuple[str, ...] = ()  # that get synthetic patches; none said: all

    def __post_init__(self) -> None:
        if not self.real and (self.classic or self.classic_of or not (self.synthetic_per_class or self.given)):
            raise LesionForgeError(
                f"the regime {self.name!r} leaves real patches out: it must add synthetic ones and no classic ones, "
                "which are made of real ones."
            )


@dataclass(frozen=True)
class Choice:
    """In each fold the regime that its validation patients choose: the least that is about as good as the best."""

    name: str
    among: tuple[str, ...]  # regimes, the least added first

    def __post_init__(self) -> None:
        if not self.among:
            raise LesionForgeError(f"the choice {self.name!r} must have regimes to choose among, but has none.")


@dataclass(frozen=True)
class Line:
    """Regimes along which one amount grows: a line of a figure, with its amounts."""

    name: str
    along: str  # what grows, with its unit
    regimes: tuple[str, ...]
    amounts: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.regimes) != len(self.amounts):
            raise LesionForgeError(
                f"the line {self.name!r} must have an amount for each of {len(self.regimes)} regimes, but has "
                f"{len(self.amounts)}."
            )


@dataclass(frozen=True)
class Reading:
    """Patches laid out for readers: real ones of the first fold's test patients, and a generator's samples.

    There may be fewer real ones than asked; then there are as many fewer samples, so that the share stays.
    """

    generator: str
    real: Count
    synthetic: Count
    classes: tuple[str, ...] = ()  # none said: all that the generator makes, in equal numbers


@dataclass(frozen=True)
class Published:
    """A figure that a paper prints, beside which ours will stand."""

    table: str  # as the paper calls it: "Table 1", "Fig. 6"
    row: str  # as the paper calls it
    regime: str  # ours that stands beside it; empty: none does
    metric: str  # ours
    value: float
    spread: float | None = None  # standard deviation, where printed
    note: str = ""
