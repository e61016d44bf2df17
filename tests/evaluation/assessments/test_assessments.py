import importlib.util
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.evaluation.assessments import fidelity as fidelity_file
from lesionforge.evaluation.assessments import separability as separability_file
from lesionforge.evaluation.assessments.described import evened
from lesionforge.evaluation.assessments.embedding import assess_embedding
from lesionforge.evaluation.assessments.fidelity import assess_fidelity
from lesionforge.evaluation.assessments.memorisation import assess_memorisation
from lesionforge.evaluation.assessments.radiomics import assess_radiomics
from lesionforge.evaluation.assessments.separability import assess_separability
from lesionforge.evaluation.assessments.sides import Sides
from lesionforge.evaluation.fidelity import Features
from lesionforge.evaluation.memorisation import Search

LUNG = WINDOWS["lung"]
QUICK = Search(flips=True)
installed = pytest.mark.skipif(importlib.util.find_spec("radiomics") is None, reason="the extra radiomics is missing")


@pytest.fixture
def without_radiomics(monkeypatch):
    for file in (fidelity_file, separability_file):
        monkeypatch.setattr(file, "pyradiomics_is_there", lambda: False)


@pytest.fixture(scope="module")
def sides(real, fake):
    return Sides.of(real, fake(), window=LUNG)


def test_whom_a_generator_has_seen_is_for_memorisation_alone(real, fake, sides):
    assert len(np.unique(sides.patients[sides.trained_on])) == 30
    assert not (sides.trained_on & sides.held_out).any()
    assert len(np.unique(sides.only_held_out().patients)) == 30
    assert sides.only_held_out().warnings == ()


def test_patients_who_chose_the_checkpoint_stand_in_with_a_warning(real, fake):
    sides = Sides.of(real, fake(judged=True), window=LUNG).only_held_out()
    assert len(np.unique(sides.patients)) == 30
    assert "flatters" in sides.warnings[0]


def test_sets_are_brought_to_one_size_and_class(real, fake):
    mixed = real.with_columns(label=["solid", "other"] * 60)
    sides = Sides.of(mixed, fake().centre_crop(20), window=LUNG)
    assert sides.real.shape == sides.synthetic.shape == (20, 20)
    assert sides.real.classes == ("solid",)
    both = fake(label=["solid", "other"] * 40)
    asked = Sides.of(mixed, both, window=LUNG, label="other")
    assert asked.real.classes == asked.synthetic.classes == ("other",)
    assert "proportions" in Sides.of(mixed, both, window=LUNG).warnings[0]


def test_sets_in_the_wrong_place_are_refused(real, fake):
    with pytest.raises(LesionForgeError, match="first set must be real"):
        Sides.of(fake(), real, window=LUNG)
    with pytest.raises(LesionForgeError, match="window's unit"):
        Sides.of(real, fake(), window=WINDOWS["u8"])
    seen = Sides.of(real, fake(), window=LUNG)
    with pytest.raises(LesionForgeError, match=r"all .* patches are of training patients"):
        Sides.of(real.rows(seen.trained_on), fake(), window=LUNG).only_held_out()


def test_fidelity_of_fresh_patients_is_mostly_at_the_floor(sides, without_radiomics):
    held_out = sides.only_held_out()
    network = Features(*(each.images.reshape(len(each), -1)[:, ::97] for each in (held_out.real, held_out.synthetic)))
    found = assess_fidelity(sides, networks={"network": network}, halvings=4)
    table = found.tables["fidelity"]
    assert {"texture", "network"} < set(table["taken_of"])
    assert found.results["apart"] <= 0.35 * len(table)
    assert "pyradiomics is not installed" in found.warnings[-1]


def test_one_odd_lesion_does_not_rule_a_distance_of_radiomics():
    rng = np.random.default_rng(0)
    real, made = rng.normal(5, 2, (200, 4)), rng.normal(5, 2, (200, 4))
    made[0] = 1e6
    found = evened(real, made)
    assert abs(found.synthetic).max() < 20
    np.testing.assert_allclose(np.median(found.real, axis=0), 0, atol=1e-9)
    constant = evened(np.ones((9, 2)), np.ones((9, 2)))
    assert not constant.real.any()


