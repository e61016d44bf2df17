"""What LIDC-IDRI's XML files hold, counted, beside what was published: the tables of ``docs/data.md``.

    python benchmarks/lidc_xml.py PATH

PATH is a folder with the XML files, or a tar archive of them, whose members are read in memory and never extracted.
Images are not needed, so what asks for millimetres (slice thickness, diameter) is not counted here.
"""

import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from lesionforge.data.formats.file_tree import files_below
from lesionforge.data.formats.lidc_findings import facts_of, find_findings
from lesionforge.data.formats.lidc_xml import KINDS, LARGEST_FILE, NODULE, Reading, parse_reading
from lesionforge.data.selection import LABELLINGS, SELECTIONS, select
from lesionforge.errors import LesionForgeError, UnfitDataError

Row = Sequence[object]

TWO_AT_LEAST = "readers >= 2"
ANY_GROUND_GLASS = "texture_1 <= 2 or texture_2 <= 2 or texture_3 <= 2 or texture_4 <= 2"
COHORTS: Sequence[tuple[Sequence[str], str, str]] = (  # rules, labelling, what was published
    ((), "", ""),
    ((TWO_AT_LEAST,), "", ""),
    (("rated",), "", "5422 patches (CALM)"),
    (("ground_glass",), "", "340 in 216 CTs (Wang et al. 2022)"),
    ((TWO_AT_LEAST, ANY_GROUND_GLASS), "", "the same"),
    ((ANY_GROUND_GLASS,), "", "the same"),
    ((), "majority_malignancy", "1277 benign, 285 malignant (Yang et al. 2019)"),
    ((TWO_AT_LEAST,), "majority_malignancy", "the same"),
    (("rated",), "majority_malignancy", "the same"),
    ((), "malignancy", ""),
    (("rated",), "malignancy", ""),
)


def documents(path: Path) -> Iterator[bytes]:
    if path.is_file() and tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            for member in archive:
                if member.name.lower().endswith(".xml") and (stream := archive.extractfile(member)):
                    yield stream.read(LARGEST_FILE + 1)
        return
    for file in files_below(path):
        if file.suffix.lower() == ".xml":
            with file.open("rb") as stream:
                yield stream.read(LARGEST_FILE + 1)


def parsed(path: Path) -> tuple[dict[str, Reading], Counter[str]]:
    """Return the reading of each series, and how many files were what."""
    readings: dict[str, Reading] = {}
    files: Counter[str] = Counter()
    for xml in documents(path):
        try:
            reading = parse_reading(xml)
        except UnfitDataError as error:
            files[error.reason] += 1
            continue
        known = readings.setdefault(reading.series_uid, reading)
        repeated = known is not reading and known.digest == reading.digest
        files["reading that another file holds, too" if repeated else "reading of a CT series"] += 1
    return readings, files


def lesions(readings: dict[str, Reading]) -> pd.DataFrame:
    return pd.DataFrame(
        {"patient": "unknown", "scan": uid, "lesion": finding.name, "label": "", **facts_of(finding)}
        for uid, reading in readings.items()
        for finding in find_findings(reading.marks)
    )


def show(title: str, head: Row, rows: Sequence[Row]) -> None:
    print(f"\n{title}\n")
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(map(str, row)) + " |")


def show_files(readings: dict[str, Reading], files: Counter[str]) -> None:
    show("What the files are", ("files", "that are"), [(count, what) for what, count in files.most_common()])
    readers = Counter(reading.readers for reading in readings.values())
    show("Readers", ("readers", "scans"), sorted(readers.items(), reverse=True))
    marks = Counter(mark.kind for reading in readings.values() for mark in reading.marks)
    dropped = Counter(reason for reading in readings.values() for reason in reading.dropped)
    outlines = sum(len(m.outlines) for reading in readings.values() for m in reading.marks if m.kind == NODULE)
    rows = [(marks[kind], f"marks of the kind {kind}") for kind in KINDS] + [(outlines, "outlines of nodules")]
    show("What the readers said", ("count", "of"), [*rows, *((count, why) for why, count in dropped.items())])


def show_lesions(table: pd.DataFrame) -> None:
    nodules = table[table["kind"] == NODULE]
    rows = [
        ("marked nodule, of any size, by one reader at least", (table["kind"] != "non_nodule").sum(), 7371),
        ("outlined (≥ 3 mm) by one reader at least", len(nodules), 2669),
        ("outlined by four", (nodules["readers"] == 4).sum(), 928),
    ]
    show("Lesions", ("lesions", "here", "Armato et al. 2011"), rows)
    by_readers = nodules.groupby("readers").agg(nodules=("scan", "size"), scans=("scan", "nunique"))
    show(
        "Nodules by number of readers who outlined them",
        ("readers", "nodules", "in scans"),
        by_readers.reset_index().to_numpy().tolist(),
    )


def show_ratings(readings: dict[str, Reading], table: pd.DataFrame) -> None:
    nodules = table[table["kind"] == NODULE]
    rows = []
    for name in ("texture", "malignancy"):
        given = Counter(m.ratings.get(name) for reading in readings.values() for m in reading.marks if m.kind == NODULE)
        rows.append((f"{name}, marks", *(given[rating] for rating in (1, 2, 3, 4, 5)), given[None]))
        median = nodules[f"{name}_median"]
        medians = [((median > rating - 1) & (median <= rating)).sum() for rating in (1, 2, 3, 4, 5)]
        rows.append((f"{name}, nodules by median", *medians, median.isna().sum()))
    show("Ratings (a median between two counts with the higher)", ("", 1, 2, 3, 4, 5, "none"), rows)


def show_cohorts(table: pd.DataFrame) -> None:
    rows = []
    for rules, label, published in COHORTS:
        chosen, flow = select(table, ["nodules", *rules], label=label)
        classes = ", ".join(f"{count} {name}" for name, count in chosen["label"].value_counts().items() if name)
        rule = ", ".join([*rules, *([label] if label else [])]) or "nodules"
        rows.append((f"`{rule}`", flow[-1].lesions, flow[-1].scans, classes, published))
    show("Cohorts", ("rule", "nodules", "in scans", "classes", "published"), rows)
    for name in ("rated", "ground_glass"):
        print(f"\n`{name}`: {SELECTIONS[name].about}.")
    for name in ("majority_malignancy", "malignancy"):
        print(f"\n`{name}`: {LABELLINGS[name].about}.")


def main(path: str) -> None:
    readings, files = parsed(Path(path))
    if not readings:
        raise LesionForgeError(f"{path} must hold XML files of LIDC-IDRI, but holds none.")
    table = lesions(readings)
    print(f"{len(readings)} scans")
    show_files(readings, files)
    show_lesions(table)
    show_ratings(readings, table)
    show_cohorts(table)


if __name__ == "__main__":
    main(*sys.argv[1:])
