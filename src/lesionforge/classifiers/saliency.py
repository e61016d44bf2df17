"""Where a network looks: Grad-CAM, faithful where a network does not end in a global average.

R. R. Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", ICCV 2017:
the maps of a convolutional layer, weighed by the gradient of the class's score on them, summed, without what is
negative. Grad-CAM weighs a whole map by its mean gradient; here each place has its own (HiResCAM: R. L. Draelos, L.
Carin, 2020, arXiv:2011.08891). Behind a global average that is the same, and the class activation map of Zhou et al.
(2016); behind a dense layer on all places, as in the small CNNs, it shows what was used rather than an average of
opposite signs.

The score is the class's logit less the mean of the others: of two classes a network may say all by the logit of the
one, and the other's alone would be an empty picture. The layer is found, not named: among all maps that the score
hangs on, the last ones that are as large as what the last convolution gives.

A map shows where evidence was found, not that the evidence is sound.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.classifiers.contract import FittedClassifier, FloatArray
from lesionforge.classifiers.network import FittedNetwork, device_of, tensor_of
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.networks import listening

UPSAMPLING = {2: "bilinear", 3: "trilinear"}  # by number of axes
MOST_DRAWN = 16  # patches on one picture
TOP_COLOUR_SHARE = 0.5  # of a pixel where the map is 1

# B batch, C channels, N patches.


def saliency(members: Sequence[FittedClassifier], patches: Patches, codes: NDArray[np.int64]) -> FloatArray:
    """Where the members find each patch's class of number ``codes`` [N]; [N, *shape], the greatest of each patch 1.

    Raises
    ------
    LesionForgeError
        A member is no network, or has no convolution, or the patches do not fit.
    """
    total = np.zeros((len(patches), *patches.shape))
    for member in members:
        if not isinstance(member, FittedNetwork):
            raise LesionForgeError(
                f"a picture of where a classifier looks needs a network, but {registry.name_of(member.method)} is none."
            )
        member.facts.check_fit(patches)
        inputs = tensor_of(patches, member.facts.window).to(device_of(member.network))
        found = [grad_cam(member.network, inputs[row : row + 1], int(code)) for row, code in enumerate(codes)]
        total += torch.cat(found).double().cpu().numpy()
    return _to_one(total)


def grad_cam(network: nn.Module, inputs: Tensor, code: int) -> Tensor:
    """Grad-CAM of class ``code`` against the others, [B, 1, *shape] → [B, *shape], at least 0."""
    maps: list[tuple[Tensor, bool]] = []

    def keep(module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == inputs.ndim and output.shape[2:].numel() > 1:
            maps.append((output, isinstance(module, (nn.Conv2d, nn.Conv3d))))

    leaves = [module for module in network.modules() if not any(True for _ in module.children())]
    with listening(leaves, keep), torch.enable_grad():
        logits = network.eval()(inputs.detach().requires_grad_(True))
        others = (logits.sum(dim=1) - logits[:, code]) / (logits.shape[1] - 1)
        score = (logits[:, code] - others).sum()
        outputs = [output for output, _ in maps]
        gradients = torch.autograd.grad(score, outputs, allow_unused=True) if outputs else ()
    used = [(output, slope, conv) for (output, conv), slope in zip(maps, gradients, strict=True) if slope is not None]
    sizes = [output.shape[2:] for output, _, convolution in used if convolution]
    if not sizes:
        raise LesionForgeError("a picture of where a network looks needs maps, but its classes hang on no convolution.")
    output, slope = [(output, slope) for output, slope, _ in used if output.shape[2:] == sizes[-1]][-1]
    evidence = (slope * output).sum(dim=1).relu()
    axes = inputs.ndim - 2
    return F.interpolate(evidence.unsqueeze(1), inputs.shape[2:], mode=UPSAMPLING[axes])[:, 0].detach()


def overlay(patches: Patches, maps: FloatArray, window: Window, *, zoom: int = 3) -> NDArray[np.uint8]:
    """Lay each patch beside itself under its map, one above the other: [height, width, 3] of 8-bit colours.

    Of 3-D patches the slice in which the map is strongest.
    """
    images = np.asarray(patches.images)
    if images.ndim == 4:
        strongest = maps.max(axis=(2, 3)).argmax(axis=1)
        images, maps = (array[np.arange(len(array)), strongest] for array in (images, maps))
    grey = window.to_unit_interval(images)[..., None].repeat(3, axis=-1)
    share = TOP_COLOUR_SHARE * maps[..., None]
    coloured = (1 - share) * grey + share * mpl.colormaps["inferno"](maps)[..., :3]
    pairs = np.concatenate([grey, coloured], axis=2)
    sheet = pairs.reshape(-1, *pairs.shape[2:]).repeat(zoom, axis=0).repeat(zoom, axis=1)
    return np.asarray(np.rint(sheet * 255).astype(np.uint8))


def _to_one(maps: FloatArray) -> FloatArray:
    greatest = maps.max(axis=tuple(range(1, maps.ndim)), keepdims=True)
    return np.asarray(maps / np.where(greatest > 0, greatest, 1))
