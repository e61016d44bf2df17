"""The server killed while answers stream in: what was acknowledged is there, once, as it was given."""

from types import ModuleType

import pytest

pytest.importorskip("httpx", reason="readers ask through httpx")


@pytest.fixture(scope="module")
def benchmark(module_at) -> ModuleType:
    return module_at("reader_study_benchmark", "benchmarks/reader_study.py")


def test_no_acknowledged_answer_is_lost_when_the_server_is_killed(benchmark, tmp_path):
    found = benchmark.survive_kills(tmp_path, times=3, readers=3)
    assert found["acknowledged"] > 0
    assert found["sent_again"] > 0


@pytest.mark.full_length
def test_nor_when_it_is_killed_200_times(benchmark, tmp_path, url):
    assert benchmark.survive_kills(tmp_path, times=200, database=url)["acknowledged"] > 2000
