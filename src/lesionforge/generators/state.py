"""A training in memory: networks, their average and optimisers, and one step of them all.

All randomness is derived from the seed and the number of the batch, so there is no generator whose state would have
to be saved, and a step does the same whether or not the run was taken up anew before it.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lesionforge.data.hounsfield import Window
from lesionforge.data.patch_table import Array
from lesionforge.data.patches import Patches
from lesionforge.generators.contract import Batch, GenerativeMethod, Moment, Networks, Player
from lesionforge.networks import channels_last, derived_seed, seeded, torch_generator
from lesionforge.settings import Count, CountOrZero, Rate


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train, and what to keep; lengths are counted in images shown to the discriminator."""

    images: CountOrZero = 0  # 0: the method's epochs over the training set
    seed: CountOrZero = 0
    average_half_life_images: Count = 5_000  # of the averaged generator; shorter at first (StyleGAN2-ADA's ramp)
    average_ramp: Rate = 0.1
    checkpoint_every_images: Count = 20_000
    grid_every_images: Count = 20_000
    log_every_images: Count = 1_000

    def with_seed(self, seed: int) -> "TrainingPlan":
        """Return the same plan with another seed."""
        return replace(self, seed=seed)


class TrainingState:
    """What changes from step to step when ``method`` is trained on ``patches``."""

    def __init__(
        self,
        method: GenerativeMethod,
        patches: Patches,
        *,
        window: Window,
        plan: TrainingPlan,
        device: torch.device,
    ) -> None:
        self.method, self.patches, self.window, self.plan, self.device = method, patches, window, plan, device
        self.labels = labels_told_apart(method, patches)
        self._numbers = pd.Index(self.labels, dtype=object).get_indexer(pd.Index(patches.labels))  # −1: none of them
        self.images_seen, self.batches_seen = 0, 0
        self._sums: dict[str, Tensor] = {}
        self._steps_summed = 0
        self._order: tuple[int, Any] = (-1, None)
        with seeded(plan.seed, "initial weights"):
            networks = method.build(patches.shape, len(self.labels))
        self.networks: Networks = channels_last(networks.to(device))
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        # Looked up once: walking the modules anew at every step would cost as much as a small convolution.
        self._averaged = [t for t in self.average.state_dict().values() if t.is_floating_point()]
        self._current = [t for t in self.generator.state_dict().values() if t.is_floating_point()]
        players: tuple[Player, ...] = ("generator", "discriminator")
        self.optimisers = {player: method.optimiser(player, self.networks[player].parameters()) for player in players}

    @property
    def generator(self) -> nn.Module:
        """The generator as it stands, not averaged."""
        return self.networks["generator"]

    def step(self) -> int:
        """Let the discriminator step, as often as the method says, the generator on the last fakes, and the average.

        Returns the number of images that the discriminator was shown.
        """
        before, discriminator = self.images_seen, self.networks["discriminator"]
        for remaining in reversed(range(self.method.critic_steps)):
            fake, moment = self._discriminator_step(for_generator=remaining == 0)
        # The generator's loss runs through the discriminator: without this its weights' gradients, a third of that
        # pass, would be worked out and thrown away.
        discriminator.requires_grad_(False)
        self._minimise("generator", self.method.generator_losses(self.networks, fake, moment))
        discriminator.requires_grad_(True)
        shown = self.images_seen - before
        self._update_average(shown)
        self._steps_summed += 1
        return shown

    def _discriminator_step(self, *, for_generator: bool) -> tuple[Batch, Moment]:
        """Return the fakes that the discriminator was shown, with the graph that made them if the generator is next."""
        seed, number = self.plan.seed, self.batches_seen
        torch.manual_seed(derived_seed(seed, "step", number))  # dropout and the like
        moment = Moment(self.images_seen, torch_generator(self.device, seed, "moment", number))
        real = self._real_batch(self.method.batch_size_at(self.images_seen))
        latent = self.method.latent(len(real.images), torch_generator(self.device, seed, "latent", number))
        with torch.set_grad_enabled(for_generator):
            fake = replace(real, images=self.method.synthesise(self.generator, latent, real, moment))
        detached = replace(fake, images=fake.images.detach())
        self._minimise("discriminator", self.method.discriminator_losses(self.networks, real, detached, moment))
        self.images_seen += len(real.images)
        self.batches_seen += 1
        return fake, moment

    def _minimise(self, player: Player, losses: Mapping[str, Tensor]) -> None:
        optimiser = self.optimisers[player]
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        share = 1 / self.method.critic_steps if player == "discriminator" else 1
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=self.device)) + share * value.detach()

    @torch.no_grad()
    def _update_average(self, shown: int) -> None:
        half_life = min(self.plan.average_half_life_images, self.plan.average_ramp * self.images_seen)
        keep = 0.5 ** (shown / max(half_life, 1e-8))
        torch._foreach_lerp_(self._averaged, self._current, 1 - keep)

    def _real_batch(self, size: int) -> Batch:
        """Rows in the order of one shuffle an epoch; a batch may reach from one epoch into the next."""
        rows = [self._row(position) for position in range(self.images_seen, self.images_seen + size)]
        patches = self.patches
        return Batch(
            images=self._on_device(self.window.to_symmetric(patches.images[rows])),
            labels=torch.from_numpy(self._numbers[rows]).to(self.device),
            masks=None if patches.masks is None else self._on_device(patches.masks[rows]),
        )

    def _on_device(self, values: Array) -> Tensor:
        return torch.from_numpy(values).unsqueeze(1).to(self.device, torch.float32)

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.patches))
        if self._order[0] != epoch:
            self._order = (
                epoch,
                np.random.default_rng([self.plan.seed, epoch]).permutation(len(self.patches)),
            )
        return int(self._order[1][place])

    def take_mean_losses(self) -> dict[str, float]:
        """Return the mean of each loss term since this was last called."""
        means = {name: float(total) / self._steps_summed for name, total in sorted(self._sums.items())}
        self._sums, self._steps_summed = {}, 0
        return means

    def not_finite(self) -> list[str]:
        """Name the loss terms and networks that hold a number that is not finite."""
        lost = [name for name, total in self._sums.items() if not torch.isfinite(total)]
        return lost + [
            f"the weights of the {player}"
            for player, network in self.networks.items()
            if not all(tensor.isfinite().all() for tensor in network.state_dict().values())
        ]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that `restore` needs, by name."""
        tensors = {f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"sums.{name}": total for name, total in self._sums.items()}
        tensors["steps_summed"] = torch.tensor(self._steps_summed)
        tensors["batches_seen"] = torch.tensor(self.batches_seen)
        for player, optimiser in self.optimisers.items():
            for number, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{player}.{number}.{name}": moment for name, moment in moments.items()}
        return tensors

    def restore(self, tensors: Mapping[str, Tensor], *, images_seen: int) -> None:
        """Take up the state that `tensors` gave after so many images."""
        self.networks.load_state_dict(_beneath("networks.", tensors))
        self.average.load_state_dict(_beneath("average.", tensors))
        for player, optimiser in self.optimisers.items():
            parameters = list(self.networks[player].parameters())
            moments: dict[int, dict[str, Tensor]] = {}
            for key, tensor in _beneath(f"optimiser.{player}.", tensors).items():
                number, _, moment = key.partition(".")
                moments.setdefault(int(number), {})[moment] = _laid_out_as(parameters[int(number)], tensor)
            optimiser.load_state_dict({**optimiser.state_dict(), "state": moments})
        self._sums = _beneath("sums.", tensors)
        self._steps_summed = int(tensors["steps_summed"])
        self.images_seen, self.batches_seen = images_seen, int(tensors["batches_seen"])


def labels_told_apart(method: GenerativeMethod, patches: Patches) -> tuple[str, ...]:
    """Return the classes by whose number a batch's images are labelled: a conditional method's all, or the only one."""
    return patches.classes if method.conditional or len(patches.classes) == 1 else ()


def _beneath(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """Give a moment its parameter's memory layout: a fused optimiser walks both side by side, whatever the strides."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment
