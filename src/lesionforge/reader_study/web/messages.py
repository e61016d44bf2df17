"""What goes over the wire as JSON. Every item of a study is spoken of in the same form, whatever its origin."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from lesionforge.reader_study.given import LONGEST_COMMENT

SLOT = r"^[0-9a-f]{24}$"
A_DAY_MS = 24 * 3600 * 1000


class Asked(BaseModel):
    """A request's body: nothing unknown in it, and nothing of another type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Invitation(Asked):
    """What a reader was sent."""

    invitation: Annotated[str, Field(max_length=64)]


class GivenAnswer(Asked):
    """An answer to the item that is to be read now."""

    slot: Annotated[str, Field(pattern=SLOT)]
    rating: Annotated[int, Field(ge=0, le=9)]
    label: Annotated[str, Field(max_length=200)] = ""
    comment: Annotated[str, Field(max_length=LONGEST_COMMENT)] = ""
    region: Annotated[list[FiniteFloat], Field(max_length=5)] = []
    active_ms: Annotated[int, Field(ge=0, le=A_DAY_MS)] = 0


class Welcome(BaseModel):
    """Where to go after an invitation."""

    page: str


class StudyFacts(BaseModel):
    """What a page must know to show items and to ask."""

    csrf: str
    words: list[str]
    classes: list[str]  # to choose from; none: they are not asked for
    ask_comment: bool
    ask_region: bool
    teaching: bool
    shape: list[int]  # z, y, x of every item
    unit: str
    window: str  # at the beginning
    presets: dict[str, tuple[float, float]]


class NowFacts(BaseModel):
    """Where a reader stands."""

    state: str
    slot: str
    kind: str
    batch: int
    begins: bool
    done: int
    total: int
    score: list[bool]


class Feedback(BaseModel):
    """The truth of an item that teaches."""

    real: bool
    right: bool
    label: str


class Acknowledged(BaseModel):
    """The answer is kept; what comes next."""

    feedback: Feedback | None
    now: NowFacts


class DeviceInvitation(BaseModel):
    """How to go on elsewhere."""

    invitation: str
    link: str
    minutes: int


class ReaderProgress(BaseModel):
    """How far a reader is."""

    name: str
    done: int
    total: int
    last_at: int | None
    mean_ms: float | None


class Progress(BaseModel):
    """How far all are."""

    closed: bool
    readers: list[ReaderProgress]


class Problem(BaseModel):
    """Why there is no answer."""

    error: str
