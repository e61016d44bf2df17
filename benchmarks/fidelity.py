"""Does each measure see what it claims to see, and what does it cost?

    python benchmarks/fidelity.py controls --data DATA [--out controls.csv]
    python benchmarks/fidelity.py speed --data DATA
    python benchmarks/fidelity.py false-alarms --data DATA [--repeats 50]

DATA is a folder that holds ``lidc_maxslice`` (see `lidc_maxslice.py`). *Controls*: real nodules of patients nobody has
seen, as they are and spoilt in known ways, are passed off as synthetic and held against other patients; half of all
patients play the training set, which some controls copy. *Speed*: radiomic features beside a plain loop of pyradiomics,
and nearest neighbours and Fréchet distances up to 10 000 × 10 000, with the memory they take. *False alarms*: how often
real nodules of other patients are called apart, or copies, when patients are dealt anew.
"""

import argparse
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from lidc_maxslice import NON_SOLID
from numpy.typing import NDArray
from scipy import ndimage

from lesionforge.data.annotation.lesion_masks import lesion_masks
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.data.sources.arrays import load_arrays
from lesionforge.distances.frechet import frechet_distance
from lesionforge.distances.kernel import Standardised
from lesionforge.distances.manifold import manifold
from lesionforge.distances.neighbours import halved, nearest
from lesionforge.distances.radiomics import RadiomicSettings, radiomic_features
from lesionforge.distances.texture import Texture
from lesionforge.evaluation.assessments.described import evened, pyradiomics_is_there
from lesionforge.evaluation.delong import auc_interval
from lesionforge.evaluation.fidelity import Features, Sets, fidelity_table
from lesionforge.evaluation.memorisation import Real, Search, memory, real_distances
from lesionforge.evaluation.radiomic_set import radiomics_of
from lesionforge.evaluation.separability import separated
from lesionforge.progress import TerminalProgress

SIDE = 64
WINDOW = WINDOWS["lung"]
HALVINGS = 6
SPACING_MM = 0.7
QUARTER_TURNS = Search(flips=True, shift=1, angles=(0.0, 90.0))
Images = NDArray[np.generic]


