import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lesionforge.errors import LesionForgeError
from lesionforge.tasks import code_version as code
from lesionforge.tasks.graph import Graph, Task, key_of


def do_nothing(bench):
    pass


def task(name, *needs, key=None):
    return Task(name, "stage", key or name, do_nothing, needs)


@st.composite
def acyclic(draw):
    """Tasks in a random order, each of which needs some of those with a smaller number."""
    count = draw(st.integers(1, 8))
    needs = [draw(st.sets(st.integers(0, number - 1))) if number else set() for number in range(count)]
    tasks = [task(str(number), *map(str, sorted(needs[number]))) for number in range(count)]
    return draw(st.permutations(tasks))


@settings(deadline=None, max_examples=50)
@given(acyclic())
def test_order_depth_and_what_comes_after_agree_with_the_needs(tasks):
    graph = Graph(tasks)
    place = {name: number for number, name in enumerate(graph.order)}
    assert sorted(place) == sorted(each.name for each in tasks)
    for each in tasks:
        assert all(place[need] < place[each.name] for need in each.needs)
        assert all(graph.depth[need] > graph.depth[each.name] for need in each.needs)
        assert set(graph.dependants[each.name]) == {other.name for other in tasks if each.name in other.needs}
        direct = set(graph.dependants[each.name])
        assert set(graph.after(each.name)) == direct.union(*(graph.after(name) for name in direct))


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ((task("a"), task("b"), task("a")), "a came twice"),
        ((task("a", "b"),), "a needs b, which"),
        ((task("a", "b"), task("b", "c"), task("c", "a")), "in a circle: .*→"),
    ],
)
def test_a_graph_that_cannot_be_done_is_refused(tasks, why):
    with pytest.raises(LesionForgeError, match=why):
        Graph(tasks)


def test_a_key_is_of_the_settings_and_of_the_code(monkeypatch):
    before = key_of(seed=1, needs=["a"])
    assert before == key_of(needs=["a"], seed=1)
    assert len({before, key_of(seed=2, needs=["a"]), key_of(seed=1, needs=["b"])}) == 3
    assert key_of(rates=[{"a": (1, 2.5)}]) == key_of(rates=[{"a": [1.0, 2.5]}]) != key_of(rates=[{"a": (1, 2)}])
    monkeypatch.setattr("lesionforge.tasks.graph.code_version", lambda: "other code")
    assert key_of(seed=1, needs=["a"]) != before


def test_the_version_of_the_code_is_of_what_computes_and_not_of_what_shows(monkeypatch, tmp_path):
    package = tmp_path / "package"
    for folder in ("experiments/protocols", "data", "report"):
        (package / folder).mkdir(parents=True)
        (package / folder / "file.py").write_text("1")
    monkeypatch.setattr(code, "__file__", str(package / "experiments" / "code_version.py"))

    def version_with(file):
        (package / file).write_text("2")
        code.code_version.cache_clear()
        return code.code_version()

    first = version_with("experiments/protocols/file.py")
    assert version_with("report/file.py") == first
    assert version_with("data/file.py") != first
    code.code_version.cache_clear()
