#!/usr/bin/env python3
"""Set everything up, then do one thing: needs Python 3.11 or newer, and nothing else.

    python3 run.py demo     the demo experiment on the built-in CT phantom; ends with its report's path
    python3 run.py test     the tests (python3 run.py test -k splits: some of them)
    python3 run.py check    lint, format, types, layers

The environment goes into .venv; it is made once, and again when pyproject.toml or constraints.txt change. A machine
with a GPU: make .venv yourself, install the PyTorch build for it first, and it is kept.
"""

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE / ".venv"
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("lint-imports",),
)


def set_up(extras: str) -> None:
    """Make the environment, unless it is there and as wanted."""
    described = (HERE / "pyproject.toml").read_bytes() + (HERE / "constraints.txt").read_bytes()
    wanted = hashlib.sha256(described).hexdigest()
    stamp = VENV / f"installed{extras}"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    if not BIN.exists():
        print(f"making {VENV.name} …", flush=True)
        venv.create(VENV, with_pip=True)
    print("installing (some minutes the first time) …", flush=True)
    install = (BIN / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    subprocess.run([*install, "-c", "constraints.txt", "-e", f".{extras}"], cwd=HERE, check=True)
    # pyradiomics is built on the spot, by a compiler, with packages that it fails to ask for; all else works without.
    subprocess.run([*install, "-c", "constraints.txt", "setuptools", "wheel"], cwd=HERE, check=True)
    built = [*install, "-c", "constraints.txt", "--no-build-isolation", "pyradiomics"]
    if subprocess.run(built, cwd=HERE, check=False).returncode:
        print("pyradiomics could not be built (it needs a C compiler): radiomics will be left out", flush=True)
    stamp.write_text(wanted)


def main(task: str, *arguments: str) -> int:
    """Set up what a task needs, and run it."""
    if sys.version_info < (3, 11):
        print(f"LesionForge needs Python 3.11 or newer, but this is {sys.version.split()[0]}.")
        return 2
    if task == "demo":
        set_up("")
        return subprocess.run([BIN / "lesionforge", "demo", *arguments], cwd=HERE, check=False).returncode
    set_up("[dev]")
    if task == "test":
        return subprocess.run([BIN / "pytest", "-n", "auto", *arguments], cwd=HERE, check=False).returncode
    codes = [subprocess.run([BIN / name, *options], cwd=HERE, check=False).returncode for name, *options in CHECKS]
    return int(any(codes))


if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in {"demo", "test", "check"}:
        print(__doc__)
        sys.exit(2)
    sys.exit(main(*sys.argv[1:]))
