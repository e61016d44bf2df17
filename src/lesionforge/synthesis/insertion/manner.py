"""In what manner lesions are put into scans: all that decides a lesion, but its scan and its site."""

from dataclasses import dataclass, field
from typing import Any

from lesionforge import settings
from lesionforge.data.exposure import Exposure
from lesionforge.synthesis.insertion.blending import Blending
from lesionforge.synthesis.insertion.outlines import Lobed, Outlines
from lesionforge.synthesis.insertion.painter import Painter


@dataclass(frozen=True)
class Manner:
    """How lesions are made, and how they go over into the scan.

    Parameters
    ----------
    painter
        What paints them.
    label
        Their class; None: the only one that the painter has.
    outlines
        What their shapes are drawn from; a painter that does not follow masks brings its own.
    blending
        How they go over into the scan.
    seed
        Of all that is drawn.

    Raises
    ------
    LesionForgeError
        The painter cannot paint this class, or is not told which.
    """

    painter: Painter
    label: str | None = None
    outlines: Outlines = field(default_factory=Lobed)
    blending: Blending = field(default_factory=Blending)
    seed: int = 0

    def __post_init__(self) -> None:
        self.painter.checked_label(self.label)

    @property
    def lesion_class(self) -> str:
        """What the lesions are labelled."""
        return self.painter.checked_label(self.label)

    @property
    def exposure(self) -> Exposure:
        """All that lesions made in this manner have seen, but the host."""
        return self.painter.exposure | (self.outlines.exposure if self.painter.follows_masks else Exposure())

    def to_json(self) -> dict[str, Any]:
        """As JSON: what a request for a lesion says."""
        return {
            "painter": self.painter.id,
            "label": self.lesion_class,
            "outlines": self.outlines.id if self.painter.follows_masks else "the painter's",
            "blending": settings.to_json(self.blending),
            "seed": self.seed,
        }
