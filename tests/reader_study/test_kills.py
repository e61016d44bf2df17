"""The server killed while answers stream in: what was acknowledged is there, once, as it was given."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("httpx", reason="readers ask through httpx")


@pytest.fixture(scope="module")
def benchmark() -> ModuleType:
    file = Path(__file__).parents[2] / "benchmarks" / "reader_study.py"
    spec = importlib.util.spec_from_file_location("reader_study_benchmark", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def test_no_acknowledged_answer_is_lost_when_the_server_is_killed(benchmark, tmp_path):
    found = benchmark.survive_kills(tmp_path, times=3, readers=3)
    assert found["acknowledged"] > 0
    assert found["sent_again"] > 0


@pytest.mark.full_length
def test_nor_when_it_is_killed_200_times(benchmark, tmp_path, url):
    assert benchmark.survive_kills(tmp_path, times=200, database=url)["acknowledged"] > 2000
