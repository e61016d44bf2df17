"""Synthetic patches from a checkpoint: few into memory, any number onto the disk."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lesionforge.data import patches_file
from lesionforge.data.patches import Patches, concatenate
from lesionforge.generators.checkpoint import Checkpoint
from lesionforge.progress import SILENT, Progress
from lesionforge.synthesis.sampler import Sampler


def sample(
    checkpoint: Checkpoint,
    count: int,
    *,
    seed: int = 0,
    label: str | None = None,
    conditions: Patches | None = None,
    progress: Progress = SILENT,
) -> Patches:
    """Draw ``count`` patches into memory; see `Sampler` for what can be asked, and what is raised."""
    sampler = Sampler(checkpoint, seed=seed, label=label, conditions=conditions)
    return concatenate(list(_parts(sampler, count, progress)))


@dataclass(frozen=True)
class Written:
    """What `write_samples` has written."""

    out: Path
    patches: int
    implausible: int  # kept all the same
    redrawn: int  # rows that had been implausible

    def __str__(self) -> str:
        redrawn = f", {self.redrawn} redrawn" if self.redrawn else ""
        return f"{self.out}: {self.patches} synthetic patches, {self.implausible} implausible{redrawn}"


def write_samples(sampler: Sampler, count: int, out: Path | str, *, progress: Progress = SILENT) -> Written:
    """Draw ``count`` patches to the folder ``out``, in memory that does not grow with their number.

    The folder is there once all are drawn; killed before, it is not, and the same call makes the same rows again.

    Raises
    ------
    LesionForgeError
        ``count`` is not positive, or rows do not become plausible.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    implausible = redrawn = 0
    with patches_file.writing(out) as writer:
        for part in _parts(sampler, count, progress):
            writer.add(part)
            implausible += int((part.table["implausible"] != "").sum())
            redrawn += int((part.table["sample_redraw"] > 0).sum())
    return Written(Path(out), count, implausible, redrawn)


def _parts(sampler: Sampler, count: int, progress: Progress) -> Iterator[Patches]:
    doing = f"sampling {sampler.label or sampler.checkpoint.subject.label}".strip()
    with progress.work(doing, count, unit="patches") as advance:
        for part in sampler.parts(count):
            yield part
            advance(len(part))
