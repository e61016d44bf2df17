"""Three sizes of one experiment: what a protocol describes, smaller in what costs time and the same in all else.

`smoke` shows in seconds that everything works, `desk` is for an evening on two cores, `paper` is as published. What
becomes smaller is said here once, for every protocol: widths of networks, images shown, batches. A protocol says of
its own numbers what they are at each scale (`Scale.pick`).
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from lesionforge import registry
from lesionforge.classifiers.contract import Classifier
from lesionforge.experiments.ingredients import Contender, Generation
from lesionforge.generators import methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan

T = TypeVar("T")
G = TypeVar("G", bound=GenerativeMethod)
M = TypeVar("M", bound=GenerativeMethod | Classifier)


@dataclass(frozen=True)
class Scale:
    """How much smaller than published; 0 and 1 leave what is published."""

    name: Literal["smoke", "desk", "paper"]
    narrowing: int  # widths of generators are divided by it
    generator_images: int = 0  # shown to a generator
    phase_images: int = 0  # of each phase of one that grows
    classifier_images: int = 0  # shown to a classifier that is a network
    passes: int = 0  # over the training set, of an autoencoder

    def pick(self, *, smoke: T, desk: T, paper: T) -> T:
        """Return what holds at this scale."""
        return {"smoke": smoke, "desk": desk, "paper": paper}[self.name]

    def generation(self, name: str, *, patches: int = 0, share: float = 1.0, **settings: Any) -> Generation:
        """Return a generator at this scale, called by its method's name.

        ``share`` of the scale's images are shown; ``settings`` hold whatever the scale would make of them.
        """
        published = registry.class_named(methods, name, GenerativeMethod)()  # type: ignore[type-abstract]
        method = replace(self.method(published, share=share), **settings)
        if self.name == "paper":
            return Generation(name, method, patches=patches)
        images = round(share * self.generator_images)
        plan = TrainingPlan(
            images=images, checkpoint_every_images=max(images // 4, 1), grid_every_images=max(images // 2, 1)
        )
        return Generation(name, method, plan, patches)

    def method(self, method: G, *, share: float = 1.0) -> G:
        """Return a generative method at this scale."""
        if self.name == "paper":
            return method
        return narrowed(method, self.narrowing, phase_images=round(share * self.phase_images))

    def contender(self, name: str, method: Classifier, *, share: float = 1.0) -> Contender:
        """Return a classifier at this scale; ``share`` of the scale's images are shown at most."""
        if self.name == "paper":
            return Contender(name, method)
        images = round(share * self.classifier_images)
        smaller = {
            "max_images": images,
            "patience_images": images // 3,
            "check_every_images": max(images // 8, 1),
            "passes": self.passes,
        }
        return Contender(name, with_known(method, **smaller))


CRITIC_STEPS = 2  # in short trainings, for each of the generator

SMOKE = Scale("smoke", narrowing=32, generator_images=320, phase_images=40, classifier_images=400, passes=1)
DESK = Scale("desk", narrowing=4, generator_images=60_000, phase_images=6_000, classifier_images=60_000, passes=5)
PAPER = Scale("paper", narrowing=1)
SCALES = {scale.name: scale for scale in (SMOKE, DESK, PAPER)}


def narrowed(method: G, narrowing: int, *, phase_images: int) -> G:
    """Return a method with its generator so many times as narrow as published, and what else suits a short training.

    Its discriminator is half as wide (an eighth where the generator is narrower than an eighth), its batches are of 16,
    and if it grows, its phases are of ``phase_images``; a loss that waits until lesions look real waits for four of
    them. Where the critic takes several steps for one of the generator, it takes two, and both learn twice as fast:
    of some ten thousand images a generator that waits for five learns next to nothing.
    """
    critic = 2 if narrowing <= 8 else 8
    divisors = {"generator_width": narrowing, "width": narrowing, "discriminator_width": critic, "blocks": critic}
    thinner = {name: max(getattr(method, name, 0) // divisor, 1) for name, divisor in divisors.items()}
    phases = {"stable_images": phase_images, "fade_images": phase_images, "class_from_images": 4 * phase_images}
    smaller = with_known(method, batch_size=min(method.batch_size, 16), **thinner, **phases)
    if method.critic_steps <= CRITIC_STEPS:
        return smaller
    return with_known(smaller, critic_steps=CRITIC_STEPS, learning_rate=2 * getattr(method, "learning_rate", 0))


def with_known(method: M, **settings: Any) -> M:
    """Return a method with those of the settings that it has."""
    own = {field.name for field in fields(method)}
    return replace(method, **{name: value for name, value in settings.items() if name in own})
