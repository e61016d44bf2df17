import json

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.experiments import engine
from lesionforge.experiments.provenance import Source
from lesionforge.experiments.repeating import Described


def test_a_run_is_repeated_from_its_configuration(tiny, cohort, finished_run, tmp_path):
    described = Described.read(finished_run[0] / "config.json")
    assert described.experiment == tiny
    assert described.patches(cohort, {}) is cohort
    again = engine.run(described.experiment, cohort, tmp_path / "again", source=Source("cohort"))
    for table in (again / "tables").glob("*.csv"):
        assert table.read_bytes() == (finished_run[0] / "tables" / table.name).read_bytes()
    with pytest.raises(LesionForgeError, match=f"digest {cohort.digest}, but those that came have another"):
        described.patches(cohort.rows(range(10)), {})
    with pytest.raises(LesionForgeError, match="none came"):
        described.patches(None, {})


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda config: config | {"given_digest": "x"}, "given synthetic patches"),
        (lambda config: {key: value for key, value in config.items() if key != "data_digest"}, "no data_digest"),
        (lambda config: config | {"folds": "many"}, "folds does not fit"),
        (lambda config: config | {"fold": 3}, "did you mean 'folds'"),
    ],
)
def test_what_is_no_configuration_of_a_run_is_told(finished_run, tmp_path, spoil, why):
    config = json.loads((finished_run[0] / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(spoil(config)))
    with pytest.raises(LesionForgeError, match=why):
        Described.read(tmp_path / "config.json")
