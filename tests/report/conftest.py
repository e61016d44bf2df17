"""A finished run that no experiment wrote: every file of the contract, with numbers that are known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lesionforge.data import patches_file
from lesionforge.data.exposure import Exposure
from lesionforge.data.patches import Patches
from lesionforge.evaluation import tables
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.statistics import comparison_table
from lesionforge.storage import write_json

REGIMES = ("raw", "classic", "classic+dcgan")

WriteRun = Callable[..., Path]


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    """Give a function that writes a finished run folder."""
    return _write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Give a finished run of two classes."""
    return _write_run(tmp_path / "run")


def _write_run(run: Path, *, classes: tuple[str, ...] = ("benign", "malignant"), **config: Any) -> Path:
    regimes = {name: _predictions(classes, separation=1 + 0.3 * n, seed=n) for n, name in enumerate(REGIMES)}
    _write_tables(run / "tables", regimes, classes)
    for number, label in enumerate(classes):
        patches_file.save(_plate(label), run / "plates" / f"class_{number}")
    write_json(run / "config.json", _config() | config)
    write_json(run / "provenance.json", _provenance(classes))
    return run


def _predictions(classes: tuple[str, ...], *, separation: float, seed: int) -> Predictions:
    rng = np.random.default_rng(seed)
    patient = np.repeat(np.arange(48), 2)
    truth = patient % len(classes)
    score = rng.normal(size=(len(truth), len(classes)))
    score[np.arange(len(truth)), truth] += separation
    probability = np.exp(score) / np.exp(score).sum(axis=1, keepdims=True)
    return Predictions.of(
        classes,
        labels=np.array(classes)[truth],
        probability=probability,
        patients=[f"patient {number}" for number in patient],
        fold=patient // len(classes) % 3,
    )


def _write_tables(folder: Path, regimes: dict[str, Predictions], classes: tuple[str, ...]) -> None:
    written = {
        "predictions": tables.prediction_table_by_regime(regimes),
        "scores": tables.score_table_by_regime(regimes, resamples=200),
        "comparisons": comparison_table(
            regimes, pairs=[(name, "classic") for name in regimes if name != "classic"], resamples=200
        ),
        "confusion": tables.confusion_table_by_regime(regimes),
        "gan_training": _curves(
            "label", classes, "images_seen", ("generator_loss", "discriminator_loss", "d_real", "d_fake")
        ),
        "classifier_training": _curves("regime", REGIMES, "images_shown", ("train_loss", "validation_loss")),
    }
    folder.mkdir(parents=True)
    for name, table in written.items():
        table.to_csv(folder / f"{name}.csv", index=False)


def _curves(group: str, groups: tuple[str, ...], along: str, terms: tuple[str, ...]) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    step = np.arange(1, 31)
    parts = [
        pd.DataFrame(
            {"repeat": 0, "fold": fold, group: name, along: step, "term": term}
            | {"value": 1 / np.sqrt(step) + 0.05 * rng.normal(size=30) + 0.3 * number}
        )
        for fold in range(3)
        for name in groups
        for number, term in enumerate(terms)
    ]
    return pd.concat(parts)


def _plate(label: str) -> Patches:
    rng = np.random.default_rng(len(label))
    z, y, x = np.mgrid[-1:2, -16:16, -16:16]
    blobs = [-850 + 900 * np.exp(-(x**2 + y**2) / size**2) for size in rng.uniform(4, 10, size=10)]
    images = (np.stack(blobs) + rng.normal(scale=40, size=(10, *z.shape))).astype(np.int16)[:, 1]
    real = Patches.of(images, patient=[f"patient {number}" for number in range(10)], label=label)
    table = real.table
    table["origin"] = ["real"] * 6 + ["dcgan-1"] * 4
    return Patches(images, table, generators={"dcgan-1": Exposure.to(["patient 0"], [])})


def _config() -> dict[str, Any]:
    return {
        "protocol": "usefulness",
        "title": "Do synthetic lung nodules help a small CNN?",
        "classifiers": [
            {"name": "small_cnn", "method": {"method": "small_cnn", "dropout": 0.25, "class_weights": True}}
        ],
        "folds": 3,
        "repeats": 1,
        "seed": 0,
        "size": 64,
        "window": "lung",
        "metric": "auc",
    }


def _provenance(classes: tuple[str, ...]) -> dict[str, Any]:
    described = [
        {"label": label, "lesions": 48, "patients": 24, "median_diameter_mm": 9.5 + n}
        for n, label in enumerate(classes)
    ]
    counts = {"train_patients": 24, "validation_patients": 8, "test_patients": 16, "train_lesions": 48}
    return {
        "software": {"lesionforge": "0.1.0", "python": "3.11.2", "torch": "2.13.0"},
        "data": {
            "name": "phantom-lung",
            "digest": "3c9d1f0a7b52e681",
            "unit": "HU",
            "shape": [32, 32],
            "phantom": True,
            "classes": described,
        },
        "folds": [{"repeat": 0, "fold": fold, **counts} for fold in range(3)],
        "started": "2026-11-21T08:00:00+00:00",
        "seconds": 312.4,
        "seconds_by_stage": {"generators": 181.2, "classifiers": 120.9, "evaluation": 1.4},
        "device": "cpu",
        "command": "lesionforge experiment usefulness --out run",
        "warnings": ["fold 2: a generator collapsed and was trained again"],
    }
