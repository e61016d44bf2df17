"""What the README shows is executed: its own-data walk, its mapping, its Python, on a phantom."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from lesionforge.cli import main
from lesionforge.data import patches_file
from lesionforge.data.phantom import phantom_patches

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
NARROW = ["--set", "generator_width=16", "--set", "discriminator_width=2", "--set", "batch_size=8"]
SHORT = {
    "experiment": [
        *("--scale", "smoke", "--set", "size=16", "--set", "generators.dcgan.patches=16"),
        *("--set", "generators.dcgan.training.images=32", "--set", "classifiers.small_cnn.method.max_images=64"),
    ],
    "train": [*NARROW, "--images", "32"],
    "sample": ["--n", "8"],
    "phantom": ["--patients", "1", "--spacing-mm", "5,3,3"],
    "classify": ["--set", "max_images=64"],
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def shown_commands() -> list[list[str]]:
    lines = "".join(blocks("sh")).splitlines()
    return [shlex.split(line) for line in lines if line.startswith("lesionforge ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with the arrays, the table and the mapping that the README describes."""
    folder = tmp_path_factory.mktemp("readme")
    arrays = folder / "lung"
    arrays.mkdir()
    patches = phantom_patches("lung", patients=14, seed=1)
    np.savez(arrays / "images.npz", hu=patches.images)
    table = patches.table.rename(columns={"patient": "patient_id", "diameter_mm": "diameter"})
    table["texture"] = np.where(patches.labels == "solid", 5, 2)
    table["pixel_mm"] = table["spacing_x_mm"]
    table[["patient_id", "diameter", "texture", "pixel_mm"]].to_csv(arrays / "table.csv", index=False)
    (mapping,) = blocks("json")
    assert json.loads(mapping)
    (arrays / "arrays.json").write_text(mapping, encoding="utf-8")
    patches_file.save(phantom_patches("lung", patients=14, seed=2), folder / "other-hospital.patches")
    return folder


def test_the_commands_that_the_readme_shows_run_in_its_order(folder, monkeypatch):
    monkeypatch.chdir(folder)
    verbs = []
    for _, verb, *arguments in shown_commands():
        with pytest.raises(SystemExit) as stop:
            main(["--quiet", verb, *arguments, *SHORT.get(verb, [])])
        assert stop.value.code == 0, verb
        verbs.append(verb)
    assert verbs == ["phantom", "ingest", "ingest", "inspect", "experiment", "train", "sample", "classify"]
    assert (folder / "runs" / "lung" / "report.html").exists()
    assert (folder / "lung.png").exists()


def test_the_python_that_the_readme_shows_runs(folder, monkeypatch):
    monkeypatch.chdir(folder)
    if not Path("lung.patches").exists():
        patches_file.save(phantom_patches("lung", patients=14, seed=1), "lung.patches")
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code.replace("60_000", "64"), names)
    assert names["probabilities"].shape == (len(names["test"]), 2)
