"""Ours beside published figures, in a run whose every number is known."""

import json

import numpy as np
import pytest

from lesionforge.evaluation.tables import fold_table_by_regime, read_table
from lesionforge.report.assessed import Assessed, assessed_table, read_assessed
from lesionforge.report.latex import write_latex
from lesionforge.report.page import write_report
from lesionforge.report.paper_tables import COLUMNS, paper_tables, shown_rows
from lesionforge.report.run_folder import FinishedRun

NONE = {"spread": None, "note": ""}
PUBLISHED = [
    {"table": "Table 1", "row": "raw", "regime": "raw", "metric": "accuracy", "value": 0.37, **NONE, "spread": 0.034},
    {"table": "Table 1", "row": "raw", "regime": "raw", "metric": "auc", "value": 0.6, **NONE},
    {"table": "Table 1", "row": "mean", "regime": "raw|classic", "metric": "auc", "value": 0.7, **NONE},
    {"table": "Table 1", "row": "absent", "regime": "vgg16: raw", "metric": "auc", "value": 0.7, **NONE},
    {"table": "Table 1", "row": "unheard of", "regime": "raw", "metric": "no score", "value": 0.7, **NONE},
    {"table": "Table 2", "row": "senior", "regime": "", "metric": "reader_accuracy", "value": 0.65, **NONE},
    {"table": "Radiomics", "row": "a", "regime": "d2srgan", "metric": "radiomics_alike_share", "value": 0.62, **NONE},
    {"table": "Radiomics", "row": "glcm_Id", "regime": "d2srgan", "metric": "radiomics_p_value", "value": 0.92, **NONE},
    {"table": "Radiomics", "row": "judge", "regime": "d2srgan", "metric": "radiomics_auc", "value": 0.66, **NONE},
    {"table": "Radiomics", "row": "other", "regime": "pix2pix", "metric": "radiomics_auc", "value": 0.66, **NONE},
]  # fmt: skip


@pytest.fixture
def finished(tmp_path, write_run):
    return write_run(tmp_path / "run", published=PUBLISHED)


@pytest.fixture
def radiomics(tmp_path):
    folder = tmp_path / "radiomics"
    (folder / "tables").mkdir(parents=True)
    (folder / "tables" / "auc.csv").write_text("judge,taken_of,estimate,low,high\nlogistic,radiomics,0.7,0.6,0.8\n")
    (folder / "tables" / "features.csv").write_text("feature,p_value\nglcm_Id,0.25\n")
    return Assessed(folder, "radiomics", "d2srgan", {"numbers": {"alike_p_value": 31, "features": 93}})


def test_ours_stand_beside_the_published_with_their_intervals(finished, radiomics):
    run = FinishedRun.read(finished)
    first, readers, features = paper_tables(run, {("radiomics", "d2srgan"): radiomics})
    assert [first.title, readers.title, features.title] == ["Table 1", "Table 2", "Radiomics"]
    assert first.table.columns.tolist() == COLUMNS
    scores = run.tables["scores"].set_index(["regime", "metric"])["estimate"]
    accuracy, auc, mean, absent, unheard = first.table.to_dict("records")
    assert (accuracy["ours"], auc["ours"]) == (scores["raw", "accuracy"], scores["raw", "auc"])
    assert accuracy["low"] < accuracy["ours"] < accuracy["high"]
    assert (accuracy["published"], accuracy["published_sd"]) == (0.37, 0.034)
    assert mean["ours"] == pytest.approx((scores["raw", "auc"] + scores["classic", "auc"]) / 2)
    assert absent["note"] == unheard["note"] == "not run at this scale"
    assert np.isnan([absent["ours"], mean["low"], readers.table["ours"][0]]).all()
    assert readers.table["note"].tolist() == ["needs readers"]
    assert features.table["ours"][0] == pytest.approx(1 / 3)
    assert features.table["ours"][1] == 0.25
    assert features.table.loc[2, ["ours", "low", "high"]].tolist() == [0.7, 0.6, 0.8]
    assert features.table["note"][3] == "could not be asked"


def test_behind_the_sign_stands_the_spread_over_repeats(finished):
    run = FinishedRun.read(finished)
    assert paper_tables(run, {})[0].table["sd"].isna().all()
    folds = fold_table_by_regime(run.regimes)
    again = folds.assign(repeat=1, value=folds["value"] - 0.1)
    folds = np.concatenate([folds, again])
    run.tables["fold_scores"] = type(again)(folds, columns=again.columns).infer_objects().astype({"value": float})
    assert paper_tables(run, {})[0].table["sd"][0] == pytest.approx(0.1 / np.sqrt(2))


def test_a_rows_name_stands_once_and_what_is_not_there_is_a_dash(finished):
    rows = list(shown_rows(paper_tables(FinishedRun.read(finished), {})[0].table))
    assert [row["row"] for row in rows] == ["raw", "", "mean", "absent", "unheard of"]
    assert rows[0]["published"] == "0.370 ± 0.034"
    assert rows[3]["ours"] == "–"
    assert rows[3]["interval"] == ""


def test_a_page_shows_them_before_our_own_and_leaves_csv_and_latex(finished):
    page = write_report(finished).read_text()
    assert page.index("Beside the paper") < page.index("<h2>Scores</h2>")
    assert "0.370 ± 0.034" in page
    table = read_table(finished / "tables" / "paper_table_1.csv")
    assert table["published"].tolist() == [0.37, 0.6, 0.7, 0.7, 0.7]
    latex = (finished / "tables" / "paper_table_1.tex").read_text()
    assert latex.count(r"\\") == 1 + len(table)
    assert r"\toprule" in latex
    assert (
        not (finished / "tables" / "predictions.tex").exists()
        or len(read_table(finished / "tables" / "predictions.csv")) <= 400
    )


def test_latex_escapes_names_and_leaves_long_tables_out(tmp_path, finished):
    table = read_table(finished / "tables" / "scores.csv").assign(regime="50 % & more_")
    assert write_latex(tmp_path, "scores", table)
    assert r"50 \% \& more\_" in (tmp_path / "scores.tex").read_text()
    assert not write_latex(tmp_path, "long", table.loc[table.index.repeat(50)])
    assert not (tmp_path / "long.tex").exists()


def test_what_could_not_be_asked_is_read_with_why(tmp_path):
    for generator in ("dcgan", "acgan"):
        folder = tmp_path / "assessments" / f"memorisation-{generator}"
        folder.mkdir(parents=True)
        (folder / "question.json").write_text(
            json.dumps({"kind": "memorisation", "generator": generator, "why": "too few."})
        )
    found = read_assessed(tmp_path)
    assert list(found) == [("memorisation", "acgan"), ("memorisation", "dcgan")]
    assert {(each.refused, each.name.partition("-")[0]) for each in found.values()} == {("too few.", "memorisation")}
    assert not any(each.sentences for each in found.values())
    table = assessed_table(found.values())
    assert table["refused"].tolist() == ["too few."] * 2
    assert table["value"].isna().all()


def test_numbers_of_assessments_are_one_table(radiomics):
    table = assessed_table([radiomics]).set_index("number")["value"]
    assert table.to_dict() == {"alike_p_value": 31, "features": 93}
