"""`wang2020`: three classes of lung adenocarcinoma, a small CNN, and what three GANs add to common augmentation.

Command   lesionforge experiment wang2020 --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke half a minute, desk an hour, paper months (50 repeats; made for GPUs)
Published Y. Wang et al., QIMS 10 (2020): 30 patients of each class drawn for each of 50 repeats, 3 folds by patient;
          three-class accuracy 37.0 % raw, 53.2 % with common augmentation, 60.5 % with a progressive-growing WGAN on
          top; AUC of IAC against the rest from 0.60 to 0.83.

Fig. 6 (ROC and violins) and 7 (t-SNE), table 1 (transfer learning under the same regimes), of table 3 the networks of
2-D patches; its 3-D ones are `wang2020_table3`. Patches are three slices of each nodule. A fifth of the training
patients decides when a network stops, which the paper asks of nobody or does not say. Table 2's readers: RUN/reading.
"""

from typing import Literal

from lesionforge.classifiers.methods.densenet_2d import DenseNet2D
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.classifiers.methods.transfer import Transfer
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Generation, Published, Reading, Regime
from lesionforge.experiments.parts import CLASSIC, RAW, Part, each_under, ladder, published, under
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.scale import Scale
from lesionforge.experiments.stand_ins import textures

CLASSES = ("AIS", "IAC", "MIA")
TEXTURES = {"ground-glass": "AIS", "part-solid": "MIA", "solid": "IAC"}
NETWORKS: tuple[Literal["vgg16", "resnet50", "mobilenet"], ...] = ("vgg16", "resnet50", "mobilenet")
GANS = ("wgan_gp", "pix2pix", "progressive_wgan")
BEST = "classic+progressive_wgan"
PER_CLASS, COMMON = (
    10_000,
    12_600,
)  # samples; 70 of each of 3 slices of 60 training patients, or of as many as there are
TABLE_1 = {
    "vgg16": ((0.377, 0.029), (0.483, 0.071), (0.602, 0.040)),
    "resnet50": ((0.332, 0.011), (0.464, 0.133), (0.561, 0.091)),
    "mobilenet": ((0.337, 0.022), (0.351, 0.026), (0.418, 0.032)),
    "": ((0.370, 0.034), (0.532, 0.030), (0.605, 0.026)),
}
PUBLISHED = (
    *(
        Published("Table 1", f"{network or 'the proposed CNN'}, {regime}", under(network, regime), "accuracy", *figure)
        for network, row in TABLE_1.items()
        for regime, figure in zip((RAW, CLASSIC, BEST), row, strict=True)
    ),
    Published("Table 3", "Proposed CNN + GAN", BEST, "accuracy", 0.605, 0.026),
    Published("Table 3", "2D DenseNet", "densenet_2d", "accuracy", 0.422, 0.055, "4 folds, 12 repeats"),
    Published("Fig. 6", "raw", RAW, "auc [IAC]", 0.60, 0.05),
    Published("Fig. 6", "progressive-growing wGAN", BEST, "auc [IAC]", 0.83, 0.03),
    *published("Table 2", ["reader_true_positive_ratio", "reader_false_positive_ratio", "reader_accuracy"], {
        ("Senior radiologist", ""): [0.84, 0.54, 0.65],
        ("Primary radiologist", ""): [0.78, 0.66, 0.56],
        ("Overall average", ""): [0.81, 0.60, 0.605],
    }),
)  # fmt: skip


def _regimes(gans: tuple[str, ...], networks: tuple[str, ...], *, classic: int, per_class: int) -> Part:
    """The small CNN under every GAN; the other networks under the best alone, as in table 1."""
    part = ladder(gans, classic=classic, amounts=[per_class])
    for network in networks:
        part += ladder(gans[-1:], classic=classic, amounts=[per_class], classifier=network, shown=False)
    part += Part(each_under(["densenet_2d"], Regime(CLASSIC, classic=classic)))
    last = part.pairs[len(gans)]  # the proposed CNN under the best GAN is what subgroups are looked at for
    return Part(part.regimes, pairs=(*(pair for pair in part.pairs if pair != last), last), shown=part.shown)


def describe(scale: Scale, asked: Asked) -> Experiment:
    """Describe the ladder of Fig. 6 for the small CNN and, at fewer rungs, for the networks of table 1."""
    networks = scale.pick(smoke=NETWORKS[2:], desk=NETWORKS[2:], paper=NETWORKS)
    weights = scale.pick(smoke="none", desk="none", paper="imagenet")
    gans = scale.pick(smoke=("wgan_gp", "progressive_wgan"), desk=GANS, paper=GANS)
    part = _regimes(
        gans,
        networks,
        classic=scale.pick(smoke=60, desk=3_000, paper=COMMON),
        per_class=scale.pick(smoke=12, desk=500, paper=PER_CLASS),
    )
    contenders = [
        scale.contender("small_cnn", SmallCNN(window=asked.window), share=0.4),
        *(
            scale.contender(name, Transfer(window=asked.window, backbone=name, pretrained=weights), share=0.1)
            for name in networks
        ),
        scale.contender("densenet_2d", DenseNet2D(window=asked.window), share=0.05),
    ]
    patches = scale.pick(smoke=24, desk=1_500, paper=4_200)  # the common augmented dataset of a class
    return Experiment(
        protocol="wang2020",
        title="Lung adenocarcinoma: what three GANs add to common augmentation",
        classifiers=tuple(contenders),
        generators=tuple(_generation(scale, name, patches) for name in gans),
        recipe="wang_2020",
        published=PUBLISHED,
        reading=Reading("progressive_wgan", real=100, synthetic=100),
        assessed=scale.pick(smoke=36, desk=256, paper=1_000),
        embedded=scale.pick(smoke=24, desk=200, paper=200),
        size=scale.pick(smoke=32, desk=32, paper=64),
        window=asked.window,
        folds=scale.pick(smoke=2, desk=3, paper=3),
        repeats=scale.pick(smoke=1, desk=1, paper=50),
        patients_per_class=scale.pick(smoke=6, desk=30, paper=30),
        validation=scale.pick(smoke=0.34, desk=0.2, paper=0.2),
        metric="accuracy",
        **part.settings,
    )


def _generation(scale: Scale, name: str, patches: int) -> Generation:
    """Return one that is shown as much as it needs for samples that are no clouds."""
    if name == "progressive_wgan":
        width = scale.pick(smoke=16, desk=64, paper=512)
        return scale.generation(name, patches=patches, share=0.5, width=width)
    return scale.generation(name, patches=patches, share={"wgan_gp": 1.0, "pix2pix": 0.2}[name])


PROTOCOL = Protocol(
    describe,
    stand_in=lambda scale: textures(TEXTURES, patients=scale.pick(smoke=36, desk=160, paper=206), size=80),
    standing="computed ground-glass nodules stand for AIS, part-solid ones for MIA, solid ones for IAC",
    classes=CLASSES,
)
