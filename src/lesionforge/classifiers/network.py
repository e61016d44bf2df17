"""The one loop that fits every classifier that is a network.

A network method says how the network looks and which optimiser it takes, and, where it is not cross-entropy alone, what
is minimised; batches, class weights, early stopping on validation patients, seeds and the device are here. Lengths are
counted in images shown, because regimes with more data would otherwise also train for longer, and the comparison
would be of two things at once.
"""

import copy
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry
from lesionforge.classifiers.contract import Arrays, Classifier, Facts, FittedClassifier, FloatArray
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, TrainingDivergedError
from lesionforge.networks import (
    channels_last,
    choose_device,
    listening,
    load_state,
    memory_kept,
    parameter_count,
    seeded,
)
from lesionforge.progress import Progress
from lesionforge.settings import Count, CountOrZero

PREDICT_PIXELS = 2**20  # at once: 256 pictures of 64×64, 8 volumes of 32×64×64

# B batch, K classes, F features


@dataclass(frozen=True, kw_only=True)
class LabelledBatch:
    """What a step learns from."""

    images: Tensor  # [B, 1, *shape] in [0, 1]
    targets: Tensor  # [B] int64: number of the class
    masks: Tensor | None  # [B, 1, *shape], 1 in the lesion; None where not every patch has one
    class_weights: Tensor | None  # [K]; None: each patch counts the same


@dataclass(frozen=True)
class NetworkClassifier(Classifier):
    """A classifier that is a network, fitted by gradient descent."""

    batch_size: Count = 64
    epochs: Count = 1
    max_images: CountOrZero = 0  # an upper bound on images shown, whatever the epochs say; 0: none
    patience_images: CountOrZero = 0  # stop when the validation loss has not fallen for so long; 0: never
    patience_epochs: CountOrZero = 0  # the same, counted as `epochs` is
    check_every_images: Count = 1_000  # the validation loss is looked at
    class_weights: bool = True  # weigh each class by the inverse of its share

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Make the network: [B, 1, *shape] in [0, 1] → logits [B, K], with its initial weights.

        Its last `nn.Linear` is what gives the logits: what that layer is shown are the features.
        """

    @abstractmethod
    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser."""

    def losses(self, network: nn.Module, batch: LabelledBatch) -> Mapping[str, Tensor]:
        """Return the terms that a step minimises the sum of; augmentation that is drawn anew each time is done here.

        Raises
        ------
        LesionForgeError
            The patches lack something that is learnt from, such as masks.
        """
        return {"class": F.cross_entropy(network(batch.images), batch.targets, weight=batch.class_weights)}

    def before_fitting(self, network: nn.Module) -> None:
        """Put in weights that were learnt elsewhere; nothing, unless a method says otherwise."""

    def before_step(self, network: nn.Module, images_shown: int) -> None:
        """Freeze or thaw parts of the network, which is in training mode; nothing, unless a method says otherwise."""

    def _fit(
        self, facts: Facts, train: Patches, validation: Patches | None, seed: int, progress: Progress
    ) -> "FittedNetwork":
        with seeded("classifier", seed), memory_kept():
            network = channels_last(self.build(facts.shape, len(facts.classes)))
            self.before_fitting(network)
            inputs, targets = tensor_of(train, facts.window), torch.from_numpy(facts.codes(train))
            for module in network.modules():
                if isinstance(module, MeanImage):
                    module.mean.copy_(inputs.mean(dim=0))
            masks = None if train.masks is None else torch.tensor(train.masks).unsqueeze(1)
            fitting = _Fitting(self, network.to(choose_device()), inputs, targets, masks=masks)
            if validation is not None:
                fitting.validate_on(tensor_of(validation, facts.window), torch.from_numpy(facts.codes(validation)))
            history = fitting.run(np.random.default_rng(seed), progress)
        return FittedNetwork(self, facts, network, history)

    def restored(self, facts: Facts, arrays: Arrays) -> "FittedNetwork":
        """Build the network again, with these weights."""
        return restored(self, facts, self.build(facts.shape, len(facts.classes)), arrays)


_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class MeanImage(nn.Module):
    """Subtracts the mean training image, [B, 1, *shape] → the same."""

    mean: Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, *shape))

    def forward(self, images: Tensor) -> Tensor:
        """[B, 1, *shape] → the same."""
        return images - self.mean


