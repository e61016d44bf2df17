"""`wang2020_table3`: the 3-D networks that Wang et al. compare their GAN and CNN with.

Command   lesionforge experiment wang2020_table3 --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke a quarter of a minute, desk an hour, paper a week
Published Y. Wang et al., QIMS 10 (2020), table 3: 4 folds by patient, 12 repeats, patches of 32×32 pixels and 3 slices;
          three-class accuracy of a 3-D DenseNet 60.2 %, of DenseSharp, which learns to outline as well, 60.7 %.

The rows of 2-D networks are in `wang2020`. The paper does not say whether these two learnt from augmented patches; both
ways are run, and its figures stand beside the common augmentation that it gives everything else.
"""

from typing import Any

from lesionforge.classifiers.methods.densenet_3d import DenseNet3D
from lesionforge.classifiers.methods.densesharp import DenseSharp
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Published
from lesionforge.experiments.parts import CLASSIC, Part, ladder, under
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.protocols.wang2020 import CLASSES, COMMON, TEXTURES
from lesionforge.experiments.scale import Scale
from lesionforge.experiments.stand_ins import textures

SHARP = "densesharp"
PUBLISHED = (
    Published("Table 3", "3D DenseNet", CLASSIC, "accuracy", 0.602, 0.046),
    Published("Table 3", "3D DenseSharp Network", under(SHARP, CLASSIC), "accuracy", 0.607, 0.055),
)


def describe(scale: Scale, asked: Asked) -> Experiment:
    """Describe both networks, raw and with common augmentation, and one held against the other."""
    classic = scale.pick(smoke=30, desk=2_000, paper=COMMON)
    both = ladder([], classic=classic, amounts=[]) + ladder([], classic=classic, amounts=[], classifier=SHARP)
    part = both + Part((), pairs=((under(SHARP, CLASSIC), CLASSIC),))
    thin: dict[str, Any] = scale.pick(smoke={"blocks": (2, 2), "growth": 4, "first_channels": 8}, desk={}, paper={})
    contenders = {
        "densenet_3d": DenseNet3D(window=asked.window, **thin),
        SHARP: DenseSharp(window=asked.window, **thin),
    }
    return Experiment(
        protocol="wang2020_table3",
        title="Lung adenocarcinoma: 3-D networks",
        classifiers=tuple(scale.contender(name, method, share=0.1) for name, method in contenders.items()),
        recipe="wang_2020",
        published=PUBLISHED,
        size=32,
        window=asked.window,
        folds=scale.pick(smoke=2, desk=4, paper=4),
        repeats=scale.pick(smoke=1, desk=1, paper=12),
        patients_per_class=scale.pick(smoke=4, desk=30, paper=30),
        validation=scale.pick(smoke=0.5, desk=0.2, paper=0.2),
        metric="accuracy",
        **part.settings,
    )


PROTOCOL = Protocol(
    describe,
    stand_in=lambda scale: textures(TEXTURES, patients=scale.pick(smoke=24, desk=160, paper=206), size=(3, 40, 40)),
    standing="computed ground-glass nodules stand for AIS, part-solid ones for MIA, solid ones for IAC",
    classes=CLASSES,
    axes=3,
)
