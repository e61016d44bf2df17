"""What README and docs show is run, page by page, in the order of the page.

The README comes first, with the arrays and the other hospital's patches that it speaks of; every other page begins
with what the README has made. Only what is marked (see ``conftest.py``) is shortened, or parsed and not run.
"""

import contextlib
import io
import json
import shlex
import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lesionforge.cli import main
from lesionforge.data import patches_file
from lesionforge.data.phantom import phantom_patches

ROOT = Path(__file__).parents[2]
FRONT = "README.md"
PAGES = [str(page.relative_to(ROOT)) for page in sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="session")
def after_readme(tmp_path_factory, blocks_of, write_files) -> Path:
    """A folder in which the README's session has run."""
    folder = tmp_path_factory.mktemp("readme")
    give_arrays(folder / "lung")
    patches_file.save(phantom_patches("lung", patients=14, seed=2), folder / "other-hospital.patches")
    blocks = blocks_of(FRONT)
    with pytest.MonkeyPatch.context() as patch:
        write_files(blocks, folder, patch)
    run(blocks, folder)
    return folder


def give_arrays(folder: Path) -> None:
    """The arrays and the table that the README describes; mirrored, a patient is another one."""
    folder.mkdir()
    patches = phantom_patches("lung", patients=32, seed=1)
    hu, mask = (np.concatenate([part, part[..., ::-1]]) for part in (patches.images, patches.masks))
    np.savez(folder / "images.npz", hu=hu, mask=mask)
    table = patches.table.rename(columns={"patient": "patient_id", "diameter_mm": "diameter"})
    table["texture"] = np.where(patches.labels == "solid", 5, 2)
    table["pixel_mm"] = table["spacing_x_mm"]
    table = pd.concat([table, table.assign(patient_id=table["patient_id"] + "-mirrored")])
    table[["patient_id", "diameter", "texture", "pixel_mm"]].to_csv(folder / "table.csv", index=False)


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """In this folder, and on one thread, as the suite's `one_thread` says why."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with contextlib.chdir(folder):
        try:
            yield
        finally:
            torch.set_num_threads(before)


def run(blocks, folder: Path) -> None:
    """Run the blocks of a page one after the other; their Python shares its names."""
    names: dict[str, object] = {}
    with working_in(folder):
        for block in blocks:
            if block.title or not block.is_run:
                continue
            if block.language == "python":
                exec(compile("\n" * block.line + block.text, block.page, "exec"), names)
            elif block.language == "sh":
                for words in block.commands:
                    run_command(words, block)


def run_command(words: list[str], block) -> None:
    """Run one command in this process; ``> FILE`` at its end takes what it prints."""
    program, *words = words
    if program != "lesionforge":
        pytest.fail(f"{block.where}: {program} is not run by tests; mark the block with its reason")
    words, into = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, "")
    words = [*words, *block.shortened(words)]
    if words[0] == "experiment" and not {"smoke", "--dry-run"} & set(words):
        pytest.fail(f"{block.where}: an experiment takes hours: shorten it to --scale smoke, or mark it as not run")
    printed, complaint = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaint), pytest.raises(SystemExit) as stop:
        main(["--quiet", *words])
    assert stop.value.code == 0, f"{block.where}: {shlex.join(words)}\n{complaint.getvalue()}"
    if into:
        Path(into).write_text(printed.getvalue(), encoding="utf-8")


def made_by(blocks) -> set[str]:
    """What a page's commands make, by the names that its commands give it."""
    shown = [block for block in blocks if block.language == "sh" and block.is_run]
    words = [word for block in shown for command in block.commands for word in command]
    return {made for option, made in pairwise(words) if option in {"--out", ">"}}


def test_the_readme_leads_to_a_verdict_samples_and_a_report(after_readme):
    assert (after_readme / "runs" / "lung" / "report.html").exists()
    assert (after_readme / "lung.png").exists()
    for picture in ("real_dcgan-non-solid.png", "synthetic_dcgan-non-solid.png"):  # the README shows the demo's
        assert (after_readme / "runs" / "lung" / "figures" / picture).exists()
    assert patches_file.load(after_readme / "solid.synthetic").is_synthetic.all()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_shows(page, blocks_of, after_readme, write_files, tmp_path, monkeypatch):
    blocks = blocks_of(page)
    if not any(block.is_run and block.language in {"sh", "python"} for block in blocks):
        pytest.skip("shows nothing that can be run")
    made = made_by(blocks)
    here = tmp_path / "here"
    shutil.copytree(after_readme, here, ignore=lambda _, names: {"runs"} | (made & set(names)))
    write_files(blocks, here, monkeypatch)
    run(blocks, here)


@pytest.mark.parametrize("page", [FRONT, *PAGES])
def test_json_is_json(page, blocks_of):
    for block in blocks_of(page):
        if block.language == "json":
            json.loads(block.text)
