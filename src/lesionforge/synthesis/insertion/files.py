"""A scan with inserted lesions in a folder: the scan, the lesions' masks, a picture of each, and what was put where.

``synthetic_series/`` and ``synthetic_lesions_seg.dcm`` (DICOM), or ``synthetic_scan.nii.gz`` and
``synthetic_lesions.nii.gz`` (k in lesion k); ``synthetic_lesion_K.png``; ``synthetic_patches/``, the lesions cut out
again at the painter's size; ``synthetic_lesions.json``. Of a patch come the last two alone. In none of them is
an identifier of the host; the JSON names patients by digests, among them the host: whoever learns from the lesions may
not be scored on these (`data.exposure`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from lesionforge import __version__, settings
from lesionforge.data import patches_file
from lesionforge.data.annotation.picture import annotation_picture
from lesionforge.data.contact_sheet import save_png
from lesionforge.data.exposure import Exposure, patient_digest
from lesionforge.data.formats.volume_file import write_volume
from lesionforge.data.patches import Patches
from lesionforge.data.scan import Scan
from lesionforge.data.synthetic_scans import FORMAT, RECORD, VERSION, Synthetic
from lesionforge.errors import LesionForgeError
from lesionforge.storage import digest, new_folder, refuse_existing, write_json
from lesionforge.synthesis.insertion.dicom_out import Provenance, stored_order, synthetic_series_uid, write_series
from lesionforge.synthesis.insertion.dicom_seg_out import write_seg
from lesionforge.synthesis.insertion.hosts import Host
from lesionforge.synthesis.insertion.into_scans import Inserted, cut_out, lesion_numbers, with_lesions
from lesionforge.synthesis.insertion.manner import Manner

Kind = Literal["auto", "dicom", "nifti"]
Written = Literal["dicom", "nifti", "patches"]

SERIES, SEG = "synthetic_series", "synthetic_lesions_seg.dcm"
SCAN, MASKS = "synthetic_scan.nii.gz", "synthetic_lesions.nii.gz"
PATCHES = "synthetic_patches"
CAPTION_PIXELS = 22


def kind_for(host: Host, kind: Kind) -> Written:
    """Return what is written: what the host is, if it is not said; raise LesionForgeError if that cannot be."""
    if host.is_patch:
        if kind != "auto":
            raise LesionForgeError(f"of patches come patches, but {kind} was asked for: leave --as out.")
        return "patches"
    if kind == "auto":
        return "nifti" if host.series is None else "dicom"
    if kind == "dicom" and host.series is None:
        raise LesionForgeError(
            "a DICOM series is made from a DICOM series, whose header says how it was taken, but the scan is one file: "
            "choose --as nifti."
        )
    return kind


def write_inserted(
    host: Host,
    inserted: Sequence[Inserted],
    manner: Manner,
    out: Path,
    *,
    kind: Kind = "auto",
) -> dict[str, Any]:
    """Write the host with its lesions to the new folder ``out``; return what the JSON holds.

    Raises
    ------
    LesionForgeError
        The host cannot be written as this kind.
    StorageError
        ``out`` exists, or the disk refuses.
    """
    refuse_existing(out)
    written = kind_for(host, kind)
    record = _record(host, inserted, manner)
    made = Provenance(digest(record["request"]), manner.painter.id, _words(inserted))
    if written == "dicom":
        assert host.series is not None
        record["series_uid"] = str(synthetic_series_uid(host.series, made))
    after = with_lesions(host.scan, inserted)
    with new_folder(out) as folder:
        if written == "dicom":
            assert host.series is not None
            (folder / SERIES).mkdir()
            files = write_series(host.series, host.scan, after, folder / SERIES, made)
            write_seg(host.series, host.scan, files, inserted, folder / SEG, made)
        elif written == "nifti":
            _write_volumes(host, after, inserted, folder)
        for number, each in enumerate(inserted if written != "patches" else (), 1):
            save_png(folder / f"synthetic_lesion_{number}.png", picture(host.scan, after, each), about=made.text)
        patches_file.save(lesion_patches(host, after, inserted, manner), folder / PATCHES)
        write_json(folder / RECORD, record)
    return record


def exposure_of(host: Host, manner: Manner) -> Exposure:
    """Who has been seen by whatever learns from lesions that were put into this host in this manner."""
    return manner.exposure | host.exposure


def picture(before: Scan, after: Scan, inserted: Inserted) -> NDArray[np.uint8]:
    """Draw a site in three planes: before, after, and after with the outline, [rows, columns, 3]."""
    lesion = inserted.lesion
    rows = [
        ("the host, before", annotation_picture(before, lesion, outlined=False)),
        ("SYNTHETIC lesion, inserted", annotation_picture(after, lesion, outlined=False)),
        ("SYNTHETIC lesion, outlined", annotation_picture(after, lesion)),
    ]
    return np.concatenate([part for caption, planes in rows for part in (_caption(caption, planes.shape[1]), planes)])


def _caption(text: str, width: int) -> NDArray[np.uint8]:
    strip = Image.new("RGB", (width, CAPTION_PIXELS))
    ImageDraw.Draw(strip).text((4, 3), text, fill=(255, 255, 255), font=ImageFont.load_default(CAPTION_PIXELS - 8))
    return np.asarray(strip)


def lesion_patches(host: Host, after: Scan, inserted: Sequence[Inserted], manner: Manner) -> Patches:
    """Cut the lesions out of their new surroundings at the painter's size: synthetic patches that say whose they are.

    Their exposure is that of the painter, of the outlines, and the host's patient.
    """
    painter = manner.painter
    cuts = [cut_out(after, each, painter) for each in inserted]
    images, masks = (np.stack(arrays) for arrays in zip(*cuts, strict=True))
    places = np.array([each.site.position_mm for each in inserted])
    columns: dict[str, Any] = {f"position_{axis}_mm": places[:, number] for number, axis in enumerate("xyz")}
    columns |= {"lesion": [each.lesion.name for each in inserted]}
    columns |= {"asked_diameter_mm": [float(each.site.diameter_mm) for each in inserted]}
    described = Patches.of(
        images,
        masks=masks,
        patient=[f"synthetic:{painter.id}"] * len(inserted),
        label=[each.label for each in inserted],
        spacing_mm=np.tile(painter.spacing_mm, (len(inserted), 1)),
        unit=host.scan.unit,
        diameter_mm=[each.lesion.diameter_mm for each in inserted],
        host_patient=[patient_digest(host.scan.patient)] * len(inserted),
        **columns,
    )
    return Synthetic(painter.id, exposure_of(host, manner)).mark(described)


def _write_volumes(host: Host, after: Scan, inserted: Sequence[Inserted], folder: Path) -> None:
    write_volume(folder / SCAN, stored_order(after.voxels, host.stored), host.stored, synthetic=True)
    write_volume(folder / MASKS, stored_order(lesion_numbers(after, inserted), host.stored), host.stored)


def _words(inserted: Sequence[Inserted]) -> str:
    sizes = ", ".join(f"{each.label} {each.site.diameter_mm:.1f} mm".strip() for each in inserted[:8])
    more = ", …" if len(inserted) > 8 else ""
    return f"{len(inserted)} {'lesion' if len(inserted) == 1 else 'lesions'} ({sizes}{more})".replace("…", "...")


def _record(host: Host, inserted: Sequence[Inserted], manner: Manner) -> dict[str, Any]:
    request = {
        **manner.to_json(),
        "host": digest(host.scan.name),
        "sites": [settings.to_json(each.site) for each in inserted],
    }
    return {
        "format": FORMAT,
        "version": VERSION,
        "synthetic": True,
        "lesionforge": __version__,
        "request": request,
        "host_patient": patient_digest(host.scan.patient),
        "lesions": [_lesion(number, each, host) for number, each in enumerate(inserted, 1)],
        "exposure": exposure_of(host, manner).to_json(),
    }


def _lesion(number: int, inserted: Inserted, host: Host) -> dict[str, Any]:
    voxel = host.scan.geometry.to_index(inserted.site.position_mm).round().astype(int)
    region = np.argwhere(inserted.region)
    low, high = region.min(axis=0) + inserted.start, region.max(axis=0) + inserted.start
    return {
        "number": number,
        "name": inserted.lesion.name,
        "label": inserted.label,
        "position_mm": list(inserted.site.position_mm),
        "voxel_zyx": voxel.tolist(),
        "asked_diameter_mm": inserted.site.diameter_mm,
        "measured_diameter_mm": inserted.lesion.diameter_mm if inserted.facts["seen"] else None,
        "changed_voxels_zyx": [low.tolist(), high.tolist()],
        **inserted.facts,
    }
