"""Every part of the papers has a row in docs/traceability.md, and what the row names exists."""

import ast
import importlib.util
import re
from functools import cache
from pathlib import Path

import pytest

from lesionforge import registry
from lesionforge.experiments import protocols

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "traceability.md"
PARTS = [
    f"{paper}{part}" for paper, parts in zip("ABCDE", (14, 10, 5, 9, 7), strict=True) for part in range(1, parts + 1)
]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| [A-E]\d+ \|", line)
]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def functions_of(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def test_every_part_has_one_row():
    assert [row[0] for row in ROWS] == PARTS


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_a_row_names_exists(row):
    _, what, modules, tests, used_by = row
    assert what
    for cell in (modules, tests, used_by):
        assert names(cell)
    for module in names(modules):
        assert importlib.util.find_spec(f"lesionforge.{module}"), module
    for test in names(tests):
        file, name = test.split("::")
        assert name.startswith("test_")
        assert name in functions_of(file), test
    assert set(names(used_by)) <= set(registry.names(protocols))
