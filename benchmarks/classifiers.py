"""Every classifier on every task, scored on patients it has not seen: AUC with interval, parameters, cost.

    python benchmarks/classifiers.py --data DATA --out classifiers.csv
    python benchmarks/classifiers.py --data DATA --out classifiers.csv --tasks non_solid --rows small_cnn --published

DATA is a folder that holds ``lidc_maxslice``, ``luna16_candidates`` and ``lidc_cubes51``. Each row is written to
``--out`` as it is done, and a row that is there is not computed again: a killed run goes on, and a finished one prints
its tables. A method that refused a task, or whose extra is not installed, has the reason in the file; take its line out
to try it again.

`ROWS` shortens what learns by gradient descent so that all of it takes about an hour of one core, not days: fewer
images shown in smaller batches, and the dearest are tested on one third of the patients instead of on all three. The
AUC of 200 training patches tells what that did: far below 1, a network was not trained long enough; near 1 with a poor
AUC beside it, it has learnt its patients by heart. ``--published`` leaves the shortening away, ``--set`` overrides a
setting of each method that has it. Times are processor seconds of one core, so other work on the machine is not
measured. A new task is a function in `TASKS`; a new method is a row by existing.
"""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lidc_cubes51 import MALIGNANCY, cubes
from lidc_cubes51 import NON_SOLID as NON_SOLID_CUBES
from lidc_maxslice import MALIGNANCY as MALIGNANCY_OF_TWO
from lidc_maxslice import MALIGNANCY_OF_MEDIUM_SIZE, NON_SOLID, size_matched
from luna16_candidates import CANDIDATES

from lesionforge import registry, settings
from lesionforge.classifiers import methods
from lesionforge.classifiers.contract import Classifier, FittedClassifier
from lesionforge.classifiers.network import FittedNetwork
from lesionforge.data.hounsfield import default_window
from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.data.splits import stratified_kfold
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import Predictions, concatenate
from lesionforge.evaluation.scores import measure
from lesionforge.evaluation.statistics import score_table
from lesionforge.evaluation.tables import read_table
from lesionforge.progress import SILENT, Progress, TerminalProgress
from lesionforge.storage import write_text

FOLDS, SEED = 3, 0
LOOKED_BACK_AT = 200  # training patches whose AUC is told


@dataclasses.dataclass(frozen=True)
class Row:
    """A method as the table has it: which of its kinds, and what makes it affordable."""

    method: str
    variant: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    folds: int = FOLDS  # of these, so many are tested on

    def made(self, overrides: list[str], unit: str) -> Classifier:
        """Make the classifier, with the overrides that it has a setting for."""
        plain = registry.class_named(methods, self.method, Classifier)()
        known = {field.name for field in dataclasses.fields(plain)}
        wanted = [each for each in overrides if each.partition("=")[0].partition(".")[0] in known]
        return settings.with_overrides(plain, [f"window={default_window(unit).name}", *self.variant, *wanted])


