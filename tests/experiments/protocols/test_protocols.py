"""What every protocol must do, found by discovery."""

import json

import pytest

from lesionforge import registry
from lesionforge.experiments import protocols
from lesionforge.experiments.described import from_json, to_json
from lesionforge.experiments.experiment import Experiment

CASES = [(name, scale) for name in registry.names(protocols) for scale in registry.module_named(protocols, name).SCALES]


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_every_scale_describes_an_experiment_of_its_protocol(name, scale):
    described = registry.module_named(protocols, name).SCALES[scale]("lung", "dcgan")
    assert isinstance(described, Experiment)
    assert described.protocol == name
    assert described.window == "lung"
    assert hash(described) == hash(registry.module_named(protocols, name).SCALES[scale]("lung"))
    assert from_json(json.loads(json.dumps(to_json(described)))) == described
    named = {regime for pair in described.comparisons for regime in pair}
    assert named <= set(described.names)


@pytest.mark.parametrize("name", registry.names(protocols))
def test_every_protocol_says_what_it_costs_and_what_was_published(name):
    said = registry.module_named(protocols, name).__doc__
    assert f"lesionforge experiment {name} " in said
    for word in ("Command", "Cost", "Published"):
        assert f"\n{word} " in said
    assert set(registry.module_named(protocols, name).SCALES) == {"smoke", "desk", "paper"}
