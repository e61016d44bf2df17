import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lesionforge.errors import StorageError
from lesionforge.evaluation.assessments.assessment import Assessment
from lesionforge.report.assessment_page import is_assessment, write_assessment_report

ASKED = {
    "unit": "HU",
    "shape": [16, 16],
    "window": "lung",
    "classes": ["solid"],
    "real_patches": 80,
    "real_patients": 40,
    "held_out_patients": 30,
    "training_patients_among_them": 10,
    "synthetic_patches": 50,
    "generators": ["dcgan-1"],
    "real_digest": "0123",
    "synthetic_digest": "4567",
    "halvings": 5,
    "neighbours": 10,
    "radiomics": {
        "masks": "measured",
        "masks_mean": "as callipers",
        "settings": {"bin_width": 25.0, "resample_mm": None},
    },
}
RNG = np.random.default_rng(0)
CURVE = np.linspace(0, 1, 11)
AUC = pd.DataFrame(
    [["logistic", "texture", 0.8, 0.7, 0.9, 0.01, 0.51]],
    columns=["judge", "taken_of", "estimate", "low", "high", "p_value", "floor"],
)
ROC = pd.DataFrame({"false_positive_rate": CURVE, "sensitivity": CURVE, "low": CURVE, "high": CURVE}).assign(
    judge="logistic", taken_of="texture"
)


def fidelity():
    row = {"measure": "frechet", "taken_of": "texture", "better": "less", "apart": True}
    row |= {f"{name}{end}": 1.5 for name in ("value", "floor", "excess") for end in ("", "_low", "_high")}
    axis = np.arange(1.0, 9.0)
    banded = {f"{name}{end}": axis for name in ("real", "synthetic") for end in ("", "_low", "_high")}
    return {
        "fidelity": pd.DataFrame([row, row | {"better": "more", "excess": np.nan, "apart": False}]),
        "kernel": pd.DataFrame([["texture", 0.1, -0.1, 0.3]], columns=["taken_of", "value", "low", "high"]),
        "spectrum": pd.DataFrame({"cycles_per_pixel": axis} | banded),
        "histogram": pd.DataFrame({"from": axis, "to": axis + 1} | banded),
    }, {"measures": 2, "apart": 1}


def radiomics():
    names = [f"firstorder_{k}" for k in range(10)]
    columns = ["ks", "ks_halved", "ks_floor", "p_value", "p_holm", "p_bh", "p_patient", "p_patient_bh"]
    features = pd.DataFrame(RNG.uniform(size=(10, 8)), columns=columns).assign(feature=names, family="firstorder")
    drawn = features.sort_values("ks")["feature"].tolist()
    drawn = [*drawn[:3], *drawn[-3:]]
    values = pd.DataFrame(RNG.normal(size=(30, 6)), columns=drawn)
    tables = {"features": features, "values_real": values, "values_synthetic": values + 1, "auc": AUC, "roc": ROC}
    return tables, {"features": 10, "alike_p_patient_bh": 7}


def memorisation(*, flagged=True):
    samples = pd.DataFrame({"sample": [0, 1, 2], "ratio_pixels": [0.9, 0.1, 0.8], "copy": [False, True, False]})
    sets = pd.DataFrame(
        [["pixels", 1, 2, 0.5, 0.001, 0.004 if flagged else 0.4]],
        columns=["space", "patients_below", "samples_below", "expected", "p_value", "p_adjusted"],
    )
    attacks = pd.DataFrame(
        [["discriminator", 0.7, 0.6, 0.8, 0.01]], columns=["attack", "auc", "low", "high", "p_value"]
    )
    of = ["samples", "held-out patients", "training patients"] * 5
    ratios = pd.DataFrame({"space": "pixels", "of": of, "ratio": RNG.uniform(0, 2, 15)})
    tables = {"samples": samples, "sets": sets, "attacks": attacks, "ratios": ratios}
    return tables, {"flagged": flagged, "p_value": 0.004 if flagged else 0.4, "copies": int(flagged)}


def embedding():
    places = pd.DataFrame(RNG.normal(size=(40, 2)), columns=["x", "y"]).assign(
        label="solid", origin=["real", "synthetic"] * 20, taken_of="texture", layout="t-sne"
    )
    quality = {"trustworthiness": 0.9, "neighbours_kept": 0.4}
    trust = pd.DataFrame([{"taken_of": "texture", "layout": "t-sne"} | quality])
    return {"embedding": places.assign(**quality), "trust": trust}, {"trustworthiness": 0.9}


KINDS = {
    "embedding": embedding,
    "fidelity": fidelity,
    "radiomics": radiomics,
    "memorisation": memorisation,
    "separability": lambda: ({"auc": AUC, "roc": ROC}, {}),
}


@pytest.fixture
def written(tmp_path):
    """Write the folder of an assessment of a kind."""

    def write(kind, **asked) -> Path:
        tables, results = KINDS[kind](**asked)
        plate = RNG.normal(-500, 200, (3, 16, 16))
        plates = {"real": plate, "synthetic": plate, "pairs": np.stack([plate, plate], axis=1)}
        found = Assessment(
            kind, f"About {kind}?", ASKED, ("The <answer>.", "More."), tables, results, plates, ("Mind this.",)
        )
        return found.write(tmp_path / kind, command="lesionforge evaluate")

    return write


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_page_needs_nothing_else_and_says_what_was_found(kind, written):
    run = written(kind)
    assert is_assessment(run)
    page = write_assessment_report(run).read_text()
    assert "The &lt;answer&gt;." in page
    assert "Mind this." in page
    assert 'src="data:image' in page
    assert "http" not in page.replace("http://www.w3.org", "")
    assert list((run / "figures").iterdir())
    for file in (run / "tables").glob("*.csv"):
        assert f"{file.stem}.csv" in page


def test_pages_are_the_same_each_time(written):
    run = written("memorisation")
    first = write_assessment_report(run).read_bytes()
    assert write_assessment_report(run).read_bytes() == first


@pytest.mark.parametrize("flagged", [True, False])
def test_a_steward_gets_a_statement(flagged, written):
    run = written("memorisation", flagged=flagged)
    page = write_assessment_report(run).read_text()
    statement = (run / "statement.md").read_text()
    assert ("COPIES FOUND" in statement) == flagged
    assert ("no copies found" in page) == (not flagged)
    for said in ("dcgan-1", "4567", "Mind this.", "The <answer>.", "Signed"):
        assert said in statement


def test_volumes_are_shown_by_their_middle_slices(written, tmp_path):
    run = written("fidelity")
    config = json.loads((run / "config.json").read_text())
    config["asked"]["shape"] = [3, 16, 16]
    (run / "config.json").write_text(json.dumps(config))
    for name in ("real", "synthetic"):
        np.save(run / "plates" / f"{name}.npy", np.zeros((2, 3, 16, 16), np.float32))
    assert write_assessment_report(run).exists()


def test_a_folder_that_is_none_or_lacks_something_is_refused(written, tmp_path):
    with pytest.raises(StorageError, match="is missing"):
        write_assessment_report(tmp_path)
    run = written("fidelity")
    (run / "plates" / "real.npy").write_bytes(b"no")
    with pytest.raises(StorageError, match="NumPy array"):
        write_assessment_report(run)
    results = run / "results.json"
    results.write_text(json.dumps({"sentences": ["x"]}))
    with pytest.raises(StorageError, match="evaluate it again"):
        write_assessment_report(run)
