"""Training images/s: LesionForge's loop beside a plain textbook loop, same networks, same machine, same run.

    python benchmarks/training.py [--method dcgan|wgan_gp|acgan] [--batch 64] [--width 256] [--rounds 5]

The textbook loop is what tutorials teach: for DCGAN and ACGAN binary cross-entropy against vectors of ones and zeros
and one step of each player a batch, for WGAN-GP as many steps of the critic as the paper has to one of the generator on
fakes of its own; Adam, contiguous layout, and no averaged generator. Ours does the same steps on the same networks, and
averages the generator besides. The two take turns; printed are the medians over the rounds and the ratio round by
round. Images are counted as the discriminator is shown them.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lesionforge import registry
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.generators import methods
from lesionforge.generators.dc_structured import DCStructured
from lesionforge.generators.state import TrainingPlan, TrainingState

SIDE = 64
CLASSES = ("quiet", "noisy")


def textbook(method: DCStructured, patches: Patches) -> Callable[[], None]:
    """Make one step of the textbook loop."""
    networks = method.build(patches.shape, len(CLASSES))
    settings = {"lr": method.learning_rate, "betas": (method.beta1, method.beta2)}
    adams = {player: torch.optim.Adam(network.parameters(), **settings) for player, network in networks.items()}
    batches = endless(patches, method.batch_size)
    step = {"dcgan": dcgan_step, "wgan_gp": wgan_gp_step, "acgan": acgan_step}[registry.name_of(method)]
    return lambda: step(method, networks, adams, batches)


def endless(patches: Patches, batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Shuffled batches of images and class numbers."""
    images = torch.from_numpy(WINDOWS["lung"].to_symmetric(patches.images)).unsqueeze(1)
    labels = torch.tensor([CLASSES.index(label) for label in patches.labels])
    dataset = torch.utils.data.TensorDataset(images, labels)
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    while True:
        yield from loader


def dcgan_step(method, networks, adams, batches) -> None:  # type: ignore[no-untyped-def]
    generator, discriminator = networks["generator"], networks["discriminator"]
    ones, zeros = torch.ones(method.batch_size), torch.zeros(method.batch_size)
    loss = nn.BCEWithLogitsLoss()
    real, _ = next(batches)
    discriminator.zero_grad()
    loss(discriminator(real), ones).backward()
    fake = generator(torch.rand(method.batch_size, method.latent_size) * 2 - 1)
    loss(discriminator(fake.detach()), zeros).backward()
    adams["discriminator"].step()
    generator.zero_grad()
    loss(discriminator(fake), ones).backward()
    adams["generator"].step()


def wgan_gp_step(method, networks, adams, batches) -> None:  # type: ignore[no-untyped-def]
    generator, critic = networks["generator"], networks["discriminator"]
    for _ in range(method.critic_steps):
        real, _ = next(batches)
        fake = generator(torch.randn(method.batch_size, method.latent_size)).detach()
        share = torch.rand(method.batch_size, 1, 1, 1)
        between = (share * real + (1 - share) * fake).requires_grad_(True)
        (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = ((slopes.flatten(1).norm(dim=1) - 1) ** 2).mean()
        critic.zero_grad()
        (critic(fake).mean() - critic(real).mean() + method.penalty * penalty).backward()
        adams["discriminator"].step()
    generator.zero_grad()
    (-critic(generator(torch.randn(method.batch_size, method.latent_size))).mean()).backward()
    adams["generator"].step()


def acgan_step(method, networks, adams, batches) -> None:  # type: ignore[no-untyped-def]
    generator, discriminator = networks["generator"], networks["discriminator"]
    ones, zeros = torch.ones(method.batch_size), torch.zeros(method.batch_size)

    def loss(images: Tensor, target: Tensor, of_class: Tensor) -> Tensor:
        source, classes = discriminator(images)
        return nn.BCEWithLogitsLoss()(source, target) + nn.CrossEntropyLoss()(classes, of_class)

    real, labels = next(batches)
    discriminator.zero_grad()
    loss(real, ones, labels).backward()
    asked = torch.randint(len(CLASSES), (method.batch_size,))
    fake = generator(torch.rand(method.batch_size, method.latent_size) * 2 - 1, asked)
    loss(fake.detach(), zeros, asked).backward()
    adams["discriminator"].step()
    generator.zero_grad()
    loss(fake, ones, asked).backward()
    adams["generator"].step()


def ours(method: DCStructured, patches: Patches) -> Callable[[], None]:
    """Make one step of LesionForge's loop."""
    device = torch.device("cpu")
    return TrainingState(method, patches, window=WINDOWS["lung"], plan=TrainingPlan(), device=device).step


class Flops(TorchDispatchMode):
    """Counts what convolutions and matrix products cost; torch's own counter stumbles over a gradient penalty."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            self.total += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def convolution_rate(method: DCStructured) -> float:
    """FLOP/s of one large convolution of the generator's shape, forward: what this machine can do at best."""
    layer = nn.Conv2d(method.generator_width // 2, method.generator_width // 2, 5, padding=2)
    layer = layer.to(memory_format=torch.channels_last)
    image = torch.randn(64, method.generator_width // 2, 16, 16).to(memory_format=torch.channels_last)
    with torch.no_grad(), Flops() as counter:
        layer(image)
    with torch.no_grad():
        seconds = [timed(lambda: layer(image), 3) for _ in range(5)]
    return counter.total * 3 / min(seconds)


def timed(step: Callable[[], object], steps: int) -> float:
    """Seconds that so many steps take."""
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--method", default="dcgan", choices=["dcgan", "wgan_gp", "acgan"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=256, help="channels at 4×4 of the generator (published: 1024)")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6, help="steps a round")
    arguments = parser.parse_args()
    method = registry.class_named(methods, arguments.method, DCStructured)(
        generator_width=arguments.width, discriminator_width=arguments.width // 8, batch_size=arguments.batch
    )
    rng = np.random.default_rng(0)
    noise = rng.normal(-700, 200, (512, SIDE, SIDE)).astype(np.int16)
    patches = Patches.of(noise, patient=[f"p{i}" for i in range(len(noise))], label=list(CLASSES) * (len(noise) // 2))
    loops = {"ours": ours(method, patches), "textbook": textbook(method, patches)}
    with Flops() as counter:
        loops["ours"]()
    for step in loops.values():
        timed(step, 2)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(arguments.rounds):
        for name, step in loops.items():
            seconds[name].append(timed(step, arguments.steps))
    images = arguments.batch * arguments.steps * method.critic_steps
    rates = {name: images / statistics.median(values) for name, values in seconds.items()}
    ratios = [slow / fast for slow, fast in zip(seconds["textbook"], seconds["ours"], strict=True)]
    flops = counter.total / (arguments.batch * method.critic_steps)
    result = {
        "method": arguments.method,
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
