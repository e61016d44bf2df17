"""`fridadar2018`: liver lesions, how many classic and how many GAN patches are enough, and against which baselines?

Command   lesionforge experiment fridadar2018 --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke half a minute, desk 1½ hours, paper days (made for a GPU)
Published M. Frid-Adar et al., Neurocomputing 321 (2018), section 4: 182 lesions of three classes, 3 folds by patient;
          total accuracy 57 % raw, 78.6 % with 5000 classic patches a fold, 85.7 % with 3×1000 DCGAN patches on top.

Fig. 8's three curves: classic patches, DCGAN patches on top of them, and more real patients (there 78 new cases; here
fewer patients than all). The points of saturation, there read off the test scores, are chosen in each fold on its
validation patients alone. Table 5's ACGAN and its head, table 6's hand-crafted baselines on the raw patches (there is
no word of augmented ones), tables 2, 3 and 7 as confusion and class by class. Table 4's readers: ``RUN/reading``.
"""

from collections.abc import Sequence
from typing import Any

from lesionforge.classifiers.methods.acgan_head import ACGANHead
from lesionforge.classifiers.methods.bovw_mi import BoVWMI
from lesionforge.classifiers.methods.gabor import Gabor
from lesionforge.classifiers.methods.haralick import Haralick
from lesionforge.classifiers.methods.lesion_cnn import LesionCNN
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Reading, Regime
from lesionforge.experiments.parts import (
    CHOSEN_CLASSIC,
    CHOSEN_SYNTHETIC,
    RAW,
    Part,
    each_under,
    over_classic,
    over_patients,
    over_synthetic,
    published,
)
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.scale import Scale
from lesionforge.experiments.stand_ins import liver
from lesionforge.generators.methods.acgan import ACGAN

CLASSES = ("cyst", "hemangioma", "metastasis")
CLASSIC = (500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000)
SYNTHETIC = (100, 500, 1_000, 2_000, 3_000, 4_000)
WITH_ACGAN, HEAD = "classic+acgan", "acgan_head"
BASELINES = ("bovw_mi_multi", "bovw_mi_single", "gabor", "glcm")
BY_CLASS = tuple(
    f"{score} [{label}]" for label in ("cyst", "metastasis", "hemangioma") for score in ("sensitivity", "specificity")
)
IN_ALL = ("accuracy", "weighted_specificity")  # the former is the weighted sensitivity
PUBLISHED = (
    *published("Fig. 8", ["accuracy"], {
        ("no augmentation", RAW): [0.57],
        ("CNN-AUG, 5000 a fold", CHOSEN_CLASSIC): [0.786],
        ("CNN-AUG-GAN, and 3×1000", CHOSEN_SYNTHETIC): [0.857],
    }),
    *published("Tables 2, 3 and 7", BY_CLASS, {
        ("CNN-AUG", CHOSEN_CLASSIC): [0.981, 0.984, 0.687, 0.839, 0.723, 0.846],
        ("CNN-AUG-GAN", CHOSEN_SYNTHETIC): [1.0, 0.977, 0.812, 0.890, 0.785, 0.914],
    }),
    *published("Table 5", IN_ALL, {
        ("CNN-AUG-GAN (DCGAN)", CHOSEN_SYNTHETIC): [0.857, 0.924],
        ("CNN-AUG-GAN (ACGAN)", WITH_ACGAN): [0.813, 0.900],
        ("ACGAN discriminator", HEAD): [0.791, 0.888],
    }),
    *published("Table 6", IN_ALL, {
        ("CNN-AUG-GAN", CHOSEN_SYNTHETIC): [0.857, 0.924],
        ("CNN-AUG", CHOSEN_CLASSIC): [0.786, 0.884],
        ("BOVW-MI-multi representation", "bovw_mi_multi"): [0.829, 0.908],
        ("BOVW-MI-single representation", "bovw_mi_single"): [0.780, 0.883],
        ("Gabor + SVM", "gabor"): [0.742, 0.865],
        ("GLCM + SVM", "glcm"): [0.714, 0.849],
    }),
    *published("Table 4", ["reader_class_accuracy", "reader_accuracy"], {
        ("Expert 1", ""): [0.778, 0.625],
        ("Expert 2", ""): [0.692, 0.586],
    }),
)  # fmt: skip


def _regimes(classic: Sequence[int], synthetic: Sequence[int], portions: Sequence[float], acgan: int) -> Part:
    with_acgan = Regime(WITH_ACGAN, synthetic_per_class=acgan, classic_of=CHOSEN_CLASSIC, generator="acgan")
    beside = (
        with_acgan,
        *each_under([HEAD], Regime(HEAD, classic_of=CHOSEN_CLASSIC)),
        *each_under(BASELINES, Regime(RAW)),
    )
    others = Part(beside, pairs=((WITH_ACGAN, CHOSEN_CLASSIC), (HEAD, CHOSEN_CLASSIC)), shown=(WITH_ACGAN,))
    return over_classic(classic) + over_patients(portions) + others + over_synthetic(synthetic, "dcgan")


def describe(scale: Scale, asked: Asked) -> Experiment:
    """The ladder of Fig. 8, and what stands beside it in tables 5 and 6."""
    classic = scale.pick(smoke=(60, 120), desk=(500, 2_000, 5_000), paper=CLASSIC)
    synthetic = scale.pick(smoke=(20,), desk=(100, 500, 1_000), paper=SYNTHETIC)
    patches = scale.pick(smoke=60, desk=1_667, paper=1_667)  # a third of 5000: "this group of data to train the GAN"
    window = asked.window
    made = [scale.generation(name, patches=patches, share=0.4) for name in ("dcgan", "acgan")]
    words: dict[str, Any] = scale.pick(
        smoke={"words": 60, "kept_words": 20, "kept_words_of_each": 8}, desk={}, paper={}
    )
    thin: dict[str, Any] = scale.pick(smoke={"channels": (8, 8, 8), "dense": 32}, desk={}, paper={})
    gan = scale.method(ACGAN())
    contenders = {
        "lesion_cnn": LesionCNN(window=window, **thin),
        HEAD: ACGANHead(window=window, gan=gan),
        "bovw_mi_multi": BoVWMI(window=window, representation="multi_binary", **words),
        "bovw_mi_single": BoVWMI(window=window, **words),
        "gabor": Gabor(window=window),
        "glcm": Haralick(window=window),
    }
    portions = scale.pick(smoke=(0.5,), desk=(0.5,), paper=(0.25, 0.5, 0.75))
    part = _regimes(classic, synthetic, portions, acgan=scale.pick(smoke=20, desk=1_000, paper=1_000))
    return Experiment(
        protocol="fridadar2018",
        title="Liver lesions: classic augmentation, then GANs on top",
        classifiers=tuple(scale.contender(name, method, share=0.2) for name, method in contenders.items()),
        generators=tuple(made),
        published=PUBLISHED,
        reading=Reading("dcgan", real=182, synthetic=120),
        assessed=scale.pick(smoke=36, desk=256, paper=1_000),
        embedded=scale.pick(smoke=30, desk=200, paper=200),
        size=scale.pick(smoke=32, desk=64, paper=64),
        window=window,
        metric="accuracy",
        folds=scale.pick(smoke=2, desk=3, paper=3),
        validation=scale.pick(smoke=0.4, desk=0.2, paper=0.2),
        **part.settings,
    )


PROTOCOL = Protocol(
    describe,
    stand_in=lambda scale: liver(patients=scale.pick(smoke=36, desk=120, paper=182), size=96),
    standing="computed cysts, hemangiomas and metastases",
    classes=CLASSES,
    window="liver",
)
