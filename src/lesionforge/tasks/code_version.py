"""Which code made a result: a part of its key, so that what other code made is never taken for it.

A number that is raised by hand would be forgotten. So it is a digest of the source of this package, but for the folders
that only show or serve results, and of the versions of the packages that compute.
"""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

from lesionforge.storage import digest

SHOWING = {"cli", "protocols", "reader_study", "report", "serving"}  # folders whose code decides no result
COMPUTING = ("numpy", "pandas", "scikit-image", "scikit-learn", "scipy", "torch")


@cache
def code_version() -> str:
    """Digest of the code that decides results; the same on every machine that has the same."""
    package = Path(__file__).parents[1]
    files = {file.relative_to(package).as_posix(): file for file in package.rglob("*.py")}
    sources = {
        name: hashlib.sha256(files[name].read_bytes()).hexdigest()
        for name in sorted(files)
        if SHOWING.isdisjoint(Path(name).parts)
    }
    return digest([sources, {name: version(name) for name in COMPUTING}])
