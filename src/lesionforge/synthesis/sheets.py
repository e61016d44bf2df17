"""Folders of synthetic patches with a picture of them inside, which says in its name, and within, what it shows."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lesionforge.data import patches_file
from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches, concatenate
from lesionforge.storage import write_text
from lesionforge.synthesis.neighbours import SHIFT_PX, between_patients, nearest, training_rows
from lesionforge.synthesis.sampler import Sampler

TILE_PIXELS = 128  # at least: a caption has to find room
PAIRS_ACROSS = 4


def save_sheet(
    patches: Patches, out: Path | str, *, name: str, window: Window, columns: int, captions: Sequence[str]
) -> Path:
    """Write synthetic patches to the folder ``out``, and in it a captioned sheet, ``synthetic_name.png``.

    Raises
    ------
    StorageError
        ``out`` exists, or the disk refuses.
    """
    with patches_file.writing(out) as writer:
        writer.add(patches)
        sheet = contact_sheet(patches.images, window, columns=columns, zoom=_zoom(patches), captions=captions)
        about = f"Synthetic: made by {' and '.join(patches.generators)}. No patient's image."
        save_png(writer.folder / f"synthetic_{name}.png", sheet, about=about)
    return Path(out)


def save_neighbours(
    sampler: Sampler, count: int, given: Patches, out: Path | str, *, shift_px: int = SHIFT_PX
) -> dict[str, float | None]:
    """Draw samples, find the nearest training patch to each, and write them to the folder ``out``.

    The folder holds the samples as patches; ``neighbours.csv``, the table of `nearest` for each sample, with the row of
    its neighbour among ``given`` and no patients; and ``synthetic_beside_real.png``, each sample with its neighbour on
    its right, turned over to lie as it does.

    Returns
    -------
    Numbers of samples, of training patches among the given ones, and of training images that are missing there; the
    least and the median distance of a sample to its neighbour; and the median distance of as many training patches to
    the nearest of another patient (None where there is one patient alone), all in the patches' unit.

    Raises
    ------
    LesionForgeError
        None of ``given`` was trained on, or they are of another size.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    subject = sampler.checkpoint.subject
    with patches_file.writing(out) as writer:
        rows = training_rows(given, subject.exposure)
        training, samples = given.rows(rows), concatenate(list(sampler.parts(count)))
        found = nearest(samples.images, training.images, window=subject.window, shift_px=shift_px)
        apart = between_patients(training, count, window=subject.window, shift_px=shift_px)
        writer.add(samples)
        write_text(writer.folder / "neighbours.csv", found.assign(row=rows[found["row"]]).to_csv(index_label="sample"))
        sheet = _pairs(samples, training, found, subject.window)
        about = f"Synthetic patches made by {sampler.checkpoint.id}, each with the nearest real patch on its right."
        save_png(writer.folder / "synthetic_beside_real.png", sheet, about=about)
    return {
        "samples": count,
        "training_patches": len(training),
        "training_images_missing": len(subject.exposure.pixels - set(training.table["source_pixels"])),
        "least_distance": float(found["distance"].min()),
        "median_distance": float(found["distance"].median()),
        "median_distance_between_patients": None if apart is None else float(apart["distance"].median()),
    }


def _pairs(samples: Patches, training: Patches, found: pd.DataFrame, window: Window) -> NDArray[np.uint8]:
    flips = [tuple(map(samples.axes.index, flipped)) for flipped in found["flipped"]]
    neighbours = [np.flip(training.images[row], flip) for row, flip in zip(found["row"], flips, strict=True)]
    pairs = np.stack([samples.images, np.stack(neighbours)], axis=1).reshape(-1, *samples.shape)
    captions = [
        caption
        for number, distance in zip(samples.table["sample_number"], found["distance"], strict=True)
        for caption in (f"synthetic {number}", f"real: {distance:.0f} {samples.unit}")
    ]
    return contact_sheet(pairs, window, columns=2 * PAIRS_ACROSS, zoom=_zoom(samples), captions=captions)


def _zoom(patches: Patches) -> int:
    return math.ceil(TILE_PIXELS / patches.shape[-1])
