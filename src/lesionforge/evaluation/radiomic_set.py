"""Radiomic features of thousands of lesions: on all cores, and each lesion measured once.

What was measured is kept under a digest of everything that it depends on (pixels, mask, spacing, settings, version of
pyradiomics), in files of some lesions each. So a run that was killed goes on, and a set of real lesions that several
synthetic sets are compared with is measured for the first alone.
"""

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.distances.radiomics import RadiomicSettings, check_installed, names, radiomic_features
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import FloatArray
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import to_json
from lesionforge.storage import digest, new_file
from lesionforge.workers import side_by_side

AT_ONCE = 32  # lesions of a task, and of a file

Keys = NDArray[np.str_]


def radiomics_of(
    patches: Patches,
    masks: Array,
    *,
    settings: RadiomicSettings | None = None,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress = SILENT,
) -> FloatArray:
    """Features of each patch's lesion, [N, 93] in the order of `names`; NaN where there is none that can be measured.

    Parameters
    ----------
    masks
        [N, *shape], the lesion's pixels.
    cache
        Folder that holds what was measured; made if it is missing. By default nothing is kept.

    Raises
    ------
    LesionForgeError
        pyradiomics is not installed.
    StorageError
        The disk refuses.
    """
    check_installed()
    settings = settings or RadiomicSettings()
    keys = np.array([_key(*each, settings) for each in zip(patches.images, masks, patches.spacing_mm, strict=True)])
    with tempfile.TemporaryDirectory() as alone:
        folder = Path(alone) if cache is None else cache
        known = _read(folder)
        _, first = np.unique(keys, return_index=True)
        todo = [row for row in np.sort(first) if keys[row] not in known]
        tasks = []
        for start in range(0, len(todo), AT_ONCE):
            rows = todo[start : start + AT_ONCE]
            lesions = [(patches.images[row], masks[row], tuple(patches.spacing_mm[row].tolist())) for row in rows]
            tasks.append(partial(_measure, folder, keys[rows], lesions, settings))
        done = len(keys) - len(todo)
        with progress.work("radiomics", len(keys), unit="lesions", done=done) as advance:
            left = iter([min(AT_ONCE, len(todo) - start) for start in range(0, len(todo), AT_ONCE)])
            with side_by_side(min(workers, len(tasks))) as pool:
                pool.do(tasks, progress=SILENT, after_each=lambda: advance(next(left)))
        known = _read(folder)
    return np.array([known[key] for key in keys]).reshape(len(keys), len(names()))


def _measure(
    folder: Path,
    keys: Keys,
    lesions: Sequence[tuple[Array, Array, tuple[float, ...]]],
    settings: RadiomicSettings,
    *,
    progress: Progress,
) -> None:
    """Measure some lesions into a file of their own."""
    del progress
    features = np.full((len(lesions), len(names())), np.nan)
    for row, (image, mask, spacing_mm) in enumerate(lesions):
        try:
            features[row] = radiomic_features(image, mask, spacing_mm, settings)
        except LesionForgeError:  # empty, a single pixel, a line: NaN says so, and the caller counts them
            continue
    with new_file(folder / f"{digest(keys.tolist())}.npz") as partial_file, partial_file.open("wb") as stream:
        np.savez(stream, keys=keys, features=features)


def _read(folder: Path) -> dict[str, FloatArray]:
    known: dict[str, FloatArray] = {}
    for file in sorted(folder.glob("[!.]*.npz")):
        try:
            with file.open("rb") as stream, np.load(stream, allow_pickle=False) as opened:
                known |= dict(zip(opened["keys"].tolist(), opened["features"], strict=True))
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile):  # damaged: measured once more
            continue
    return known


def _key(image: Array, mask: Array, spacing_mm: FloatArray, settings: RadiomicSettings) -> str:
    hashed = hashlib.blake2b(f"{image.shape}{to_json(settings)}{version('pyradiomics')}".encode(), digest_size=16)
    for array, kind in ((image, "<f8"), (mask, "u1"), (spacing_mm, "<f8")):
        hashed.update(np.ascontiguousarray(array, dtype=kind).data)
    return hashed.hexdigest()
