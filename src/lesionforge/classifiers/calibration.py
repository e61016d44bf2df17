"""Probabilities that mean what they say: fitted on validation patients to what a classifier says of them.

A classifier that says 0.8 should be right four times in five. Networks are too sure of themselves (Guo et al., "On
calibration of modern neural networks", ICML 2017), and class weights, which make a rare class count as much as a
frequent one, make it look as likely. Three remedies, all on probabilities alone, so that they fit every classifier:

- ``temperature`` (Guo et al., section 4.2): softmax(z / T). The order of probabilities stays, so of two classes no AUC
  changes.
- ``temperature_and_bias`` (Alexandari et al., "Maximum likelihood with bias-corrected calibration is hard-to-beat at
  label shift adaptation", ICML 2020, section 3; of two classes Platt's curve): softmax(z / T + b), which undoes weights
  of classes as well.
- ``isotonic`` (Zadrozny & Elkan, KDD 2002): any rising function of each class's probability, scaled to a sum of 1; for
  hundreds of validation patches, fewer are overfitted.

z is the logarithm of the probabilities, which differs from a network's logits by what a softmax does not see. Truth is
smoothed as Platt's (1999): n_k + 1 in n_k + K is expected of class k's n_k patches, so that a perfect separation on few
patches does not pass for certainty.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression

FloatArray = NDArray[np.float64]
CalibrationKind = Literal["none", "temperature", "temperature_and_bias", "isotonic"]

LEAST_PROBABILITY = 1e-12  # its logarithm is finite

# N patches, K classes.


class Calibration(ABC):
    """What was fitted. Its arrays are all there is to it."""

    @abstractmethod
    def apply(self, probability: FloatArray) -> FloatArray:
        """Calibrated probabilities, [N, K] → [N, K]."""

    @property
    @abstractmethod
    def arrays(self) -> dict[str, FloatArray]:
        """Arrays by name: `restored_calibration` makes the same of them."""


@dataclass(frozen=True, eq=False)
class Scaling(Calibration):
    """softmax(slope · log p + bias), slope [1] above 0, bias [K]."""

    slope: FloatArray
    bias: FloatArray

    def apply(self, probability: FloatArray) -> FloatArray:
        """[N, K] → [N, K]."""
        return np.asarray(special.softmax(self.slope * log(probability) + self.bias, axis=1))

    @property
    def arrays(self) -> dict[str, FloatArray]:
        """``slope`` and ``bias``."""
        return {"slope": self.slope, "bias": self.bias}


@dataclass(frozen=True, eq=False)
class Isotonic(Calibration):
    """A rising function through the points (from_k, to_k) for each class k, [points] each."""

    points: tuple[tuple[FloatArray, FloatArray], ...]

    def apply(self, probability: FloatArray) -> FloatArray:
        """[N, K] → [N, K]."""
        each = [np.interp(probability[:, k], *points) for k, points in enumerate(self.points)]
        found = np.stack(each, axis=1)
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    @property
    def arrays(self) -> dict[str, FloatArray]:
        """``from_k`` and ``to_k`` of each class."""
        named = {f"from_{k}": known for k, (known, _) in enumerate(self.points)}
        return named | {f"to_{k}": given for k, (_, given) in enumerate(self.points)}


def calibrate(kind: CalibrationKind, probability: FloatArray, truth: NDArray[np.int64]) -> Calibration:
    """Fit to the probabilities [N, K] that a classifier gives patches that it has not learnt from.

    Parameters
    ----------
    kind
        Any but ``"none"``.
    truth
        Number of each patch's class, [N]; every class occurs.
    """
    expected = _smoothed(truth, probability.shape[1])
    if kind == "isotonic":
        return Isotonic(tuple(_rising(known, given) for known, given in zip(probability.T, expected.T, strict=True)))
    return _scaling(log(probability), expected, biased=kind == "temperature_and_bias")


def restored_calibration(arrays: Mapping[str, NDArray[Any]]) -> Calibration:
    """Make a calibration of its arrays; raise KeyError if some are missing."""
    if "slope" in arrays:
        return Scaling(arrays["slope"], arrays["bias"])
    classes = range(len(arrays) // 2)
    return Isotonic(tuple((arrays[f"from_{k}"], arrays[f"to_{k}"]) for k in classes))


def log(probability: FloatArray) -> FloatArray:
    """Logarithm of probabilities, finite."""
    return np.asarray(np.log(np.maximum(probability, LEAST_PROBABILITY)))


def _smoothed(truth: NDArray[np.int64], classes: int) -> FloatArray:
    """What is expected of each patch, [N, K], rows summing to 1."""
    count = np.bincount(truth, minlength=classes)[truth][:, None]
    return np.asarray((count * np.eye(classes)[truth] + 1) / (count + classes))


def _scaling(logits: FloatArray, expected: FloatArray, *, biased: bool) -> Scaling:
    """Minimise the cross-entropy of ``expected``; the first class's bias is 0, for only differences count."""
    classes = logits.shape[1]

    def parts(parameters: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.exp(parameters[:1]), np.concatenate([[0.0], parameters[1:], np.zeros(classes - len(parameters))])

    def cross_entropy(parameters: FloatArray) -> float:
        slope, bias = parts(parameters)
        return -float((expected * special.log_softmax(slope * logits + bias, axis=1)).sum(axis=1).mean())

    found = optimize.minimize(cross_entropy, np.zeros(classes if biased else 1), method="BFGS")
    return Scaling(*parts(found.x))


def _rising(known: FloatArray, given: FloatArray) -> tuple[FloatArray, FloatArray]:
    model = IsotonicRegression(out_of_bounds="clip").fit(known, given)
    return np.asarray(model.X_thresholds_, np.float64), np.asarray(model.y_thresholds_, np.float64)