def dealt(patches: Patches, seed: int) -> tuple[Patches, Patches, Patches]:
    """Training patients (half of all), held-out ones and fresh ones (a quarter each)."""
    names = np.random.default_rng(seed).permutation(patches.patients.unique())
    parts = np.split(names, [len(names) // 2, len(names) * 3 // 4])
    train, held_out, fresh = (patches.rows(patches.patients.isin(part).to_numpy()) for part in parts)
    return train, held_out, fresh


def controls(train: Patches, fresh: Patches, seed: int = 0) -> Iterator[tuple[str, Images]]:
    """Sets passed off as synthetic."""
    rng = np.random.default_rng(seed)
    real = fresh.images.astype(np.float64)
    yield "fresh patients", real
    yield "blurred, 1 px", ndimage.gaussian_filter(real, (0, 1, 1))
    yield "shifted, 50 HU", real + 50
    yield "noise, 60 HU", real + rng.normal(0, 60, real.shape)
    few = real[rng.integers(0, 8, len(real))]
    yield "collapsed to 8", few + rng.normal(0, 5, few.shape)
    yield "training copies", train.images[rng.permutation(len(train))[: len(real)]].astype(np.float64)
    some = real.copy()
    count = round(0.05 * len(real))
    copied = train.images[rng.choice(len(train), count, replace=False)].astype(np.float64)
    turned = [np.rot90(np.roll(np.flip(image, 1), 2, 0), k) for k, image in enumerate(copied)]
    some[:count] = np.stack(turned) + rng.normal(0, 20, copied.shape)
    yield "5 % copies, turned", some


def small(images: Images) -> NDArray[np.float32]:
    return halved(halved(np.asarray(images).clip(WINDOW.low, WINDOW.high)))


def run_controls(patches: Patches, out: Path | None) -> None:
    train, held_out, fresh = dealt(patches, 0)
    texture = Texture(WINDOW.low, WINDOW.high)
    real = np.concatenate([train.images, held_out.images])
    owners = np.concatenate([train.patients.to_numpy(dtype=str), held_out.patients.to_numpy(dtype=str)])
    known = Real(small(real), owners, np.arange(len(real)) < len(train))
    calibration = real_distances(known, search=QUARTER_TURNS)
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        for name, images in controls(train, fresh):
            features = {"texture": Features(texture.describe(held_out.images), texture.describe(images))}
            if pyradiomics_is_there():
                features |= {"radiomics": radiomics(held_out.images, images, Path(cache))}
            patients = held_out.patients.to_numpy(dtype=str)
            table = fidelity_table(
                Sets(held_out.images, patients, images, WINDOW), features, count=HALVINGS, progress=TerminalProgress()
            )
            row = {"control": name}
            for each in table.to_dict("records"):
                mark = "*" if each["apart"] else ""
                row[f"{each['measure']}, {each['taken_of']}"] = f"{each['value']:.3g}{mark}"
            floors = {f"{r['measure']}, {r['taken_of']}": f"{r['floor']:.3g}" for r in table.to_dict("records")}
            for taken_of, each in features.items():
                auc = auc_interval(separated(each.real, patients, each.synthetic))
                row[f"AUC, {taken_of}"] = f"{auc.value:.2f}{'*' if auc.low > 0.5 else ''}"
            found = memory(small(images), known, search=QUARTER_TURNS, calibration=calibration)
            row |= {"copies": str(int(found.samples["copy"].sum())), "p of copying": f"{found.p_value:.1g}"}
            if not rows:
                rows.append({"control": "floor: halves of the held-out"} | floors)
            rows.append(row)
            print(pd.DataFrame(rows).T.to_string(), flush=True)
    if out:
        pd.DataFrame(rows).to_csv(out, index=False)


def radiomics(held_out: Images, images: Images, cache: Path) -> Features:
    """Radiomic features by measured masks, at one spacing for all; of what cannot be measured, the set's median."""
    found = []
    for pixels in (held_out, images):
        each = Patches.of(pixels, patient=["p"] * len(pixels), spacing_mm=SPACING_MM)
        features = radiomics_of(each, lesion_masks(each, "measured"), cache=cache, workers=2)
        found.append(np.where(np.isfinite(features), features, np.nanmedian(features, axis=0)))
    return evened(*found)


def run_false_alarms(patches: Patches, repeats: int) -> None:
    """Held-out and fresh patients are of one kind: whatever is called apart is called so by chance."""
    texture = Texture(WINDOW.low, WINDOW.high)
    described, pictures = texture.describe(patches.images), small(patches.images)
    place = pd.Series(range(len(patches)), index=patches.table["source_pixels"])
    apart: list[pd.Series] = []
    copies = []
    for seed in range(repeats):
        train, held_out, fresh = (place[part.table["source_pixels"]].to_numpy() for part in dealt(patches, seed))
        patients = patches.patients.to_numpy(dtype=str)
        sets = Sets(patches.images[held_out], patients[held_out], patches.images[fresh], WINDOW)
        features = Features(described[held_out], described[fresh])
        table = fidelity_table(sets, {"texture": features}, images=False, count=HALVINGS, seed=seed)
        apart.append(table.set_index("measure")["apart"])
        both = np.concatenate([train, held_out])
        scale = Standardised.by(described[train])
        for space, of in (("texture", scale(described)), ("pixels", pictures)):
            known = Real(of[both], patients[both], np.arange(len(both)) < len(train))
            copies.append((space, memory(of[fresh], known, seed=seed).p_value < 0.05))
    print(pd.concat(apart, axis=1).mean(axis=1).rename("called apart").to_string())
    print(pd.DataFrame(copies, columns=["space", "flagged as copies"]).groupby("space").mean().to_string())


def run_speed(patches: Patches) -> None:
    lesions = patches.rows(np.arange(256))
    masks = lesion_masks(lesions, "drawn")
    plain = timed(lambda: plain_loop(lesions, masks))
    settings = RadiomicSettings()
    alone = timed(
        lambda: [
            radiomic_features(*each, settings) for each in zip(lesions.images, masks, spacings(lesions), strict=True)
        ]
    )
    print(f"plain pyradiomics loop {len(lesions) / plain:.1f} ROI/s; ours, one process {len(lesions) / alone:.1f}")
    masks = lesion_masks(patches, "drawn")
    for workers in (1, 2):
        seconds = timed(partial(radiomics_of, patches, masks, workers=workers))
        print(
            f"radiomics_of, {workers} workers, {len(patches)} lesions: {len(patches) / seconds:.1f} ROI/s, "
            "start of processes included",
            flush=True,
        )
    rng = np.random.default_rng(0)
    for count in (1_000, 3_000, 10_000):
        vectors = [rng.normal(size=(count, 93)) for _ in range(2)]
        images = [rng.normal(size=(count, 16, 16)).astype(np.float32) for _ in range(2)]
        works: dict[str, Callable[[], object]] = {
            "Fréchet, 93 features": lambda v=vectors: frechet_distance(*v),
            "precision … coverage, 93 features": lambda v=vectors: manifold(*v),
            "nearest, 93 features": lambda v=vectors: nearest(*v),
            "nearest, 16×16 px, 8 orientations, 9 shifts": lambda v=images: nearest(
                *v, flips=True, shift=1, angles=(0.0, 90.0)
            ),
        }
        for name, work in works.items():
            tracemalloc.start()
            seconds = timed(work)
            peak = tracemalloc.get_traced_memory()[1] / 2**20
            tracemalloc.stop()
            print(f"{count:6} × {count:<6} {name}: {seconds:.2f} s, {peak:.0f} MiB", flush=True)


def plain_loop(patches: Patches, masks: Images) -> None:
    """What pyradiomics' documentation shows."""
    import SimpleITK as sitk
    from radiomics.featureextractor import RadiomicsFeatureExtractor

    extractor = RadiomicsFeatureExtractor()
    extractor.disableAllFeatures()
    for family in ("firstorder", "glcm", "gldm", "glrlm", "glszm", "ngtdm"):
        extractor.enableFeatureClassByName(family)
    for image, mask, spacing in zip(patches.images, masks, spacings(patches), strict=True):
        pictures = [sitk.GetImageFromArray(np.pad(each, 1)[None]) for each in (image.astype(float), mask)]
        for picture in pictures:
            picture.SetSpacing((*spacing[::-1], 1.0))
        extractor.execute(*pictures)


def spacings(patches: Patches) -> list[tuple[float, ...]]:
    return [tuple(each) for each in patches.spacing_mm.tolist()]


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("controls", "speed", "false-alarms"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="CSV of the controls' table")
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()
    patches = load_arrays(arguments.data / "lidc_maxslice", mapping=NON_SOLID).centre_crop(SIDE)
    if arguments.what == "controls":
        run_controls(patches, arguments.out)
    elif arguments.what == "speed":
        run_speed(patches)
    else:
        run_false_alarms(patches, arguments.repeats)


if __name__ == "__main__":
    main()
