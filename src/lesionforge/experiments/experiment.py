"""What an experiment is: a frozen description, made by a protocol, run by the engine.

The question is whether synthetic lesions help a classifier. So the same classifier is fitted under several
*regimes* of training data, on the same folds of patients, and scored on patients whom neither it nor any generator
behind its training data has seen.

Which of several amounts is enough is asked of a fold's validation patients and of nobody else (`Choice`): a saturation
point read off a curve of test scores would be chosen on the patients whom it is then scored on.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeVar

from lesionforge import registry
from lesionforge.augment import recipes
from lesionforge.augment.recipe import Recipe
from lesionforge.classifiers.tuning import TuningPlan
from lesionforge.errors import LesionForgeError
from lesionforge.experiments.ingredients import Choice, Contender, Generation, Line, Published, Reading, Regime
from lesionforge.settings import Count, CountOrZero, Share

Named = TypeVar("Named", Contender, Generation)


@dataclass(frozen=True)
class Experiment:
    """Regimes compared by k-fold cross-validation over patients; each is held against the one before it.

    So a regime that adds synthetic patches comes after the one that is the same without them; where that order does not
    do, ``pairs`` says what is held against what.
    """

    protocol: str
    title: str
    classifiers: tuple[Contender, ...]
    regimes: tuple[Regime, ...]
    generators: tuple[Generation, ...] = ()
    choices: tuple[Choice, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()  # (regime or choice, against); the last is looked at by subgroup
    lines: tuple[Line, ...] = ()
    shown: tuple[str, ...] = ()  # regimes and choices whose curves and confusion are drawn; none said: all
    subgroups: tuple[str, ...] = ("diameter_mm", "manufacturer", "kernel", "texture", "sex", "age")  # if in the table
    embedded: CountOrZero = 0  # test patches of the first fold whose features are embedded under each regime shown
    assessed: CountOrZero = 0  # samples of each generator that are held against the first fold's test patients
    reading: Reading | None = None
    published: tuple[Published, ...] = ()
    tuning: TuningPlan = TuningPlan()  # of the classifiers, on all of each fold's real training patches
    recipe: str = "frid_adar_2018"  # of classic patches, a file of ``augment/recipes``
    size: Count = 64
    window: str = "lung"
    folds: Count = 3
    folds_run: CountOrZero = 0  # only the first of them: a single split is one fold; 0: all
    repeats: Count = 1
    patients_per_class: CountOrZero = 0  # drawn anew for each repeat; 0: all, however many of each class
    validation: Share = 0.2  # share of a fold's training patients that decide when fitting stops
    metric: str = "auc"
    seed: CountOrZero = 0
    scale: str = ""  # that its protocol was asked for

    def __post_init__(self) -> None:
        if not self.regimes or len(set(self.names)) < len(self.names):
            raise LesionForgeError(f"an experiment needs regimes of different names, but {list(self.names)} came.")
        registry.class_named(recipes, self.recipe, Recipe)  # type: ignore[type-abstract]
        for regime in self.regimes:
            self.classifier_of(regime)
            if regime.synthetic_per_class:
                self.generator_of(regime)
        for what, named in (("classifiers", self.classifiers), ("generators", self.generators)):
            if len({each.name for each in named}) < len(named):
                raise LesionForgeError(f"{what} need different names, but {[each.name for each in named]} came.")
        if self.reading is not None:
            _check_known({self.reading.generator}, [each.name for each in self.generators_used], "generators to read")
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
    def generators_used(self) -> tuple[Generation, ...]:
        """The generators that any regime needs."""
        wanted = {self.generator_of(regime).name for regime in self.regimes if regime.synthetic_per_class}
        return tuple(each for each in self.generators if each.name in wanted)

    def portions_of(self, generator: str) -> list[float]:
        """Portions of the training patients that a generator is trained on, the largest first."""
        with_it = (each for each in self.regimes if each.synthetic_per_class)
        return sorted({each.portion for each in with_it if self.generator_of(each).name == generator}, reverse=True)

    def classifier_of(self, regime: Regime) -> Contender:
        """The classifier that is fitted under a regime."""
        return _named(self.classifiers, regime.classifier, regime, "classifier")

    def generator_of(self, regime: Regime) -> Generation:
        """What makes a regime's synthetic patches."""
        return _named(self.generators, regime.generator, regime, "generator")


def _named(those: tuple[Named, ...], name: str, regime: Regime, what: str) -> Named:
    """The one of that name, or the first where no name is said."""
    for each in those:
        if each.name == (name or those[0].name):
            return each
    there_are = ", ".join(repr(each.name) for each in those) or "none"
    raise LesionForgeError(
        f"the regime {regime.name!r} needs a {what}, and {f'{name!r} is not there' if name else 'none is'}: the "
        f"experiment has {there_are}."
    )


def _check_known(names: set[str], known: Collection[str], what: str) -> None:
    if unknown := sorted(names - set(known)):
        raise LesionForgeError(
            f"{what} must be among {', '.join(map(repr, known)) or 'none'}, but {', '.join(map(repr, unknown))} came."
        )
