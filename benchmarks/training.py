"""DCGAN training images/s: LesionForge's loop beside a plain textbook loop, same networks, same machine, same run.

    python benchmarks/training.py [--batch 64] [--width 256] [--rounds 5]

The textbook loop is what the PyTorch tutorial on DCGAN teaches: binary cross-entropy against vectors of ones and
zeros, Adam, one step of each player a batch, contiguous layout, and no averaged generator. Ours does the same steps on
the same networks, and averages the generator besides. The two take turns; the medians over the rounds and the ratio
round by round are printed.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan, TrainingState

SIDE = 64


def textbook(method: DCGAN, patches: Patches) -> Callable[[], None]:
    """Make one step of the textbook loop."""
    networks = method.build(patches.shape)
    generator, discriminator = networks["generator"], networks["discriminator"]
    settings = {"lr": method.learning_rate, "betas": (method.beta1, method.beta2)}
    step_g = torch.optim.Adam(generator.parameters(), **settings)
    step_d = torch.optim.Adam(discriminator.parameters(), **settings)
    loss = nn.BCEWithLogitsLoss()
    images = torch.from_numpy(WINDOWS["lung"].to_symmetric(patches.images)).unsqueeze(1)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(images), batch_size=method.batch_size, shuffle=True, drop_last=True
    )
    batches = iter([])
    ones, zeros = torch.ones(method.batch_size), torch.zeros(method.batch_size)

    def step() -> None:
        nonlocal batches
        try:
            (real,) = next(batches)
        except StopIteration:
            batches = iter(loader)
            (real,) = next(batches)
        discriminator.zero_grad()
        loss(discriminator(real), ones).backward()
        fake = generator(torch.rand(method.batch_size, method.latent_size) * 2 - 1)
        loss(discriminator(fake.detach()), zeros).backward()
        step_d.step()
        generator.zero_grad()
        loss(discriminator(fake), ones).backward()
        step_g.step()

    return step


def ours(method: DCGAN, patches: Patches) -> Callable[[], None]:
    """Make one step of LesionForge's loop."""
    device = torch.device("cpu")
    return TrainingState(method, patches, window=WINDOWS["lung"], plan=TrainingPlan(), device=device).step


def convolution_rate(method: DCGAN) -> float:
    """FLOP/s of one large convolution of the generator's shape, forward: what this machine can do at best."""
    layer = nn.Conv2d(method.generator_width // 2, method.generator_width // 2, 5, padding=2)
    layer = layer.to(memory_format=torch.channels_last)
    image = torch.randn(64, method.generator_width // 2, 16, 16).to(memory_format=torch.channels_last)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        layer(image)
    with torch.no_grad():
        seconds = [timed(lambda: layer(image), 3) for _ in range(5)]
    return counter.get_total_flops() * 3 / min(seconds)


def timed(step: Callable[[], object], steps: int) -> float:
    """Seconds that so many steps take."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=256, help="channels at 4×4 of the generator (published: 1024)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6, help="steps a round")
    arguments = parser.parse_args()
    method = DCGAN(
        generator_width=arguments.width, discriminator_width=arguments.width // 8, batch_size=arguments.batch
    )
    rng = np.random.default_rng(0)
    noise = rng.normal(-700, 200, (512, SIDE, SIDE)).astype(np.int16)
    patches = Patches.of(noise, patient=[f"p{i}" for i in range(len(noise))], label="noise")
    loops = {"ours": ours(method, patches), "textbook": textbook(method, patches)}
    with FlopCounterMode(display=False) as counter:
        loops["ours"]()
    for step in loops.values():
        timed(step, 2)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(arguments.rounds):
        for name, step in loops.items():
            seconds[name].append(timed(step, arguments.steps))
    images = arguments.batch * arguments.steps
    rates = {name: images / statistics.median(values) for name, values in seconds.items()}
    ratios = [slow / fast for slow, fast in zip(seconds["textbook"], seconds["ours"], strict=True)]
    flops = counter.get_total_flops() / arguments.batch
    result = {
        "threads": torch.get_num_threads(),
        "batch": arguments.batch,
        "generator_width": arguments.width,
        "gflop_per_image": round(flops / 1e9, 3),
        "images_per_s": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_range": [round(min(ratios), 2), round(max(ratios), 2)],
        "share_of_convolution_rate": round(rates["ours"] * flops / convolution_rate(method), 2),
    }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
