"""What calibration and refusal do for a model in use: the figures of ``docs/classifiers.md``, over all folds.

    python benchmarks/use.py --data DATA --out runs/use

DATA is a folder that holds ``lidc_maxslice``, ``luna16_candidates`` and ``abdomen_ct``. Each method learns to tell
non-solid from solid nodules, 48×48 pixels, in a cross-validation by patient; validation patients decide how
probabilities are calibrated and what is refused, as in `lesionforge classify`. Two tables come of it, each also as a
CSV file in the folder ``--out``:

- errors of the probabilities of held-out patients, before calibration and after each kind of it, and the difference
  with its interval over patients;
- the share of patches that is refused: of held-out patients (2 % are meant to be, in each of three descriptions), and
  of patches that the model knows nothing about. Each is shown to all folds' classifiers; intervals are over patients
  where there are any and over patches elsewhere, and say nothing about another scanner's abdomens or other noise.

A new kind of foreign patches is a function in `FOREIGN`.
"""

import argparse
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import torch
from lidc_maxslice import NON_SOLID
from luna16_candidates import CANDIDATES

from lesionforge.classifiers.calibration import CalibrationKind, calibrate
from lesionforge.classifiers.contract import Classifier, FittedClassifier
from lesionforge.classifiers.methods.haralick import Haralick
from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.hounsfield import AIR_HU, WATER_HU, WINDOWS
from lesionforge.data.open_scan import open_scan
from lesionforge.data.patch_at import patch_at
from lesionforge.data.patches import Patches
from lesionforge.data.patches import concatenate as joined
from lesionforge.data.phantom import phantom_patches
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import stratified_kfold
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.evaluation.proportions import share
from lesionforge.evaluation.statistics import compare
from lesionforge.progress import SILENT, TerminalProgress
from lesionforge.storage import write_text

FOLDS, VALIDATION, SEED, SIDE, FOREIGN_PATCHES = 5, 0.25, 0, 48, 200
KINDS = [kind for kind in get_args(CalibrationKind) if kind != "none"]
METRICS = ("brier_error", "calibration_error")
LUNG = WINDOWS["lung"]
METHODS: dict[str, Classifier] = {
    "small_cnn": SmallCNN(batch_size=32, max_images=4000),
    "haralick": Haralick(),
}
HELD_OUT = "Nodules of held-out patients"

Foreign = Callable[[Path, Patches, np.random.Generator], Patches]


def unnamed(images: np.ndarray) -> Patches:
    """Patches of nobody, each on its own."""
    return Patches.of(images.astype(np.float32), patient=[f"patch {number}" for number in range(len(images))])


def candidates(data: Path, _nodules: Patches, rng: np.random.Generator) -> Patches:
    """LUNA16 candidates that are no nodules, 8-bit pictures brought back to HU"""
    every = load_arrays(data / "luna16_candidates", mapping=CANDIDATES).centre_crop(SIDE)
    chosen = every.rows(np.sort(rng.choice(np.flatnonzero(every.labels == "other"), FOREIGN_PATCHES, replace=False)))
    return unnamed(LUNG.from_symmetric(WINDOWS["u8"].to_symmetric(chosen.images)))


def computed_nodules(_data: Path, _nodules: Patches, _rng: np.random.Generator) -> Patches:
    """Nodules of the computed chest"""
    return phantom_patches("lung", patients=60, seed=SEED, size=SIDE)


def computed_livers(_data: Path, _nodules: Patches, _rng: np.random.Generator) -> Patches:
    """Lesions of the computed liver"""
    found = phantom_patches("liver", patients=60, seed=SEED, size=SIDE)
    return found.with_images(found.images, found.masks, spacing_mm=np.nan)


def abdomens(data: Path, nodules: Patches, rng: np.random.Generator) -> Patches:
    """An abdomen, anywhere in the body"""
    scan = open_scan(data / "abdomen_ct" / "example_ct_dicom")
    body = np.argwhere(np.asarray(scan.voxels) > (AIR_HU + WATER_HU) / 2)
    spacing = [(axis.min(), axis.max()) for axis in nodules.spacing_mm.T]
    points = scan.geometry.to_world(body[rng.choice(len(body), FOREIGN_PATCHES, replace=False)])
    found = [patch_at(scan, tuple(point), shape=nodules.shape, spacing_mm=spacing) for point in points.tolist()]
    return unnamed(joined(found).images)


def shuffled(_data: Path, nodules: Patches, rng: np.random.Generator) -> Patches:
    """Nodules with their pixels shuffled"""
    some = nodules.images[:FOREIGN_PATCHES].reshape(FOREIGN_PATCHES, -1)
    return unnamed(rng.permuted(some, axis=1).reshape(-1, *nodules.shape))


