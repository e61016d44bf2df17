"""The only file that knows Hounsfield numbers.

CT measures attenuation in Hounsfield units (HU): air is −1000, water 0. A *window* is the range of HU that
a task looks at; networks see it as [−1, 1] (generators) or [0, 1] (classifiers). Because training and
synthesis both come here, they cannot normalise differently.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lesionforge.errors import LesionForgeError

AIR_HU = -1000.0
WATER_HU = 0.0
LUNG_PARENCHYMA_HU = -860.0
SOFT_TISSUE_HU = 45.0
BARE_AIR_BELOW_HU = -950.0  # as emphysema is told from lung: below, there is next to no tissue
FAINTEST_LESION_CONTRAST_HU = 60.0  # between a lesion and the lung around it; fainter is noise and small vessels
LOWEST_STORED_HU = -1024.0  # padding outside the field of view (down to −3024 HU) is air, not a measurement
HIGHEST_STORED_HU = 3071.0  # the top of 12 bits


@dataclass(frozen=True)
class Window:
    """A closed range of intensities in ``unit``, and its linear map to what networks see."""

    name: str
    low: float
    high: float
    unit: str = "HU"

    def to_symmetric(self, intensities: NDArray[np.generic]) -> NDArray[np.float32]:
        """Map the window to [−1, 1], clipping outside it. Any shape."""
        centre, half_width = (self.high + self.low) / 2, (self.high - self.low) / 2
        scaled = np.asarray((intensities.astype(np.float32) - np.float32(centre)) / np.float32(half_width))
        return np.clip(scaled, -1, 1, out=scaled)

    def from_symmetric(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """Map [−1, 1] back to the window, in its unit. Any shape."""
        centre, half_width = (self.high + self.low) / 2, (self.high - self.low) / 2
        return (values * np.float32(half_width) + np.float32(centre)).astype(np.float32, copy=False)

    def to_unit_interval(self, intensities: NDArray[np.generic]) -> NDArray[np.float32]:
        """Map the window to [0, 1], clipping outside it. Any shape."""
        return (self.to_symmetric(intensities) + np.float32(1)) / np.float32(2)


WINDOWS = {
    window.name: window
    for window in (
        Window("lung", -1000.0, 400.0),  # lung lesions: air to calcification's foot (LUNA16 and many after it)
        Window("mediastinum", -160.0, 240.0),
        Window("liver", -60.0, 200.0),  # portal phase: cysts near 0, enhanced parenchyma near 110, vessels near 160
        Window("u8", 0.0, 255.0, unit="u8"),  # 8-bit pictures whose Hounsfield scale is lost
    )
}


def window_named(name: str, *, unit: str) -> Window:
    """Return the window of that name, which must be made for ``unit``."""
    default_window(unit)  # there is one
    fitting = [window.name for window in WINDOWS.values() if window.unit == unit]
    if name not in fitting:
        raise LesionForgeError(f"window must be one of {', '.join(fitting)} for images in {unit!r}, but {name!r} came.")
    return WINDOWS[name]


def default_window(unit: str) -> Window:
    """Return the first window made for ``unit``: lung for HU, the full range for 8-bit pictures."""
    for window in WINDOWS.values():
        if window.unit == unit:
            return window
    units = sorted({window.unit for window in WINDOWS.values()})
    raise LesionForgeError(f"unit must be one of {', '.join(units)}, but {unit!r} came.")


def as_stored(hu: NDArray[np.generic]) -> NDArray[np.int16]:
    """Round to whole HU and clip to the 12 bits that scanners store. Any shape."""
    whole: NDArray[np.int16] = np.rint(np.clip(hu, LOWEST_STORED_HU, HIGHEST_STORED_HU)).astype(np.int16)
    return whole
