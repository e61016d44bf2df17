import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser

import numpy as np
import pytest

from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.errors import StorageError
from lesionforge.evaluation.tables import read_table
from lesionforge.report.page import write_report

VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Collects what tests ask for, and fails on tags that do not nest."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.links, self.pictures, self.words = [], [], [], {}, []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.links += [attributes[name] for name in ("href", "src") if name in attributes]
        if tag == "img":
            self.pictures[attributes["alt"]] = attributes["src"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


def change_json(path, change):
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))


@pytest.fixture(scope="module")
def reported(tmp_path_factory, write_run):
    """Give a run with its report, for tests that only read."""
    run = write_run(tmp_path_factory.mktemp("reported") / "run")
    write_report(run)
    return run


@pytest.fixture(scope="module")
def page(reported):
    return Page((reported / "report.html").read_text())


def test_page_needs_nothing_but_itself(page, reported):
    assert "script" not in page.tags
    for link in page.links:
        assert link.startswith(("data:image/", "tables/", "figures/"))
        assert link.startswith("data:") or (reported / link).is_file()
    style = (reported / "report.html").read_text().partition("</style>")[0]
    assert "@import" not in style
    assert "url(" not in style


def test_every_number_of_every_regime_is_on_the_page(page, reported):
    for row in read_table(reported / "tables" / "scores.csv").itertuples():
        assert f"{row.estimate:.3f} {row.low:.3f} to {row.high:.3f}" in page.text
    for sentence in read_table(reported / "tables" / "comparisons.csv")["sentence"]:
        assert sentence.partition(": ")[2] in page.text


def test_data_and_verdict_come_before_everything_else(page):
    places = [page.text.index(words) for words in ("Computed phantom, not patients", "◆ cannot tell", "Warnings")]
    places += [page.text.index(words) for words in ("Scores", "Phantom beside synthetic", "Provenance", "dropout")]
    assert places == sorted(places)


def test_real_data_is_not_called_a_phantom(run):
    change_json(run / "provenance.json", lambda value: value["data"].update(phantom=False))
    text = Page(write_report(run).read_text()).text
    assert "computed" not in text.lower()
    assert "Real beside synthetic" in text
    assert (run / "figures" / "real_class_0.png").exists()


def test_no_patient_reaches_the_page(page, reported):
    text = (reported / "report.html").read_text()
    predictions = read_table(reported / "tables" / "predictions.csv")
    assert not any(digest in text for digest in predictions["patient"])
    assert not re.search(r"patient \d", page.text)


def test_plates_say_what_is_real_in_name_and_words(page, reported):
    files = {file.name for file in (reported / "figures").glob("*.png")}
    assert files == {f"{kind}_class_{n}.png" for kind in ("phantom", "synthetic") for n in range(2)}
    for kind, count in (("PHANTOM", 6), ("SYNTHETIC", 4)):
        for label in ("benign", "malignant"):
            assert f"{kind}: {count} {kind.lower()} patches of {label}, lung window." in page.pictures
    assert len(set(page.pictures.values())) == len(page.pictures) == 9


def test_a_volume_is_shown_by_its_middle_slice(run, tmp_path):
    volume = np.full((2, 5, 8, 8), -1000, dtype=np.int16)
    flat = Patches.of(volume[:, 2], patient=["1", "2"], label="benign")
    deep = Patches.of(volume + np.array([9, 9, 0, 9, 9])[:, None, None], patient=["1", "2"], label="benign")
    pictures = []
    for patches in (flat, deep):
        patches_file.save(patches, run / "plates" / "class_0", overwrite=True)
        write_report(run)
        pictures.append((run / "figures" / "phantom_class_0.png").read_bytes())
    assert pictures[0] == pictures[1]


def test_values_are_escaped(tmp_path, write_run):
    hostile = "<script>alert(1)</script>"
    run = write_run(tmp_path / "run", classes=("a<b>", "c&d"), title=hostile, note={"deep": [hostile]})
    text = write_report(run).read_text()
    page = Page(text)
    assert "script" not in page.tags
    assert page.text.count(hostile) == 4  # the window's title, the heading, and two settings
    assert "a<b>" in page.text


def test_several_classes_get_their_scores_and_curves(tmp_path, write_run):
    run = write_run(tmp_path / "run", classes=("cyst", "metastasis", "hemangioma"))
    text = Page(write_report(run).read_text()).text
    assert all(f"{score} [hemangioma]" in text for score in ("AUC", "sensitivity", "specificity"))


def test_writing_again_gives_the_same_bytes(reported):
    first = (reported / "report.html").read_bytes()
    assert write_report(reported).read_bytes() == first


def test_a_single_regime_without_generators_has_no_verdict_and_no_plates(run):
    for name in ("predictions", "scores", "confusion", "classifier_training"):
        table = read_table(run / "tables" / f"{name}.csv")
        table[table["regime"] == "raw"].to_csv(run / "tables" / f"{name}.csv", index=False)
    for name in ("comparisons", "gan_training"):
        (run / "tables" / f"{name}.csv").unlink()
    shutil.rmtree(run / "plates")
    page = Page(write_report(run).read_text())
    assert "cannot tell" not in page.text.partition("How to read")[0]
    assert "Phantom beside synthetic" not in page.text
    assert [link for link in page.links if link.startswith("figures/")] == [
        f"figures/{name}.svg" for name in ("scores", "roc", "confusion", "classifier_training")
    ]


def test_what_is_not_said_of_the_data_is_named_and_no_page_is_written(run):
    change_json(run / "provenance.json", lambda value: value["data"].pop("phantom"))
    with pytest.raises(StorageError, match="'phantom'"):
        write_report(run)
    assert not (run / "report.html").exists()


def test_a_report_needs_no_torch():
    code = "import sys, lesionforge.report.page; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
