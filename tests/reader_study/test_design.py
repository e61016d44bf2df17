"""Designs that cannot be carried out are refused before anything is made."""

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.design import Design
from lesionforge.settings import from_json, with_overrides


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        ({"title": " "}, "printable title"),
        ({"title": "a\nb"}, "printable title"),
        ({"title": "x" * 121}, "printable title"),
        ({"batches": 2, "batches_each": 3}, "at most all of them"),
        ({"batches": 101}, "100 batches at most"),
        ({"batches": 9, "per_class": 4}, "as many items"),
    ],
)
def test_impossible_designs_are_refused(wrong, complaint):
    with pytest.raises(LesionForgeError, match=complaint):
        Design(**wrong)


def test_a_design_comes_back_from_json_and_can_be_changed():
    design = Design(title="A study", classes=("benign",), scale="two-way", repeats=3)
    assert from_json(Design, design.to_json()) == design
    assert with_overrides(design, ["scale=four-level", "batches=2"]).words[0] == "confidently fake"
    assert design.words == ("fake", "real")
    with pytest.raises(LesionForgeError, match="scale"):
        with_overrides(design, ["scale=three-way"])
