"""Nodule or not: candidates of LUNA16 as 8-bit patches, for paper C's table.

``load_arrays(folder, mapping=CANDIDATES)`` reads them, or ``lesionforge ingest folder --format arrays`` with these
settings. Patients are not named; neighbouring candidates share a ``block``, which stands in for the patient when the
set is split.
"""

from lesionforge.data.sources.arrays import ArraysMapping

CANDIDATES = ArraysMapping(
    images="images_u8.npz:img",
    table="index.csv",
    index="index",
    patient="block",
    labels={"nodule": "nodule == 1", "other": "nodule == 0"},
    unit="u8",
)
