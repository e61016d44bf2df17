"""A training in memory: networks, their average and optimisers, and one step of them all.

All randomness is derived from the seed and the number of the batch, so there is no generator whose state would have
to be saved, and a step does the same whether or not the run was taken up anew before it. Several processes may work on
a batch, each on a part of it, in one turn or several (`generators.distributed`).
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.generators.contract import Batch, GenerativeMethod, Moment, Networks, Player
from lesionforge.generators.distributed import ALONE, Part, Team, drawn_for_the_whole, synced
from lesionforge.generators.real_batch import real_batch
from lesionforge.networks import derived_seed, seeded, torch_generator
from lesionforge.settings import Count, CountOrZero, Rate, Share


@dataclass(frozen=True)
class WatchPlan:
    """When samples are held against validation patients, if there are any, and what follows (`generators.watch`)."""

    every_images: Count = 10_000
    samples: Count = 256
    patience_images: CountOrZero = 0  # stop when the distance has not fallen for so long; 0: never
    copied_share: Share = 0.5  # warn if more of the samples lie nearer to training than the nearest 5 % of patients
    stop_at_copying: bool = False


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train, what to keep, and how to compute; lengths are counted in images shown to the discriminator.

    accumulate
        Work on each batch in so many parts, one after the other, for the memory of one. The step is the same but for
        what networks gather over a batch (see `generators.distributed`).
    precision
        Of convolutions and matrix products. Weights, their average, gradient penalties and losses are in float32 at any
        rate. ``auto`` is bfloat16 on GPUs that have it, and float32 on CPUs, which are slower with the other.
    compile
        Let torch compile the networks, which takes it a minute or so: for GPUs. Gradient penalties are not compiled.
    """

    images: CountOrZero = 0  # 0: the method's epochs over the training set
    seed: CountOrZero = 0
    average_half_life_images: Count = 5_000  # of the averaged generator; shorter at first (StyleGAN2-ADA's ramp)
    average_ramp: Rate = 0.1
    checkpoint_every_images: Count = 20_000
    grid_every_images: Count = 20_000
    log_every_images: Count = 1_000
    watch: WatchPlan = WatchPlan()
    accumulate: Count = 1
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    compile: bool = False

    def with_seed(self, seed: int) -> "TrainingPlan":
        """Return the same plan with another seed."""
        return replace(self, seed=seed)


