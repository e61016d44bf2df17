"""The one loop that fits every classifier that is a network.

A network method says how the network looks and which optimiser it takes; batches, class weights, early stopping on
validation patients, seeds and files are here. Lengths are counted in images shown, because regimes with more data
would otherwise also train for longer, and the comparison would be of two things at once.
"""

import copy
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from lesionforge import registry, settings
from lesionforge.classifiers import methods
from lesionforge.classifiers.contract import Classifier, Facts, FittedClassifier
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import Window
from lesionforge.data.patches import Patches
from lesionforge.errors import StorageError, TrainingDivergedError
from lesionforge.networks import channels_last, load_state, load_tensors, save_tensors, seeded
from lesionforge.progress import Progress
from lesionforge.settings import Count, CountOrZero
from lesionforge.storage import check_files, describe_files, digest, new_folder, read_manifest, write_json

FORMAT = "lesionforge-classifier"
VERSION = 1
MANIFEST = "classifier.json"
WEIGHTS = "classifier.safetensors"
PREDICT_BATCH = 256


@dataclass(frozen=True)
class NetworkClassifier(Classifier):
    """A classifier that is a network, fitted by gradient descent on cross-entropy."""

    batch_size: Count = 64
    epochs: Count = 1
    max_images: CountOrZero = 0  # an upper bound on images shown, whatever the epochs say; 0: none
    patience_images: CountOrZero = 0  # stop when the validation loss has not fallen for so long; 0: never
    check_every_images: Count = 1_000  # the validation loss is looked at
    class_weights: bool = True  # weigh each class by the inverse of its share

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Make the network: [B, 1, *shape] in [0, 1] → logits [B, K], with its initial weights."""

    @abstractmethod
    def optimiser(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """Make the optimiser."""

    def _fit(
        self, facts: Facts, train: Patches, validation: Patches | None, seed: int, progress: Progress
    ) -> "FittedNetwork":
        with seeded("classifier", seed):
            network = channels_last(self.build(facts.shape, len(facts.classes)))
            inputs, targets = _tensor(train, facts.window), torch.from_numpy(facts.codes(train))
            for module in network.modules():
                if isinstance(module, MeanImage):
                    module.mean.copy_(inputs.mean(dim=0))
            fitting = _Fitting(self, network, inputs, targets)
            if validation is not None:
                fitting.validate_on(_tensor(validation, facts.window), torch.from_numpy(facts.codes(validation)))
            history = fitting.run(np.random.default_rng(seed), progress)
        return FittedNetwork(self, facts, network, history)


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

    def __init__(self, method: NetworkClassifier, network: nn.Module, inputs: Tensor, targets: Tensor) -> None:
        self.method, self.network, self.inputs, self.targets = method, network, inputs, targets
        counts = torch.bincount(targets).clamp(min=1)
        self.weight = len(targets) / (len(counts) * counts) if method.class_weights else None
        self.validation: tuple[Tensor, Tensor] | None = None
        self.history: list[dict[str, float]] = []
        self.best = float("inf")
        self.best_at = 0
        self.best_state: dict[str, Tensor] | None = None

    def validate_on(self, inputs: Tensor, targets: Tensor) -> None:
        """Watch these patients' loss."""
        self.validation = (inputs, targets)

    def run(self, rng: np.random.Generator, progress: Progress) -> pd.DataFrame:
        method, count = self.method, len(self.inputs)
        total = method.epochs * count
        total = min(total, method.max_images) if method.max_images else total
        optimiser = method.optimiser(self.network.parameters())
        shown, last_check, losses = 0, 0, []
        with progress.work(f"fitting {registry.name_of(method)}", total, unit="images") as advance:
            while shown < total:
                for rows in np.array_split(rng.permutation(count), -(-count // method.batch_size)):
                    losses.append(self._step(optimiser, torch.from_numpy(rows)))
                    shown += len(rows)
                    advance(len(rows), loss=losses[-1])
                    if shown >= last_check + method.check_every_images or shown >= total:
                        last_check = shown
                        if self._check(shown, float(np.mean(losses))):
                            total = shown
                        losses = []
                    if shown >= total:
                        break
        if self.best_state is not None:
            self.network.load_state_dict(self.best_state)
        return pd.DataFrame(self.history)

    def _step(self, optimiser: torch.optim.Optimizer, rows: Tensor) -> float:
        self.network.train()
        optimiser.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.network(self.inputs[rows]), self.targets[rows], weight=self.weight)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        value = loss.item()
        if not np.isfinite(value):
            raise TrainingDivergedError(
                f"the loss of {registry.name_of(self.method)} stopped being finite: lower its learning rate "
                "(--set learning_rate=…) or look at the patches for values outside the window."
            )
        return value

    def _check(self, shown: int, train_loss: float) -> bool:
        """Note the losses; keep the weights if they are the best; return whether to stop."""
        row = {"images_shown": shown, "train_loss": train_loss}
        self.history.append(row)
        if self.validation is None:
            return False
        inputs, targets = self.validation
        loss = F.cross_entropy(_logits(self.network, inputs), targets, weight=self.weight).item()
        row["validation_loss"] = loss
        if loss < self.best:
            self.best, self.best_at = loss, shown
            self.best_state = copy.deepcopy(self.network.state_dict())
        return 0 < self.method.patience_images <= shown - self.best_at


class FittedNetwork(FittedClassifier):
    """A fitted network."""

    def __init__(self, method: NetworkClassifier, facts: Facts, network: nn.Module, history: pd.DataFrame) -> None:
        super().__init__(facts)
        self.method = method
        self.network = network.eval()
        self._history = history

    @property
    def history(self) -> pd.DataFrame:
        """``images_shown``, ``train_loss`` and, with validation patients, ``validation_loss``."""
        return self._history

    def _predict_proba(self, patches: Patches) -> NDArray[np.float64]:
        logits = _logits(self.network, _tensor(patches, self.facts.window))
        return torch.softmax(logits.double(), dim=1).numpy()

    def save(self, path: Path | str, *, overwrite: bool = False) -> Path:
        """Write the classifier to the folder ``path``: settings, exposure and weights, without pickle."""
        path = Path(path)
        with new_folder(path, overwrite=overwrite) as folder:
            save_tensors(folder / WEIGHTS, self.network.state_dict())
            facts = settings.to_json(self.facts) | {"exposure": self.facts.exposure.to_json()}
            manifest = {
                "format": FORMAT,
                "version": VERSION,
                "method": registry.name_of(self.method),
                "settings": settings.to_json(self.method),
                "facts": facts,
                "files": describe_files(folder),
            }
            write_json(folder / MANIFEST, manifest | {"digest": digest(manifest)})
        return path


def load(path: Path | str) -> FittedNetwork:
    """Open what `FittedNetwork.save` wrote.

    Raises
    ------
    StorageError
        The folder is missing, foreign, cut short, changed, or its weights belong to another method.
    """
    path = Path(path)
    manifest = read_manifest(path / MANIFEST, of="a classifier", format_=FORMAT, version=VERSION)
    if manifest.pop("digest", None) != digest(manifest):
        raise StorageError(f"{path / MANIFEST} does not match its checksum: it was changed, copy or fit it again.")
    try:
        check_files(path, manifest["files"])
        facts = _facts(manifest["facts"])
        method_class = registry.class_named(methods, manifest["method"], NetworkClassifier)  # type: ignore[type-abstract]
        method = settings.from_json(method_class, manifest["settings"])
    except (KeyError, TypeError) as error:
        raise StorageError(f"{path / MANIFEST} is incomplete ({error!r}): fit it again.") from error
    network = channels_last(method.build(facts.shape, len(facts.classes)))
    load_state(network, load_tensors(path / WEIGHTS), of=f"{manifest['method']} in {path}")
    return FittedNetwork(method, facts, network, pd.DataFrame())


def _facts(value: dict[str, Any]) -> Facts:
    return Facts(
        tuple(value["classes"]),
        tuple(value["shape"]),
        Window(**value["window"]),
        Exposure.from_json(value["exposure"]),
    )


def _tensor(patches: Patches, window: Window) -> Tensor:
    return torch.from_numpy(window.to_unit_interval(patches.images)).unsqueeze(1)


@torch.no_grad()
def _logits(network: nn.Module, inputs: Tensor) -> Tensor:
    network.eval()
    return torch.cat([network(batch) for batch in torch.split(inputs, PREDICT_BATCH)])