@installed
def test_radiomics_of_fresh_patients_and_of_a_shifted_scale(real, fake, sides):
    found = assess_radiomics(sides, halvings=3)
    assert len(found.tables["features"]) == 93
    assert found.results["alike_p_patient_bh"] > 80
    assert found.asked["radiomics"]["masks"] == "drawn"
    shifted = fake().with_images(fake().images + 150)
    other = assess_radiomics(Sides.of(real, shifted, window=LUNG), halvings=3)
    assert other.asked["radiomics"]["masks"] == "measured"
    assert other.results["alike_p_patient_bh"] < found.results["alike_p_patient_bh"]


def test_noise_is_told_apart_and_fresh_patients_are_not(real, fake, sides, without_radiomics):
    fresh = assess_separability(sides).tables["auc"].set_index("judge")
    assert (fresh["low"] < 0.55).all()
    noisy = fake().with_images(fake().images + np.random.default_rng(0).normal(0, 150, fake().images.shape))
    found = assess_separability(Sides.of(real, noisy, window=LUNG)).tables["auc"].set_index("judge")
    assert (found["low"] > 0.8).all()


def test_copies_are_flagged_and_fresh_patients_are_not(real, fake, sides):
    assert not assess_memorisation(sides, search=QUICK).results["flagged"]
    copied = Sides.of(real, fake(copies=8), window=LUNG)
    found = assess_memorisation(copied, search=QUICK, discriminator=copied.trained_on.astype(float))
    assert found.results["flagged"]
    samples = found.tables["samples"]
    assert samples["copy"][:8].all()
    assert (samples["ratio_pixels"][:8] == 0).all()
    assert found.plates["pairs"].shape[1:] == (2, 24, 24)
    assert found.tables["attacks"].set_index("attack")["auc"]["discriminator"] == 1


def test_who_chose_the_checkpoint_is_left_out_where_others_are_held_out(real, fake):
    backwards = Sides.of(real.rows(np.arange(120)[::-1]), fake(copies=8), window=LUNG)  # copies of the last rows
    for choosers, left in ((20, 50), (22, 60)):
        chosen_on = np.arange(120) < choosers
        sides = replace(backwards, held_out=backwards.held_out & ~chosen_on)
        scores = sides.trained_on.astype(float)
        found = assess_memorisation(sides, search=QUICK, discriminator=scores)
        assert found.asked["real_patients"] == left
        assert len(found.warnings) == (left == 60)
        assert found.tables["samples"]["real_row"][:8].tolist() == list(range(119, 111, -1))
        assert found.tables["attacks"].set_index("attack")["auc"]["discriminator"] == 1


def test_an_embedding_shows_held_out_patients_beside_samples(sides):
    held_out = sides.only_held_out()
    network = Features(np.arange(len(held_out.real))[:, None] / 7.0, np.arange(len(held_out.synthetic))[:, None] / 9.0)
    found = assess_embedding(sides, networks={"network": network})
    table = found.tables["embedding"]
    assert table.groupby(["taken_of", "origin"]).size().to_dict() == {
        (of, origin): len(part)
        for of in ("network", "texture")
        for origin, part in (("real", held_out.real), ("synthetic", held_out.synthetic))
    }
    trust = found.tables["trust"].set_index("taken_of")["trustworthiness"]
    assert trust["network"] > 0.9
    assert f"{trust.min():.2f}" in found.sentences[0]
    again = assess_embedding(sides, networks={"network": network})
    pd.testing.assert_frame_equal(again.tables["embedding"], table)
    with pytest.raises(LesionForgeError, match="no layout"):
        assess_embedding(sides, layouts=["pca"])


def test_a_discriminators_scores_must_fit(sides):
    with pytest.raises(LesionForgeError, match="discriminator"):
        assess_memorisation(sides, search=QUICK, discriminator=np.ones(3))


def test_a_folder_is_whole_holds_no_patient_and_is_never_overwritten(sides, tmp_path):
    found = assess_memorisation(sides, search=QUICK)
    out = found.write(tmp_path / "run", command="lesionforge …")
    config = json.loads((out / "config.json").read_text())
    assert config["kind"] == "memorisation"
    table = pd.read_csv(out / "tables" / "samples.csv")
    assert len(table) == len(sides.synthetic)
    texts = [file.read_text() for file in out.rglob("*") if file.suffix in {".json", ".csv"}]
    assert not any(patient in text for patient in set(sides.patients) for text in texts)
    with pytest.raises(StorageError, match="must not exist"):
        found.write(out)
