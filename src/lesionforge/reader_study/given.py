"""An answer as a reader gives it, and whether it is one to what the study asks."""

from collections.abc import Sequence
from dataclasses import dataclass

from lesionforge.errors import LesionForgeError
from lesionforge.reader_study.study import Study

LONGEST_COMMENT = 2000


class RefusedError(LesionForgeError):
    """What a reader asked for is not theirs to have; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Given:
    """A reader's answer to an item."""

    rating: int
    label: str = ""
    comment: str = ""
    region: tuple[float, ...] = ()  # slice, top, left, bottom, right, in pixels
    active_ms: int = 0


def check(given: Given, study: Study) -> None:
    """Raise RefusedError if the study did not ask for an answer like this."""
    design, classes = study.design, study.classes
    _, depth, height, width = study.pixels.shape
    if not 0 <= given.rating < len(design.words):
        raise RefusedError(422, f"the rating must be one of {len(design.words)}.")
    if (given.label not in classes) if design.ask_class else given.label:
        raise RefusedError(422, "the class must be one of those that the study asks for.")
    if (given.comment and not design.ask_comment) or len(given.comment) > LONGEST_COMMENT or "\0" in given.comment:
        raise RefusedError(422, f"a comment has {LONGEST_COMMENT} letters at most, where the study asks for one.")
    if given.region and not (
        design.ask_region and len(given.region) == 5 and _inside(given.region, (depth, height, width))
    ):
        raise RefusedError(422, "a region must lie inside the image, where the study asks for one.")


def _inside(region: Sequence[float], shape: tuple[int, int, int]) -> bool:
    place, top, left, bottom, right = region
    depth, height, width = shape
    return 0 <= place < depth and place == int(place) and 0 <= top < bottom <= height and 0 <= left < right <= width