DRAWN = ("pretrained=none", "batch_size=16")
VIDEO = ("batch_size=8", "max_images=300", "learning_rate=0.01")
ROWS = {
    "diameter_only": Row("diameter_only"),
    "bovw_mi": Row("bovw_mi"),
    "bovw_mi:multi_binary": Row("bovw_mi", ("representation=multi_binary",)),
    "small_cnn": Row("small_cnn", reduced=("batch_size=32", "max_images=5000")),
    "lesion_cnn": Row("lesion_cnn", reduced=("batch_size=16", "max_images=4000"), folds=1),
    "calm_cnn": Row("calm_cnn", reduced=("batch_size=32", "max_images=4000")),
    "resnet_cad": Row("resnet_cad", reduced=("batch_size=16", "max_images=2000"), folds=1),
    "densenet_2d": Row("densenet_2d", reduced=("batch_size=16", "max_images=1200"), folds=1),
    "transfer:mobilenet": Row("transfer", ("backbone=mobilenet",), (*DRAWN, "max_images=2500"), folds=1),
    "transfer:resnet50": Row("transfer", ("backbone=resnet50",), (*DRAWN, "max_images=1000"), folds=1),
    "transfer:vgg16": Row("transfer", ("backbone=vgg16",), (*DRAWN, "max_images=400", "learning_rate=0.0001"), folds=1),
    "acgan_head": Row(
        "acgan_head", reduced=("max_images=2000", "gan.batch_size=50", "gan.generator_width=48"), folds=1
    ),
    "convolutional_autoencoder": Row("convolutional_autoencoder", reduced=("passes=5",), folds=1),
    "fully_connected_autoencoder": Row("fully_connected_autoencoder", reduced=("passes=5",), folds=1),
    "densenet_3d": Row("densenet_3d", reduced=("batch_size=8", "max_images=300")),
    "densesharp": Row("densesharp", reduced=("batch_size=8", "max_images=300")),
    "resnet_3d:resnet50": Row("resnet_3d", ("network=resnet50",), VIDEO),
    "resnet_3d:resnet101": Row("resnet_3d", ("network=resnet101",), VIDEO, folds=1),
    "resnet_3d:resnet152": Row("resnet_3d", ("network=resnet152",), VIDEO, folds=1),
    "resnet_3d:resnext101": Row("resnet_3d", ("network=resnext101",), VIDEO, folds=1),
}
ROWS |= {name: Row(name) for name in registry.names(methods) if name not in {row.method for row in ROWS.values()}}


def non_solid(data: Path) -> Patches:
    """Non-solid against solid nodules, 64×64."""
    return load_arrays(data / "lidc_maxslice", mapping=NON_SOLID).centre_crop(64)


def malignancy(data: Path) -> Patches:
    """Nodules of 7 to 15 mm that readers called benign or malignant, 64×64."""
    return load_arrays(data / "lidc_maxslice", mapping=MALIGNANCY_OF_MEDIUM_SIZE).centre_crop(64)


def malignancy_matched(data: Path) -> Patches:
    """As many nodules called rather malignant as rather benign, paired by diameter to half a millimetre, 64×64."""
    return size_matched(load_arrays(data / "lidc_maxslice", mapping=MALIGNANCY_OF_TWO)).centre_crop(64)


def candidates(data: Path) -> Patches:
    """Nodules and as many other candidates, 40×40, as in paper C."""
    every = load_arrays(data / "luna16_candidates", mapping=CANDIDATES).centre_crop(40)
    nodules, others = (np.flatnonzero(every.labels == label) for label in ("nodule", "other"))
    chosen = np.random.default_rng(SEED).choice(others, len(nodules), replace=False)
    return every.rows(np.sort(np.concatenate([nodules, chosen])))


def non_solid_3d(data: Path) -> Patches:
    """Nodules that one reader called non-solid or solid, 16×16×16 voxels of 2 mm."""
    return cubes(data / "lidc_cubes51", labels=NON_SOLID_CUBES, spacing_mm=(2, 2, 2)).centre_crop(16)


def malignancy_3d(data: Path) -> Patches:
    """Nodules that one reader called benign or malignant, 16×16×16 voxels of 2 mm."""
    return cubes(data / "lidc_cubes51", labels=MALIGNANCY, spacing_mm=(2, 2, 2)).centre_crop(16)


def malignancy_slices(data: Path) -> Patches:
    """The same on the middle three slices, 3×32×32 voxels of 1 mm as in paper A's table 3."""
    return cubes(data / "lidc_cubes51", labels=MALIGNANCY).centre_crop((3, 32, 32))


_EACH = (non_solid, malignancy_matched, malignancy, candidates, non_solid_3d, malignancy_3d, malignancy_slices)
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


def looked_back(fitted: FittedClassifier, train: Patches) -> float:
    """AUC of patches that were learnt from."""
    rows = np.random.default_rng(SEED).permutation(len(train))[:LOOKED_BACK_AT]
    seen = train.rows(np.sort(rows))
    probability = fitted.predict_proba(seen, already_seen=True)
    told = {"labels": seen.labels, "patients": seen.patients, "row": np.arange(len(seen)), "fold": 0}
    return float(measure(Predictions.of(fitted.facts.classes, probability=probability, **told))["auc"])