def noise(_data: Path, nodules: Patches, rng: np.random.Generator) -> Patches:
    """Noise, uniform over the window"""
    return unnamed(rng.uniform(LUNG.low, LUNG.high, (FOREIGN_PATCHES, *nodules.shape)))


def air(_data: Path, nodules: Patches, rng: np.random.Generator) -> Patches:
    """Air, with noise of 20 HU"""
    return unnamed(rng.normal(AIR_HU, 20, (FOREIGN_PATCHES, *nodules.shape)))


def stored_values(_data: Path, nodules: Patches, _rng: np.random.Generator) -> Patches:
    """Nodules as stored values that nobody rescaled to HU"""
    return unnamed(nodules.images[:FOREIGN_PATCHES] + 1024.0)


def eight_bit(_data: Path, nodules: Patches, _rng: np.random.Generator) -> Patches:
    """Nodules as 8-bit pictures taken for HU"""
    return unnamed(WINDOWS["u8"].from_symmetric(LUNG.to_symmetric(nodules.images[:FOREIGN_PATCHES])))


_EACH = (candidates, computed_nodules, computed_livers, abdomens, shuffled, noise, air, stored_values, eight_bit)
FOREIGN: dict[str, Foreign] = {str(each.__doc__): each for each in _EACH}


def said(fitted: FittedClassifier, test: Patches, told: dict[str, Any]) -> Predictions:
    return Predictions.of(fitted.facts.classes, probability=fitted.predict_proba(test), **told)


def in_use(
    method: Classifier, nodules: Patches, foreign: dict[str, Patches], progress: Any
) -> tuple[dict[str, Predictions], pd.DataFrame]:
    """Predictions of held-out patients by kind of calibration, and a row a patch that was refused or was not."""
    parts: dict[str, list[Predictions]] = defaultdict(list)
    looked = []
    for split in stratified_kfold(nodules, folds=FOLDS, seed=SEED, validation=VALIDATION):
        train, validation, test = (nodules.rows(rows) for rows in (split.train, split.validation, split.test))
        told = {"labels": test.labels, "patients": test.patients, "row": split.test, "fold": split.fold}
        fitted = method.fit(train, validation=validation, scored_on=test, seed=SEED, progress=progress)
        parts["none"].append(said(fitted, test, told))
        uncalibrated, truth = fitted.predict_proba(validation, already_seen=True), fitted.facts.codes(validation)
        for kind in KINDS:
            fitted.calibration = calibrate(kind, uncalibrated, truth)
            parts[kind].append(said(fitted, test, told))
        for what, patches in {HELD_OUT: test, **foreign}.items():
            refused = fitted.strangeness(patches) > 1
            looked.append(pd.DataFrame({"shown": what, "patient": patches.patients, "refused": refused}))
    return {kind: concatenate(each) for kind, each in parts.items()}, pd.concat(looked)


def calibrated(by_kind: dict[str, Predictions]) -> pd.DataFrame:
    """Errors before and after each kind of calibration."""
    shown = ("metric", "baseline", "other", "difference", "low", "high")
    found = []
    for kind in KINDS:
        for metric in METRICS:
            comparison = compare(by_kind["none"], by_kind[kind], metric=metric)
            found.append({"calibration": kind} | {key: getattr(comparison, key) for key in shown})
    return pd.DataFrame(found)


def refused(looked: pd.DataFrame) -> pd.DataFrame:
    """Share of what was shown that was refused."""
    rows = []
    for what, shown in looked.groupby("shown", sort=False):
        found = share(shown["refused"], patients=shown["patient"])
        rows.append({"shown": what, "share": found.value, "low": found.low, "high": found.high})
    return pd.DataFrame(rows)


def markdown(table: pd.DataFrame) -> str:
    """Lay a table out, numbers with three decimals."""
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row] for row in table.to_numpy()]
    rows = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    progress = SILENT if arguments.quiet else TerminalProgress()
    nodules = load_arrays(arguments.data / "lidc_maxslice", mapping=NON_SOLID).centre_crop(SIDE)
    foreign = {what: make(arguments.data, nodules, np.random.default_rng(SEED)) for what, make in FOREIGN.items()}
    for name in arguments.methods:
        by_kind, looked = in_use(METHODS[name], nodules, foreign, progress)
        for what, table in (("calibration", calibrated(by_kind)), ("refusal", refused(looked))):
            write_text(arguments.out / f"{name}-{what}.csv", table.to_csv(index=False))
            print(f"\n{name}, {FOLDS} folds: {what}\n\n{markdown(table)}", flush=True)


if __name__ == "__main__":
    main()
