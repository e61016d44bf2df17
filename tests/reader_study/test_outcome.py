"""Results: readers of known ability are found again, and what cannot be said is not said."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal, norm

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.evaluation.tables import read_table
from lesionforge.reader_study.given import Given
from lesionforge.reader_study.outcome import outcome, write_answers, write_outcome

CUTS = np.array([-0.8, 0.0, 0.8])
SHARED = 0.5  # of the variance that two readings of a lesion have in common


def reader_of(study, auc, *, seed):
    """A reader of normal certainty, apart for real and synthetic lesions; half of its variance is the lesions'."""
    distance = norm.ppf(auc) * np.sqrt(2)
    lesion = np.random.default_rng(99).normal(size=len(study.items))
    own = np.random.default_rng(seed)

    def answer(item):
        known = study.items[item]
        noise = np.sqrt(SHARED) * lesion[item] + np.sqrt(1 - SHARED) * own.normal()
        certainty = distance * (known.real - 0.5) + noise
        label = known.label if own.random() < 0.8 else next(name for name in study.classes if name != known.label)
        asked = label if study.design.ask_class else ""
        return Given(int(np.searchsorted(CUTS, certainty)), asked, active_ms=int(own.lognormal(8.5, 0.4)))

    return answer


@pytest.fixture
def read_by(make_study, make_ledger, read):
    """A study that readers of these abilities have read."""

    def made(*abilities, unfinished=0, **design):
        ledger = make_ledger(**design)
        for number, auc in enumerate(abilities):
            read(ledger, f"reader {number}", reader_of(ledger.study, auc, seed=number))
        if unfinished:
            _, person = ledger.redeem(ledger.invite("late"))
            for _ in range(unfinished):
                ledger.answer(person.reader, ledger.now(person.reader).slot, Given(1))
        return ledger

    return made


def true_levels(auc):
    """Probabilities of the four levels for synthetic and for real lesions, [2, 4]."""
    middle = norm.ppf(auc) * np.sqrt(2) * np.array([[-0.5], [0.5]])
    below = np.concatenate([np.zeros((2, 1)), norm.cdf(CUTS - middle), np.ones((2, 1))], axis=1)
    return np.diff(below, axis=1)


def true_kappa(auc):
    """Cohen's kappa of calling lesions real, of two such readers who share half of their noise."""
    rates = true_levels(auc)[:, 2:].sum(axis=1)
    agree = []
    for side in (-0.5, 0.5):
        distance = norm.ppf(auc) * np.sqrt(2) * side
        both = multivariate_normal([distance] * 2, [[1, SHARED], [SHARED, 1]])
        no = both.cdf([0, 0])
        agree.append(no + 1 - 2 * norm.cdf(-distance) + no)
    called = rates.mean()
    by_chance = called**2 + (1 - called) ** 2
    return (np.mean(agree) - by_chance) / (1 - by_chance)


def test_readers_of_known_ability_are_found_again(read_by):
    abilities = (0.62, 0.75, 0.85)
    ledger = read_by(*abilities, per_class=18, repeats=16, ask_class=True)
    tables = outcome(ledger).tables
    turing = tables["turing"].set_index(["reader", "metric"])
    aucs = []
    for number, auc in enumerate(abilities):
        levels = true_levels(auc)
        of_levels = sum(
            levels[1, high] * levels[0, low] * (1 if high > low else 0.5)
            for high in range(4)
            for low in range(high + 1)
        )
        aucs.append(of_levels)
        rates = levels[:, 2:].sum(axis=1)
        expected = {
            "auc": of_levels,
            "accuracy": (rates[1] + 1 - rates[0]) / 2,
            "true_positive_ratio": rates[1],
            "false_positive_ratio": rates[0],
        }
        for metric, value in expected.items():
            row = turing.loc[(f"reader {number}", metric)]
            assert row["low"] <= value <= row["high"], (number, metric)
    assert turing.loc[("average", "auc"), "low"] <= np.mean(aucs) <= turing.loc[("average", "auc"), "high"]
    classes = tables["classes"].set_index(["reader", "origin"]).loc[("reader 1", "all")]
    assert classes["low"] <= 0.8 <= classes["high"]
    assert set(tables["agreement"]["of"]) == {"rating", "called real", "the same, twice", "class"}


def test_the_kappa_of_like_readers_is_found_again(read_by):
    tables = outcome(read_by(0.75, 0.75, per_class=18)).tables
    rows = tables["agreement"].query("of == 'called real' and coefficient == 'cohen'")
    (row,) = rows.to_dict("records")
    assert row["low"] <= true_kappa(0.75) <= row["high"]
    assert (row["first"], row["second"]) == ("reader 0", "reader 1")


def test_practice_and_repeats_do_not_count_in_scores(read_by):
    ledger = read_by(0.8, per_class=6, training_per_class=2, repeats=4)
    found = outcome(ledger)
    assert found.tables["turing"]["items"].unique().tolist() == [24]
    assert len(found.tables["answers"]) == 24 + 8 + 4
    again = found.tables["agreement"].query("of == 'the same, twice'")
    assert set(again["second"]) == {"reader 0, again"}
    assert found.tables["times"]["items"].sum() == 24


