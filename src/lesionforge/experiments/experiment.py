"""What an experiment is: a frozen description, made by a protocol, run by the engine.

The question is whether synthetic lesions help a classifier. So the same classifier is fitted under several
*regimes* of training data, on the same folds of patients, and scored on patients whom neither it nor any generator
behind its training data has seen.

Which of several amounts is enough is asked of a fold's validation patients and of nobody else (`Choice`): a saturation
point read off a curve of test scores would be chosen on the patients whom it is then scored on.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.tuning import TuningPlan
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan
from lesionforge.settings import Count, CountOrZero, Share

Portion = Annotated[float, Field(gt=0, le=1)]


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
class Experiment:
    """Regimes compared by k-fold cross-validation over patients; each is held against the one before it.

    So a regime that adds synthetic patches comes after the one that is the same without them; where that order does not
    do, ``pairs`` says what is held against what.
    """

    protocol: str
    title: str
    classifier: Classifier
    regimes: tuple[Regime, ...]
    choices: tuple[Choice, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()  # (regime or choice, against); the last is looked at by subgroup
    lines: tuple[Line, ...] = ()
    shown: tuple[str, ...] = ()  # regimes and choices whose curves and confusion are drawn; none said: all
    subgroups: tuple[str, ...] = ("diameter_mm", "manufacturer", "kernel", "texture", "sex", "age")  # if in the table
    embedded: CountOrZero = 0  # test patches of the first fold whose features are embedded under each regime shown
    tuning: TuningPlan = TuningPlan()  # of the classifier, on all of each fold's real training patches
    generator: GenerativeMethod | None = None
    generator_training: TrainingPlan = TrainingPlan()  # of each generator: one for a class, or one for all
    generator_patches: CountOrZero = 0  # classically augmented patches of each class that generators learn from
    size: Count = 64
    window: str = "lung"
    folds: Count = 3
    repeats: Count = 1
    validation: Share = 0.2  # share of a fold's training patients that decide when fitting stops
    metric: str = "auc"
    seed: CountOrZero = 0

    def __post_init__(self) -> None:
        if not self.regimes or len(set(self.names)) < len(self.names):
            raise LesionForgeError(f"an experiment needs regimes of different names, but {list(self.names)} came.")
        if self.needs_generators and self.generator is None:
            raise LesionForgeError("a regime with synthetic patches needs a generator, but the experiment has none.")
        if self.choices and not self.validation:
            raise LesionForgeError("a choice is made on validation patients, but their share is 0: set some aside.")
        chosen_from = {name for choice in self.choices for name in choice.among}
        _check_known(chosen_from, [regime.name for regime in self.regimes], "regimes to choose among")
        _check_known({name for pair in self.pairs for name in pair}, self.names, "regimes to compare")
        _check_known({name for line in self.lines for name in line.regimes}, self.names, "regimes of a line")
        _check_known(set(self.shown), self.names, "regimes to show")
        known = {choice.name for choice in self.choices_after(self.stages[0])}
        _check_known({regime.classic_of for regime in self.regimes} - {""}, known, "choices to build on")

    @property
    def names(self) -> tuple[str, ...]:
        """Whatever has predictions: regimes, then choices."""
        return (*(regime.name for regime in self.regimes), *(choice.name for choice in self.choices))

    @property
    def stages(self) -> tuple[tuple[Regime, ...], tuple[Regime, ...]]:
        """Regimes that can be fitted at once, and those that build on a choice among them."""
        waiting = tuple(regime for regime in self.regimes if regime.classic_of)
        return tuple(regime for regime in self.regimes if regime not in waiting), waiting

    def choices_after(self, stage: tuple[Regime, ...]) -> tuple[Choice, ...]:
        """Choices that can be made once this stage is fitted, and not before."""
        first = {regime.name for regime in self.stages[0]}
        return tuple(each for each in self.choices if (set(each.among) <= first) == (stage == self.stages[0]))

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Pairs of regimes or choices, (regime, against)."""
        return list(self.pairs) or list(zip(self.names[1:], self.names, strict=False))

    @property
    def portions(self) -> list[float]:
        """Portions of the training patients that generators are trained on, the largest first."""
        return sorted({regime.portion for regime in self.regimes if regime.synthetic_per_class}, reverse=True)

    @property
    def needs_generators(self) -> bool:
        """Whether any regime adds synthetic patches."""
        return bool(self.portions)


def _check_known(names: set[str], known: Collection[str], what: str) -> None:
    if unknown := sorted(names - set(known)):
        raise LesionForgeError(
            f"{what} must be among {', '.join(map(repr, known)) or 'none'}, but {', '.join(map(repr, unknown))} came."
        )
