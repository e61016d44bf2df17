"""`usefulness`: do synthetic lesions help this classifier, on this data; which of them, how many, and what to expect?

Command   lesionforge experiment usefulness --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke a quarter of a minute, desk about 1½ hours, paper days (made for a GPU)
Published M. Frid-Adar et al., Neurocomputing 321 (2018), section 4: liver lesions of three classes, 3 folds by
          patient; total accuracy 57 % raw, 78.6 % with classic augmentation, 85.7 % with DCGAN patches on top.

The protocol that we recommend. Raw patches, then classic augmentation, then samples of generators of each fold on top:
the ladder of paper D, with intervals, and with a verdict that the numbers support. ``--generators``, ``--classifiers``
and ``--amounts`` put any others in place of a DCGAN, a small CNN and one amount; all are crossed. Nothing is chosen on
test patients: of several amounts, and at last of all that was fitted, each fold takes what its validation patients
choose, and is scored on patients whom neither has met. So the score of ``recommended`` is what to expect of following
the page's recommendation on data like these.
"""

from lesionforge import registry
from lesionforge.classifiers import methods
from lesionforge.classifiers.contract import Classifier
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.patches import Patches
from lesionforge.data.phantom import phantom_patches
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Contender, Generation, Published
from lesionforge.experiments.parts import CLASSIC, RAW, Part, ladder, one_of
from lesionforge.experiments.protocol import Asked, Protocol
from lesionforge.experiments.scale import SMOKE, Scale, narrowed
from lesionforge.experiments.stand_ins import DIFFICULTY
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan

TITLE = "Do synthetic lesions help?"
GENERATORS = ("dcgan",)


def _crossed(generators: tuple[str, ...], classifiers: tuple[str, ...], classic: int, amounts: tuple[int, ...]) -> Part:
    """Every classifier on every rung; the first classifier's rungs go by their names alone."""
    part = Part(())
    for classifier in ("", *classifiers[1:]):
        part += ladder(generators, classic=classic, amounts=amounts, classifier=classifier)
    return part


def _published(generator: str) -> tuple[Published, ...]:
    """Paper D's ladder, of other lesions, classes and networks."""
    rows = ((RAW, 0.57), (CLASSIC, 0.786), (f"{CLASSIC}+{generator}", 0.857))
    return tuple(
        Published("Frid-Adar 2018, Fig. 8", regime, regime, "accuracy", value, note="liver, 3 classes")
        for regime, value in rows
        if generator == GENERATORS[0] or regime in (RAW, CLASSIC)
    )


def describe(scale: Scale, asked: Asked) -> Experiment:
    """Describe the ladder."""
    generators = asked.generators or GENERATORS
    classifiers = asked.classifiers or scale.pick(smoke=("small_cnn",), desk=("small_cnn",), paper=("lesion_cnn",))
    amounts = asked.amounts or scale.pick(smoke=(24,), desk=(1_000,), paper=(1_000,))
    part = _crossed(generators, classifiers, scale.pick(smoke=90, desk=5_000, paper=5_000), amounts)
    part += one_of(part)
    patches = scale.pick(smoke=40, desk=4_000, paper=1_667)  # a third of 5000
    return Experiment(
        protocol="usefulness",
        title=TITLE,
        generators=tuple(scale.generation(name, patches=patches) for name in generators),
        classifiers=tuple(scale.contender(name, _classifier(name, asked.window)) for name in classifiers),
        published=_published(generators[0]) if len(amounts) == 1 else (),
        assessed=scale.pick(smoke=24, desk=256, paper=1_000),
        embedded=scale.pick(smoke=20, desk=0, paper=0),
        size=scale.pick(smoke=32, desk=64, paper=64),
        window=asked.window,
        folds=scale.pick(smoke=2, desk=3, paper=3),
        validation=scale.pick(smoke=0.4, desk=0.2, paper=0.2),
        **part.settings,
    )


def demo(window: str = "lung") -> Experiment:
    """Describe the demo: narrow networks at 32×32 pixels that have learnt enough for a verdict; minutes.

    Nothing is chosen, so that it can be had with few patients.
    """
    return Experiment(
        protocol="usefulness",
        title=TITLE,
        generators=(
            Generation(
                "dcgan",
                narrowed(DCGAN(), 8, phase_images=2_500),
                TrainingPlan(images=24_000, checkpoint_every_images=4_000, grid_every_images=8_000),
                patches=2_000,
            ),
        ),
        classifiers=(
            Contender("small_cnn", SmallCNN(window=window, max_images=24_000, patience_images=12_000, batch_size=64)),
        ),
        assessed=256,
        size=32,
        window=window,
        **_crossed(GENERATORS, ("small_cnn",), 1_500, (500,)).settings,
    )


def _classifier(name: str, window: str) -> Classifier:
    kind: type[Classifier] = registry.class_named(methods, name, Classifier)  # type: ignore[type-abstract]
    return kind(window=window)


def _stand_in(scale: Scale) -> Patches:
    shares = {"non-solid": 0.5, "solid": 0.5}
    return phantom_patches(
        "lung", patients=28 if scale == SMOKE else 120, size=80, difficulty=DIFFICULTY, shares=shares
    )


PROTOCOL = Protocol(describe, _stand_in, standing="computed non-solid and solid nodules", axes=0, open=True)
