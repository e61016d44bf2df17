"""The methods that docs/how_to/new_method.md shows fulfil the contracts, in a copy of the package that holds them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

PAGE = "docs/how_to/new_method.md"
NAMES = ("lsgan", "ring_profile")


def test_the_methods_shown_fulfil_their_contracts(blocks_of, root, tmp_path):
    copy = shutil.copytree(root / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    files = [block for block in blocks_of(PAGE) if block.title]
    assert tuple(Path(block.title).stem for block in files) == NAMES
    for block in files:
        (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    contracts = [f"tests/contracts/test_{kind}.py" for kind in ("generators", "classifiers")]
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *contracts, "-k", " or ".join(NAMES))
    tested = subprocess.run(
        command,
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout[-3000:] + tested.stderr[-3000:]
    assert " passed" in tested.stdout.splitlines()[-1]
