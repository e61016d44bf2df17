"""A model as one ONNX file: from intensities to calibrated probabilities, the members' mean, verified.

What the file computes begins with the window and ends with the calibration, so that whoever runs it elsewhere can get
neither wrong. It does not refuse: what is unlike the training patches gets probabilities as well, and its user must be
told so. Before it is handed out, onnxruntime runs it on patches in, at the edge of and beyond the window, in batches of
different size, and the file is kept only if it says what the model says.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lesionforge import registry
from lesionforge.classifiers.calibration import LEAST_PROBABILITY, Calibration, Isotonic, Scaling
from lesionforge.classifiers.model import Model
from lesionforge.classifiers.network import FittedNetwork
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.extras import check_extra
from lesionforge.networks import seeded
from lesionforge.storage import new_file, refuse_existing

AGREE_WITHIN = 1e-5  # of a probability
BATCHES = (1, 2, 5)

# N patches, K classes.


class Together(nn.Module):
    """[N, *shape] in the patches' unit → mean probability of the members [N, K]."""

    def __init__(self, members: list[FittedNetwork], window: Window) -> None:
        super().__init__()
        self.networks = nn.ModuleList(member.network.cpu() for member in members)
        self.calibrations = nn.ModuleList(_calibrating(member.calibration) for member in members)
        self.centre, self.half_width = (window.high + window.low) / 2, (window.high - window.low) / 2

    def forward(self, images: Tensor) -> Tensor:
        """[N, *shape] → [N, K]."""
        inputs = (((images - self.centre) / self.half_width).clamp(-1, 1) + 1) / 2
        each = [
            calibrate(torch.softmax(network(inputs.unsqueeze(1)).double(), dim=1))
            for network, calibrate in zip(self.networks, self.calibrations, strict=True)
        ]
        return torch.stack(each).mean(dim=0).float()


class Scaled(nn.Module):
    """As `Scaling.apply`."""

    slope: Tensor
    bias: Tensor

    def __init__(self, scaling: Scaling) -> None:
        super().__init__()
        self.register_buffer("slope", torch.from_numpy(scaling.slope))
        self.register_buffer("bias", torch.from_numpy(scaling.bias))

    def forward(self, probability: Tensor) -> Tensor:
        """[N, K] → [N, K]."""
        return torch.softmax(self.slope * probability.clamp(min=LEAST_PROBABILITY).log() + self.bias, dim=1)


class Interpolated(nn.Module):
    """As `Isotonic.apply`."""

    def __init__(self, isotonic: Isotonic) -> None:
        super().__init__()
        self.classes = len(isotonic.points)
        for k, (known, given) in enumerate(isotonic.points):
            # Two points at least: what lies beyond the ends is as at the ends.
            self.register_buffer(f"from_{k}", torch.from_numpy(np.append(known, known[-1] + 1)))
            self.register_buffer(f"to_{k}", torch.from_numpy(np.append(given, given[-1])))

    def forward(self, probability: Tensor) -> Tensor:
        """[N, K] → [N, K]."""
        found = torch.stack([self._one(probability[:, k], k) for k in range(self.classes)], dim=1)
        return found / found.sum(dim=1, keepdim=True)

    def _one(self, values: Tensor, k: int) -> Tensor:
        known, given = self.get_buffer(f"from_{k}"), self.get_buffer(f"to_{k}")
        after = (values[:, None] >= known[None]).sum(dim=1).clamp(1, len(known) - 1)
        share = ((values - known[after - 1]) / (known[after] - known[after - 1])).clamp(0, 1)
        return given[after - 1] + share * (given[after] - given[after - 1])


def write_onnx(model: Model, path: Path) -> Path:
    """Write the model to ``path``: input ``images`` [N, *shape], output ``probability`` [N, K], any N.

    Raises
    ------
    LesionForgeError
        The extra is not installed, a member is no network, or the file would not say what the model says.
    StorageError
        ``path`` exists.
    """
    check_extra("onnx", needed_by="export")
    members = [member for member in model.members if isinstance(member, FittedNetwork)]
    if len(members) < len(model.members):
        raise LesionForgeError(
            f"a model can be written as ONNX if it is a network, but {registry.name_of(model.members[0].method)} is "
            "none: predict with LesionForge instead."
        )
    refuse_existing(path)
    facts = model.facts
    together = Together(members, facts.window).eval()
    with new_file(path) as partial:
        _export(together, facts.shape, partial)
        _describe(partial, model)
        _verify(partial, model)
    return path


def _export(together: nn.Module, shape: tuple[int, ...], path: Path) -> None:
    # Torch's older exporter, of which it warns: the newer one needs another package and twenty times as long, for the
    # same file. What is written is verified whichever wrote it.
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(
            together,
            (torch.zeros(2, *shape),),
            path,
            input_names=["images"],
            output_names=["probability"],
            dynamic_axes={"images": {0: "patches"}, "probability": {0: "patches"}},
            dynamo=False,
        )


def _describe(path: Path, model: Model) -> None:
    """Say in the file what it takes and gives."""
    import onnx

    content = onnx.load(path)
    facts = {name: str(value) for name, value in model.summary.items() if name != "patients_seen"}
    onnx.helper.set_model_props(content, facts | {"refuses": "False"})
    onnx.save(content, path)


def _verify(path: Path, model: Model) -> None:
    import onnxruntime

    session: Any = onnxruntime.InferenceSession(  # type: ignore[attr-defined]
        path, providers=["CPUExecutionProvider"]
    )
    facts = model.facts
    low, high = facts.window.low, facts.window.high
    with seeded("onnx"):
        drawn = [low + (high - low) * (2 * torch.rand(count, *facts.shape) - 0.5) for count in BATCHES]
    for images in drawn:
        patches = Patches.of(images.numpy(), patient=["drawn"] * len(images), unit=facts.window.unit)
        (given,) = session.run(["probability"], {"images": images.numpy()})
        worst = float(np.abs(given - model.answer(patches).probability).max())
        if not worst <= AGREE_WITHIN:
            raise LesionForgeError(
                f"the ONNX file must say what the model says, but a probability is off by {worst:.2g}: it was not "
                "kept; predict with LesionForge instead, and report this."
            )


def _calibrating(calibration: Calibration | None) -> nn.Module:
    if isinstance(calibration, Scaling):
        return Scaled(calibration)
    return Interpolated(calibration) if isinstance(calibration, Isotonic) else nn.Identity()
