"""Which marks of LIDC-IDRI's readers mean the same lesion: the files do not say, only the places do.

Marks of different readers are joined pair by pair, the closest first: outlined nodules by how much of them is shared
(Dice's coefficient above 0), and after them points, by distance. A pair is not joined where that would give a lesion
two marks of one reader. So where one reader outlined as a whole what another outlined in two parts, the larger part
goes to the whole and the other stays a lesion of its own. Where a reader outlined the same nodule twice, the later
outline counts.

How near is near: on the same or a neighbouring slice (3 mm), within 5 pixels of another point, or in or on another
reader's outline. Over all of LIDC-IDRI, pairs of readers' small nodules on one slice lie within 4 pixels (11 000), or
further apart than 6: nearly none are between. Nothing but the XML is needed, so pixels stand for millimetres here.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from lesionforge.data.formats.lidc_xml import HIGHEST_RATING, KINDS, LARGEST_IMAGE, NODULE, Mark

READERS = 4  # of nearly every scan
NEIGHBOURING_MM = 3.05  # slices are 3 mm apart at most where they are neighbours; positions are rounded
BETWEEN_POINTS = 5.0  # pixels
ON_OUTLINE = 1.5  # pixels from the lesion's: those of the outline itself
SAME_NODULE = 0.5  # Dice's coefficient of two outlines by one reader

Closeness = tuple[float, float, float]
Region = Mapping[str, NDArray[np.int64]]  # by slice, the pixels as LARGEST_IMAGE · x + y, sorted


@dataclass(frozen=True, eq=False)
class Finding:
    """One lesion: what each reader marked of it, at most one mark of each, by reader.

    It is of the kind nodule if anybody called it one, else a small nodule if anybody did, else a non-nodule.
    """

    name: str
    kind: str
    marks: tuple[Mark, ...]

    def marked_as(self, kind: str) -> list[Mark]:
        """Return the marks of the readers who called it so."""
        return [mark for mark in self.marks if mark.kind == kind]


def find_findings(marks: Sequence[Mark]) -> list[Finding]:
    """Join the marks of one scan to lesions, named by kind from feet to head: ``nodule-1``, ``small-nodule-1``, …"""
    places = [_Place(mark) for mark in marks]
    outlined = [place for place in places if not place.is_point]
    twice = {a for a, b in combinations(outlined, 2) if a.reader == b.reader and a.dice(b) > SAME_NODULE}
    group_of = {place: [place] for place in places if place not in twice}
    for _, a, b in sorted(_links(list(group_of)), key=lambda link: link[0], reverse=True):
        first, second = group_of[a], group_of[b]
        if not {place.reader for place in first} & {place.reader for place in second}:
            first += second
            group_of.update(dict.fromkeys(second, first))
    return _named(list({id(group): group for group in group_of.values()}.values()))


def facts_of(finding: Finding, *, readers: int = READERS) -> dict[str, Any]:
    """Columns of a lesion: its kind, how many readers called it what, and the ratings of each and all of them.

    ``readers`` are those who called it what it is; ``malignancy_2`` is the scan's second reader's rating. Missing
    ones are NaN, and there are columns for 4 readers at least.
    """
    marked = {kind: len(finding.marked_as(kind)) for kind in KINDS}
    facts: dict[str, Any] = {"kind": finding.kind, "readers": marked[finding.kind]}
    facts |= {f"readers_{kind}": count for kind, count in marked.items()}
    by_reader = {mark.reader: mark.ratings for mark in finding.marked_as(NODULE)}
    for name in HIGHEST_RATING:
        given = [ratings[name] for ratings in by_reader.values() if name in ratings]
        for reader in range(1, max(READERS, readers) + 1):
            facts[f"{name}_{reader}"] = by_reader.get(reader, {}).get(name, np.nan)
        facts[f"{name}_mean"] = float(np.mean(given)) if given else np.nan
        facts[f"{name}_median"] = float(np.median(given)) if given else np.nan
    return facts


def region_of(mark: Mark) -> Region:
    """Return the pixels of a mark, by slice: what its outlines enclose, less what its exclusions do.

    An outline's own pixels belong to no lesion, be it an inclusion or an exclusion. Only where an inclusion encloses
    nothing (a point, a line) do its own pixels stand for the lesion; and exclusions that leave nothing do not count.
    """
    included: dict[str, NDArray[np.int64]] = {}
    for outline in mark.outlines:
        if outline.inclusion:
            inside, on = _enclosed(outline.pixels)
            known = included.get(outline.slice_uid, np.empty(0, dtype=np.int64))
            included[outline.slice_uid] = np.union1d(known, inside if len(inside) else on)
    region = dict(included)
    for outline in mark.outlines:
        if not outline.inclusion and outline.slice_uid in region:
            region[outline.slice_uid] = np.setdiff1d(region[outline.slice_uid], np.union1d(*_enclosed(outline.pixels)))
    return {uid: pixels for uid, pixels in region.items() if len(pixels)} or included


def to_pixels(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n, 2] pixels (x, y) of a region's numbers [n]."""
    return np.stack(np.divmod(codes, LARGEST_IMAGE), axis=-1)


