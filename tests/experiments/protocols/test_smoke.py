"""Every protocol at smoke, end to end: stand-in, experiment, assessments, what readers get, tables, page."""

import json

import pandas as pd
import pytest
from markupsafe import escape

from lesionforge import registry
from lesionforge.data import patches_file
from lesionforge.evaluation.tables import read_table
from lesionforge.experiments import protocols
from lesionforge.experiments.engine import run
from lesionforge.experiments.protocol import check_patients, protocol_named
from lesionforge.experiments.provenance import Source
from lesionforge.report.page import write_report
from lesionforge.tasks.running import Running


@pytest.fixture(scope="module", params=registry.names(protocols))
def finished(request, tmp_path_factory):
    """Run a protocol; give its name, its experiment, its patches and its folder."""
    protocol = protocol_named(request.param)
    patches, described = protocol.patches("smoke", None, {}), protocol.experiment("smoke")
    check_patients(described, patches)
    source = Source(protocol.named(None, {}), phantom=True, command="lesionforge experiment")
    out = run(described, patches, tmp_path_factory.mktemp("smoke") / "run", source=source, how=Running(1))
    write_report(out)
    return request.param, described, patches, out


def test_a_protocol_runs_end_to_end_and_is_told(finished):
    name, described, patches, out = finished
    assert protocol_named(name).labelled(patches, {}) is patches  # of the protocol's classes
    assert not (out / "failed.json").exists()
    page = (out / "report.html").read_text()
    assert (
        page.index(escape(described.title))
        < page.index("Computed phantom, not patients.")
        < page.index("CT phantom in place")
    )
    assert set(read_table(out / "tables" / "scores.csv")["regime"]) == set(described.names)
    provenance = json.loads((out / "provenance.json").read_text())
    assert "The scale is smoke" in page
    assert "size" in {each["setting"] for each in provenance["differences"]} or described.size in (32, 40)

    printed = pd.concat([read_table(file) for file in sorted((out / "tables").glob("paper_*.csv"))])
    assert len(printed) == len(described.published)
    beside = printed[printed["regime"].isin(described.names)]
    assert beside["ours"].notna().any() or beside.empty
    assert all(
        (out / "tables" / file.with_suffix(".tex").name).exists() for file in (out / "tables").glob("paper_*.csv")
    )

    asked = [
        json.loads(file.read_text()) | {"in": file.parent} for file in (out / "assessments").glob("*/question.json")
    ]
    assert {each["generator"] for each in asked} == {each.name for each in described.generators_used}
    assert len(asked) == 3 * len(described.generators_used)
    if asked:
        told = read_table(out / "tables" / "assessments.csv")
        assert set(zip(told["generator"], told["kind"], strict=True)) == {(e["generator"], e["kind"]) for e in asked}
    for each in asked:
        assert (each["in"] / "report.html").exists() != bool(each["why"])
        assert f"{each['generator']}: {each['kind']}" in page

    if described.reading is not None:
        sets = [patches_file.load(out / "reading" / kind) for kind in ("real", "synthetic")]
        share = described.reading.synthetic / described.reading.real
        assert len(sets[1]) == pytest.approx(share * len(sets[0]), abs=len(sets[0].classes))
        assert sets[1].is_synthetic.all()
        assert not sets[0].is_synthetic.any()
        assert "lesionforge reader-study create" in page
    told = "".join(file.read_text() for suffix in ("csv", "json", "html", "jsonl") for file in out.rglob(f"*.{suffix}"))
    assert not any(patient in told for patient in set(patches.patients))
