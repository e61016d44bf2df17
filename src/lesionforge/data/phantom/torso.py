"""The body wall: skin, fat, muscle, ribs and spine around a cavity that holds lungs or abdominal organs.

Layers follow the distance from the cavity's inner surface, so every body part that touches a lung is drawn by one
profile. z = 0 is the level of the heart in the chest and of the liver's middle in the abdomen.
"""

from dataclasses import dataclass

import numpy as np

from lesionforge.data.hounsfield import AIR_HU
from lesionforge.data.phantom import tissues
from lesionforge.data.phantom.grid import Array, Grid, blend, coverage, ellipsoid_distance
from lesionforge.data.phantom.texture import Texture, Undulation

RIB_DEPTH_MM = 5.5  # from the cavity to the middle of a rib
RIB_HALF_MM = (3.6, 6.5)  # through the wall, and along the body
CORTEX_MM = 1.3
VERTEBRA_PITCH_MM = 24.0
DISC_HALF_MM = 2.5
ENDLESS = float("inf")


@dataclass(frozen=True)
class Torso:
    """One patient's body wall. Lengths in mm; ``cavity_mm`` are half widths (left–right, front–back)."""

    cavity_mm: tuple[float, float]
    wall_mm: float
    muscle_mm: float  # outside the ribs
    apex_mm: float | None  # height at which the cavity closes; None: it goes on
    rib_phase_mm: float
    rib_slope: tuple[float, float]  # fall of a rib toward the front, and from the spine to the side, per mm
    bend: Undulation
    grain: Texture

    @classmethod
    def drawn(cls, rng: np.random.Generator, *, apex_mm: float | None, grain: Texture) -> "Torso":
        """Draw a patient's build."""
        return cls(
            cavity_mm=(rng.normal(132, 9), rng.normal(92, 7)),
            wall_mm=rng.uniform(24, 42),
            muscle_mm=rng.uniform(3, 11),
            apex_mm=apex_mm,
            rib_phase_mm=rng.uniform(0, VERTEBRA_PITCH_MM),
            rib_slope=(rng.uniform(0.3, 0.55), rng.uniform(0.1, 0.3)),
            bend=Undulation.drawn(rng, wavelength_mm=(60, 140)),
            grain=grain,
        )

    @property
    def spine_y_mm(self) -> float:
        """The middle of the vertebral bodies."""
        return self.cavity_mm[1] - 16

    def cavity_distance(self, x: Array, y: Array, z: Array) -> Array:
        """Signed distance to the cavity's inner surface, in the axial plane."""
        if self.apex_mm is not None:
            closing = np.clip((z + 20) / np.float32(self.apex_mm + 20), 0, 0.97) ** 3
            taper = np.sqrt(1 - closing)
            x, y = x / taper, y / taper
        rx, ry = self.cavity_mm
        return ellipsoid_distance(x, y, z, (rx, ry, ENDLESS)) + 2 * self.bend.at(x, y, z)

    def skin_distance(self, x: Array, y: Array) -> Array:
        """Signed distance to the skin: a rounded box about the cavity."""
        rx, ry = (np.float32(half + self.wall_mm) for half in self.cavity_mm)
        ratio = (np.abs(x) / rx) ** 2.6 + (np.abs(y) / ry) ** 2.6
        distance: Array = (ratio ** np.float32(1 / 2.6) - 1) * np.minimum(rx, ry)
        return distance

    def wall(self, grid: Grid, distance: Array) -> Array:
        """Attenuation of everything outside the cavity, [Z, Y, X], given `cavity_distance` there."""
        x, y, z = grid.points
        thickness = self.muscle_mm * (1 + 0.3 * self.bend.at(y, z, x))
        outside_ribs = np.maximum(distance - 12, 0) * self.muscle_mm / np.maximum(thickness, 1)
        layer = np.minimum(distance, 12) + outside_ribs
        hu = self._layers(layer)
        hu += 7 * self.grain.on(grid)
        self._ribs(hu, grid, distance)
        skin = self.skin_distance(x, y)
        blend(hu, coverage(-2 - skin, grid.edge_mm), tissues.SKIN_HU)
        blend(hu, coverage(-skin, grid.edge_mm), AIR_HU)
        return hu

    def _layers(self, depth_mm: Array) -> Array:
        """Tissue at this depth below the cavity's surface: pleura, ribs' muscles, and two muscles with fat between."""
        muscle, fat, outer = tissues.MUSCLE_HU, tissues.FAT_HU, 13 + self.muscle_mm
        bands = (
            (0.0, 1.0, muscle),
            (1.5, 2.5, fat / 4),  # extrapleural fat, too thin to be seen pure
            (3.2, 10.0, muscle),
            (11.0, 13.0, fat),
            (14.0, outer, muscle),
            (outer + 1, outer + 2.5, fat),
            (outer + 3.5, outer + 5, muscle),
            (outer + 6, outer + 100, fat),
        )
        edges = [edge for first, last, _ in bands for edge in (first, last)]
        tissue: Array = np.interp(depth_mm, edges, np.repeat([hu for *_, hu in bands], 2)).astype(np.float32)
        return tissue

    def _ribs(self, hu: Array, grid: Grid, distance: Array) -> None:
        x, y, z = grid.points
        fall, spread = self.rib_slope
        height = z - np.float32(self.rib_phase_mm) - np.float32(fall) * y + np.float32(spread) * np.abs(x)
        from_rib = (height + VERTEBRA_PITCH_MM / 2) % VERTEBRA_PITCH_MM - VERTEBRA_PITCH_MM / 2
        upright = from_rib / np.float32(np.hypot(1, fall))
        through, along = RIB_HALF_MM
        tube = ellipsoid_distance(distance - np.float32(RIB_DEPTH_MM), upright, z, (through, along, ENDLESS))
        # At the back the ribs end beside the vertebrae; in front they go over into cartilage.
        from_end: Array = np.where(y > 0, 16 - np.abs(x), -1e3).astype(np.float32)
        surface: Array = np.maximum(tube, from_end)
        front = np.clip((-y - 0.62 * self.cavity_mm[1]) / 6, 0, 1)
        for from_surface, bone_hu in ((surface, tissues.CORTICAL_BONE_HU), (surface + CORTEX_MM, tissues.MARROW_HU)):
            attenuation: Array = (bone_hu + front * (tissues.CARTILAGE_HU - bone_hu)).astype(np.float32)
            blend(hu, coverage(from_surface, grid.edge_mm), attenuation)

    def spine(self, hu: Array, grid: Grid) -> None:
        """Paint vertebrae, discs and the canal, in place."""
        x, y, z = grid.points
        y = y - np.float32(self.spine_y_mm)
        level = (z - np.float32(self.rib_phase_mm)) % np.float32(VERTEBRA_PITCH_MM)
        body = ellipsoid_distance(x, y, z, (18, 15, ENDLESS))
        arch = np.abs(ellipsoid_distance(x, y - 22, z, (13, 12, ENDLESS))) - np.float32(3)
        spinous = ellipsoid_distance(x, y - 47, z, (3.5, 14, ENDLESS))
        beside = ellipsoid_distance(np.abs(x) - 26, y - 22, z, (13, 4.5, ENDLESS))
        bone = np.minimum(np.minimum(body, arch), np.minimum(spinous, beside))
        share, inner = coverage(bone, grid.edge_mm), coverage(bone + np.float32(CORTEX_MM), grid.edge_mm)
        blend(hu, share, 0.7 * tissues.CORTICAL_BONE_HU)
        blend(hu, inner, tissues.MARROW_HU + 15 * self.grain.on(grid))
        from_disc: Array = np.abs(level - np.float32(VERTEBRA_PITCH_MM / 2)) - np.float32(DISC_HALF_MM)
        disc = coverage(from_disc, 1.0) * coverage(body, grid.edge_mm)
        blend(hu, disc, tissues.DISC_HU)
        blend(hu, coverage(ellipsoid_distance(x, y - 22, z, (9, 8, ENDLESS)), grid.edge_mm), tissues.NERVE_HU)