def _enclosed(pixels: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pixels inside an outline, and on it. Where its points are not neighbours, straight lines join them."""
    corner = pixels.min(axis=0) - 1  # the canvas has a margin: what is connected to its corner is outside
    path = np.concatenate([pixels, pixels[:1]]) - corner
    canvas = np.zeros(path.max(axis=0) + 2, dtype=bool)
    canvas[path[:, 0], path[:, 1]] = True
    steps = np.abs(np.diff(path, axis=0)).max(axis=1)
    for start in np.flatnonzero(steps > 1):
        share = np.arange(1, steps[start]) / steps[start]
        x, y = np.rint(path[start] + np.outer(share, path[start + 1] - path[start])).astype(int).T
        canvas[x, y] = True
    areas, _ = label(~canvas)  # an outline may go from a pixel to its diagonal neighbour, what it parts may not
    inside = ~canvas & (areas != areas[0, 0])
    return _codes(np.argwhere(inside) + corner), _codes(np.argwhere(canvas) + corner)


def _codes(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    return pixels[:, 0] * LARGEST_IMAGE + pixels[:, 1]


class _Place:
    """Where a mark is."""

    def __init__(self, mark: Mark) -> None:
        self.mark = mark
        self.reader = mark.reader
        self.is_point = mark.kind != NODULE
        self.region = region_of(mark)
        self.size = sum(map(len, self.region.values()))
        self.height_mm = {outline.slice_uid: outline.z_mm for outline in mark.outlines}
        x, y = np.concatenate([outline.pixels for outline in mark.outlines]).mean(axis=0)
        self.middle = float(np.mean(list(self.height_mm.values()))), float(y), float(x)

    def dice(self, other: "_Place") -> float:
        """Share of their pixels that two outlined nodules have in common."""
        slices = self.region.keys() & other.region.keys()
        shared = sum(len(np.intersect1d(self.region[uid], other.region[uid], assume_unique=True)) for uid in slices)
        return 2 * shared / max(1, self.size + other.size)

    def distance(self, point: "_Place") -> tuple[float, float]:
        """From a point to the nearest pixel of this mark on the same or a neighbouring slice: (pixels, mm)."""
        z, y, x = point.middle
        near = {uid: abs(height - z) for uid, height in self.height_mm.items() if abs(height - z) <= NEIGHBOURING_MM}
        between = (
            (float(np.hypot(*(to_pixels(self.region[uid]) - (x, y)).T).min()), apart_mm)
            for uid, apart_mm in near.items()
            if uid in self.region
        )
        return min(between, default=(np.inf, np.inf))


def _links(places: Sequence[_Place]) -> Iterator[tuple[Closeness, _Place, _Place]]:
    """Pairs of marks by different readers that may mean the same lesion."""
    for a, b in combinations(places, 2):
        if a.reader == b.reader:
            continue
        if a.is_point or b.is_point:
            point, other = (a, b) if a.is_point else (b, a)
            pixels, apart_mm = other.distance(point)
            if pixels <= (BETWEEN_POINTS if other.is_point else ON_OUTLINE):
                yield (0.0, -pixels, -apart_mm), a, b
        elif (dice := a.dice(b)) > 0:
            yield (dice, 0.0, 0.0), a, b


def _named(groups: Sequence[Sequence[_Place]]) -> list[Finding]:
    count: Counter[str] = Counter()
    findings = []
    for group in sorted(groups, key=lambda group: tuple(np.mean([place.middle for place in group], axis=0))):
        marks = tuple(place.mark for place in sorted(group, key=lambda place: place.reader))
        kind = min((mark.kind for mark in marks), key=KINDS.index)
        count[kind] += 1
        findings.append(Finding(f"{kind.replace('_', '-')}-{count[kind]}", kind, marks))
    return findings
