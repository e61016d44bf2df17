"""`yang2019`: malignant nodules in-painted in 3-D, against weighing the rare class, in four networks.

Command   lesionforge experiment yang2019 --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke half a minute, desk an hour, paper weeks (made for GPUs)
Published J. Yang et al., ISBI 2019, table 2: 1249 training nodules of LIDC-IDRI (233 malignant), 156 for validation,
          157 for the test; mean AUC of four networks 0.848 raw, 0.819 with a weighted loss, 0.870 with 463 synthetic
          malignant nodules added.

Patches of 64×64 pixels and 32 slices at 1×1×2 mm. The networks' random crops and scales are their own. The paper starts
from weights that have learnt from Kinetics videos, which no program can fetch: name the files with
``--set classifiers.resnet50.method.pretrained=FILE`` and so on; otherwise weights are drawn, and say so. It keeps the
state of the best validation AUC; here the best validation loss, as for every network.
"""

from typing import Literal

from lesionforge.classifiers.methods.resnet_3d import ResNet3D
from lesionforge.data.patches import Patches
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Published, Regime
from lesionforge.experiments.parts import RAW, Part, published, under
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.scale import Scale
from lesionforge.experiments.stand_ins import textures

Network = Literal["resnet50", "resnet101", "resnet152", "resnext101"]
BENIGN, MALIGNANT = "benign", "malignant"
WEIGHTED, SYNTHESIS = "weighted", "synthesis"
NETWORKS: tuple[Network, ...] = ("resnet50", "resnet101", "resnet152", "resnext101")
SYNTHETIC = 463
VALIDATED = 156 / (156 + 1_249)  # of all that are not tested; a tenth of all is: 157 of 1562
TABLE_2 = {
    RAW: (
        (0.8216, 0.6666, 0.8496, 0.8286),
        (0.8853, 0.6666, 0.9248, 0.8320),
        (0.8917, 0.5833, 0.9473, 0.8756),
        (0.9044, 0.6249, 0.9548, 0.8558),
    ),
    WEIGHTED: (
        (0.8662, 0.6666, 0.9022, 0.8161),
        (0.7961, 0.7499, 0.8045, 0.8154),
        (0.8598, 0.7083, 0.8872, 0.8098),
        (0.8471, 0.6666, 0.8796, 0.8342),
    ),
    SYNTHESIS: (
        (0.8216, 0.7083, 0.8421, 0.8746),
        (0.9044, 0.5833, 0.9624, 0.8458),
        (0.9171, 0.5833, 0.9774, 0.8812),
        (0.8853, 0.6666, 0.9248, 0.8768),
    ),
}
MEANS = {RAW: 0.8480, WEIGHTED: 0.8188, SYNTHESIS: 0.8696}
METRICS = ["accuracy", f"sensitivity [{MALIGNANT}]", f"specificity [{MALIGNANT}]", "auc"]


def _table(networks: tuple[Network, ...]) -> tuple[Published, ...]:
    """Table 2; networks that are not run have no regime beside them, and the mean is of those that are."""
    rows = {
        (f"{network}, {balance}", under(network, balance) if network in networks else ""): figures
        for balance, by_network in TABLE_2.items()
        for network, figures in zip(NETWORKS, by_network, strict=True)
    }
    means = (
        Published("Table 2", f"Mean, {balance}", "|".join(under(network, balance) for network in networks), "auc", mean)
        for balance, mean in MEANS.items()
    )
    return (*published("Table 2", METRICS, rows), *means)


def _regimes(networks: tuple[Network, ...], synthetic: int) -> Part:
    """Three ways to deal with the rare class under every network."""
    part = Part(())
    for network in networks:
        plain, weighted, synthesis = (under(network, balance) for balance in (RAW, WEIGHTED, SYNTHESIS))
        part += Part(
            (
                Regime(plain, classifier=network),
                Regime(weighted, classifier=f"{network}_weighted"),
                Regime(synthesis, classifier=network, synthetic_per_class=synthetic, synthetic_classes=(MALIGNANT,)),
            ),
            pairs=((weighted, plain), (synthesis, weighted), (synthesis, plain)),
            shown=(plain, weighted, synthesis),
        )
    return part


def describe(scale: Scale, asked: Asked) -> Experiment:
    """Describe table 2."""
    networks = scale.pick(smoke=NETWORKS[:1], desk=NETWORKS[::3], paper=NETWORKS)
    width = scale.pick(smoke=4, desk=16, paper=64)
    batch_size = scale.pick(smoke=16, desk=4, paper=16)  # few patches, and many steps of them
    contenders = [
        scale.contender(
            name, ResNet3D(window=asked.window, network=network, width=width, class_weights=weigh), share=0.05
        )
        for network in networks
        for name, weigh in ((network, False), (f"{network}_weighted", True))
    ]
    return Experiment(
        protocol="yang2019",
        title="Malignancy in 3-D: synthetic malignant nodules against a weighted loss",
        classifiers=tuple(contenders),
        generators=(scale.generation("class_aware_inpainting", share=0.15, batch_size=batch_size),),
        recipe="yang_2019",
        published=_table(networks),
        assessed=scale.pick(smoke=24, desk=100, paper=SYNTHETIC),
        size=scale.pick(smoke=24, desk=32, paper=64),
        window=asked.window,
        folds=scale.pick(smoke=2, desk=3, paper=10),
        folds_run=scale.pick(smoke=0, desk=0, paper=1),
        validation=scale.pick(smoke=0.3, desk=0.2, paper=VALIDATED),
        **_regimes(networks, scale.pick(smoke=8, desk=60, paper=SYNTHETIC)).settings,
    )


def _stand_in(scale: Scale) -> Patches:
    classes = {"ground-glass": BENIGN, "part-solid": BENIGN, "solid": MALIGNANT}
    size = scale.pick(smoke=(12, 24, 24), desk=(24, 48, 48), paper=(32, 64, 64))
    return textures(classes, patients=scale.pick(smoke=16, desk=100, paper=1_000), size=size)


PROTOCOL = Protocol(
    describe,
    stand_in=_stand_in,
    standing="computed solid nodules stand for malignant ones, ground-glass and part-solid ones for benign",
    classes=(BENIGN, MALIGNANT),
    axes=3,
)
