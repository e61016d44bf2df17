"""The class head of an ACGAN's discriminator, as a classifier in its own right.

M. Frid-Adar et al., Neurocomputing 321 (2018), section 4.5, "ACGAN discriminator": the GAN is trained on the training
set, and what its discriminator says of the class is the prediction. See `generators.methods.acgan`.
"""

import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import pandas as pd
import torch
from torch import Tensor, nn

from lesionforge import registry
from lesionforge.classifiers.contract import Arrays, Classifier, Facts
from lesionforge.classifiers.network import FittedNetwork, restored, tensor_of
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train as train_generator
from lesionforge.generators.training_folder import STATE, read_log
from lesionforge.networks import channels_last, choose_device, load_state, load_tensors, seeded
from lesionforge.progress import Progress
from lesionforge.settings import CountOrZero
from lesionforge.storage import check_files, read_json

DISCRIMINATOR = "networks.discriminator."


@dataclass(frozen=True)
class ACGANHead(Classifier):
    """Trains an ACGAN for a set length and keeps its discriminator."""

    paper: ClassVar[str] = "Frid-Adar et al. 2018, after Odena et al. 2017"

    gan: ACGAN = field(default_factory=ACGAN)
    max_images: CountOrZero = 0  # shown to the discriminator; 0: the epochs of ``gan``
    checkpoint: str = ""  # the folder of an ACGAN that was trained on the same classes; empty: train one

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """As the GAN."""
        self.gan.check_shape(shape)

    def restored(self, facts: Facts, arrays: Arrays) -> FittedNetwork:
        """Build the discriminator again, with these weights."""
        return restored(self, facts, Head(self._discriminator(facts)), arrays)

    def _fit(
        self, facts: Facts, train: Patches, validation: Patches | None, seed: int, progress: Progress
    ) -> FittedNetwork:
        if validation is not None:
            facts.codes(validation)  # their classes must be known, though their patients decide nothing
        if self.checkpoint:
            method, facts = self._taken_over(facts)
            return method._head_of(Path(self.checkpoint), facts, train)
        with tempfile.TemporaryDirectory() as folder:
            plan = TrainingPlan(images=self.max_images, seed=seed)
            path = Path(folder) / "acgan"
            train_generator(self.gan, train, path, plan=plan, window=facts.window, progress=progress)
            return self._head_of(path, facts, train)

    def _taken_over(self, facts: Facts) -> tuple["ACGANHead", Facts]:
        """Return this method and what it is fitted on as the given checkpoint has it, whose patients count as seen."""
        opened = checkpoint.load(self.checkpoint)
        subject = opened.subject
        if not isinstance(opened.method, ACGAN):
            raise LesionForgeError(
                f"the checkpoint must be an ACGAN's, but {self.checkpoint} is one of "
                f"{registry.name_of(opened.method)}: name another, or leave checkpoint empty and one is trained."
            )
        if (subject.labels, subject.shape, subject.window) != (facts.classes, facts.shape, facts.window):
            raise LesionForgeError(
                f"the ACGAN in {self.checkpoint} must have learnt {', '.join(facts.classes)} from patches of "
                f"{facts.shape} in the window {facts.window.name}, but it has learnt {', '.join(subject.labels)} from "
                f"{subject.shape} in {subject.window.name}: leave checkpoint empty and one is trained."
            )
        return replace(self, gan=opened.method), replace(facts, exposure=facts.exposure | subject.exposure)

    def _head_of(self, folder: Path, facts: Facts, train: Patches) -> FittedNetwork:
        """Open the discriminator that a training has left in its folder; its norms are set by the training patches."""
        discriminator = self._discriminator(facts)
        load_state(discriminator, _discriminator_weights(folder), of=f"the discriminator of the ACGAN in {folder}")
        device = choose_device()
        real = torch.split(2 * tensor_of(train, facts.window) - 1, self.gan.batch_size)
        network = self.gan.as_classifier(discriminator.to(device), [batch.to(device) for batch in real])
        history = pd.DataFrame(read_log(folder)).rename(columns={"images_seen": "images_shown"})
        return FittedNetwork(self, facts, Head(network), history)

    def _discriminator(self, facts: Facts) -> nn.Module:
        with seeded():  # the weights that are drawn here are replaced
            return channels_last(self.gan.build(facts.shape, len(facts.classes))["discriminator"])


class Head(nn.Module):
    """[B, 1, y, x] in [0, 1] → logits of the classes [B, K]."""

    def __init__(self, discriminator: nn.Module) -> None:
        super().__init__()
        self.discriminator = discriminator

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, y, x] → [B, K]."""
        return self.discriminator(2 * images - 1)[1]  # type: ignore[no-any-return]


def _discriminator_weights(folder: Path) -> dict[str, Tensor]:
    """Read the discriminator out of what a training keeps to go on with; raise StorageError if it is gone."""
    manifest = read_json(folder / STATE, of="a training")
    check_files(folder, manifest["files"])
    (file,) = manifest["files"]
    weights = load_tensors(folder / file)
    return {name.removeprefix(DISCRIMINATOR): t for name, t in weights.items() if name.startswith(DISCRIMINATOR)}
