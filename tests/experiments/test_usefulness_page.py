import re
from pathlib import Path

from lesionforge import registry
from lesionforge.experiments import protocols

PAGE = (Path(__file__).parents[2] / "docs" / "usefulness.md").read_text(encoding="utf-8")


def test_the_pages_code_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(code, {})
    assert "classic, chosen" in capsys.readouterr().out


def test_the_pages_commands_are_of_protocols_that_exist():
    named = re.findall(r"^lesionforge experiment (\w+)", PAGE, re.MULTILINE)
    assert sorted(named) == sorted(registry.names(protocols))
