"""Several processes, one training: each works on its rows of every batch, and what they find is added up.

Start them with ``torchrun --nproc-per-node 2 --no-python lesionforge train …``, one for each GPU; without GPUs they
share the processors. All read the patches and hold the same weights; the first alone writes.

A batch is cut into parts, one for each process, or several on which it works in turn where one would not fit into
memory. Losses are means over images, so a batch's gradient is the sum of its parts', each weighed by its share of the
images. Gradients are added once a step, as one long vector, and not while they are still found as in torch's
`DistributedDataParallel`: that counts on one forward pass to each backward pass, but a discriminator is shown real and
fake images, and a gradient penalty differentiates twice.

Random numbers are drawn for the whole batch, and each part takes its rows. So the number of processes and of parts
changes results by rounding alone, save for what a network gathers over a batch or draws by itself: batch statistics
other than batch normalisation's (`MinibatchDeviation`), spectral normalisation, which iterates once for each part, and
dropout. Batch normalisation is worked out over all processes, but for each turn by itself.
"""

import atexit
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode

from lesionforge.errors import LesionForgeError

# B images of a batch, C channels

TOLD_BY_TORCHRUN = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"}

N = TypeVar("N", bound=nn.Module)


@dataclass(frozen=True)
class Part:
    """Rows of a batch that are worked on at once."""

    start: int
    stop: int
    whole: int  # rows of the batch

    @property
    def is_whole(self) -> bool:
        """Whether these are all."""
        return self.weight == 1

    @property
    def weight(self) -> float:
        """Share of the batch's rows."""
        return (self.stop - self.start) / self.whole

    @property
    def rows(self) -> slice:
        """The rows, of anything that has one for each image of the batch."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Team:
    """The processes of a training, as one of them sees it."""

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes."""
        return self.rank == 0

    def parts(self, whole: int, *, turns: int) -> list[Part]:
        """Return this process's parts of a batch of ``whole`` images, on which it works one after the other.

        Raises
        ------
        LesionForgeError
            There are more parts than images.
        """
        parts = self.size * turns
        if parts > whole:
            raise LesionForgeError(
                f"a batch must have an image for each of {self.size} processes times {turns} turns, but {whole} came: "
                "raise batch_size, or lower accumulate or the number of processes."
            )
        bounds = [whole * part // parts for part in range(parts + 1)]
        first = self.rank * turns
        return [Part(bounds[part], bounds[part + 1], whole) for part in range(first, first + turns)]

    @torch.no_grad()
    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size == 1 or not tensors:
            return
        together = torch.cat([tensor.flatten() for tensor in tensors])
        _all_reduce(together)
        start = 0
        for tensor in tensors:
            tensor.copy_(together[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    def led(self, action: Callable[[], object]) -> bool:
        """Let the first process alone act, while the others wait; return in all whether its answer was true.

        Raises
        ------
        LesionForgeError
            It failed; in the first process the error is its own.
        """
        if self.size == 1:
            return bool(action())
        answer = False
        failure: Exception | None = None
        if self.is_first:
            try:
                answer = bool(action())
            except Exception as error:  # noqa: BLE001 (raised again, once the others know)
                failure = error
        device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        told = torch.tensor([float(answer), float(failure is not None)], device=device)
        _all_reduce(told)
        if failure:
            raise failure
        if told[1]:
            raise LesionForgeError("the first process of this training failed, and says why: this one ends with it.")
        return bool(told[0])


ALONE = Team()


@contextmanager
def joined(device: torch.device) -> Iterator[Team]:
    """Join the processes that torchrun started, if it did, each with its own GPU if ``device`` is one.

    Raises
    ------
    LesionForgeError
        There are more processes than GPUs.
    """
    if not _has_others():
        yield ALONE
        return
    if device.type == "cuda":
        place, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if place >= there or device != torch.device("cuda"):
            raise LesionForgeError(
                f"each process on a machine takes a GPU of its own, and there are {there}: start as many processes "
                "(--nproc-per-node), with --device cuda, or use --device cpu."
            )
        torch.cuda.set_device(place)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
        atexit.register(distributed.destroy_process_group)  # no sooner: a group that has gone cannot form again
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
    except BaseException:
        # To leave the group would be to wait for the others, whom torchrun ends once this process is gone.
        atexit.unregister(distributed.destroy_process_group)
        raise


def announces() -> bool:
    """Whether this process, of those that torchrun started if it did, tells the user what has been done."""
    return not _has_others() or os.environ["RANK"] == "0"


def _has_others() -> bool:
    return os.environ.keys() >= TOLD_BY_TORCHRUN and os.environ["WORLD_SIZE"] != "1"


def _all_reduce(values: Tensor) -> None:
    """Replace values by their sums over all processes."""
    try:
        distributed.all_reduce(values)
    except RuntimeError as error:
        raise LesionForgeError(
            "the processes of this training have lost each other: the first message of another one says why."
        ) from error


class drawn_for_the_whole(TorchFunctionMode):  # noqa: N801 (used as a function)
    """Inside the block, what is drawn from a generator for each row of a part is drawn for the batch, and cut."""

    def __init__(self, part: Part) -> None:
        super().__init__()
        self.part = part

    def __torch_function__(
        self,
        func: Callable[..., Tensor],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func``, if it draws with the shape of the batch."""
        kwargs = kwargs or {}
        if kwargs.get("generator") is None:
            return func(*args, **kwargs)
        fixed = {torch.rand: 0, torch.randn: 0, torch.randint: len(args) - 1}[func]  # others are not cut, so not known
        size = args[fixed:] if isinstance(args[fixed], int) else tuple(args[fixed])
        part = self.part
        if size[0] != part.stop - part.start:
            return func(*args, **kwargs)
        return func(*args[:fixed], (part.whole, *size[1:]), **kwargs)[part.rows]


class SyncedBatchNorm(_BatchNorm):
    """Batch normalisation over the images of all processes.

    Differentiable twice, on any device and over any number of axes: torch's `SyncBatchNorm` is for GPUs, and once.
    """

    def _check_input_dim(self, _features: Tensor) -> None:
        """Any will do."""

    def forward(self, features: Tensor) -> Tensor:
        """[B, C, …], normalised along C; with the running statistics when it is evaluated."""
        if not self.training:
            return super().forward(features)
        along_channels = (1, -1, *[1] * (features.ndim - 2))
        others = [axis for axis in range(features.ndim) if axis != 1]
        values = features.float()
        here = values.new_full((1,), values.numel() / values.shape[1])
        count, total = _summed(torch.cat([here, values.sum(others)])).tensor_split([1])
        centred = values - (total / count).view(along_channels)
        variance = _summed(centred.square().sum(others)) / count
        self._follow(total / count, variance * count / (count - 1))
        scaled = centred * (torch.rsqrt(variance + self.eps) * self.weight).view(along_channels)
        return (scaled + self.bias.view(along_channels)).to(features.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.momentum is not None
        for running, found in ((self.running_mean, mean), (self.running_var, variance)):
            assert running is not None
            running.lerp_(found, self.momentum)
        assert self.num_batches_tracked is not None
        self.num_batches_tracked += 1


def synced(network: N, team: Team) -> N:
    """Let batch normalisation inside a network work over all processes of a team, if there are several."""
    if team.size > 1:
        for parent in network.modules():
            for name, child in parent.named_children():
                if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
                    everywhere = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
                    everywhere.load_state_dict(child.state_dict())
                    setattr(parent, name, everywhere.to(child.weight.device))
    return network


class _Sum(Function):
    @staticmethod
    def forward(_ctx: Any, values: Tensor) -> Tensor:
        total = values.clone()
        _all_reduce(total)
        return total

    @staticmethod
    def backward(_ctx: Any, gradient: Tensor) -> Tensor:
        # Every process's loss follows from this sum: their gradients by it add up, too.
        return _summed(gradient)


_summed: Callable[..., Tensor] = _Sum.apply
