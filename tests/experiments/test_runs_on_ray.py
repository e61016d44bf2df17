"""An experiment on Ray: the same tables as here; a cluster that is not there is told before anything is begun."""

import importlib.util
import socket
import time
from dataclasses import replace

import pytest

from lesionforge.errors import LesionForgeError
from lesionforge.experiments import engine
from lesionforge.experiments.ingredients import Regime
from lesionforge.experiments.provenance import Source
from lesionforge.tasks.on_ray import ANSWERS_WITHIN_S
from lesionforge.tasks.running import Running

pytestmark = [
    pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="the extra cluster (Ray) is not installed"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"),
]


@pytest.mark.full_length
def test_an_experiment_has_the_same_tables_on_ray_as_here(tiny, cohort, tmp_path):
    tables = {}
    for name, how in (("here", Running()), ("ray", Running(2, ray="local"))):
        out = engine.run(tiny, cohort, tmp_path / name, source=Source("cohort"), how=how)
        tables[name] = {file.name: file.read_bytes() for file in (out / "tables").iterdir()}
    assert tables["here"] == tables["ray"]


@pytest.mark.parametrize(
    ("address", "why"), [("somewhere", "must be HOST:PORT"), ("127.0.0.1:{port}", "no Ray cluster answers")]
)
def test_a_cluster_that_is_not_there_is_told_within_seconds(tiny, cohort, tmp_path, address, why):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and does not listen
        how = Running(ray=address.format(port=taken.getsockname()[1]), store=str(tmp_path / "store"))
        start = time.monotonic()
        raw = replace(tiny, regimes=(Regime("raw"),), generators=())
        with pytest.raises(LesionForgeError, match=why):
            engine.run(raw, cohort, tmp_path / "out", source=Source("cohort"), how=how)
    assert time.monotonic() - start < 6 * ANSWERS_WITHIN_S
    assert not (tmp_path / "out").exists()
