"""`wang2022`: in-painted ground-glass nodules: can they be told from real ones, and do they help where data is scarce?

Command   lesionforge experiment wang2022 --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke half a minute, desk half an hour, paper weeks (made for GPUs)
Published Y. Wang et al. (2022): 340 ground-glass nodules of LIDC-IDRI in-painted by a GAN with two discriminators; 58
          of 93 radiomic features do not differ; a logistic regression on them tells with an AUC of 0.66, four readers
          with 0.68; Fig. 6: precision and recall of a ResNet over 10 % … 100 % of the data, with and without them.

Only ground-glass nodules are made, as many at every share of the data, by a generator that has met the patients of that
share alone. The radiomics are of samples beside the first fold's test patients (``assessments``, table 1 and Fig. 5);
the readers' 50 and 50 are laid out in ``RUN/reading``. Published are neither the size of the test set (here a fifth),
the number of synthetic nodules (here as many as there were real ones), nor the ResNet's depth or input. At paper scale
patches are 512×512: ``lesionforge ingest --cut lung_slice``.
"""

from lesionforge.classifiers.methods.resnet_cad import ResNetCAD
from lesionforge.data.patches import Patches
from lesionforge.data.splits import TEN_STEPS
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Published, Reading
from lesionforge.experiments.parts import over_portions, published
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.published_features import P_VALUES
from lesionforge.experiments.scale import Scale
from lesionforge.experiments.stand_ins import textures

GROUND_GLASS, OTHER = "ground-glass", "any other"  # in this order the first is the one that is looked for
REAL_GGNS = 340
ALIKE = 58  # features, as the text says
PUBLISHED = (
    Published("Radiomics", "features that do not differ", "d2srgan", "radiomics_alike_share", ALIKE / len(P_VALUES)),
    Published("Radiomics", "logistic regression on radiomics", "d2srgan", "radiomics_auc", 0.66),
    *(
        Published("Table 1", feature, "d2srgan", "radiomics_p_value", p_value) for feature, p_value in P_VALUES.items()
    ),
    Published("Radiomics", "logistic regression, accuracy", "", "radiomics_accuracy", 0.62),
    *published("Visual Turing test", ["reader_auc", "reader_accuracy", "reader_false_positive_ratio"], {
        ("four clinicians, pooled", ""): [0.68, 0.74, 0.37],
    }),
)  # fmt: skip


def describe(scale: Scale, asked: Asked) -> Experiment:
    """Describe Fig. 6: a learning curve with and one without in-painted nodules."""
    shares = scale.pick(smoke=(0.5, 1.0), desk=(0.25, 0.5, 1.0), paper=TEN_STEPS)
    per_class = scale.pick(smoke=16, desk=200, paper=REAL_GGNS)
    part = over_portions(shares, "d2srgan", synthetic_per_class=per_class, classes=(GROUND_GLASS,))
    cad = ResNetCAD(window=asked.window, width=scale.pick(smoke=4, desk=16, paper=64))
    return Experiment(
        protocol="wang2022",
        title="In-painted ground-glass nodules: realism, and use where patients are few",
        classifiers=(scale.contender("resnet_cad", cad, share=0.2),),
        generators=(scale.generation("d2srgan", patches=scale.pick(smoke=0, desk=400, paper=0), share=0.1),),
        published=PUBLISHED,
        reading=Reading("d2srgan", real=50, synthetic=50, classes=(GROUND_GLASS,)),
        assessed=scale.pick(smoke=24, desk=200, paper=REAL_GGNS),
        embedded=scale.pick(smoke=24, desk=200, paper=200),
        size=scale.pick(smoke=32, desk=64, paper=512),
        window=asked.window,
        folds=scale.pick(smoke=2, desk=3, paper=5),
        folds_run=scale.pick(smoke=0, desk=0, paper=1),
        validation=scale.pick(smoke=0.3, desk=0.2, paper=0.2),
        **part.settings,
    )


def _stand_in(scale: Scale) -> Patches:
    classes = {"ground-glass": GROUND_GLASS, "part-solid": OTHER, "solid": OTHER}
    size = scale.pick(smoke=48, desk=80, paper=512)
    return textures(classes, patients=scale.pick(smoke=32, desk=120, paper=216), size=size)


PROTOCOL = Protocol(
    describe,
    stand_in=_stand_in,
    standing="computed ground-glass nodules among part-solid and solid ones",
    classes=(OTHER, GROUND_GLASS),
)
