import json

import pandas as pd
import pytest

from lesionforge.errors import StorageError
from lesionforge.report.run_folder import COLUMNS, FinishedRun


def test_a_run_is_read_whole(run):
    finished = FinishedRun.read(run)
    assert list(finished.regimes) == ["raw", "classic", "classic+dcgan"]
    assert finished.tables.keys() == COLUMNS.keys()
    assert {name: len(patches) for name, patches in finished.plates.items()} == {"class_0": 10, "class_1": 10}


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_table_is_named(run, name):
    (run / "tables" / f"{name}.csv").unlink()
    with pytest.raises(StorageError, match=rf"{name}\.csv is missing"):
        FinishedRun.read(run)


def test_a_table_of_other_columns_is_refused(run):
    pd.DataFrame({"regime": ["raw"]}).to_csv(run / "tables" / "scores.csv", index=False)
    with pytest.raises(StorageError, match="lacks metric, estimate, low, high"):
        FinishedRun.read(run)


@pytest.mark.parametrize(("file", "fact"), [("config.json", "metric"), ("provenance.json", "device")])
def test_a_missing_fact_is_named(run, file, fact):
    facts = json.loads((run / file).read_text())
    del facts[fact]
    (run / file).write_text(json.dumps(facts))
    with pytest.raises(StorageError, match=f"lacks {fact}"):
        FinishedRun.read(run)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(StorageError, match="not a finished run"):
        FinishedRun.read(tmp_path)
