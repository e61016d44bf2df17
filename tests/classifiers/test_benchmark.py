"""The table of all classifiers: every method is in it, and a killed run goes on."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionforge import registry
from lesionforge.classifiers import methods


@pytest.fixture
def benchmark(monkeypatch, small_patches):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    module = importlib.import_module("classifiers")
    patches = small_patches(patients=12, shape=(16, 16))
    monkeypatch.setattr(module, "TASKS", {"small": lambda _data: patches})
    module.TASKS["small"].__doc__ = "Small patches."
    yield module
    del sys.modules["classifiers"]


@pytest.fixture
def table(benchmark, tmp_path, monkeypatch, capsys):
    """Runs some rows, and returns the file and what was printed."""

    def run(*rows):
        out = tmp_path / "table.csv"
        given = ["--data", str(tmp_path), "--out", str(out), "--quiet", "--set", "max_images=16", "--rows", *rows]
        monkeypatch.setattr(sys, "argv", ["classifiers.py", *given])
        benchmark.main()
        return pd.read_csv(out), capsys.readouterr().out

    return run


def test_every_method_is_a_row_whose_settings_are_its_own(benchmark):
    assert {row.method for row in benchmark.ROWS.values()} == set(registry.names(methods))
    for row in benchmark.ROWS.values():
        method = row.made(list(row.reduced), "HU")
        assert registry.name_of(method) == row.method
        for override in row.reduced:
            name, _, value = override.partition("=")
            found = method
            for part in name.split("."):
                found = getattr(found, part)
            assert str(found) == value


def test_a_row_that_is_there_is_not_computed_again(benchmark, table, monkeypatch):
    before, _ = table("diameter_only", "small_cnn")
    monkeypatch.setattr(benchmark, "computed", pytest.fail)
    after, printed = table("diameter_only", "small_cnn")
    pd.testing.assert_frame_equal(after, before)
    assert before["row"].tolist() == ["diameter_only", "small_cnn"]
    assert before["folds"].tolist() == [3, 3]
    for row in before.to_dict("records"):
        assert f"| {row['row']} | {row['auc']:.3f} ({row['low']:.3f}–{row['high']:.3f}) |" in printed


def test_what_cannot_take_the_patches_is_listed(table):
    rows, printed = table("diameter_only", "densenet_3d")
    assert "3-D patches" in rows.set_index("row").loc["densenet_3d", "refused"]
    assert printed.strip().endswith("Refused: densenet_3d.")


@pytest.mark.parametrize("caliper_mm", [0.05, 0.5, 3])
def test_as_many_pairs_of_one_size_as_there_can_be(benchmark, small_patches, caliper_mm):
    patches = small_patches(patients=60, per_patient=1, shape=(4, 4))
    matched = benchmark.size_matched(patches, caliper_mm=caliper_mm)
    found, every = (
        [np.sort(each.table["diameter_mm"][each.labels == label]) for label in patches.classes]
        for each in (matched, patches)
    )
    assert (np.abs(found[0] - found[1]) <= caliper_mm).all()
    pairs, others = 0, list(every[1])
    for diameter in every[0]:  # from the smallest on, whoever is small enough: of intervals alike this pairs the most
        others = [other for other in others if other >= diameter - caliper_mm]
        if others and others[0] <= diameter + caliper_mm:
            pairs, others = pairs + 1, others[1:]
    assert len(found[0]) == pairs > 0
