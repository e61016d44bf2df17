"""Ingestion in scans a second: LesionForge beside a plain SimpleITK loop, on the same scans, in the same run.

    python benchmarks/ingestion.py --out ingestion.json

A cohort of computed chest CT (four lesions a scan) is written once as DICOM series, a file for each slice. Both cut
64×64 patches of three slices about each lesion and write them to disk: the loop reads every series with
`ImageSeriesReader`, finds the lesions' voxels and saves one array, and that is all; LesionForge reads headers first,
selects, checks positions and geometry, keeps provenance and checksums, and can be killed. They take turns, on cohorts
of several sizes, with one process and with two (the loop: a pool over scans), and the medians are compared.
"""

import argparse
import multiprocessing
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import SimpleITK as sitk

from lesionforge.data import patches_file
from lesionforge.data.ingestion import Request, ingest
from lesionforge.data.phantom.scans import phantom_scan
from lesionforge.storage import write_json

SHAPE, SPACING_MM = (40, 512, 512), (2.5, 0.65, 0.65)
LESIONS, SIZE, SLICES = 4, 64, 3
ROOT_UID = "1.2.826.0.1.3680043.10.9999"  # of examples; nothing that is written here leaves the machine


def write_cohort(folder: Path, scans: int) -> None:
    """Write ``scans`` DICOM series and a table of lesions. All show one body: nothing that is timed looks at it."""
    rows = []
    body = phantom_scan("lung", shape=SHAPE, spacing_mm=SPACING_MM)
    rng = np.random.default_rng(0)
    for number in range(scans):
        uid = f"{ROOT_UID}.{number + 1}"
        image = sitk.GetImageFromArray(body.hu)
        image.SetSpacing(SPACING_MM[::-1])
        image.SetOrigin(body.origin_mm)
        _write_series(folder / f"scan{number:04}", image, uid, patient=f"phantom-{number:04}")
        for index in rng.integers(np.array(SHAPE) // 4, 3 * np.array(SHAPE) // 4, (LESIONS, 3)):
            point = image.TransformIndexToPhysicalPoint([int(i) for i in index[::-1]])
            rows.append([uid, *point, 8.0])
    columns = ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "points.csv", index=False)


def _write_series(folder: Path, image: sitk.Image, uid: str, *, patient: str) -> None:
    folder.mkdir(parents=True)
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(image.GetDepth()):
        plane = image[:, :, k]
        tags = {
            "0008|0016": "1.2.840.10008.5.1.4.1.1.2",
            "0008|0018": f"{uid}.{k + 1}",
            "0008|0060": "CT",
            "0010|0020": patient,
            "0018|0050": str(SPACING_MM[0]),
            "0020|000d": f"{uid}.0",
            "0020|000e": uid,
            "0020|0032": "\\".join(map(str, image.TransformIndexToPhysicalPoint((0, 0, k)))),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            plane.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k:04}.dcm"))
        writer.Execute(plane)


def by_lesionforge(folder: Path, out: Path, workers: int) -> None:
    settings = (f"slices={SLICES}", "table=points.csv")
    request = Request(format_="dicom", size=(SIZE,), settings=settings, strict=True)
    ingest(folder, out, request, workers=workers)


def by_simpleitk(folder: Path, out: Path, workers: int) -> None:
    table = pd.read_csv(folder / "points.csv")
    scans = sorted(each for each in folder.iterdir() if each.is_dir())
    do = partial(_patches_of, table)
    if workers == 1:
        found = [do(scan) for scan in scans]
    else:
        with multiprocessing.get_context("spawn").Pool(workers, _one_thread) as pool:
            found = pool.map(do, scans, chunksize=1)
    out.mkdir()
    np.save(out / "images.npy", np.concatenate(found))


def _one_thread() -> None:
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)


def _patches_of(table: pd.DataFrame, scan: Path) -> np.ndarray:
    (uid,) = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(scan))
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(scan), uid))
    voxels = np.pad(sitk.GetArrayFromImage(image), SIZE // 2, constant_values=-1000)
    patches = []
    for row in table[table["seriesuid"] == uid].itertuples():
        i, j, k = image.TransformPhysicalPointToIndex((row.coordX, row.coordY, row.coordZ))
        first = k - SLICES // 2 + SIZE // 2
        patches.append(voxels[first : first + SLICES, j : j + SIZE, i : i + SIZE])
    return np.concatenate(patches)


def seconds(work: Callable[[Path, Path, int], None], folder: Path, workers: int) -> float:
    out = folder.parent / "out"
    start = time.perf_counter()
    work(folder, out, workers)
    elapsed = time.perf_counter() - start
    shutil.rmtree(out)
    return elapsed


def agree(folder: Path) -> None:
    """Both must cut the same pixels, or the comparison says nothing."""
    ours, theirs = folder.parent / "ours", folder.parent / "theirs"
    by_lesionforge(folder, ours, 1)
    by_simpleitk(folder, theirs, 1)
    cut = sorted(map(np.ndarray.tobytes, patches_file.load(ours).images.astype(np.int16)))
    assert cut == sorted(map(np.ndarray.tobytes, np.load(theirs / "images.npy").astype(np.int16)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scans", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    with tempfile.TemporaryDirectory() as place:
        for scans in arguments.scans:
            folder = Path(place) / f"{scans}" / "cohort"
            write_cohort(folder, scans)
            agree(folder)
            for workers in (1, 2):
                turns = [
                    [seconds(work, folder, workers) for work in (by_lesionforge, by_simpleitk)]
                    for _ in range(arguments.turns)
                ]
                ours, theirs = (statistics.median(turn[k] for turn in turns) for k in (0, 1))
                ratios = sorted(theirs / ours for ours, theirs in turns)
                result = {
                    "scans": scans,
                    "processes": workers,
                    "seconds": round(ours, 3),
                    "scans_per_s": round(scans / ours, 2),
                    "patches_per_s": round(scans * LESIONS * SLICES / ours, 1),
                    "simpleitk_seconds": round(theirs, 3),
                    "speed_ratio": round(statistics.median(ratios), 3),
                    "speed_ratio_range": [round(ratios[0], 3), round(ratios[-1], 3)],
                }
                results.append(result)
                print(result, flush=True)
    if arguments.out:
        write_json(arguments.out, {"machine": platform.processor() or platform.machine(), "results": results})


if __name__ == "__main__":
    main()
