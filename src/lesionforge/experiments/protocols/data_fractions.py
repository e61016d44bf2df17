"""`data_fractions`: how much do synthetic lesions help where real patients are few?

Command   lesionforge experiment data_fractions --data PATCHES --scale desk --out RUN
Cost      judged by `usefulness`, on 2 CPU cores: smoke 6 minutes, desk 3 hours, paper weeks (made for GPUs)
Published Y. Wang et al. (2022), Fig. 6: ground-glass nodules found by a ResNet trained on 10 % … 100 % of the data,
          with and without in-painted ones of a generator trained on the same share; precision and recall.

Learning curves over shares of each fold's training patients. At each share generators and classifier know the patients
of that share alone, and the smaller shares are in the larger ones; validation patients are the same throughout.
Networks and their trainings are those of `usefulness`.
"""

from collections.abc import Sequence
from dataclasses import replace

from lesionforge.data.splits import TEN_STEPS
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.parts import over_portions
from lesionforge.experiments.protocols import usefulness

TITLE = "How much do synthetic lesions help where patients are few?"
EMBEDDED = 200


def _over(base: Experiment, generator: str, portions: Sequence[float], *, embedded: int = EMBEDDED) -> Experiment:
    last = base.regimes[-1]
    part = over_portions(portions, generator, classic=last.classic, synthetic_per_class=last.synthetic_per_class)
    return replace(base, protocol="data_fractions", title=TITLE, embedded=embedded, **part.settings)


def smoke(window: str, generator: str = "dcgan") -> Experiment:
    """Minutes: a third of the patients, and all."""
    return _over(usefulness.smoke(window, generator), generator, (1 / 3, 1.0), embedded=60)


def desk(window: str, generator: str = "dcgan") -> Experiment:
    """Hours on 2 cores: a quarter, half and all."""
    return _over(usefulness.desk(window, generator), generator, (0.25, 0.5, 1.0))


def paper(window: str, generator: str = "dcgan") -> Experiment:
    """As published: ten shares."""
    return _over(usefulness.paper(window, generator), generator, TEN_STEPS)


SCALES = {"smoke": smoke, "desk": desk, "paper": paper}
