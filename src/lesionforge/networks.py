"""What every network needs: a device, a seed, memory, a count of its parameters, and files without pickle."""

import ctypes
import hashlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from lesionforge.errors import LesionForgeError, StorageError


def choose_device(name: str = "auto") -> torch.device:
    """Return the named device, or with ``auto`` the first GPU there is, else the CPU."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise LesionForgeError(f"device {name!r} cannot be used here ({error}): use 'cpu' or 'auto'.") from error
    return device


def derived_seed(*parts: object) -> int:
    """Seed of 63 bits that depends on all of ``parts``; the same on every machine."""
    text = "\x1f".join(map(str, parts))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def torch_generator(device: torch.device, *parts: object) -> torch.Generator:
    """Random-number generator on ``device``, seeded from ``parts``."""
    return torch.Generator(device).manual_seed(derived_seed(*parts))


@contextmanager
def seeded(*parts: object) -> Iterator[None]:
    """Seed torch's global generator (initial weights, dropout) inside the block, and restore it after."""
    with torch.random.fork_rng():
        torch.manual_seed(derived_seed(*parts))
        yield


@contextmanager
def memory_kept() -> Iterator[None]:
    """Inside the block, keep the memory that one step's tensors give back for the next step's; after it, let it go.

    By default glibc returns the top of its heap to the system after each step, and asks for it again, page by page, in
    the next, which takes a third of the time of a small network's training on a CPU. The most that is taken at a time
    stays the same. Does nothing where the C library is another one.
    """
    adjust = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if adjust is None:
        yield
        return
    adjust(_MMAP_THRESHOLD, _LARGEST_IN_HEAP)
    adjust(_TRIM_THRESHOLD, _NEVER)
    try:
        yield
    finally:
        adjust(_TRIM_THRESHOLD, 2 * _LARGEST_IN_HEAP)  # what glibc's own adjusting arrives at
        ctypes.CDLL(None).malloc_trim(0)


_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt(3)
_LARGEST_IN_HEAP = 32 << 20  # the most that mallopt takes; what is larger goes back to the system at once
_NEVER = 2**31 - 1

N = TypeVar("N", bound=nn.Module)


@contextmanager
def listening(
    modules: Iterable[nn.Module], note: Callable[[nn.Module, tuple[Tensor, ...], Any], None]
) -> Iterator[None]:
    """Inside the block, ``note(module, inputs, output)`` after each forward pass of modules in this very thread.

    Hooks are the network's, and so heard in all threads that use it at the same time.
    """
    here = threading.get_ident()

    def own(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        if threading.get_ident() == here:
            note(module, inputs, output)

    hooks = [module.register_forward_hook(own) for module in modules]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def channels_last(network: N) -> N:
    """Lay the weights of 2-D convolutions out with channels last, which CPUs and GPUs multiply faster."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            # Not by `to`: weights of one channel are in either order to it, and would keep the strides of the other,
            # whose order the features behind them would then take up.
            laid_out = torch.empty_like(parameter, memory_format=torch.channels_last)
            parameter.data = laid_out.copy_(parameter.detach())
    return network


def parameter_count(network: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors to a safetensors file. Shared storage is written once for each name."""
    # Written by Python: of a full disk safetensors itself tells in words alone, without the number of the error.
    path.write_bytes(save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}))


def load_tensors(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Read a safetensors file; raise StorageError if it is missing, cut short or something else."""
    try:
        return load_file(path, device=str(device))
    except (SafetensorError, OSError) as error:
        raise StorageError(f"{path} must be a safetensors file, but {error}.") from error


def load_state(network: nn.Module, tensors: Mapping[str, Tensor], *, of: str) -> None:
    """Put tensors into a network, which must have exactly these; ``of`` names them for the error."""
    try:
        network.load_state_dict(dict(tensors))
    except RuntimeError as error:
        raise StorageError(f"the weights do not fit {of}: {' '.join(str(error).split()[:40])}…") from error
