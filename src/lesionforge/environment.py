"""What this installation can do, and what to do about what it cannot."""

import importlib.util
import os
import platform
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from lesionforge.extras import EXTRAS

CORE = ("numpy", "pandas", "scipy", "scikit-learn", "torch", "safetensors", "matplotlib")


@dataclass(frozen=True)
class Finding:
    """One thing looked at; ``advice`` is empty where nothing is amiss."""

    name: str
    state: str
    advice: str = ""


def examine() -> list[Finding]:
    """Look at Python, the packages, the devices and the optional extras."""
    import torch

    found = [Finding("lesionforge", version("lesionforge")), Finding("python", platform.python_version())]
    found += [_package(name) for name in CORE]
    found.append(Finding("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads used"))
    gpus = torch.cuda.device_count()
    for number in range(gpus):
        found.append(Finding(f"gpu {number}", torch.cuda.get_device_name(number)))
    if not gpus:
        found.append(Finding("gpu", "none", "training at published widths needs one; on a CPU use smaller widths"))
    return found + [_extra(extra, module) for extra, module in EXTRAS.items()]


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name))
    except PackageNotFoundError:
        return Finding(name, "missing", f"pip install {name}")


def _extra(extra: str, module: str) -> Finding:
    if importlib.util.find_spec(module):
        return Finding(extra, "installed")
    return Finding(extra, "not installed (optional)", f"pip install 'lesionforge[{extra}]'")
