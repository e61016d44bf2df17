"""The way of the data, as a chart: patients and lesions at every step, from what was given to what was scored.

Four columns: what is made of the training patients stands below them, and nothing leads from the test patients but to
the scores.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

WIDTH, BOX, GAP, LINE = 760, 62, 26, 17
COLUMNS = 4
CHARACTER = 6.6  # pixels of a letter, on the average


@dataclass(frozen=True)
class Box:
    """A step: what it is and how many, and where it stands."""

    title: str
    counts: str
    row: int
    column: int = 0
    span: int = COLUMNS

    @property
    def left(self) -> float:
        """Its left edge."""
        return self.column * (WIDTH + GAP) / COLUMNS + 1

    @property
    def width(self) -> float:
        """From edge to edge."""
        return self.span * (WIDTH + GAP) / COLUMNS - GAP - 2

    @property
    def top(self) -> float:
        """Its upper edge."""
        return 1 + self.row * (BOX + GAP)

    @property
    def middle(self) -> float:
        """Of its width."""
        return self.left + self.width / 2


def flow_chart(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    """Return the chart as inline SVG, in the text's colours."""
    boxes, ways = _chart(config, provenance)
    height = max(box.top for box in boxes) + BOX + 1
    told = "; ".join(f"{box.title}: {box.counts}" for box in boxes)
    return "\n".join(
        [
            f'<svg class="flow" role="img" viewBox="0 0 {WIDTH} {height:.0f}" xmlns="http://www.w3.org/2000/svg">',
            f"<title>{escape(told)}</title>",
            *(_way(first, second) for first, second in ways),
            *(line for box in boxes for line in _drawn(box)),
            "</svg>",
        ]
    )


def _chart(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> tuple[list[Box], list[tuple[Box, Box]]]:
    """Return the boxes, and which leads to which."""
    folds = provenance["folds"]
    above = _before_the_split(config, provenance)
    ways = list(pairwise(above))
    row = len(above)
    train, test = Box("train", _counts(folds, "train"), row, 0, 2), Box("test", _counts(folds, "test"), row, 3, 1)
    made = _made(config, row + 1)
    row += 2 if made else 1
    fitted = Box("fitted", f"{_several(config, 'regime')}, {_several(config, 'classifier')}", row, 0, 3)
    scored = Box("scored", "on test patients, whom nothing above has met", row + 1)
    boxes = [*above, train, test, *made, fitted, scored]
    ways += [(above[-1], train), (above[-1], test), (test, scored), (fitted, scored)]
    ways += [way for each in made for way in ((train, each), (each, fitted))] or [(train, fitted)]
    if "validation_patients" in folds[0]:
        validation = Box("validation", _counts(folds, "validation"), train.row, 2, 1)
        boxes.append(validation)
        ways += [(above[-1], validation), (validation, fitted)]
    return boxes, ways


def _before_the_split(config: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[Box]:
    """What was given, what is drawn of it, and how it is split."""
    classes = provenance["data"]["classes"]
    by_class = ", ".join(f"{each['lesions']} {each['label']}" for each in classes)
    boxes = [Box("given", f"{sum(each['lesions'] for each in classes)} lesions: {by_class}", 0)]
    if per_class := config.get("patients_per_class"):
        boxes.append(Box("drawn for each repeat", f"{per_class} patients of each class", 1))
    repeats = f"{config['repeats']} repeat{'s' if config['repeats'] > 1 else ''}"
    done = config.get("folds_run") or config["folds"]
    return [*boxes, Box("split", f"{done} of {config['folds']} folds by patient, {repeats}", len(boxes))]


def _made(config: Mapping[str, Any], row: int) -> list[Box]:
    """What is made of the training patients."""
    made = [("classic patches", "of training lesions")] if _any(config, "classic", "classic_of") else []
    if _any(config, "synthetic_per_class"):
        names = ", ".join(each["name"] for each in config.get("generators", ()))
        made.append(("generators", f"{names}: trained on these alone"))
    return [Box(*each, row, place * 2 // len(made), 2 // len(made)) for place, each in enumerate(made)]


def _several(config: Mapping[str, Any], what: str) -> str:
    count = len(config.get(f"{what}s", ()))
    return f"{count} {what}{'s' if count != 1 else ''}"


def _any(config: Mapping[str, Any], *names: str) -> bool:
    return any(regime.get(name) for regime in config.get("regimes", ()) for name in names)


def _counts(folds: Sequence[Mapping[str, Any]], part: str) -> str:
    """Patients and lesions of a part, over the folds."""
    return ", ".join(
        f"{_range([fold[f'{part}_{what}'] for fold in folds])} {what}"
        for what in ("patients", "lesions")
        if f"{part}_{what}" in folds[0]
    )


def _range(counts: Sequence[int]) -> str:
    low, high = min(counts), max(counts)
    return str(low) if low == high else f"{low}–{high}"


def _drawn(box: Box) -> list[str]:
    words = _wrapped(box.counts, int(box.width / CHARACTER))
    start = box.top + BOX / 2 - LINE * len(words) / 2 + 5
    lines = [
        f'<text x="{box.middle:.0f}" y="{start + LINE * number:.0f}">{escape(text)}</text>'
        for number, text in enumerate(words, start=1)
    ]
    frame = f'x="{box.left:.0f}" y="{box.top:.0f}" width="{box.width:.0f}" height="{BOX}" rx="4"'
    title = f'<text x="{box.middle:.0f}" y="{start:.0f}" class="title">{escape(box.title)}</text>'
    return [f"<rect {frame}/>", title, *lines]


def _wrapped(text: str, characters: int) -> list[str]:
    """One line or two; what is longer ends in dots."""
    if len(text) <= characters:
        return [text]
    cut = text.rfind(" ", 0, characters + 1)
    cut = characters if cut <= 0 else cut
    rest = text[cut:].strip()
    return [text[:cut], rest if len(rest) <= characters else rest[: characters - 1] + "…"]


def _way(first: Box, second: Box) -> str:
    """A line straight down, in the middle of the narrower box."""
    x = min(first, second, key=lambda box: box.span).middle
    return f'<path d="M{x:.0f} {first.top + BOX:.0f} V{second.top:.0f}"/>'
