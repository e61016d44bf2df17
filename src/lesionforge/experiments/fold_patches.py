"""What a fold's training sets are made of: its training patients' patches, and generators that learn from them.

A *portion* of a fold is the same fold with fewer training patients: its generators and classifiers have never met the
others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from lesionforge import registry
from lesionforge.augment import recipes
from lesionforge.augment.recipe import Recipe
from lesionforge.data.exposure import patient_digest
from lesionforge.data.hounsfield import window_named
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.splits import Split, nested_fractions
from lesionforge.experiments.experiment import Experiment
from lesionforge.experiments.ingredients import Generation
from lesionforge.generators import checkpoint
from lesionforge.generators.training import train
from lesionforge.generators.watch import LEAST_PATCHES
from lesionforge.networks import derived_seed
from lesionforge.progress import Progress
from lesionforge.storage import safe_name
from lesionforge.synthesis.sample import sample

CHECKPOINT = "checkpoint"  # in a task's result: the generator or the classifier that it left
PLATE_PATCHES = 24


@dataclass(frozen=True, eq=False)
class FoldPatches:
    """The patches of a split under an experiment, and what its generators make of them."""

    experiment: Experiment
    patches: Patches
    split: Split
    given: Patches | None = None
    portion: float = 1.0  # of the training patients that the split holds
    results: Mapping[str, Path] = field(default_factory=dict)  # of the tasks that are done, by their names

    def of_portion(self, portion: float) -> Self:
        """Return this fold with a share of its training patients; the smaller shares are in the larger."""
        if portion == self.portion:
            return self
        assert self.portion == 1  # a share of a share would be another one
        if portion not in self._portions:
            (rows,) = nested_fractions(self.patches, self.split.train, fractions=[portion], seed=self.seed("portions"))
            split = replace(self.split, train=rows)
            self._portions[portion] = replace(self, split=split, portion=portion)
        return self._portions[portion]

    @cached_property
    def _portions(self) -> dict[float, Self]:
        return {}

    def generated(self, generation: Generation) -> list[tuple[str, ...]]:
        """The classes that each generator of this kind makes: one, or all that are wanted if they can be asked for."""
        wanted = self.classes_of(generation)
        return [self.patches.classes] if generation.method.conditional else [(label,) for label in wanted]

    def classes_of(self, generation: Generation) -> tuple[str, ...]:
        """The classes that any regime wants made by it."""
        experiment = self.experiment
        wanted: set[str] = set()
        for regime in experiment.regimes:
            if regime.synthetic_per_class and experiment.generator_of(regime) == generation:
                wanted |= set(regime.synthetic_classes or self.patches.classes)
        return tuple(label for label in self.patches.classes if label in wanted)

    @property
    def name(self) -> str:
        """Names this fold's files."""
        return fold_name(self.split.repeat, self.split.fold)

    @property
    def is_first(self) -> bool:
        """Whether this is the first fold of the first repeat."""
        return (self.split.repeat, self.split.fold) == (0, 0)

    @cached_property
    def source(self) -> Patches:
        """Training patches at the source's size: what lies around the crop fills the corners of rotated ones."""
        return self.patches.rows(self.split.train)

    @cached_property
    def source_of(self) -> dict[str, Patches]:
        """`source` by class."""
        return {label: self.source.with_label(label) for label in self.patches.classes}

    @cached_property
    def train(self) -> Patches:
        """Training patches, cropped."""
        return self.cropped(self.source)

    @cached_property
    def validation(self) -> Patches:
        """Patients who decide when fitting stops, cropped."""
        return self.cropped(self.patches.rows(self.split.validation))

    @cached_property
    def test(self) -> Patches:
        """Patients to be scored on, cropped."""
        return self.cropped(self.patches.rows(self.split.test))

    def cropped(self, patches: Patches) -> Patches:
        """Crop patches to the experiment's size along y and x; slices are all kept."""
        return patches.centre_crop((*patches.shape[:-2], self.experiment.size, self.experiment.size))

    def seed(self, *purpose: object) -> int:
        """Seed for one purpose in this fold."""
        return derived_seed(self.experiment.seed, self.split.repeat, self.split.fold, *purpose) % 2**31

    def augmented(self, source: Patches, count: int, purpose: str) -> Patches:
        """Classically augment ``source`` by the experiment's recipe; at most as many of each lesion as it has."""
        kind = registry.class_named(recipes, self.experiment.recipe, Recipe)  # type: ignore[type-abstract]
        recipe = kind(output_size=self.experiment.size)
        count = min(count, recipe.per_lesion * len(source))
        return recipe.augment(source, seed=self.seed("augment", purpose), count=count)

    def generator_name(self, generation: Generation, labels: tuple[str, ...]) -> str:
        """Name the task of training the generator of these classes."""
        of_portion = "" if self.portion == 1 else f"portion{self.portion:g}-"
        return f"{self.name}-{of_portion}generator-{safe_name(generation.name)}-{safe_name(', '.join(labels))}"

    def labels_with(self, generation: Generation, label: str) -> tuple[str, ...]:
        """The classes that the generator makes that makes this one."""
        (labels,) = (labels for labels in self.generated(generation) if label in labels)
        return labels

    def checkpoint_of(self, generation: Generation, label: str) -> Path:
        """Where the generator that makes this class is."""
        return self.results[self.generator_name(generation, self.labels_with(generation, label))] / CHECKPOINT

    def train_generator(self, generation: Generation, labels: tuple[str, ...], out: Path, progress: Progress) -> None:
        """Train the generator of these classes on this fold's training patients, or continue to."""
        train(
            generation.method,
            concatenate([part for label in labels for part in self._generator_parts(label, generation.patches)]),
            out,
            plan=generation.training.with_seed(self.seed("generator", *labels)),
            window=window_named(self.experiment.window, unit=self.patches.unit),
            validation=self.validation_of(labels),
            resume=True,
            progress=progress,
        )

    def _generator_parts(self, label: str, augmented: int) -> list[Patches]:
        """Return what a generator learns a class from: its lesions, and as many augmented ones for every class."""
        of_class = self.source_of[label]
        added = self.augmented(of_class, augmented, "generator")
        return [self.cropped(of_class), added]  # cropping is what the recipe did to the others

    def validation_of(self, labels: tuple[str, ...]) -> Patches | None:
        """Validation patches of these classes, on which their generator is chosen; None if too few of any for that."""
        of_classes = [self.validation.rows(self.validation.labels == label) for label in labels]
        enough = all(len(of_class) >= LEAST_PATCHES for of_class in of_classes)
        return concatenate(of_classes) if enough else None

    def samples(self, generation: Generation, label: str, count: int, *, purpose: str = "sample") -> Patches:
        """Sample a class; a smaller ``count`` gives the first rows of a larger one.

        A generator that is shown something is shown this fold's training lesions, classically augmented so that each
        sample has its own, as long as the recipe has so many.
        """
        opened, conditions = checkpoint.load(self.checkpoint_of(generation, label)), None
        if opened.method.pictured:
            conditions = self.augmented(self.source_of[label], count, "conditions")
        return sample(opened, count, seed=self.seed(purpose, label), label=label, conditions=conditions)

    def looked_at(self) -> Patches:
        """Test patches whose features are embedded, and as many samples in all as there are of these, if any."""
        rng = np.random.default_rng(self.seed("embedding"))
        chosen = np.sort(rng.permutation(len(self.test))[: self.experiment.embedded])
        parts = [self.test.rows(chosen)]
        for generation in self.experiment.generators_used[:1]:
            made_by, classes = self.making(generation), self.classes_of(generation)
            each = max(1, len(chosen) // len(classes))
            parts += [made_by.samples(generation, label, each, purpose="embedding") for label in classes]
        return concatenate(parts)

    def making(self, generation: Generation) -> Self:
        """Return this fold with the most training patients that a generator of this kind has."""
        return self.of_portion(self.experiment.portions_of(generation.name)[0])

    def plate(self, generation: Generation, label: str) -> Patches:
        """Some real training lesions of a class and some synthetic ones, under digests instead of patients' names."""
        real = self.train.with_label(label)
        chosen = np.random.default_rng(self.seed("plate")).permutation(len(real))[:PLATE_PATCHES]
        shown = real.rows(np.sort(chosen))
        digests = [patient_digest(patient) for patient in shown.patients]
        anonymous = Patches.of(shown.images, patient=digests, label=label, spacing_mm=shown.spacing_mm, unit=shown.unit)
        return concatenate([anonymous, self.samples(generation, label, PLATE_PATCHES)])


def fold_name(repeat: int, fold: int) -> str:
    """Name the files of a fold."""
    return f"repeat{repeat}-fold{fold}"