class _Fitting:
    """One fit: gradient descent, with the weights of the best validation loss kept."""

    def __init__(
        self, method: NetworkClassifier, network: nn.Module, inputs: Tensor, targets: Tensor, *, masks: Tensor | None
    ) -> None:
        self.method, self.network = method, network
        self.inputs, self.targets, self.masks = inputs, targets, masks
        self.device = device_of(network)
        self.batches_an_epoch = -(-len(inputs) // method.batch_size)
        self.patience = method.patience_images or method.patience_epochs * len(inputs)
        counts = torch.bincount(targets).clamp(min=1)
        weight = (len(targets) / (len(counts) * counts)).to(self.device)
        self.weight = weight if method.class_weights else None
        self.validation: tuple[Tensor, Tensor] | None = None
        self.history: list[dict[str, float]] = []
        self.losses: list[dict[str, float]] = []
        self.best = float("inf")
        self.best_at = 0
        self.best_state: dict[str, Tensor] | None = None
        if len(inputs) // self.batches_an_epoch < 2 and any(isinstance(module, _NORMS) for module in network.modules()):
            raise LesionForgeError(
                f"{registry.name_of(method)} standardises over each batch, which must hold 2 patches or more, but "
                f"batches of {method.batch_size} of {len(inputs)} patches leave one alone: set another batch_size."
            )

    def validate_on(self, inputs: Tensor, targets: Tensor) -> None:
        """Watch these patients' loss."""
        self.validation = (inputs, targets)

    def run(self, rng: np.random.Generator, progress: Progress) -> pd.DataFrame:
        method, count = self.method, len(self.inputs)
        total = method.epochs * count
        total = min(total, method.max_images) if method.max_images else total
        optimiser = method.optimiser(self.network.parameters())
        shown, last_check = 0, 0
        with progress.work(f"fitting {registry.name_of(method)}", total, unit="images") as advance:
            while shown < total:
                for rows in np.array_split(rng.permutation(count), self.batches_an_epoch):
                    loss = self._step(optimiser, torch.from_numpy(rows), shown)
                    shown += len(rows)
                    advance(len(rows), loss=loss)
                    if shown >= last_check + method.check_every_images or shown >= total:
                        last_check = shown
                        if self._check(shown):
                            total = shown
                    if shown >= total:
                        break
        if self.best_state is not None:
            self.network.load_state_dict(self.best_state)
        if not logits_of(self.network, self.inputs[: method.batch_size]).isfinite().all():
            raise self._diverged("what it says")  # the last step's loss was that of the weights before it
        return pd.DataFrame(self.history)

    def _step(self, optimiser: torch.optim.Optimizer, rows: Tensor, shown: int) -> float:
        self.network.train()
        self.method.before_step(self.network, shown)
        optimiser.zero_grad(set_to_none=True)
        losses = self.method.losses(self.network, self._batch(rows))
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        self.losses.append({name: loss.item() for name, loss in losses.items()})
        value = sum(self.losses[-1].values())
        if not np.isfinite(value):
            raise self._diverged("its loss")
        return value

    def _diverged(self, what: str) -> TrainingDivergedError:
        return TrainingDivergedError(
            f"fitting {registry.name_of(self.method)} diverged, {what} is no finite number: lower its learning rate "
            "(--set learning_rate=…)."
        )

    def _batch(self, rows: Tensor) -> LabelledBatch:
        return LabelledBatch(
            images=self.inputs[rows].to(self.device),
            targets=self.targets[rows].to(self.device),
            masks=None if self.masks is None else self.masks[rows].to(self.device, torch.float32),
            class_weights=self.weight,
        )

    def _check(self, shown: int) -> bool:
        """Note the losses; keep the weights if they are the best; return whether to stop."""
        means = pd.DataFrame(self.losses).mean()
        row = {"images_shown": shown, "train_loss": float(means.sum())}
        if len(means) > 1:
            row |= {f"train_loss_{name}": float(mean) for name, mean in means.items()}
        self.losses = []
        self.history.append(row)
        if self.validation is None:
            return False
        inputs, targets = self.validation
        weight = None if self.weight is None else self.weight.cpu()
        loss = F.cross_entropy(logits_of(self.network, inputs), targets, weight=weight).item()
        row["validation_loss"] = loss
        if loss < self.best:
            self.best, self.best_at = loss, shown
            self.best_state = copy.deepcopy(self.network.state_dict())
        return 0 < self.patience <= shown - self.best_at


class FittedNetwork(FittedClassifier):
    """A fitted network. Its features are what its last dense layer sees."""

    def __init__(self, method: Classifier, facts: Facts, network: nn.Module, history: pd.DataFrame) -> None:
        super().__init__(method, facts, history)
        self.network = network.eval().requires_grad_(True)

    def _predict_proba(self, patches: Patches) -> FloatArray:
        logits = logits_of(self.network, tensor_of(patches, self.facts.window))
        return torch.softmax(logits.double(), dim=1).numpy()

    def _features(self, patches: Patches) -> FloatArray:
        last = [module for module in self.network.modules() if isinstance(module, nn.Linear)][-1]
        seen: list[Tensor] = []
        with listening([last], lambda _layer, inputs, _output: seen.append(inputs[0].cpu())):
            logits_of(self.network, tensor_of(patches, self.facts.window))
        return torch.cat(seen).double().numpy()

    @property
    def arrays(self) -> Arrays:
        """The network's weights and buffers."""
        return {name: tensor.detach().cpu().numpy() for name, tensor in self.network.state_dict().items()}

    @property
    def parameters(self) -> int:
        """Trainable parameters."""
        return parameter_count(self.network)


def restored(method: Classifier, facts: Facts, network: nn.Module, arrays: Arrays) -> FittedNetwork:
    """Put the weights that were learnt into a newly built network; raise StorageError if they are another's."""
    weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
    load_state(network, weights, of=registry.name_of(method))
    return FittedNetwork(method, facts, channels_last(network.to(choose_device())), pd.DataFrame())


def tensor_of(patches: Patches, window: Window) -> Tensor:
    """What networks are shown, [N, 1, *shape] in [0, 1]."""
    return torch.from_numpy(window.to_unit_interval(patches.images)).unsqueeze(1)


@torch.no_grad()
def logits_of(network: nn.Module, inputs: Tensor) -> Tensor:
    """What the network says, [N, 1, *shape] → [N, K], so many at once that memory holds them."""
    network.eval()
    device, together = device_of(network), max(1, PREDICT_PIXELS // math.prod(inputs.shape[1:]))
    return torch.cat([network(batch.to(device)).cpu() for batch in torch.split(inputs, together)])


def device_of(network: nn.Module) -> torch.device:
    """Where a network computes."""
    return next(network.parameters()).device
