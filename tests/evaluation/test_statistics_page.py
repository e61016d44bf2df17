"""What docs/statistics.md shows is executed."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "statistics.md").read_text(encoding="utf-8")


def test_python_of_the_page_runs_and_says_what_it_found(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)
    exec(compile(code, "docs/statistics.md", "exec"), {})
    printed = capsys.readouterr().out
    assert printed.startswith("cannot tell: AUC +")
    assert re.search(r"would take \d+ such patients; these 6 can show one of 0\.\d\d", printed)


def test_functions_named_on_the_page_exist():
    names = re.findall(r"`(\w+)\.(\w+)`", PAGE)
    modules = {name for name, _ in names} - {"Comparison", "lesionforge"}
    assert {"statistics", "delong", "paired_tests", "multiplicity", "proportions", "power", "readers"} <= modules
    for module, function in names:
        if module in modules:
            assert hasattr(__import__(f"lesionforge.evaluation.{module}", fromlist=[function]), function)