def computed(row: Row, method: Classifier, patches: Patches, progress: Progress) -> dict[str, Any]:
    """Fit on each fold's training patients, predict its test patients, and score."""
    cost, parts, seen, shown = Cost(), [], [], 0
    for train, test, told in list(folds(patches))[: row.folds]:
        start = time.process_time()
        fitted = method.fit(train, scored_on=test, seed=SEED, progress=progress)
        cost.fit_s += time.process_time() - start
        parts.append(predict(fitted, test, told, cost))
        seen.append(looked_back(fitted, train))
        if isinstance(fitted, FittedNetwork):
            shown = int(fitted.history["images_shown"].iloc[-1])
    return scored(concatenate(parts), cost) | {"training_auc": round(float(np.mean(seen)), 3), "images_shown": shown}


def scored(predictions: Predictions, cost: Cost) -> dict[str, Any]:
    """What a table says of predictions and what they took."""
    auc = score_table(predictions).set_index("metric").loc["auc"].round(3)
    return {
        "auc": auc["estimate"],
        "low": auc["low"],
        "high": auc["high"],
        "folds": cost.folds,
        "parameters": cost.parameters,
        "fit_s_per_fold": round(cost.fit_s / cost.folds, 1),
        "predicted_per_s": round(cost.predicted / max(cost.predict_s, 1e-9)),
    }


def tried(row: Row, method: Classifier, patches: Patches, progress: Progress) -> dict[str, Any]:
    """Score a method on a task, or say why it cannot be."""
    try:
        return computed(row, method, patches, progress)
    except LesionForgeError as error:
        return {"refused": str(error)}


def printed(rows: pd.DataFrame) -> None:
    """Print one task's table, and below it who was not in it."""
    print("| classifier | AUC (95 %) | of training patches | parameters | images shown | fit, s a fold | patches/s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    done = rows[rows["refused"].isna()] if "refused" in rows else rows
    for each in done.to_dict("records"):
        third = "" if each["folds"] == FOLDS else f"; {each['folds']:.0f} of {FOLDS} folds"
        shown = f"{each['images_shown']:.0f}" if each["images_shown"] else "—"
        print(
            f"| {each['row']} | {each['auc']:.3f} ({each['low']:.3f}–{each['high']:.3f}{third}) "
            f"| {each['training_auc']:.3f} | {each['parameters']:.0f} | {shown} "
            f"| {each['fit_s_per_fold']:.1f} | {each['predicted_per_s']:.0f} |"
        )
    if len(done) < len(rows):
        print(f"\nRefused: {', '.join(rows.drop(done.index)['row'])}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    parser.add_argument("--out", type=Path, required=True, help="CSV file that rows are added to, and taken from")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--published", action="store_true", help="settings as published, all folds")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--quiet", action="store_true", help="show no progress")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    progress = SILENT if arguments.quiet else TerminalProgress()
    table = read_table(arguments.out) if arguments.out.exists() else pd.DataFrame(columns=["task", "row", "settings"])
    for task in arguments.tasks:
        patches = TASKS[task](arguments.data)
        wanted = []
        for name in arguments.rows:
            row = dataclasses.replace(ROWS[name], reduced=(), folds=FOLDS) if arguments.published else ROWS[name]
            method = row.made([*row.reduced, *arguments.overrides], patches.unit)
            key = {"task": task, "row": name, "settings": json.dumps(settings.to_json(method), sort_keys=True)}
            if not (table[list(key)] == key).all(axis=1).any():
                found = key | tried(row, method, patches, progress.within(name))
                table = pd.concat([table, pd.DataFrame([found])], ignore_index=True)
                write_text(arguments.out, table.to_csv(index=False))
            wanted.append(table[(table[list(key)] == key).all(axis=1)].tail(1))
        classes = ", ".join(f"{label} {(patches.labels == label).sum()}" for label in patches.classes)
        print(f"\n{task}: {TASKS[task].__doc__} {classes}; {patches.patients.nunique()} patients.\n")
        printed(pd.concat(wanted))


if __name__ == "__main__":
    main()
