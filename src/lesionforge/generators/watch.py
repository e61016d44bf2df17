"""Quality and memory of a generator, watched on patients whom it does not learn from.

While it trains, samples of the averaged generator, always from the same latent vectors, are held against *validation
patients*: their energy distance in texture features says how good they are, the same distance from the training
patches is the *floor* that a perfect generator would reach, and the nearest training images say whether it copies.
The best generator so measured is the one that is kept. That is a choice, and so a use of these patients: a checkpoint
says that it has seen them, and nothing that follows from it can be scored on them.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.distances.kernel import (
    LEAST_SAMPLES,
    Estimate,
    Whitened,
    kernel_distance,
    less_distance,
    weighted,
)
from lesionforge.distances.neighbours import copying, halved, nearest
from lesionforge.distances.texture import Texture
from lesionforge.errors import LesionForgeError
from lesionforge.generators.contract import Condition, Moment
from lesionforge.generators.real_batch import real_batch
from lesionforge.generators.state import TrainingState
from lesionforge.networks import seeded, torch_generator

# N samples, V validation patches, F features.

LEAST_PATCHES = LEAST_SAMPLES  # of each class, to be watched on

CRITERION = "least energy distance of texture features to validation patients"
SAMPLED_AT_ONCE = 64
MOST_DESCRIBED = 10_000  # training patches for the floor: more would not make it more exact than the validation set is
NEAREST_SHARE = 0.05  # of validation patches: a sample nearer to training than these counts as copied
SHIFT = 1  # of the halved images that are compared, so 2 pixels


@dataclass(frozen=True)
class Measurement:
    """What was found after so many images."""

    images_seen: int
    distance: float  # of samples from validation patches; lower is better, and may be below 0
    distance_se: float
    floor: float  # of training patches from validation patches
    floor_se: float
    nearest_ratio: float  # of samples' median distance to the nearest training image to validation patches'
    copied_share: float  # of samples; of fresh patients it would be about 0.05
    copying: bool  # the share is above the plan's limit


class Watch:
    """Measures a training now and then, and holds the weights of the best measurement."""

    def __init__(self, state: TrainingState, validation: Patches) -> None:
        check(state, validation)
        self.state, self.validation = state, validation
        self.measurements: list[Measurement] = []
        self.best_weights: dict[str, Tensor] = {}
        window = state.window
        self._texture = Texture(window.low, window.high)

    @property
    def best(self) -> Measurement:
        """The measurement of least distance; of equal ones the first."""
        return min(self.measurements, key=lambda measurement: measurement.distance)

    @property
    def verdict(self) -> str:
        """Why training should end; empty if it should go on."""
        if not self.measurements:
            return ""
        last, plan = self.measurements[-1], self.state.plan.watch
        if plan.stop_at_copying and last.copying:
            return f"{last.copied_share:.0%} of samples lie as near to a training image as copies would"
        if 0 < plan.patience_images <= last.images_seen - self.best.images_seen:
            return f"the distance to validation patients was least after {self.best.images_seen:,} images"
        return ""

    @property
    def choice(self) -> dict[str, object]:
        """Which generator is kept and why, as JSON for a checkpoint."""
        return {
            "criterion": CRITERION,
            **asdict(self.best),
            "measurements": len(self.measurements),
            "validation_patients": int(self.validation.patients.nunique()),
            "images_trained": self.state.images_seen,
            "stopped_early": self.verdict,
        }

    def measure(self) -> Measurement:
        """Look at the averaged generator as it is, and keep its weights if it is the best so far."""
        samples, plan = self._samples(), self.state.plan.watch
        distance = self._distance(samples, self._classes[self._conditions])
        near = nearest(halved(samples), self._halved_training, flips=True, shift=SHIFT)
        copied = copying(near.distance, self._held_out_distances, nearest_share=NEAREST_SHARE)
        found = Measurement(
            self.state.images_seen,
            distance.value,
            distance.standard_error,
            self._floor.value,
            self._floor.standard_error,
            copied.ratio,
            copied.share,
            copied.share > plan.copied_share,
        )
        self.measurements.append(found)
        if self.best is found:
            self.best_weights = {name: tensor.clone() for name, tensor in self.state.average.state_dict().items()}
        return found

    def restore(self, measurements: list[dict[str, float]], best_weights: Mapping[str, Tensor]) -> None:
        """Take up what an earlier run had found."""
        self.measurements = [Measurement(**found) for found in measurements]  # type: ignore[arg-type]
        self.best_weights = dict(best_weights)

    def table(self) -> pd.DataFrame:
        """Return a row for each measurement."""
        return pd.DataFrame([asdict(measurement) for measurement in self.measurements])

    @cached_property
    def _classes(self) -> NDArray[np.int64]:
        """Number of the class of each validation patch among those told apart, [V]; −1: none."""
        return _numbers(self.state, self.validation)

    @cached_property
    def _conditions(self) -> NDArray[np.intp]:
        """Which validation patch each sample is to be like, [N]: each class by its share, its patches in turn."""
        rows, order = [], np.random.default_rng(self.state.plan.seed).permutation(len(self._classes))
        for number in np.unique(self._classes):
            of_class = order[self._classes[order] == number]
            count = round(self.state.plan.watch.samples * len(of_class) / len(order))
            rows.append(np.resize(of_class, max(LEAST_SAMPLES, count)))
        return np.concatenate(rows)

    @torch.no_grad()
    def _samples(self) -> Array:
        """[N, *shape], in the unit of the window."""
        state, rows = self.state, self._conditions
        seed, parts = state.plan.seed, []
        latent = state.method.latent(len(rows), torch_generator(state.device, seed, "watch"))
        moment = Moment(state.images_seen, torch_generator(state.device, seed, "watch", "moment"))
        with seeded(seed, "watch"):
            for start in range(0, len(rows), SAMPLED_AT_ONCE):
                part = slice(start, start + SAMPLED_AT_ONCE)
                condition = _condition(state, self.validation, rows[part].tolist())
                made = state.method.synthesise(state.average, latent[part], condition, moment)
                parts.append(state.window.from_symmetric(made.squeeze(1).float().cpu().numpy()))
        return np.concatenate(parts)

    def _distance(self, images: Array, classes: NDArray[np.int64]) -> Estimate:
        """Distance of images to validation patches of their class; classes count by their share of these."""
        features = self._whitened(self._texture.describe(images))
        numbers, counts = np.unique(self._classes, return_counts=True)
        estimates = [
            kernel_distance(
                features[classes == number], self._validation_features[self._classes == number], kernel=less_distance
            )
            for number in numbers
        ]
        return weighted(estimates, counts)

    @cached_property
    def _described(self) -> NDArray[np.intp]:
        """Training patches that stand for all, sorted."""
        count = len(self.state.patches)
        rng = np.random.default_rng(self.state.plan.seed)
        return np.sort(rng.permutation(count)[:MOST_DESCRIBED])

    @cached_property
    def _whitened(self) -> Whitened:
        return Whitened.by(self._texture.describe(self.state.patches.images[self._described]))

    @cached_property
    def _validation_features(self) -> NDArray[np.float64]:
        return self._whitened(self._texture.describe(self.validation.images))

    @cached_property
    def _floor(self) -> Estimate:
        chosen = self._described
        classes = _numbers(self.state, self.state.patches)[chosen]
        return self._distance(self.state.patches.images[chosen], classes)

    @cached_property
    def _halved_training(self) -> NDArray[np.float32]:
        return halved(self._as_seen(self.state.patches))

    @cached_property
    def _held_out_distances(self) -> NDArray[np.float64]:
        held_out = halved(self._as_seen(self.validation))
        return nearest(held_out, self._halved_training, flips=True, shift=SHIFT).distance

    def _as_seen(self, patches: Patches) -> Array:
        return patches.images.clip(self.state.window.low, self.state.window.high)


def check(state: TrainingState, validation: Patches) -> None:
    """Look whether these patches can be watched on.

    Raises
    ------
    LeakError
        Training sees one of their patients, directly or through a generator.
    LesionForgeError
        They are synthetic, of another size or unit, too few of a class, or lack what the method is shown of them.
    """
    train = state.patches
    if validation.shape != train.shape or validation.unit != train.unit:
        raise LesionForgeError(
            f"training and validation patches must have one size and unit, but {train.shape} in {train.unit} and "
            f"{validation.shape} in {validation.unit} came: crop or resize them alike."
        )
    if validation.is_synthetic.any():
        raise LesionForgeError("validation needs real patches: synthetic ones cannot tell how good a generator is.")
    train.exposure.learnt.refuse(validation.exposure, doing="validation of a generator")
    if unknown := sorted(set(validation.labels.tolist()) - set(train.labels.tolist())):
        raise LesionForgeError(
            f"validation patches must be of the classes that training has ({', '.join(train.classes) or 'none'}), but "
            f"{', '.join(map(repr, unknown))} came: leave them out, for instance with --label."
        )
    for part, patches in (("validation", validation), ("training", train)):
        numbers = _numbers(state, patches)
        for number in range(len(state.labels)) if state.labels else (-1,):
            if (count := int((numbers == number).sum())) < LEAST_PATCHES:
                label = state.labels[number] if state.labels else "any class"
                raise LesionForgeError(
                    f"watching a generator needs {LEAST_PATCHES} {part} patches or more of each class, but {count} of "
                    f"{label} came: set more patients aside, or train without validation."
                )
    _condition(state, validation, [0])  # what a method is to be shown of them may be missing


def _condition(state: TrainingState, patches: Patches, rows: list[int]) -> Condition:
    labels = _numbers(state, patches)[rows]
    return real_batch(state.method, patches, rows, labels=labels, window=state.window, device=state.device)


def _numbers(state: TrainingState, patches: Patches) -> NDArray[np.int64]:
    return np.asarray(pd.Index(state.labels, dtype=object).get_indexer(pd.Index(patches.labels)), dtype=np.int64)
