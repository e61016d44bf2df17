"""The one loop that trains every generative method.

A GAN is networks and losses; everything else is here: the order of the steps, averaging, checkpoints, pictures,
the log, and the watch for numbers that stop being finite. All randomness is derived from the seed and the number
of the step, so a run that was killed continues to the same result, bit for bit on the same machine.

A run's folder holds ``training.json`` and ``training-N.safetensors`` (all that a continued run needs),
``log.jsonl``, ``grids/synthetic_N.png`` and, when it is finished, the checkpoint (see `generators.checkpoint`).
"""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lesionforge import registry, settings
from lesionforge.data.contact_sheet import contact_sheet, save_png
from lesionforge.data.hounsfield import Window, default_window
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError, TrainingDivergedError
from lesionforge.generators.checkpoint import FORMAT, MANIFEST, VERSION, WEIGHTS, Subject, generate, identify
from lesionforge.generators.contract import GenerativeMethod, Networks
from lesionforge.networks import (
    channels_last,
    choose_device,
    derived_seed,
    load_tensors,
    save_tensors,
    seeded,
    torch_generator,
)
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import Count, CountOrZero, Rate
from lesionforge.storage import check_files, new_file, read_json, sha256, write_json, write_text

STATE = "training.json"
LOG = "log.jsonl"
GRIDS = "grids"
GRID_PATCHES = 64


@dataclass(frozen=True)
class TrainingPlan:
    """How long to train, and what to keep; lengths are counted in images shown to the discriminator."""

    images: CountOrZero = 0  # 0: the method's epochs over the training set
    seed: CountOrZero = 0
    average_half_life_images: Count = 5_000  # of the averaged generator; shorter at first (StyleGAN2-ADA's ramp)
    average_ramp: Rate = 0.1
    checkpoint_every_images: Count = 20_000
    grid_every_images: Count = 20_000
    log_every_images: Count = 1_000

    def with_seed(self, seed: int) -> "TrainingPlan":
        """Return the same plan with another seed."""
        return replace(self, seed=seed)


def train(
    method: GenerativeMethod,
    patches: Patches,
    out: Path | str,
    *,
    plan: TrainingPlan = TrainingPlan(),
    window: Window | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: Progress = SILENT,
) -> Path:
    """Train ``method`` on ``patches`` and leave a checkpoint in the folder ``out``.

    Parameters
    ----------
    patches
        The training set. The checkpoint, and every sample from it, says that all its patients were seen.
    resume
        Continue what is in ``out``; the patches, the settings and the plan must be the same, save for the
        number of images, which may grow.

    Raises
    ------
    LesionForgeError
        The patches do not fit the method, or there is nothing to learn from.
    StorageError
        ``out`` is taken, holds another training, or the disk refuses.
    TrainingDivergedError
        A loss stopped being finite; the last good state is kept.
    """
    out = Path(out)
    _check(method, patches)
    run = _Run(method, patches, window or default_window(patches.unit), plan, choose_device(device))
    if (out / STATE).exists() and resume:
        run.restore(out)
    elif resume and out.is_dir() and all(_left_early(file) for file in out.iterdir()):
        (out / LOG).unlink(missing_ok=True)
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StorageError(
            f"{out} must be empty, but it is not: choose another folder, or continue the training there with --resume."
        )
    out.mkdir(parents=True, exist_ok=True)
    total = plan.images or method.epochs * len(patches)
    description = " ".join(["training", registry.name_of(method), run.subject.label]).strip()
    with seeded(), progress.work(description, total, unit="images", done=run.images_seen) as advance:
        _train_until(run, total, out, advance)
    return out


def _train_until(run: "_Run", total: int, out: Path, advance: Any) -> None:
    plan, batch = run.plan, run.method.batch_size
    if run.images_seen >= total and (out / MANIFEST).exists():
        return
    (out / MANIFEST).unlink(missing_ok=True)  # until this training ends there is no checkpoint here
    while run.images_seen < total:
        run.step()
        advance(batch)
        last = run.images_seen >= total
        due = {
            run.log: plan.log_every_images,
            run.draw_grid: plan.grid_every_images,
            run.save: plan.checkpoint_every_images,
        }
        for action, every_images in due.items():
            if last or run.is_due(every_images):
                run.require_finite(out)
                action(out)
    run.finish(out)


def _left_early(file: Path) -> bool:
    """Whether a training that was killed before its first saved state may have left ``file``."""
    return file.name in {LOG, GRIDS} or file.name.startswith((".", "training-"))


def read_log(out: Path) -> list[dict[str, float]]:
    """Return the rows of a training's log: ``images_seen`` and the mean of each loss term since the last row."""
    return [json.loads(line) for line in (out / LOG).read_text(encoding="utf-8").splitlines()]


