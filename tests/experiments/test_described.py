"""Experiments as JSON and back: their methods by name."""

import json

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.experiments.described import from_json, to_json


def test_methods_are_named_and_come_back(tiny):
    described = json.loads(json.dumps(to_json(tiny)))
    assert described["generators"][0]["method"]["method"] == "dcgan"
    assert described["classifiers"][0]["method"]["method"] == "small_cnn"
    assert from_json(described) == tiny


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"method": {"method": "dcgna"}}, "did you mean 'dcgan'"),
        ({"method": {"method": "dcgan", "batch": 3}}, "did you mean 'batch_size'"),
        ({"method": {}}, "must say its method"),
        ({"method": 3}, "must say its method"),
    ],
)
def test_a_method_that_is_not_known_is_explained(tiny, change, says):
    described = to_json(tiny)
    with pytest.raises(LesionForgeError, match=says):
        from_json({**described, "generators": [{**described["generators"][0], **change}]})


def test_a_setting_that_is_not_known_is_explained(tiny):
    with pytest.raises(LesionForgeError, match="did you mean 'folds'"):
        from_json({**to_json(tiny), "fold": 3})
