"""What a decision is: how numbers that describe a patch become probabilities of its classes.

The folder ``decisions`` holds one file for each. As a method, a decision is a frozen dataclass whose fields are its
hyper-parameters and which holds no weights: `Decision.fit` returns what it has learnt as arrays with names, and
`Decision.probability` takes them again. So what is stored is what predicts, and each can be read and checked.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BeforeValidator, InstanceOf

from lesionforge import registry, settings
from lesionforge.classifiers import decisions
from lesionforge.classifiers.contract import Arrays, FloatArray
from lesionforge.data.patches import Patches
from lesionforge.progress import Progress

# N rows, F features, K classes.


@dataclass(frozen=True, eq=False)
class Examples:
    """What a decision learns from.

    Parameters
    ----------
    features
        [N, F], standardised over the training rows.
    codes
        [N], number of each row's class, all K of which occur.
    weights
        [N], how much each row counts; 1 on average.
    patches
        The rows' patches, for decisions that need their patients; None: not known.
    validation
        Other patients, whose loss is noted; weighted as if their classes were as frequent as the training rows'.
    """

    features: FloatArray
    codes: NDArray[np.int64]
    weights: FloatArray
    patches: Patches | None = None
    validation: "Examples | None" = None


@dataclass(frozen=True)
class Decision(ABC):
    """Base of every file in ``decisions``. The file's name is a field too: JSON tells decisions apart by it."""

    name: str = ""

    @abstractmethod
    def fit(self, examples: Examples, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn; return what was learnt, and how it went (a row a check: ``images_shown``, ``train_loss``)."""

    @abstractmethod
    def probability(self, learnt: Arrays, features: FloatArray) -> FloatArray:
        """Probabilities [N, K] of standardised features [N, F]."""


def decision_named(name: str) -> Decision:
    """Return the decision of that name with its default settings."""
    return registry.class_named(decisions, name, Decision)()  # type: ignore[type-abstract]


def _read(value: object) -> object:
    if isinstance(value, str):
        return decision_named(value)
    if isinstance(value, Mapping) and isinstance(value.get("name"), str):
        return settings.from_json(type(decision_named(value["name"])), value)
    return value


# A field of this type is set by a decision's name (``--set decision=calm``) or settings (``--set decision.cost=0.1``).
AnyDecision = Annotated[InstanceOf[Decision], BeforeValidator(_read)]


def cross_entropy(probability: FloatArray, examples: Examples) -> float:
    """Mean of −log of what each training row's own class was given, rows weighted."""
    of_truth = probability[np.arange(len(examples.codes)), examples.codes]
    return float(np.average(-np.log(np.maximum(of_truth, np.finfo(np.float64).tiny)), weights=examples.weights))
