"""`amounts`: how many classic and how many synthetic patches are enough, and what would further patients bring?

Command   lesionforge experiment amounts --data PATCHES --scale desk --out RUN
Cost      judged by `usefulness`, on 2 CPU cores: smoke 10 minutes, desk 2 hours, paper days (made for a GPU)
Published M. Frid-Adar et al., Neurocomputing 321 (2018), Fig. 8: total accuracy rises with classic patches up to 5000,
          then with DCGAN patches on top of these up to 3×1000.

The point of saturation is chosen in each fold on its validation patients alone, first of the classic patches, then of
the samples on top of them; test patients are scored under what was chosen. Beside it stand a curve over fewer patients
and a classifier that learns from samples alone. Networks and their trainings are those of `usefulness`.
"""

from collections.abc import Sequence
from dataclasses import replace

from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.parts import only_synthetic, over_classic, over_patients, over_synthetic
from lesionforge.experiments.protocols import usefulness

TITLE = "How many synthetic lesions are enough?"
PUBLISHED_CLASSIC = (500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000)
PUBLISHED_SYNTHETIC = (100, 500, 1_000, 2_000, 3_000, 4_000)
EMBEDDED = 200


def _of(
    base: Experiment,
    *,
    classic: Sequence[int] = PUBLISHED_CLASSIC,
    synthetic: Sequence[int] = PUBLISHED_SYNTHETIC,
    portions: Sequence[float] = (0.25, 0.5, 0.75),
    embedded: int = EMBEDDED,
) -> Experiment:
    alone = only_synthetic(max(synthetic))
    parts = over_classic(classic) + alone + over_patients(portions) + over_synthetic(synthetic)
    return replace(base, protocol="amounts", title=TITLE, embedded=embedded, **parts.settings)


def smoke(window: str, generator: str = "dcgan") -> Experiment:
    """Minutes: two amounts of each kind."""
    base = usefulness.smoke(window, generator)
    return _of(base, classic=(500, 1_500), synthetic=(100, 500), portions=(0.5,), embedded=60)


def desk(window: str, generator: str = "dcgan") -> Experiment:
    """Hours on 2 cores: three amounts of each kind."""
    base = usefulness.desk(window, generator)
    return _of(base, classic=(500, 2_000, 5_000), synthetic=(100, 500, 2_000), portions=(0.5,))


def paper(window: str, generator: str = "dcgan") -> Experiment:
    """As published: eight amounts of classic patches, six of samples."""
    return _of(usefulness.paper(window, generator))


SCALES = {"smoke": smoke, "desk": desk, "paper": paper}
