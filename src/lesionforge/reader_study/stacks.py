"""Stacks of slices about lesions in whole scans: real ones, and those that lesions were put into.

Both are cut in one way, by `lesionforge.data.ingestion`, so that how an item was cut tells nothing.
"""

from dataclasses import dataclass
from pathlib import Path

from lesionforge.data import patches_file
from lesionforge.data.ingestion import Request, ingest
from lesionforge.data.patches import Patches
from lesionforge.data.synthetic_scans import RECORD
from lesionforge.progress import SILENT, Progress
from lesionforge.settings import Count, Rate


@dataclass(frozen=True)
class Stacks:
    """How stacks are cut out of scans: voxels along z, and along y and x; ``spacing_mm`` None is the scan's own.

    ``label`` is the class of annotated lesions, as `lesionforge.data.selection.select` takes it; that of a lesion which
    was put into a scan stands in the scan's record.
    """

    slices: Count = 25
    size: Count = 96
    spacing_mm: tuple[Rate, Rate, Rate] | None = None
    label: str = ""

    def cut(self, path: Path, workplace: Path, *, progress: Progress = SILENT) -> Patches:
        """Return the patches at ``path``; of scans those that are cut now, whose files lie in ``workplace``."""
        if (path / patches_file.MANIFEST).exists():
            return patches_file.load(path)
        inserted = next(path.rglob(RECORD), None) is not None
        hosts = path / "hosts"  # where `populate` leaves scans
        scans = hosts if inserted and hosts.is_dir() else path
        spacing = "null" if self.spacing_mm is None else ",".join(map(str, self.spacing_mm))
        request = Request(
            label="" if inserted else self.label,
            cut="block",
            size=(self.slices, self.size, self.size),
            settings=(f"spacing_mm={spacing}",),
        )
        workplace.mkdir(parents=True, exist_ok=True)
        out = workplace / str(len(list(workplace.iterdir())))
        return patches_file.load(ingest(scans, out, request, progress=progress))