@dataclass
class _Work:
    """What one process works on at once: a part of a batch, and the random numbers of its fakes."""

    part: Part
    number: int  # of the batch
    latent: Tensor
    real: Batch
    moment: Moment
    fake: Batch | None = None  # with the graph that made it, if that is kept


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
        team: Team = ALONE,
    ) -> None:
        self.method, self.patches, self.window, self.plan = method, patches, window, plan
        self.device, self.team = device, team
        self.labels = labels_told_apart(method, patches)
        self._numbers = pd.Index(self.labels, dtype=object).get_indexer(pd.Index(patches.labels))  # −1: none of them
        self.images_seen, self.batches_seen = 0, 0
        self._sums: dict[str, Tensor] = {}
        self._steps_summed = 0
        self._order: tuple[int, Any] = (-1, None)
        with seeded(plan.seed, "initial weights"):
            networks = method.build(patches.shape, len(self.labels))
        self.networks: Networks = method.place(synced(networks, team), device)
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        # Looked up once: walking the modules anew at every step would cost as much as a small convolution.
        self._averaged = [t for t in self.average.state_dict().values() if t.is_floating_point()]
        self._current = [t for t in self.generator.state_dict().values() if t.is_floating_point()]
        players: tuple[Player, ...] = ("generator", "discriminator")
        self.optimisers = {
            player: method.optimiser(player, self.networks[player].parameters())
            for player in players
            if player in self.networks
        }
        self._in_bfloat16 = uses_bfloat16(plan.precision, device)
        for network in self.networks.values():
            if self._in_bfloat16:
                network.register_forward_hook(_in_float32)
            if plan.compile:
                network.compile()

    @property
    def generator(self) -> nn.Module:
        """The generator as it stands, not averaged."""
        return self.networks["generator"]

    def step(self) -> int:
        """Let the discriminator step, as often as the method says, the generator on the last fakes, and the average.

        Returns the number of images that were shown.
        """
        before, players = self.images_seen, self.networks.items()
        adversary = nn.ModuleList(network for player, network in players if player == "discriminator")
        for remaining in reversed(range(self.method.critic_steps)):
            works = self._works(self.method.batch_size_at(self.images_seen))
            # The graphs of several parts' fakes would take the memory that working in parts is to save.
            keep_graph = remaining == 0 and len(works) == 1
            if adversary:
                self._minimise("discriminator", works, partial(self._discriminator_losses, keep_graph=keep_graph))
            self.images_seen += works[0].part.whole
            self.batches_seen += 1
        # The generator's loss runs through the discriminator: without this its weights' gradients, a third of that
        # pass, would be worked out and thrown away.
        adversary.requires_grad_(False)
        self._minimise("generator", works, self._generator_losses)
        adversary.requires_grad_(True)
        shown = self.images_seen - before
        self._update_average(shown)
        self._steps_summed += 1
        return shown

    def _works(self, whole: int) -> list[_Work]:
        """Return what this process works on of the next batch, of so many images."""
        number = self.batches_seen
        latent = self.method.latent(whole, torch_generator(self.device, self.plan.seed, "latent", number))
        return [
            _Work(part, number, latent[part.rows], self._real_batch(part), Moment(self.images_seen, self._rng(number)))
            for part in self.team.parts(whole, turns=self.plan.accumulate)
        ]

    def _rng(self, number: int) -> torch.Generator:
        return torch_generator(self.device, self.plan.seed, "moment", number)

    def _discriminator_losses(self, work: _Work, *, keep_graph: bool) -> Mapping[str, Tensor]:
        with torch.set_grad_enabled(keep_graph):
            fake = self._fake(work, work.moment)
        work.fake = fake if keep_graph else None
        detached = replace(fake, images=fake.images.detach())
        return self.method.discriminator_losses(self.networks, work.real, detached, work.moment)

    def _generator_losses(self, work: _Work) -> Mapping[str, Tensor]:
        fake = work.fake or self._fake(work, replace(work.moment, rng=self._rng(work.number)))
        return self.method.generator_losses(self.networks, fake, work.moment)

    def _fake(self, work: _Work, moment: Moment) -> Batch:
        turn = () if work.part.is_whole else (work.part.start,)
        torch.manual_seed(derived_seed(self.plan.seed, "step", work.number, *turn))  # dropout and the like
        return self.method.fakes(self.generator, work.latent, work.real, moment)

    def _minimise(
        self, player: Player, works: Sequence[_Work], losses_of: Callable[[_Work], Mapping[str, Tensor]]
    ) -> None:
        """Take a step down the sum of the losses' means over the whole batch."""
        optimiser = self.optimisers[player]
        optimiser.zero_grad(set_to_none=True)
        means: dict[str, Tensor] = {}
        for work in works:
            with self._computing(work.part):
                losses = losses_of(work)
            (work.part.weight * torch.stack(list(losses.values())).sum()).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                means[name] = work.part.weight * value.detach() + means.get(name, 0)
        gradients = [weight.grad for weight in self.networks[player].parameters() if weight.grad is not None]
        self.team.add_up([*gradients, *means.values()])
        optimiser.step()
        share = 1 / self.method.critic_steps if player == "discriminator" else 1
        for name, value in means.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=self.device)) + share * value

    @contextmanager
    def _computing(self, part: Part) -> Iterator[None]:
        """Compute in the plan's precision, random numbers being those of the whole batch."""
        with ExitStack() as stack:
            if self._in_bfloat16:
                stack.enter_context(torch.autocast(self.device.type, torch.bfloat16))
            if not part.is_whole:
                stack.enter_context(drawn_for_the_whole(part))
            yield

    @torch.no_grad()
    def _update_average(self, shown: int) -> None:
        half_life = min(self.plan.average_half_life_images, self.plan.average_ramp * self.images_seen)
        keep = 0.5 ** (shown / max(half_life, 1e-8))
        torch._foreach_lerp_(self._averaged, self._current, 1 - keep)

    def _real_batch(self, part: Part) -> Batch:
        """Rows in the order of one shuffle an epoch; a batch may reach from one epoch into the next."""
        positions = range(self.images_seen + part.start, self.images_seen + part.stop)
        return self.batch_of([self._row(position) for position in positions])

    def batch_of(self, rows: Sequence[int]) -> Batch:
        """Rows of the training set, and what the method is shown of them."""
        return real_batch(
            self.method, self.patches, rows, labels=self._numbers[rows], window=self.window, device=self.device
        )

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


def uses_bfloat16(precision: str, device: torch.device) -> bool:
    """Whether a plan's precision means bfloat16 on this device."""
    if precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return precision == "bfloat16"


def _in_float32(_network: nn.Module, _inputs: object, outputs: Tensor | tuple[Tensor, ...]) -> Any:
    """Hand on what networks give as losses need it: means of bfloat16 would have three digits."""
    return outputs.float() if isinstance(outputs, Tensor) else tuple(output.float() for output in outputs)


def _beneath(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """Give a moment its parameter's memory layout: a fused optimiser walks both side by side, whatever the strides."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment
