"""Every classifier on every task, cross-validated by patient: AUC with interval, parameters, cost.

    python benchmarks/classifiers.py --data DATA --tasks non_solid --methods diameter_only gabor haralick
    python benchmarks/classifiers.py --data DATA --set max_images=20000 --out classifiers.json

DATA is a folder that holds ``lidc_maxslice``, ``luna16_candidates`` and ``lidc_cubes51``. Without names all tasks and
all methods of the registry are run; a method that cannot take a task's patches, or whose extra is not installed, is
listed with the reason. A ``--set`` is given to each method that has such a setting. Times are processor seconds of one
core, so other work on the machine is not measured. A new task is a function in `TASKS`.
"""

import argparse
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import lidc_cubes51
import numpy as np
import torch
from lidc_maxslice import MALIGNANCY_SIZE_MATCHED, NON_SOLID
from luna16_candidates import CANDIDATES

from lesionforge import registry, settings
from lesionforge.classifiers import methods
from lesionforge.classifiers.contract import Classifier, FittedClassifier
from lesionforge.data.hounsfield import default_window
from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import stratified_kfold
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.evaluation.statistics import score_table
from lesionforge.progress import SILENT, Progress, TerminalProgress
from lesionforge.storage import write_json

FOLDS, SEED = 3, 0


def non_solid(data: Path) -> Patches:
    """Non-solid against solid nodules, 64×64."""
    return load_arrays(data / "lidc_maxslice", mapping=NON_SOLID).centre_crop(64)


def malignancy(data: Path) -> Patches:
    """Nodules of 7 to 15 mm that readers called benign or malignant, 64×64."""
    return load_arrays(data / "lidc_maxslice", mapping=MALIGNANCY_SIZE_MATCHED).centre_crop(64)


def candidates(data: Path) -> Patches:
    """Nodules and as many other candidates, 40×40, as in paper C."""
    every = load_arrays(data / "luna16_candidates", mapping=CANDIDATES).centre_crop(40)
    nodules, others = (np.flatnonzero(every.labels == label) for label in ("nodule", "other"))
    chosen = np.random.default_rng(SEED).choice(others, len(nodules), replace=False)
    return every.rows(np.sort(np.concatenate([nodules, chosen])))


def malignancy_3d(data: Path) -> Patches:
    """Nodules that one reader called benign or malignant, 32×32×32 at 1 mm."""
    return lidc_cubes51.malignancy(data / "lidc_cubes51", size=(32, 32, 32))


def malignancy_slices(data: Path) -> Patches:
    """The same on the middle three slices, 3×32×32 as in paper A's table 3."""
    return lidc_cubes51.malignancy(data / "lidc_cubes51", size=(3, 32, 32))


_EACH = (non_solid, malignancy, candidates, malignancy_3d, malignancy_slices)
TASKS: dict[str, Callable[[Path], Patches]] = {each.__name__: each for each in _EACH}


@dataclasses.dataclass
class Cost:
    """What fitting and predicting cost over all folds."""

    folds: int = 0
    fit_s: float = 0.0
    predict_s: float = 0.0
    predicted: int = 0
    parameters: int = 0


def folds(patches: Patches) -> Iterator[tuple[Patches, Patches, dict[str, Any]]]:
    """Yield training and test patches, and what `Predictions.of` is told of them."""
    for split in stratified_kfold(patches, folds=FOLDS, seed=SEED):
        test = patches.rows(split.test)
        told = {"labels": test.labels, "patients": test.patients, "row": split.test, "fold": split.fold}
        yield patches.rows(split.train), test, told


def predict(fitted: FittedClassifier, test: Patches, told: dict[str, Any], cost: Cost) -> Predictions:
    """Predict one fold, and note what it took."""
    start = time.process_time()
    probability = fitted.predict_proba(test)
    cost.predict_s += time.process_time() - start
    cost.predicted += len(test)
    cost.folds += 1
    cost.parameters = fitted.parameters
    return Predictions.of(fitted.facts.classes, probability=probability, **told)


def cross_validated(method: Classifier, patches: Patches, progress: Progress) -> tuple[Predictions, Cost]:
    """Fit on each fold's training patients and predict its test patients."""
    cost, parts = Cost(), []
    for train, test, told in folds(patches):
        start = time.process_time()
        fitted = method.fit(train, scored_on=test, seed=SEED, progress=progress)
        cost.fit_s += time.process_time() - start
        parts.append(predict(fitted, test, told, cost))
    return concatenate(parts), cost


def scored(predictions: Predictions, cost: Cost) -> dict[str, Any]:
    """One row of the table."""
    auc = score_table(predictions).set_index("metric").loc["auc"].round(3)
    return {
        "auc": auc["estimate"],
        "interval": [auc["low"], auc["high"]],
        "parameters": cost.parameters,
        "fit_s_per_fold": round(cost.fit_s / cost.folds, 1),
        "predicted_per_s": round(cost.predicted / max(cost.predict_s, 1e-9)),
    }


def made(name: str, overrides: list[str], unit: str) -> Classifier:
    """Make the classifier of that name, with the overrides that it has a setting for."""
    plain = registry.class_named(methods, name, Classifier)()
    known = {field.name for field in dataclasses.fields(plain)}
    wanted = [each for each in overrides if each.partition("=")[0].partition(".")[0] in known]
    return settings.with_overrides(plain, [f"window={default_window(unit).name}", *wanted])


def row(name: str, overrides: list[str], patches: Patches, progress: Progress) -> dict[str, Any]:
    """Score a method on a task, or say why it cannot be."""
    try:
        method = made(name, overrides, patches.unit)
        found = scored(*cross_validated(method, patches, progress.within(name)))
    except LesionForgeError as error:
        return {"refused": str(error)}
    return found | {"settings": settings.to_json(method)}


def printed(name: str, found: dict[str, Any]) -> str:
    if "refused" in found:
        return f"| {name} | — {found['refused'].partition(':')[0]} | | | |"
    low, high = found["interval"]
    auc = f"{found['auc']:.3f} ({low:.3f}–{high:.3f})"
    return f"| {name} | {auc} | {found['parameters']} | {found['fit_s_per_fold']} | {found['predicted_per_s']} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--methods", nargs="+", default=list(registry.names(methods)))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="write the numbers as JSON")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    progress = SILENT if arguments.quiet else TerminalProgress()
    results: dict[str, dict[str, Any]] = {}
    for task in arguments.tasks:
        patches = TASKS[task](arguments.data)
        classes = ", ".join(f"{label} {(patches.labels == label).sum()}" for label in patches.classes)
        print(f"\n{task}: {TASKS[task].__doc__} {classes}; {patches.patients.nunique()} patients, {FOLDS} folds.\n")
        print("| classifier | AUC (95 %) | parameters | fit, s a fold | patches/s |\n|---|---:|---:|---:|---:|")
        results[task] = {}
        for name in arguments.methods:
            results[task][name] = row(name, arguments.overrides, patches, progress)
            print(printed(name, results[task][name]), flush=True)
    if arguments.out:
        write_json(arguments.out, {"folds": FOLDS, "seed": SEED, "results": results})


if __name__ == "__main__":
    main()
