"""`calm`: nodule or none, features of a convolutional autoencoder, and four ways to decide on them.

Command   lesionforge experiment calm --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke half a minute, desk half an hour, paper a week
Published S. S. Ghosal et al., HSDM 2020, table 1: CALM on an autoencoder's features with WGAN-GP nodules added
          95.3 % accuracy, 94.9 % precision, 95 % recall, AUC 0.97; beside a network, logistic regression, a linear SVM,
          a fully connected autoencoder and a CNN.

Each nodule is shown translated four times besides (5422 images of about 1100 nodules), and half as many synthetic ones
are added, by a WGAN-GP that has seen the training nodules alone. The paper adds as many further patches without a
nodule, of which there is no end; here the patches that were given are all there are, and classes are weighed instead.
It splits 80:20 by patch, so that a patient may be on both sides: here by patient, the first of five folds (paper) or
three of three (desk). CALM is also run without synthetic nodules, which the paper leaves out.
"""

from collections.abc import Mapping
from dataclasses import replace

from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.decisions.calm import CALM
from lesionforge.classifiers.decisions.logistic import Logistic
from lesionforge.classifiers.decisions.network import Network
from lesionforge.classifiers.decisions.svm import SVM
from lesionforge.classifiers.methods.calm_cnn import CalmCNN
from lesionforge.classifiers.methods.convolutional_autoencoder import ConvolutionalAutoencoder
from lesionforge.classifiers.methods.fully_connected_autoencoder import FullyConnectedAutoencoder
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Regime
from lesionforge.experiments.parts import Part, each_under, published
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.scale import Scale
from lesionforge.experiments.stand_ins import candidates

NONE, NODULE = "no nodule", "nodule"
WITHOUT = "CAE+CALM, no GAN"
DECISIONS = {"CALM": CALM(), "NN": Network(), "LR": Logistic(), "SVM": SVM(kernel="linear")}
SHIFTED = 3_470  # of 868 training nodules four each; of fewer as many as there are
AUGMENTATION_RATE = 0.5
SYNTHETIC = round(AUGMENTATION_RATE * 4_338)
PUBLISHED = published(
    "Table 1",
    ["accuracy", f"precision [{NODULE}]", f"sensitivity [{NODULE}]", f"f1 [{NODULE}]", "auc"],
    {
        ("GAN+CAE+CALM (proposed)", "GAN+CAE+CALM"): [0.953, 0.949, 0.95, 0.95, 0.97],
        ("GAN+CAE+NN", "GAN+CAE+NN"): [0.942, 0.946, 0.935, 0.935, 0.93],
        ("GAN+CAE+LR", "GAN+CAE+LR"): [0.903, 0.92, 0.92, 0.92, 0.91],
        ("GAN+CAE+SVM", "GAN+CAE+SVM"): [0.901, 0.92, 0.92, 0.92, 0.90],
        ("AE", "AE"): [0.77, 0.76, 0.77, 0.77, 0.83],
        ("CNN", "CNN"): [0.89, 0.88, 0.90, 0.89, 0.95],
    },
)


def _contenders(window: str, channels: int) -> Mapping[str, Classifier]:
    on_features = {
        f"GAN+CAE+{name}": ConvolutionalAutoencoder(window=window, decision=decision, channels=channels)
        for name, decision in DECISIONS.items()
    }
    others = {"AE": FullyConnectedAutoencoder(window=window), "CNN": CalmCNN(window=window, channels=channels)}
    return on_features | others


def describe(scale: Scale, asked: Asked) -> Experiment:
    """Describe table 1."""
    classic = scale.pick(smoke=60, desk=1_200, paper=SHIFTED)
    synthetic = scale.pick(smoke=16, desk=400, paper=SYNTHETIC)
    contenders = _contenders(asked.window, scale.pick(smoke=6, desk=50, paper=50))
    first = next(iter(contenders))
    raw = Regime("", classic=classic, classic_classes=(NODULE,))
    with_gan = replace(raw, synthetic_per_class=synthetic, synthetic_classes=(NODULE,))
    own = [name for name in contenders if name.startswith("GAN")]
    others = [name for name in contenders if not name.startswith("GAN")]
    regimes = (replace(raw, name=WITHOUT), *each_under(own, with_gan), *each_under(others, raw))
    part = Part(regimes, pairs=(*((first, name) for name in (*own[1:], *others)), (first, WITHOUT)))
    return Experiment(
        protocol="calm",
        title="Nodule or none: CALM on an autoencoder's features",
        classifiers=tuple(scale.contender(name, method, share=1 / 3) for name, method in contenders.items()),
        generators=(scale.generation("wgan_gp", patches=scale.pick(smoke=60, desk=1_200, paper=SHIFTED)),),
        recipe="calm",
        published=PUBLISHED,
        assessed=scale.pick(smoke=24, desk=256, paper=1_000),
        size=40,
        window=asked.window,
        folds=scale.pick(smoke=2, desk=3, paper=5),
        folds_run=scale.pick(smoke=0, desk=0, paper=1),
        validation=scale.pick(smoke=0.3, desk=0.1, paper=0.1),
        metric="accuracy",
        **part.settings,
    )


PROTOCOL = Protocol(
    describe,
    stand_in=lambda scale: candidates(patients=scale.pick(smoke=20, desk=300, paper=700), size=60),
    standing="computed nodules, and places beside them",
    classes=(NONE, NODULE),
)
