"""Features that autoencoders learn without labels, layer by layer.

S. S. Ghosal, I. Sarkar, I. El Hallaoui (CALM), Health Search and Data Mining Workshop 2020, sections 3.2 to 4 and
algorithm 1: each layer learns to encode its input and decode it again (weights not tied), by stochastic gradient
descent on the mean square error; then it is frozen, and what it encodes, pooled, is the next layer's input. "A
mini-batch size of 100 samples and 150 iterations for each batch": every batch is shown 150 times. Not printed and
decided here: the error is taken as a share of the mean square of a layer's input, which for deeper layers is a
hundredth of that of pixels, so that one learning rate serves all; the learning rate and a momentum; decoders are
linear, since what they reconstruct has no upper bound; denoising, where it is asked for, adds Gaussian noise in
proportion to the spread of a layer's input.
"""

from abc import abstractmethod
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.classifiers.contract import Arrays, Facts, FloatArray
from lesionforge.classifiers.decision import AnyDecision
from lesionforge.classifiers.decisions.calm import CALM
from lesionforge.classifiers.described import DescribingClassifier
from lesionforge.classifiers.search import TunedRate
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.errors import TrainingDivergedError
from lesionforge.networks import channels_last, load_state, memory_kept, seeded
from lesionforge.progress import Progress
from lesionforge.settings import Count, Share

ENCODED_AT_ONCE = 64
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer: what encodes its input, what decodes that again, and what leads on to the next layer."""

    encode: nn.Module
    decode: nn.Module
    lead_on: nn.Module


@dataclass(frozen=True)
class AutoencoderClassifier(DescribingClassifier):
    """Base of the autoencoders: a decision on what the last layer leads on to."""

    decision: AnyDecision = field(default_factory=CALM)
    passes: Count = 150
    batch_size: Count = 100
    learning_rate: TunedRate = 2e-3
    momentum: Share = 0.9
    noise: Share = 0.0  # standard deviation of what is to be removed, as a share of the input's; 0: no denoising

    @abstractmethod
    def layers(self, shape: tuple[int, ...]) -> list[Layer]:
        """Make the layers, with their initial weights; the first takes [B, 1, *shape] in [0, 1]."""

    def learn(self, train: Patches, facts: Facts, *, seed: int, progress: Progress) -> tuple[Arrays, pd.DataFrame]:
        """Learn each layer's encoder.

        The history has a row a pass, with ``reconstruction_error``: the mean square error over the input's mean square.
        """
        images = _images(train, facts.window)
        rows: list[dict[str, float]] = []
        with seeded("autoencoder", seed), memory_kept():
            layers = self.layers(facts.shape)
            before = nn.Sequential()
            rng = np.random.default_rng(seed)
            for number, layer in enumerate(layers, start=1):
                channels_last(layer.encode)
                name = f"layer {number} of {len(layers)} of {registry.name_of(self)}"
                with progress.work(name, self.passes * len(images), unit="images") as advance:
                    optimiser = torch.optim.SGD(
                        [*layer.encode.parameters(), *layer.decode.parameters()],
                        lr=self.learning_rate,
                        momentum=self.momentum,
                    )
                    for _ in range(self.passes):
                        error = self._pass(layer, before, images, optimiser, rng)
                        shown = (len(rows) + 1) * len(images)
                        rows.append({"images_shown": shown, "layer": number, "reconstruction_error": error})
                        advance(len(images), error=error)
                before = nn.Sequential(*before, layer.encode, layer.lead_on)
        return {name: tensor.numpy() for name, tensor in before.state_dict().items()}, pd.DataFrame(rows)

    def describe(self, patches: Patches, facts: Facts, learnt: Arrays) -> FloatArray:
        """What the last layer leads on to, [N, F]."""
        with torch.random.fork_rng():  # the initial weights are drawn for nothing
            layers = self.layers(facts.shape)
        encoder = nn.Sequential(*(part for layer in layers for part in (layer.encode, layer.lead_on)))
        weights = {name: torch.from_numpy(array) for name, array in learnt.items()}
        load_state(channels_last(encoder), weights, of=registry.name_of(self))
        with torch.no_grad():
            parts = [encoder(part) for part in torch.split(_images(patches, facts.window), ENCODED_AT_ONCE)]
        return torch.cat(parts).flatten(1).double().numpy()

    def _pass(
        self,
        layer: Layer,
        before: nn.Module,
        images: Tensor,
        optimiser: torch.optim.Optimizer,
        rng: np.random.Generator,
    ) -> float:
        """Show each image once; return the mean square error over the input's mean square."""
        errors = []
        order = rng.permutation(len(images))
        for rows in np.array_split(order, -(-len(order) // self.batch_size)):
            with torch.no_grad():
                inputs = before(images[torch.from_numpy(rows)])
            corrupted = inputs + self.noise * inputs.std() * torch.randn_like(inputs) if self.noise else inputs
            optimiser.zero_grad(set_to_none=True)
            loss = F.mse_loss(layer.decode(layer.encode(corrupted)), inputs) / inputs.square().mean().clamp(min=TINY)
            loss.backward()
            optimiser.step()
            errors.append(loss.item())
        error = float(np.mean(errors))
        if not np.isfinite(error):
            raise TrainingDivergedError(
                f"the reconstruction error of {registry.name_of(self)} stopped being finite: lower its learning rate "
                "(--set learning_rate=…)."
            )
        return error


def _images(patches: Patches, window: Window) -> Tensor:
    return torch.from_numpy(window.to_unit_interval(patches.images)).unsqueeze(1)