def test_divided_batches_are_pooled_as_published(read_by):
    found = outcome(read_by(0.7, 0.7, per_class=10, batches=2, batches_each=1))
    pooled = found.tables["turing"][found.tables["turing"]["reader"] == "all answers"]
    assert pooled["items"].tolist() == [40] * 4
    assert "agreement" not in found.tables
    assert "judges" not in found.tables
    assert found.sentences[0].startswith("All readers together")


def test_readers_who_share_a_part_are_compared_on_it(read_by):
    found = outcome(read_by(0.7, 0.7, 0.7, per_class=12, batches=3, batches_each=2))
    agreement = found.tables["agreement"].query("of == 'called real' and coefficient == 'cohen'")
    assert len(agreement) == 3
    assert "average" not in set(found.tables["turing"]["reader"])


def test_a_classifier_is_held_against_the_readers(read_by):
    (row,) = outcome(read_by(0.6, 0.7, per_class=12)).tables["judges"].to_dict("records")
    assert row["taken_of"] == "texture"
    assert row["estimate"] > 0.9  # noise of another kind, as the sets are made
    assert row["difference"] < 0
    assert row["difference_low"] <= row["difference"] <= row["difference_high"]


def test_whoever_has_read_too_little_is_left_out_with_a_word(read_by):
    found = outcome(read_by(0.7, unfinished=1, per_class=6))
    assert set(found.tables["turing"]["reader"]) == {"reader 0"}
    assert "late has read too little and is left out." in found.warnings
    assert any("still open" in warning for warning in found.warnings)


def test_results_need_answers(make_ledger):
    ledger = make_ledger()
    with pytest.raises(LesionForgeError, match="nobody has given any"):
        outcome(ledger)
    _, person = ledger.redeem(ledger.invite("one"))
    ledger.answer(person.reader, ledger.now(person.reader).slot, Given(1))
    with pytest.raises(LesionForgeError, match="two patients of each origin"):
        outcome(ledger)


def test_the_page_shows_what_was_found(read_by, tmp_path):
    ledger = read_by(0.65, 0.75, per_class=8, repeats=6, ask_class=True, title="A <b>title</b>")
    ledger.close()
    page = write_outcome(ledger, tmp_path / "run", command="lesionforge reader-study results").read_text()
    for text in ("A &lt;b&gt;title", "Could readers tell?", "Beside a classifier", "Do they agree?", "Time", "closed"):
        assert text in page
    assert "Wang et al. 2022" in (tmp_path / "run" / "figures" / "readers.svg").read_text()
    assert "<script" not in page
    assert "still open" not in page
    published = read_table(tmp_path / "run" / "tables" / "published.csv")
    of_2020 = published[published["paper"].str.startswith("Wang et al. 2020")].groupby("metric")["estimate"].mean()
    averages = {"true_positive_ratio": 0.81, "false_positive_ratio": 0.60, "accuracy": 0.605}  # the table's last row
    assert of_2020.to_dict() == pytest.approx(averages)
    with pytest.raises(StorageError, match="must not exist yet"):
        write_outcome(ledger, tmp_path / "run")


def test_raw_answers_come_as_csv_and_json(make_ledger, read, tmp_path):
    ledger = make_ledger(ask_comment=True)
    read(ledger, "one", lambda item: Given(item % 4, comment='=HYPERLINK("x")' if item == 3 else f"ä, \n{item}"))
    write_answers(ledger, tmp_path / "answers.csv")
    write_answers(ledger, tmp_path / "answers.json")
    table = pd.read_csv(tmp_path / "answers.csv")
    rows = json.loads((tmp_path / "answers.json").read_text())
    assert len(table) == len(rows) == 16
    assert table["rating"].tolist() == [row["rating"] for row in rows]
    assert set(table["comment"]) >= {'\'=HYPERLINK("x")'}  # a spreadsheet must not run it
    assert {row["comment"] for row in rows} >= {'=HYPERLINK("x")', "ä, \n5"}
    assert {row["origin"] for row in rows} == {"real", "dcgan-0123456789abcdef"}
    with pytest.raises(StorageError, match=r"\.csv or \.json"):
        write_answers(ledger, tmp_path / "answers.xls")


def test_radiomics_judges_where_its_extra_is_installed(read_by):
    pytest.importorskip("radiomics", reason="needs the extra 'radiomics'")
    judged = outcome(read_by(0.6, 0.7, per_class=6), radiomics=True).tables["judges"]
    assert judged["taken_of"].tolist() == ["texture", "radiomics"]
    assert judged["estimate"].between(0, 1).all()


def test_names_are_words_and_nothing_else(make_ledger, read, tmp_path):
    names = ["<img src=x onerror=alert(1)>", "'; DROP TABLE answer; --", r"$\frac$ _x_ {{ 7*7 }}", "=1+1"]
    ledger = make_ledger(per_class=6)
    for number, name in enumerate(names):
        read(ledger, name, reader_of(ledger.study, 0.7, seed=number))
    page = write_outcome(ledger, tmp_path / "run").read_text()
    assert "<img src=x" not in page
    assert "&lt;img src=x" in page
    assert "{{ 7*7 }}" in page
    assert set(read_table(tmp_path / "run" / "tables" / "turing.csv")["reader"]) == {*names, "average"}
    assert len(ledger.answers()) == len(names) * 24
