"""Training images/s: LesionForge's loop beside a plain textbook loop, same networks, same machine, same run.

    python benchmarks/training.py [--method all] [--device cpu|cuda] [--rounds 7] [--narrower 4]

The textbook loop is what tutorials teach, on the same networks as plain PyTorch computes them (`textbook_training.py`).
Ours takes the same steps, and averages the generator besides. Batches are as published, 64×64 pixels; networks are a
few times as narrow, see the table that is printed, and progressive growing is at its last resolution.

Each loop lives in a process of its own, whose peak memory is told, its program and PyTorch included (on a GPU: what
PyTorch had reserved for tensors at most). The processes take turns, and so does a third, which times one large
convolution: the medians over the rounds are printed, and of the ratios, formed round by round, the range as well.
Images are counted as the discriminator is shown them. The last column is what the convolutions and matrix products of
our step cost, as PyTorch counts them, each second, over what the large convolution reaches.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection

import numpy as np
import torch
from textbook_training import CLASSES, textbook
from torch.nn import functional as F  # noqa: N812
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lesionforge import registry
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.generators import methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan, TrainingState

SIDE, PATCHES = 64, 512
NARROWER = {"dcgan": 4, "wgan_gp": 4, "acgan": 2, "pix2pix": 2, "progressive_wgan": 8}
WIDTHS = ("generator_width", "discriminator_width", "width")
AT_LAST_RESOLUTION = {"stable_images": 1, "fade_images": 1}
LOOPS = ("ours", "textbook", "convolution")
ROUND_S = 2.0  # about
Step = Callable[[], object]


@dataclass(frozen=True)
class Report:
    """What a process says once it has taken its turns."""

    peak_mb: float
    flop: float  # of a step; 0 of the textbook, which is not asked


def method_named(name: str, narrower: int) -> GenerativeMethod:
    """Make a method with all its widths so many times as narrow as published."""
    method: GenerativeMethod = registry.class_named(methods, name, GenerativeMethod)()
    widths = {width: getattr(method, width) // narrower for width in WIDTHS if hasattr(method, width)}
    growth = AT_LAST_RESOLUTION if name == "progressive_wgan" else {}
    return replace(method, **widths, **growth)


def noise() -> Patches:
    """Make images and masks to learn from; what they show does not matter to speed."""
    images = np.random.default_rng(0).normal(-700, 200, (PATCHES, SIDE, SIDE)).astype(np.int16)
    masks = np.zeros_like(images, dtype=np.uint8)
    masks[:, SIDE // 4 : -SIDE // 4, SIDE // 4 : -SIDE // 4] = 1
    labels = list(CLASSES) * (PATCHES // len(CLASSES))
    return Patches.of(images, masks=masks, patient=[f"p{number}" for number in range(PATCHES)], label=labels)


def step_of(loop: str, method: GenerativeMethod, device: torch.device) -> Step:
    """Make what one process does over and over."""
    if loop == "ours":
        return TrainingState(method, noise(), window=WINDOWS["lung"], plan=TrainingPlan(), device=device).step
    if loop == "textbook":
        return textbook(method, noise(), device)
    image = torch.randn(64, 128, 16, 16, device=device).to(memory_format=torch.channels_last)
    kernel = torch.randn(128, 128, 5, 5, device=device).to(memory_format=torch.channels_last)
    return lambda: F.conv2d(image, kernel, padding=2)


def take_turns(loop: str, method: GenerativeMethod, device: torch.device, parent: Connection) -> None:
    """Take as many steps as the parent says, and say how long they took; at 0, report and end."""
    step = step_of(loop, method, device)
    while steps := parent.recv():
        start = time.perf_counter()
        for _ in range(steps):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()
        parent.send(time.perf_counter() - start)
    if device.type == "cuda":
        peak_mb = torch.cuda.max_memory_reserved() / 2**20
    else:
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    with Flops() as counter:
        step()
    parent.send(Report(peak_mb, counter.total))


class Flops(TorchDispatchMode):
    """Counts what convolutions and matrix products cost; torch's own counter stumbles over a gradient penalty."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def row(name: str, narrower: int, rounds: int, device: torch.device) -> dict[str, object]:
    """Measure one method; return its row of the table."""
    method, context = method_named(name, narrower), get_context("spawn")
    ends = {loop: context.Pipe() for loop in LOOPS}
    for loop, (_, far) in ends.items():
        context.Process(target=take_turns, args=(loop, method, device, far), daemon=True).start()

    def seconds_of(loop: str, steps: int) -> float:
        ends[loop][0].send(steps)
        return ends[loop][0].recv() / steps

    steps = {}
    for loop in LOOPS:
        seconds_of(loop, 2)  # memory is laid out, and progressive growing reaches its last resolution
        steps[loop] = max(1, round(ROUND_S / seconds_of(loop, 1)))
    seconds = {loop: np.empty(rounds) for loop in LOOPS}
    for turn in range(rounds):
        for loop in LOOPS:
            seconds[loop][turn] = seconds_of(loop, steps[loop])
    reports: dict[str, Report] = {}
    for loop, (near, _) in ends.items():
        near.send(0)
        reports[loop] = near.recv()
    ratios = seconds["textbook"] / seconds["ours"]
    batch = method.batch_size_at(10**9)
    images = batch * method.critic_steps
    rate = reports["ours"].flop / seconds["ours"] / (reports["convolution"].flop / seconds["convolution"])
    return {
        "method": name,
        "batch": batch,
        "width": f"1/{narrower}",
        "images/s": f"{images / statistics.median(seconds['ours']):.3g}",
        "textbook": f"{images / statistics.median(seconds['textbook']):.3g}",
        "ratio": f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})",
        "peak MB": f"{reports['ours'].peak_mb:.0f}",
        "textbook MB": f"{reports['textbook'].peak_mb:.0f}",
        "GFLOP/image": f"{reports['ours'].flop / images / 1e9:.3g}",
        "textbook GFLOP": f"{reports['textbook'].flop / images / 1e9:.3g}",
        "of the convolution's FLOP/s": f"{statistics.median(rate):.2f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="all", choices=["all", *NARROWER])
    parser.add_argument("--narrower", type=int, help="so many times as narrow as published; 1 needs a GPU or patience")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, {arguments.device}\n")
    names = list(NARROWER) if arguments.method == "all" else [arguments.method]
    for place, name in enumerate(names):
        found = row(name, arguments.narrower or NARROWER[name], arguments.rounds, torch.device(arguments.device))
        if not place:
            print(f"| {' | '.join(found)} |\n|{'---|' * len(found)}")
        print(f"| {' | '.join(map(str, found.values()))} |", flush=True)


if __name__ == "__main__":
    main()
