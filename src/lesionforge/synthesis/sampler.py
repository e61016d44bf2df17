"""What is drawn from a checkpoint, row by row.

Row k of a seed is the same however many are drawn, and whether they are kept in memory or on the disk: its latent
vector has random numbers of its own, and it is made at its own place in a whole batch. Every row says what it is: its
origin is the checkpoint's id, and the set carries all that the generator was trained on or shown, so that a classifier
which learns from these rows cannot be scored on those patients.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lesionforge import registry
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import as_stored
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.data.plausibility import MEASURES, PIXELS_AT_ONCE, measure
from lesionforge.errors import LesionForgeError
from lesionforge.generators.checkpoint import Checkpoint
from lesionforge.generators.contract import Condition, Moment
from lesionforge.generators.real_batch import real_batch
from lesionforge.networks import torch_generator

# n rows, Z latent size

MOST_REDRAWS = 100  # of one row

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Sampler:
    """A checkpoint, and how to draw from it.

    Parameters
    ----------
    label
        One of the classes that the checkpoint can be asked for. Left out, it is that of a checkpoint that makes one;
        one that can choose makes its classes in turn.
    conditions
        For a method that is shown a picture of each lesion: the patches whose pictures are to be fulfilled, in turn.
        Their exposure joins that of the samples, and their masks say where the synthetic lesions are.
    truncation
        ψ, from 0 to 1: latent vectors keep this share of their distance from their mean. Samples become more typical
        and less varied. (T. Karras, S. Laine, T. Aila, "A style-based generator architecture", CVPR 2019, section 2.2.)
    redraw
        Draw implausible rows anew, from further random numbers of the seed. Else they are kept, and say so.

    Raises
    ------
    LesionForgeError
        The checkpoint makes another class, has no use for conditions or truncation, or lacks fitting conditions.
    """

    checkpoint: Checkpoint
    seed: int = 0
    label: str | None = None
    conditions: Patches | None = None
    truncation: float = 1.0
    redraw: bool = False

    def __post_init__(self) -> None:
        subject, method = self.checkpoint.subject, self.checkpoint.method
        if self.label is not None and self.label not in (subject.labels or ("",)):
            raise LesionForgeError(
                f"this checkpoint makes {' or '.join(subject.labels) or 'unlabelled'} lesions, but {self.label!r} was "
                "asked for: train a generator on that class."
            )
        if not 0 <= self.truncation <= 1:
            raise LesionForgeError(f"truncation must be a number from 0 to 1, but {self.truncation} came.")
        if self.truncation < 1 and method.prior not in {"normal", "uniform"}:
            counts = "their direction alone" if method.prior == "sphere" else "what each number drops"
            raise LesionForgeError(
                f"truncation shortens latent vectors, but of those of {registry.name_of(method)} {counts} counts: "
                "leave it 1."
            )
        self._check_conditions()

    def _check_conditions(self) -> None:
        subject, name, given = self.checkpoint.subject, registry.name_of(self.checkpoint.method), self.conditions
        if not self.checkpoint.method.pictured:
            if given is not None:
                raise LesionForgeError(f"{name} is shown no pictures of lesions: leave the conditions out.")
            return
        if given is None or not len(given):
            raise LesionForgeError(
                f"{name} is shown a picture of each lesion that it makes: give patches of which it can be taken "
                "(--conditions)."
            )
        if given.shape != subject.shape or given.unit != subject.window.unit:
            asked, came = ("×".join(map(str, shape)) for shape in (subject.shape, given.shape))
            raise LesionForgeError(
                f"conditions must be like the generator's training patches, {asked} in {subject.window.unit}, but "
                f"{came} in {given.unit} came: crop or convert them first."
            )

    @property
    def batch_size(self) -> int:
        """Images that are made at once."""
        return self.checkpoint.method.batch_size_at(self.checkpoint.images_seen)

    @property
    def _device(self) -> torch.device:
        return next(self.checkpoint.generator.parameters()).device

    @cached_property
    def exposure(self) -> Exposure:
        """All that the generator was trained on, and the conditions."""
        trained_on = self.checkpoint.subject.exposure
        return trained_on if self.conditions is None else trained_on | self.conditions.exposure

    def parts(self, count: int) -> Iterator[Patches]:
        """Yield rows 0 to ``count`` − 1, some at a time: few enough for memory, whole batches but for the last.

        Raises
        ------
        LesionForgeError
            ``count`` is not positive, or (``redraw``) a row does not become plausible.
        """
        if count < 1:
            raise LesionForgeError(f"the number of samples must be 1 or more, but {count} came.")
        together = self.batch_size * max(1, PIXELS_AT_ONCE // prod(self.checkpoint.subject.shape) // self.batch_size)
        for start in range(0, count, together):
            yield self.part(np.arange(start, min(start + together, count)))

    def part(self, rows: Rows) -> Patches:
        """Draw these rows: whole batches, of which the last may be cut short.

        Raises
        ------
        LesionForgeError
            As of `parts`.
        """
        images = self.images(self.latent(rows), rows)
        facts = self.judged(images, rows)
        redraws = np.zeros(len(rows), np.int64)
        batch = rows // self.batch_size
        while self.redraw and (wrong := facts["implausible"] != "").any():
            if (redraw := int(redraws.max()) + 1) > MOST_REDRAWS:
                raise LesionForgeError(
                    f"every row must become plausible within {MOST_REDRAWS} draws more, but {int(wrong.sum())} of "
                    f"{len(rows)} did not (the first: {facts['implausible'][wrong][0]}): hardly anything that this "
                    "checkpoint makes is plausible. Train longer, or sample without redrawing and look."
                )
            # Whole batches again: at another place in a batch a row would differ in its last bits.
            again = np.flatnonzero(np.isin(batch, batch[wrong]))
            made = self.images(self.latent(rows[again], redraw), rows[again], redraw)
            images[wrong], redraws[wrong] = made[wrong[again]], redraw
            for name, values in self.judged(images[wrong], rows[wrong]).items():
                facts[name][wrong] = values
        return self.patches(images, rows, sample_number=rows, sample_redraw=redraws, **facts)

    def latent(self, rows: Rows, redraw: int = 0) -> Tensor:
        """Draw the latent vector of each row, [n, Z]; the so-many-th after the first."""
        further = ("redraw", redraw) if redraw else ()
        keys = [(self.seed, "sample", row, *further) for row in rows.tolist()]
        vectors = [self.checkpoint.method.latent(1, torch_generator(self._device, *key)) for key in keys]
        return self.truncation * torch.cat(vectors)  # the mean of every prior is 0

    @torch.no_grad()
    def images(self, latent: Tensor, rows: Rows, *key: object) -> Array:
        """Make an image of each latent vector [n, Z], of the class and under the condition of its row, [n, *shape].

        ``key`` tells apart the further random numbers of images that are made of the same rows.
        """
        # Always whole batches, the last one filled up: in a shorter one convolutions would sum in another order.
        size, subject = self.batch_size, self.checkpoint.subject
        made = []
        for start in range(0, len(rows), size):
            batch = np.arange(start, start + size).clip(max=len(rows) - 1)
            rng = torch_generator(self._device, self.seed, "sample batch", int(rows[start]), *key)
            images = self.checkpoint.method.synthesise(
                self.checkpoint.generator,
                latent[batch],
                self._condition(rows[batch]),
                Moment(self.checkpoint.images_seen, rng),
            )
            made.append(images.squeeze(1).cpu().numpy()[: len(rows) - start])
        intensities = subject.window.from_symmetric(np.concatenate(made))
        return as_stored(intensities) if subject.window.unit == "HU" else intensities

    def _condition(self, rows: Rows) -> Condition:
        classes = self._classes(rows)
        if self.conditions is None:
            return Condition(labels=torch.from_numpy(classes).to(self._device))
        fulfilled = real_batch(
            self.checkpoint.method,
            self.conditions,
            (rows % len(self.conditions)).tolist(),
            labels=classes,
            window=self.checkpoint.subject.window,
            device=self._device,
        )
        return Condition(labels=fulfilled.labels, masks=fulfilled.masks, picture=fulfilled.picture)

    def _classes(self, rows: Rows) -> Rows:
        """Number of the class of each row, among the checkpoint's."""
        labels = self.checkpoint.subject.labels
        return np.full_like(rows, labels.index(self.label)) if self.label else rows % max(1, len(labels))

    def judged(self, images: Array, rows: Rows) -> dict[str, NDArray[Any]]:
        """Columns of the table that say what was measured of each image, and by what it is implausible."""
        subject, classes = self.checkpoint.subject, self._classes(rows)
        facts: dict[str, NDArray[Any]] = {f"measured_{name}": np.empty(len(rows)) for name in MEASURES}
        facts["implausible"] = np.empty(len(rows), dtype=object)
        for number in np.unique(classes):
            of_class, ranges = classes == number, subject.ranges[number]
            measures = measure(images[of_class], brighter=ranges.brighter)
            facts["implausible"][of_class] = ranges.outside(measures, subject.window)
            for name, values in measures.items():
                facts[f"measured_{name}"][of_class] = values
        return facts

    def patches(self, images: Array, rows: Rows, **columns: Any) -> Patches:
        """Return synthetic patches that say what they are; row k is of the class and condition of ``rows[k]``."""
        subject, identity, shown = self.checkpoint.subject, self.checkpoint.id, self.conditions
        masks = None
        if shown is not None:
            fulfilled = rows % len(shown)
            masks = None if shown.masks is None else shown.masks[fulfilled]
            columns["condition_pixels"] = shown.table["source_pixels"].to_numpy()[fulfilled]
        labelled = Patches.of(
            images,
            patient=[f"synthetic:{identity}"] * len(rows),
            label=[(subject.labels or ("",))[number] for number in self._classes(rows)],
            spacing_mm=[np.nan if spacing is None else spacing for spacing in subject.spacing_mm],
            unit=subject.window.unit,
            sample_seed=self.seed,
            sample_truncation=self.truncation,
            **columns,
        )
        table = labelled.table.assign(origin=identity)
        return Patches(images, table, masks=masks, unit=labelled.unit, generators={identity: self.exposure})
