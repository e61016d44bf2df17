"""Inserted lesions as a DICOM Segmentation (SEG): a segment for each, on the slices of the synthetic series."""

from collections.abc import Sequence
from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.codedict import codes

from lesionforge import __version__
from lesionforge.data.formats.dicom_series import Series
from lesionforge.data.scan import Scan
from lesionforge.synthesis.insertion.dicom_out import (
    NO_DATE,
    NO_TIME,
    SERIES_NUMBER,
    Provenance,
    equipment,
    stored_order,
    uid_of,
)
from lesionforge.synthesis.insertion.into_scans import Inserted, lesion_numbers


def write_seg(
    series: Series, scan: Scan, files: Sequence[Path], inserted: Sequence[Inserted], path: Path, made: Provenance
) -> None:
    """Write the masks of the lesions to ``path``.

    Parameters
    ----------
    series
        The host.
    scan
        Canonical, of the host.
    files
        Of the synthetic series, in the order of ``series.planes``.
    """
    sections = stored_order(lesion_numbers(scan, inserted), series.stored)
    marked = np.flatnonzero(sections.any(axis=(1, 2)))
    headers = [dcmread(files[int(number)], stop_before_pixels=True) for number in marked]
    segmentation = hd.seg.Segmentation(
        source_images=headers,
        pixel_array=np.ascontiguousarray(sections[marked]),
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_described(each, number, made) for number, each in enumerate(inserted, 1)],
        series_instance_uid=uid_of("segmentation series", series.uid, made.request),
        series_number=SERIES_NUMBER + 1,
        sop_instance_uid=uid_of("segmentation", series.uid, made.request),
        instance_number=1,
        manufacturer="LesionForge",
        manufacturer_model_name=made.painter[:64],
        software_versions=__version__,
        device_serial_number="none",
        content_label="SYNTHETIC",
        content_description="SYNTHETIC lesions, inserted",
        series_description="SYNTHETIC lesions, masks",
    )
    _without_chance(segmentation, series.uid, made)
    segmentation.save_as(path)


def _described(inserted: Inserted, number: int, made: Provenance) -> hd.seg.SegmentDescription:
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=f"SYNTHETIC {inserted.label} lesion {number}".replace("  ", " ")[:64],
        segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
        segmented_property_type=codes.SCT.Lesion,
        algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=hd.AlgorithmIdentificationSequence(
            name="LesionForge", version=__version__, family=codes.DCM.ArtificialIntelligence
        ),
        tracking_uid=uid_of("lesion", made.request, number),
        tracking_id=inserted.lesion.name,
    )


def _without_chance(segmentation: Dataset, host: str, made: Provenance) -> None:
    """Replace dates and random UIDs by what follows from the request, and say that this is synthetic."""
    segmentation.SyntheticData = "YES"
    for element in segmentation:
        if element.VR in ("DA", "TM") and element.value:
            element.value = NO_DATE if element.VR == "DA" else NO_TIME
    for item in segmentation.ContributingEquipmentSequence:
        item.pop("ContributionDateTime", None)
    segmentation.ContributingEquipmentSequence.append(equipment(made))
    dimensions = uid_of("dimensions", host, made.request)
    for item in (*segmentation.DimensionOrganizationSequence, *segmentation.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimensions
