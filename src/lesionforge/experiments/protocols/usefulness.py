"""`usefulness`: do synthetic lesions help this classifier, on this data?

Command   lesionforge experiment usefulness --data PATCHES --scale desk --out RUN
Cost      on 2 CPU cores: smoke about 4 minutes, desk about 1½ hours, paper days (made for a GPU)
Published M. Frid-Adar et al., Neurocomputing 321 (2018), section 4: liver lesions of three classes, 3 folds by
          patient; total accuracy 57 % raw, 78.6 % with classic augmentation, 85.7 % with DCGAN patches on top.

Raw patches, then classic augmentation, then classic augmentation and a DCGAN for each class and fold: the ladder of
paper D, with intervals, and with a verdict that the numbers support. ``--generator`` puts any other method in DCGAN's
place; a conditional one is trained on all classes of a fold at once.
"""

from dataclasses import fields, replace

from lesionforge import registry
from lesionforge.classifiers.methods.lesion_cnn import LesionCNN
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Contender, Generation, Regime
from lesionforge.generators import methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan

TITLE = "Do synthetic lesions help?"


def _ladder(generator: str, classic: int, synthetic_per_class: int) -> tuple[Regime, ...]:
    return (
        Regime("raw"),
        Regime("classic", classic=classic),
        Regime(f"classic+{generator}", classic=classic, synthetic_per_class=synthetic_per_class),
    )


def _published(generator: str) -> GenerativeMethod:
    return registry.class_named(methods, generator, GenerativeMethod)()  # type: ignore[type-abstract]


def _scaled(generator: str, *, narrowing: int, phase_images: int) -> GenerativeMethod:
    """Return a method with its generator so many times as narrow as published, and what else suits a short training.

    Its discriminator is half as wide, its batches are of 16, and if it grows, its phases are of ``phase_images``; a
    loss that waits until lesions look real waits for four of them.
    """
    method = _published(generator)
    divisors = {"generator_width": narrowing, "width": narrowing, "discriminator_width": 2}
    settings = {"batch_size": 16, "stable_images": phase_images, "fade_images": phase_images}
    settings["class_from_images"] = 4 * phase_images
    settings |= {name: getattr(method, name, 0) // divisor for name, divisor in divisors.items()}
    return replace(method, **{field.name: settings[field.name] for field in fields(method) if field.name in settings})


def smoke(window: str, generator: str = "dcgan") -> Experiment:
    """Minutes: narrow networks at 32×32 pixels. Shows that everything works, and how results look."""
    return Experiment(
        protocol="usefulness",
        title=TITLE,
        generators=(
            Generation(
                generator,
                _scaled(generator, narrowing=8, phase_images=2_500),
                TrainingPlan(images=24_000, checkpoint_every_images=4_000, grid_every_images=8_000),
                patches=2_000,
            ),
        ),
        classifiers=(
            Contender("small_cnn", SmallCNN(window=window, max_images=24_000, patience_images=12_000, batch_size=64)),
        ),
        regimes=_ladder(generator, classic=1_500, synthetic_per_class=500),
        size=32,
        window=window,
    )


def desk(window: str, generator: str = "dcgan") -> Experiment:
    """An hour on 2 cores: 64×64 pixels, a quarter of the published widths, small batches (more steps an image)."""
    return Experiment(
        protocol="usefulness",
        title=TITLE,
        generators=(
            Generation(
                generator,
                _scaled(generator, narrowing=4, phase_images=6_000),
                TrainingPlan(images=60_000),
                patches=4_000,
            ),
        ),
        classifiers=(Contender("small_cnn", SmallCNN(window=window, max_images=60_000, patience_images=20_000)),),
        regimes=_ladder(generator, classic=5_000, synthetic_per_class=1_000),
        window=window,
    )


def paper(window: str, generator: str = "dcgan") -> Experiment:
    """As published: full widths, 70 epochs of DCGAN, 150 of the lesion CNN, 5000 + 3×1000 patches a fold."""
    return Experiment(
        protocol="usefulness",
        title=TITLE,
        generators=(Generation(generator, _published(generator), patches=1_667),),  # a third of 5000
        classifiers=(Contender("lesion_cnn", LesionCNN(window=window)),),
        regimes=_ladder(generator, classic=5_000, synthetic_per_class=1_000),
        window=window,
    )


SCALES = {"smoke": smoke, "desk": desk, "paper": paper}
