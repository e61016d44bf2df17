"""The container file, without a container: what it copies is there, and what it runs runs."""

import json
import re
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STARTS_S = 60


@pytest.fixture(scope="module")
def said():
    """Arguments of each instruction of the file, in order."""
    text = (ROOT / "deploy" / "reader_study" / "Containerfile").read_text(encoding="utf-8")
    lines = re.sub(r"\\\n", " ", text).splitlines()
    known = {}
    for line in lines:
        if line and not line.startswith("#"):
            instruction, _, rest = line.partition(" ")
            known.setdefault(instruction, []).append(rest)
    return known


def test_what_is_copied_makes_the_package(said):
    copied = {source for line in said["COPY"] for source in line.split()[:-1]}
    assert all((ROOT / source).exists() for source in copied)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = {"pyproject.toml", "src", project["project"]["readme"], *project["project"]["license-files"]}
    assert needed <= copied
    (install,) = (line for line in said["RUN"] if "pip install" in line)
    assert set(re.findall(r"\.\[([a-z,]+)\]", install)) <= set(project["project"]["optional-dependencies"])
    assert re.findall(r"-c (\S+)", install)[0] in copied


def test_it_does_not_run_as_root(said):
    created = re.findall(r"useradd .* (\w+)$", said["RUN"][0])
    assert said["USER"] == created


def test_what_it_runs_serves_is_healthy_and_stops_when_told(said, make_study, tmp_path, free_port):
    make_study("study")
    (entry,), (command,) = map(json.loads, said["ENTRYPOINT"]), map(json.loads, said["CMD"])
    assert entry[0] == "lesionforge"
    places = {"/study": str(tmp_path / "study"), "8090": str(free_port)}
    call = [sys.executable, "-c", "from lesionforge.cli import main; main()", *entry[1:]]
    server = subprocess.Popen([*call, *(places.get(each, each) for each in command)], stderr=subprocess.DEVNULL)
    asked = json.loads(said["HEALTHCHECK"][0].removeprefix("CMD "))
    check = [sys.executable, *(each.replace("8090", str(free_port)) for each in asked[1:])]
    try:
        until = time.monotonic() + STARTS_S
        while subprocess.run(check, capture_output=True, check=False).returncode != 0:
            assert server.poll() is None
            assert time.monotonic() < until
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) in {0, -signal.SIGTERM}
    finally:
        server.kill()
        server.wait()
