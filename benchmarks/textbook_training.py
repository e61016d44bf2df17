"""Training loops as tutorials teach them, for `training.py` to be compared with.

Adam as it comes, memory laid out as it comes, batches from a `DataLoader`, losses against vectors of ones and zeros,
every gradient worked out that `backward` works out, no averaged generator. Networks are the methods' own, computed as
plain PyTorch does; those that grow double and halve their features before or after a convolution, not in one with it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.generators.contract import GenerativeMethod, Networks
from lesionforge.generators.convolutions import plain
from lesionforge.generators.methods.progressive_wgan import DoublingConv, HalvingConv
from lesionforge.generators.pictures import outline

CLASSES = ("quiet", "noisy")
Shown = tuple[Tensor, Tensor, Tensor]  # images [B, 1, H, W], class numbers [B], outlines [B, 1, H, W]
Adams = dict[str, torch.optim.Adam]


def textbook(method: GenerativeMethod, patches: Patches, device: torch.device) -> Callable[[], None]:
    """Make one step of the textbook loop."""
    networks = method.build(patches.shape, len(CLASSES)).to(device)
    for layer in networks.modules():
        if isinstance(layer, DoublingConv | HalvingConv):
            layer.forward = partial(in_two if isinstance(layer, DoublingConv) else then_halve, layer)
    settings: Any = {"lr": method.learning_rate, "betas": (method.beta1, method.beta2)}
    adams = {player: torch.optim.Adam(network.parameters(), **settings) for player, network in networks.items()}
    batches = endless(patches, method.batch_size_at(10**9), device)
    step = STEPS[registry.name_of(method)]

    def plain_step() -> None:
        with plain():
            step(method, networks, adams, batches)

    return plain_step


def endless(patches: Patches, batch_size: int, device: torch.device) -> Iterator[Shown]:
    """Shuffled batches."""
    images = torch.from_numpy(WINDOWS["lung"].to_symmetric(patches.images)).unsqueeze(1)
    labels = torch.tensor([CLASSES.index(label) for label in patches.labels])
    outlines = outline(torch.tensor(patches.masks, dtype=torch.float32).unsqueeze(1))
    dataset = torch.utils.data.TensorDataset(images, labels, outlines)
    loader = torch.utils.data.DataLoader(dataset, batch_size=batch_size, shuffle=True, drop_last=True)
    while True:
        for batch in loader:
            yield tuple(part.to(device) for part in batch)


def dcgan_step(method: Any, networks: Networks, adams: Adams, batches: Iterator[Shown]) -> None:
    generator, discriminator = networks["generator"], networks["discriminator"]
    loss = nn.BCEWithLogitsLoss()
    real, _, _ = next(batches)
    ones, zeros = real.new_ones(len(real)), real.new_zeros(len(real))
    discriminator.zero_grad()
    loss(discriminator(real), ones).backward()
    fake = generator(real.new_empty(len(real), method.latent_size).uniform_(-1, 1))
    loss(discriminator(fake.detach()), zeros).backward()
    adams["discriminator"].step()
    generator.zero_grad()
    loss(discriminator(fake), ones).backward()
    adams["generator"].step()


def wgan_gp_step(
    method: Any, networks: Networks, adams: Adams, batches: Iterator[Shown], *, drift: float = 0, **grown: float
) -> None:
    """With the drift and how far the networks have grown, the step of progressive growing."""
    generator, critic = networks["generator"], partial(networks["discriminator"], **grown)
    for _ in range(method.critic_steps):
        real, _, _ = next(batches)
        fake = generator(real.new_empty(len(real), method.latent_size).normal_(), **grown).detach()
        share = torch.rand(len(real), 1, 1, 1, device=real.device)
        between = (share * real + (1 - share) * fake).requires_grad_(True)
        (slopes,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
        penalty = ((slopes.flatten(1).norm(dim=1) - 1) ** 2).mean()
        networks["discriminator"].zero_grad()
        on_real = critic(real)
        loss = critic(fake).mean() - on_real.mean() + method.penalty * penalty
        (loss + drift * (on_real**2).mean() if drift else loss).backward()
        adams["discriminator"].step()
    generator.zero_grad()
    (-critic(generator(real.new_empty(len(real), method.latent_size).normal_(), **grown)).mean()).backward()
    adams["generator"].step()


def progressive_step(method: Any, networks: Networks, adams: Adams, batches: Iterator[Shown]) -> None:
    grown = float(len(networks["generator"].blocks) - 1)
    wgan_gp_step(method, networks, adams, batches, drift=method.drift, grown=grown)


def acgan_step(method: Any, networks: Networks, adams: Adams, batches: Iterator[Shown]) -> None:
    generator, discriminator = networks["generator"], networks["discriminator"]

    def loss(images: Tensor, target: float, of_class: Tensor) -> Tensor:
        source, classes = discriminator(images)
        of_source = nn.BCEWithLogitsLoss()(source, torch.full_like(source, target))
        return of_source + nn.CrossEntropyLoss()(classes, of_class)

    real, labels, _ = next(batches)
    discriminator.zero_grad()
    loss(real, 1, labels).backward()
    asked = torch.randint(len(CLASSES), (len(real),), device=real.device)
    fake = generator(real.new_empty(len(real), method.latent_size).uniform_(-1, 1), asked)
    loss(fake.detach(), 0, asked).backward()
    adams["discriminator"].step()
    generator.zero_grad()
    loss(fake, 1, asked).backward()
    adams["generator"].step()


def pix2pix_step(method: Any, networks: Networks, adams: Adams, batches: Iterator[Shown]) -> None:
    generator, discriminator = networks["generator"], networks["discriminator"]

    def loss(images: Tensor, target: float) -> Tensor:
        scores = discriminator(torch.cat([images, picture], dim=1))
        return nn.BCEWithLogitsLoss()(scores, torch.full_like(scores, target))

    real, _, picture = next(batches)
    fake = generator(picture, method.latent(len(real), torch.default_generator).to(real.device))
    discriminator.zero_grad()
    ((loss(real, 1) + loss(fake.detach(), 0)) / 2).backward()
    adams["discriminator"].step()
    generator.zero_grad()
    (loss(fake, 1) + method.l1 * F.l1_loss(fake, real)).backward()
    adams["generator"].step()


def in_two(layer: DoublingConv, features: Tensor) -> Tensor:
    """Repeat pixels, then convolve."""
    return F.conv2d(F.interpolate(features, scale_factor=2), layer.weight * layer.scale, layer.bias, padding=1)


def then_halve(layer: HalvingConv, features: Tensor) -> Tensor:
    """Convolve, then average two by two pixels."""
    return F.avg_pool2d(F.conv2d(features, layer.weight * layer.scale, layer.bias, padding=1), 2)


STEPS = {
    "dcgan": dcgan_step,
    "wgan_gp": wgan_gp_step,
    "acgan": acgan_step,
    "pix2pix": pix2pix_step,
    "progressive_wgan": progressive_step,
}
