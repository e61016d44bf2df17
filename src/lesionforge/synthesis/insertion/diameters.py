"""How large the lesions of a synthetic cohort are."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.stats import truncnorm

from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError

FEWEST = 5


class Diameters(Protocol):
    """A distribution of diameters."""

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw diameters in mm, [count]."""


@dataclass(frozen=True)
class Between:
    """Any diameter from ``low_mm`` to ``high_mm`` is as likely; both may be one number."""

    low_mm: float
    high_mm: float

    def __post_init__(self) -> None:
        if not 0 < self.low_mm <= self.high_mm < np.inf:
            raise LesionForgeError(
                f"diameters must be above 0 mm and the first not above the second, but {self.low_mm} and "
                f"{self.high_mm} came."
            )

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw diameters in mm, [count]."""
        return rng.uniform(self.low_mm, self.high_mm, count)


@dataclass(frozen=True)
class LogNormal:
    """Diameters whose logarithms are normal, as those of nodules nearly are, within the range of those seen."""

    log_mean: float
    log_sd: float
    low_mm: float
    high_mm: float

    @classmethod
    def like(cls, patches: Patches, label: str = "") -> "LogNormal":
        """Fit the diameters of these lesions, of one class if it is named.

        Raises
        ------
        LesionForgeError
            Too few diameters are known, or all are alike.
        """
        chosen = patches.with_label(label) if label else patches
        known = chosen.table["diameter_mm"].dropna().to_numpy(dtype=np.float64)
        if len(known) < FEWEST or known.min() == known.max():
            raise LesionForgeError(
                f"a distribution needs {FEWEST} diameters or more that differ, but {len(known)} are known: name a "
                "range with --diameter-mm instead."
            )
        logs = np.log(known)
        return cls(float(logs.mean()), float(logs.std(ddof=1)), float(known.min()), float(known.max()))

    def draw(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw diameters in mm, [count]."""
        low, high = ((np.log(mm) - self.log_mean) / self.log_sd for mm in (self.low_mm, self.high_mm))
        logs = truncnorm.rvs(low, high, loc=self.log_mean, scale=self.log_sd, size=count, random_state=rng)
        return np.asarray(np.exp(logs), dtype=np.float64)
