"""What an experiment is: a frozen description, made by a protocol, run by the engine.

The question is whether synthetic lesions help a classifier. So the same classifier is fitted under several
*regimes* of training data, on the same folds of patients, and scored on patients whom neither it nor any generator
behind its training data has seen.
"""

from dataclasses import dataclass

from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.tuning import TuningPlan
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan
from lesionforge.settings import Count, CountOrZero, Share


@dataclass(frozen=True)
class Regime:
    """What is added to the real training patches of a fold."""

    name: str
    classic: CountOrZero = 0  # classically augmented patches, as many of each lesion
    synthetic_per_class: CountOrZero = 0  # samples of each class, of generators trained on the fold
    given: bool = False  # the synthetic patches that the experiment was given


@dataclass(frozen=True)
class Experiment:
    """Regimes compared by k-fold cross-validation over patients; each is held against the one before it.

    So a regime that adds synthetic patches comes after the one that is the same without them.
    """

    protocol: str
    title: str
    classifier: Classifier
    regimes: tuple[Regime, ...]
    tuning: TuningPlan = TuningPlan()  # of the classifier, on each fold's real training patches
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
        names = [regime.name for regime in self.regimes]
        if not names or len(set(names)) < len(names):
            raise LesionForgeError(f"an experiment needs regimes of different names, but {names} came.")
        if self.needs_generators and self.generator is None:
            raise LesionForgeError("a regime with synthetic patches needs a generator, but the experiment has none.")

    @property
    def comparisons(self) -> list[tuple[str, str]]:
        """Pairs of regimes, (regime, against)."""
        names = [regime.name for regime in self.regimes]
        return list(zip(names[1:], names, strict=False))

    @property
    def needs_generators(self) -> bool:
        """Whether any regime adds synthetic patches."""
        return any(regime.synthetic_per_class for regime in self.regimes)