def _check(method: GenerativeMethod, patches: Patches) -> None:
    if len(patches) < 2:
        raise LesionForgeError(f"a generator needs at least 2 patches to learn from, but {len(patches)} came.")
    method.check_shape(patches.shape)
    if np.ptp(patches.images[0]) == 0 and (patches.images == patches.images[0].flat[0]).all():
        raise LesionForgeError("all patches hold one and the same value: there is nothing to learn from them.")


def _subject(patches: Patches, window: Window) -> Subject:
    spacing = patches.spacing_mm
    medians = [None if np.isnan(column).all() else float(np.nanmedian(column)) for column in spacing.T]
    label = patches.classes[0] if len(patches.classes) == 1 else ""
    return Subject(patches.shape, window, label, tuple(medians), patches.exposure)


@dataclass
class _Run:
    """A training in memory: what changes from step to step, and how it goes to disk and back."""

    method: GenerativeMethod
    patches: Patches
    window: Window
    plan: TrainingPlan
    device: torch.device
    images_seen: int = 0
    _sums: dict[str, Tensor] = field(default_factory=dict)
    _steps_summed: int = 0
    _rows: list[dict[str, float]] = field(default_factory=list)
    _order: tuple[int, Any] = (-1, None)

    def __post_init__(self) -> None:
        self.subject = _subject(self.patches, self.window)
        with seeded(self.plan.seed, "initial weights"):
            networks = self.method.build(self.patches.shape)
        self.networks: Networks = channels_last(networks.to(self.device))
        self.average = copy.deepcopy(self.generator).requires_grad_(False).eval()
        # Looked up once: walking the modules anew at every step would cost as much as a small convolution.
        self._averaged = [t for t in self.average.state_dict().values() if t.is_floating_point()]
        self._current = [t for t in self.generator.state_dict().values() if t.is_floating_point()]
        self.optimisers = {
            player: self.method.optimiser(network.parameters()) for player, network in self.networks.items()
        }

    @property
    def generator(self) -> nn.Module:
        return self.networks["generator"]

    def is_due(self, every_images: int) -> bool:
        """Whether a multiple of ``every_images`` was passed in the step just made."""
        return self.images_seen % every_images < self.method.batch_size

    def step(self) -> None:
        """One step of the discriminator, one of the generator on the same fakes, one of the average."""
        number, batch = self.images_seen // self.method.batch_size, self.method.batch_size
        torch.manual_seed(derived_seed(self.plan.seed, "step", number))  # dropout and the like
        real = self._real_batch(number)
        latent = self.method.latent(batch, torch_generator(self.device, self.plan.seed, "latent", number))
        fake = self.generator(latent)
        discriminator = self.networks["discriminator"]
        self._minimise("discriminator", self.method.discriminator_losses(self.networks, real, fake.detach()))
        # The generator's loss runs through the discriminator: without this its weights' gradients, a third of that
        # pass, would be worked out and thrown away.
        discriminator.requires_grad_(False)
        self._minimise("generator", self.method.generator_losses(self.networks, fake))
        discriminator.requires_grad_(True)
        self.images_seen += batch
        self._update_average()
        self._steps_summed += 1

    def _minimise(self, player: str, losses: Mapping[str, Tensor]) -> None:
        optimiser = self.optimisers[player]
        optimiser.zero_grad(set_to_none=True)
        torch.stack(list(losses.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        for name, value in losses.items():
            self._sums[name] = self._sums.get(name, torch.zeros((), device=self.device)) + value.detach()

    @torch.no_grad()
    def _update_average(self) -> None:
        half_life = min(self.plan.average_half_life_images, self.plan.average_ramp * self.images_seen)
        keep = 0.5 ** (self.method.batch_size / max(half_life, 1e-8))
        torch._foreach_lerp_(self._averaged, self._current, 1 - keep)

    def _real_batch(self, number: int) -> Tensor:
        """Rows in the order of one shuffle an epoch; a batch may reach from one epoch into the next."""
        first = number * self.method.batch_size
        rows = [self._row(position) for position in range(first, first + self.method.batch_size)]
        values = self.window.to_symmetric(self.patches.images[rows])
        return torch.from_numpy(values).unsqueeze(1).to(self.device)

    def _row(self, position: int) -> int:
        epoch, place = divmod(position, len(self.patches))
        if self._order[0] != epoch:
            self._order = (
                epoch,
                np.random.default_rng([self.plan.seed, epoch]).permutation(len(self.patches)),
            )
        return int(self._order[1][place])

    def require_finite(self, out: Path) -> None:
        """Look before anything is written.

        Raises
        ------
        TrainingDivergedError
            A loss term or a weight is not a finite number. What was saved before stays.
        """
        lost = [name for name, total in self._sums.items() if not torch.isfinite(total)]
        lost += [
            f"the weights of the {player}"
            for player, network in self.networks.items()
            if not all(tensor.isfinite().all() for tensor in network.state_dict().values())
        ]
        if lost:
            kept = (
                f"the state at {read_json(out / STATE, of='a training')['images_seen']:,} images is kept"
                if (out / STATE).exists()
                else "no earlier state had been kept"
            )
            raise TrainingDivergedError(
                f"{' and '.join(lost)} stopped being finite before {self.images_seen:,} images were shown; "
                f"{kept} in {out}. A lower learning rate (--set learning_rate=…), or looking at the patches for values "
                "outside the window, is the usual way out."
            )

    def log(self, out: Path) -> None:
        """Add the mean loss terms to the log."""
        means = {name: float(total) / self._steps_summed for name, total in sorted(self._sums.items())}
        self._rows.append({"images_seen": self.images_seen, **means})
        self._sums, self._steps_summed = {}, 0
        self._write_log(out)

    def _write_log(self, out: Path) -> None:
        write_text(out / LOG, "".join(json.dumps(row) + "\n" for row in self._rows))

    def draw_grid(self, out: Path) -> None:
        """Save a sheet of samples of the averaged generator, always from the same latent vectors."""
        latent = self.method.latent(GRID_PATCHES, torch_generator(self.device, self.plan.seed, "grid"))
        values = generate(self.average, latent).squeeze(1).cpu().numpy()
        sheet = contact_sheet(self.window.from_symmetric(values), self.window)
        save_png(out / GRIDS / f"synthetic_{self.images_seen:09d}.png", sheet)

    def _identity(self) -> dict[str, Any]:
        plan = settings.to_json(self.plan)
        return {
            "method": registry.name_of(self.method),
            "settings": settings.to_json(self.method),
            "training": {key: value for key, value in plan.items() if key != "images"},
            "window": settings.to_json(self.window),
            "patches": self.patches.digest,
        }

    def save(self, out: Path) -> None:
        """Write all that a continued run needs, then forget the state before."""
        state = out / f"training-{self.images_seen:09d}.safetensors"
        with new_file(state) as partial:
            save_tensors(partial, self._tensors())
        files = {state.name: {"bytes": state.stat().st_size, "sha256": sha256(state)}}
        manifest = {
            "format": f"{FORMAT}-training",
            "version": VERSION,
            "images_seen": self.images_seen,
            "steps_summed": self._steps_summed,
        }
        write_json(out / STATE, manifest | self._identity() | {"files": files})
        for older in out.glob("training-*.safetensors"):
            if older != state:
                older.unlink()

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"networks.{name}": tensor for name, tensor in self.networks.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        tensors |= {f"sums.{name}": total for name, total in self._sums.items()}
        for player, optimiser in self.optimisers.items():
            for number, moments in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{player}.{number}.{name}": moment for name, moment in moments.items()}
        return tensors

    def restore(self, out: Path) -> None:
        """Take up the state in ``out``.

        Raises
        ------
        StorageError
            It is damaged, or the state of another training.
        """
        manifest = read_json(out / STATE, of="a training")
        for key, value in self._identity().items():
            if manifest.get(key) != value:
                raise StorageError(f"{out} holds a training with other {key}: choose another folder, or use the same.")
        check_files(out, manifest["files"])
        (name,) = manifest["files"]
        tensors = load_tensors(out / name, self.device)
        self.images_seen = manifest["images_seen"]
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
        self._steps_summed = manifest["steps_summed"]
        # Rows that a killed run wrote after its last saved state will be written again.
        rows = read_log(out) if (out / LOG).exists() else []
        self._rows = [row for row in rows if row["images_seen"] <= self.images_seen]
        self._write_log(out)

    def finish(self, out: Path) -> None:
        """Write the checkpoint: the averaged generator, and what it is."""
        with new_file(out / WEIGHTS) as partial:
            save_tensors(partial, self.average.state_dict())
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "images_seen": self.images_seen,
            "subject": self.subject.to_json(),
            "files": {WEIGHTS: {"bytes": (out / WEIGHTS).stat().st_size, "sha256": sha256(out / WEIGHTS)}},
            **self._identity(),
        }
        write_json(out / MANIFEST, manifest | {"id": identify(manifest)})


def _beneath(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """Give a moment its parameter's memory layout: a fused optimiser walks both side by side, whatever the strides."""
    return torch.empty_like(parameter).copy_(moment) if moment.shape == parameter.shape else moment
