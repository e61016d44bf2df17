"""What every protocol must do, found by discovery."""

import json
from itertools import combinations
from pathlib import Path

import pytest

from lesionforge import registry
from lesionforge.data.phantom import phantom_patches
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.predictions import Predictions
from lesionforge.evaluation.scores import measure
from lesionforge.experiments import protocols
from lesionforge.experiments.described import from_json, to_json
from lesionforge.experiments.protocol import (
    Asked,
    amounts_asked,
    check_patients,
    labels_asked,
    patients_needed,
    protocol_named,
)
from lesionforge.experiments.scale import SCALES

NAMES = registry.names(protocols)
CASES = [(name, scale) for name in NAMES for scale in SCALES]
SAME_LINES = 6


@pytest.mark.parametrize(("name", "scale"), CASES)
def test_every_scale_describes_an_experiment_that_comes_back_from_json(name, scale):
    described = protocol_named(name).experiment(scale)
    assert described.protocol == name
    assert described.window == protocol_named(name).window
    assert hash(described) == hash(protocol_named(name).experiment(scale))
    assert from_json(json.loads(json.dumps(to_json(described)))) == described
    assert {regime for pair in described.comparisons for regime in pair} <= set(described.names)


@pytest.mark.parametrize("name", NAMES)
def test_every_protocol_says_what_it_costs_and_what_was_published(name):
    said = registry.module_named(protocols, name).__doc__
    assert f"lesionforge experiment {name} " in said
    for word in ("Command", "Cost", "Published"):
        assert f"\n{word} " in said


@pytest.mark.parametrize("name", NAMES)
def test_published_figures_stand_beside_regimes_and_scores_that_there_are(name):
    described, classes = protocol_named(name).experiment("paper"), protocol_named(name).classes or ("a", "b")
    scores = measure(
        Predictions.of(
            sorted(classes),
            labels=classes,
            probability=[[1 / len(classes)] * len(classes)] * len(classes),
            patients=classes,
        )
    )
    assert described.published
    for each in described.published:
        assert 0 <= each.value <= 1
        if not each.metric.startswith(("reader_", "radiomics_")):
            assert set(each.regime.split("|")) <= set(described.names)
            assert each.metric in scores


@pytest.mark.parametrize(("one", "other"), list(combinations(NAMES, 2)))
def test_no_block_of_six_lines_stands_in_two_protocols(one, other):
    blocks = [_blocks(name) for name in (one, other)]
    assert not blocks[0] & blocks[1]


def _blocks(name):
    """Six lines in a row that are not blank, as they stand."""
    lines = [line.strip() for line in Path(registry.module_named(protocols, name).__file__).read_text().splitlines()]
    lines = [line for line in lines if line]
    return {tuple(lines[start : start + SAME_LINES]) for start in range(len(lines) - SAME_LINES + 1)}


@pytest.fixture(scope="module")
def lung():
    return phantom_patches("lung", patients=12, size=48)


def test_labels_of_theirs_stand_for_a_papers_classes_and_others_are_left_out(lung):
    protocol = protocol_named("wang2022")
    mapped = protocol.labelled(lung, labels_asked(["ground-glass=non-solid", "any other = solid"]))
    assert mapped.classes == ("any other", "ground-glass")
    assert ((mapped.labels == "ground-glass") == (lung.labels == "non-solid")).all()
    assert "'non-solid' as 'ground-glass'" in protocol.named("lung.patches", {"ground-glass": ["non-solid"]})
    three = lung.with_columns(label=["unsure", *lung.labels[1:]])
    assert len(protocol.labelled(three, {"ground-glass": ["non-solid"], "any other": ["solid"]})) == len(lung) - 1


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ([], "is about the classes 'any other', 'ground-glass', but the patches are labelled 'non-solid', 'solid'"),
        (["ground-glass=non-solid"], "but the patches are labelled 'ground-glass'"),
        (["ground-glas=solid"], "did you mean 'ground-glass'"),
        (["ground-glass=soild"], "did you mean 'solid'"),
        (["ground-glass=solid", "any other=solid"], "can stand for one class"),
        (["ground-glass"], "must look like CLASS=THEIRS"),
    ],
)
def test_labels_that_do_not_fit_are_refused_with_what_is_there(lung, labels, complaint):
    with pytest.raises(LesionForgeError, match=complaint):
        protocol_named("wang2022").labelled(lung, labels_asked(labels))


def test_patches_of_other_axes_are_refused(lung):
    with pytest.raises(LesionForgeError, match="3-D patches, but 48×48 came"):
        protocol_named("yang2019").labelled(lung, {"benign": ["solid"], "malignant": ["non-solid"]})
    with pytest.raises(LesionForgeError, match="say --data too"):
        protocol_named("wang2022").patches("smoke", None, {"ground-glass": ["solid"]})


def test_too_few_patients_are_refused_with_how_many_are_needed(lung):
    described = protocol_named("wang2020").experiment("paper")
    assert patients_needed(described) == 30
    three = lung.with_columns(label=[("AIS", "MIA", "IAC")[row % 3] for row in range(len(lung))])
    with pytest.raises(LesionForgeError, match="needs 30 patients of every class for its 3 folds"):
        check_patients(described, three)
    # A choice needs two validation patients of a class: 2 / (2/3 · 0.2).
    assert patients_needed(protocol_named("fridadar2018").experiment("paper")) == 15


def test_a_unit_decides_the_window_unless_one_is_asked_for():
    protocol = protocol_named("calm")
    assert protocol.experiment("smoke", unit="u8").window == "u8"
    assert protocol.experiment("smoke", Asked(window="mediastinum")).window == "mediastinum"


def test_a_papers_protocol_settles_its_networks_and_knows_its_scales():
    with pytest.raises(LesionForgeError, match="settles its generators and amounts"):
        protocol_named("calm").experiment("smoke", Asked(generators=("dcgan",), amounts=(5,)))
    with pytest.raises(LesionForgeError, match="did you mean 'smoke'"):
        protocol_named("calm").experiment("smok")
    with pytest.raises(LesionForgeError, match="did you mean 'calm'"):
        protocol_named("clam")


@pytest.mark.parametrize("text", ["a", "1,b", "0", "-3"])
def test_amounts_are_whole_numbers(text):
    with pytest.raises(LesionForgeError, match=r"amounts must be"):
        amounts_asked(text)
