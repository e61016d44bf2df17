"""Weights that were learnt elsewhere: read without running any code in them, checked, and put into a network.

A file is safetensors, or what `torch.save` wrote (``.pth``), which is opened as weights only. Publishers wrap them: in
a ``state_dict`` beside other things, with names under ``module.``, and with a dense layer for their own classes at the
end. That layer is left out; everything else must fit a network name by name and size by size, because a network half
of whose weights are random learns as well, only worse, and nobody would notice.
"""

import urllib.error
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.networks import load_tensors

NONE = "none"  # in the place of a file: weights are drawn
OWN_CLASSES = ("fc.", "classifier.", "conv_seg.")  # what publishers' networks end with
IMAGENET = "https://download.pytorch.org/models/"  # torchvision's; the name holds the start of the checksum


def read_weights(path: Path | str) -> dict[str, Tensor]:
    """Return the tensors of a file by name.

    Raises
    ------
    StorageError
        The file is missing, damaged, of another kind, or holds more than tensors.
    """
    path = Path(path)
    if path.suffix == ".safetensors":
        return load_tensors(path)
    if not path.is_file():
        raise StorageError(f"pretrained must be a file of weights or {NONE!r}, but there is no file {path}.")
    try:
        with warnings.catch_warnings(action="ignore"):  # of how the file is written; what matters is an error
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises whatever a damaged file leads it to
        raise StorageError(
            f"{path} must hold weights as torch.save or safetensors write them, and no other objects, but it cannot be "
            f"read ({type(error).__name__}): fetch it again."
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(map(_is_tensor, content.items())):
        raise StorageError(f"{path} must hold a network's weights by name, but it holds something else.")
    return {name.removeprefix("module."): tensor for name, tensor in content.items()}


def imagenet_weights(file: str) -> dict[str, Tensor]:
    """Return torchvision's weights of this file name from torch's cache, or download them there.

    Raises
    ------
    LesionForgeError
        They are not in the cache, and the network does not answer.
    StorageError
        What came is not what was published.
    """
    try:
        return torch.hub.load_state_dict_from_url(
            IMAGENET + file, map_location="cpu", progress=False, check_hash=True, weights_only=True
        )
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise LesionForgeError(
            f"weights from ImageNet are not in {torch.hub.get_dir()}/checkpoints and cannot be downloaded ({error}): "
            f"fetch {IMAGENET + file} elsewhere and name the file with --set pretrained=FILE, or start from random "
            f"weights with --set pretrained={NONE}."
        ) from error
    except Exception as error:
        raise StorageError(
            f"{torch.hub.get_dir()}/checkpoints/{file} is not what was published ({type(error).__name__}): delete it "
            "and try again."
        ) from error


def put_in(network: nn.Module, weights: Mapping[str, Tensor], *, of: str, partly: bool = False) -> None:
    """Put weights into all of a network but its last dense layer, ``fc``.

    Parameters
    ----------
    of
        Names the network for the error.
    partly
        Take what fits, and leave the rest as it was drawn.

    Raises
    ------
    StorageError
        Something is missing, superfluous or of another size; or, ``partly``, nothing fits.
    """
    own = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}
    given = {name: tensor for name, tensor in weights.items() if not name.startswith(OWN_CLASSES)}
    fitting = {name: tensor for name, tensor in given.items() if name in own and tensor.shape == own[name].shape}
    # Files from before torch counted the batches that a norm has seen lack that count, which only a norm without
    # momentum looks at.
    missing = [name for name in own if name not in fitting and not name.endswith("num_batches_tracked")]
    surplus = [name for name in given if name not in fitting]
    if (missing or surplus) and not partly:
        first = next(iter(missing or surplus))
        raise StorageError(
            f"the weights must be those of {of}, but {len(missing)} of its {len(own)} tensors are missing or of "
            f"another size and {len(surplus)} of {len(given)} in the file do not belong to it (the first is {first!r}: "
            f"{_size(own, first)} wanted, {_size(given, first)} came): choose the file of this network, or take what "
            "fits with --set partly=true."
        )
    if not fitting:
        raise StorageError(f"none of the file's {len(given)} tensors fits {of}: choose the file of this network.")
    network.load_state_dict(fitting, strict=False)


def _is_tensor(item: tuple[Any, Any]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)


def _size(tensors: Mapping[str, Tensor], name: str) -> str:
    return "×".join(map(str, tensors[name].shape)) if name in tensors else "none"
