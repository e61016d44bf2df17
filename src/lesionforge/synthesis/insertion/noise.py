"""The noise of a scan, and more of it: what a network paints has little, and a calm spot in a noisy scan is seen.

Noise of CT is correlated: reconstruction and kernel decide its grain. It is measured where the anatomy is calm, in
blocks of soft tissue, by their mean power spectrum, and made again by filtering white noise to that spectrum
(a stationary Gaussian field; noise spectra of CT: P. F. Judy, Med. Phys. 3:233, 1976). Soft tissue rather than lung, as
lung has a texture of its own. Smooth trends over a block are anatomy or beam hardening and are taken away first.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.scan import Scan

SIDE, MOST_SLICES = 16, 3  # of a block
TREND_PX = 4.0  # standard deviation of the Gaussian whose result is taken for trend
FEWEST_BLOCKS = 4
CALM_WITHIN = 1.3  # of the spread that a quarter of the blocks stay below: in those above there are edges
# Immerkær's operator: blind to planes and edges along the axes (Comput. Vis. Image Underst. 64:300, 1996).
GRAIN = np.array([[1.0, -2, 1], [-2, 4, -2], [1, -2, 1]]) / 6
MEDIAN_TO_SD = 1.4826
ASSUMED_PX, ASSUMED_SD = 0.7, 200.0  # width of a soft kernel's grain; HU


@dataclass(frozen=True, eq=False)
class ScanNoise:
    """Noise of one scan.

    Parameters
    ----------
    kernel
        [z, y, x]; white noise of standard deviation 1 convolved with it is the scan's.
    """

    kernel: NDArray[np.float64]

    @classmethod
    def of(cls, scan: Scan, slices: slice = slice(None)) -> "ScanNoise | None":
        """Measure the noise in these slices of a scan in HU; None: there is too little calm soft tissue."""
        blocks = _calm_blocks(np.asarray(scan.voxels[slices], dtype=np.float32)) if scan.unit == "HU" else []
        if len(blocks) < FEWEST_BLOCKS:
            return None
        spread = np.array([block.std() for block in blocks])
        calm = np.flatnonzero(spread <= CALM_WITHIN * np.quantile(spread, 0.25))
        power = np.mean([np.abs(np.fft.fftn(blocks[number])) ** 2 for number in calm], axis=0) / blocks[0].size
        return cls(np.fft.fftshift(np.fft.ifftn(np.sqrt(power)).real))

    @classmethod
    def assumed(cls) -> "ScanNoise":
        """Return noise of the grain that reconstructions often have, for scans without calm soft tissue.

        It is stronger than any scan's: `share_in` what is around a lesion says how much of it to take.
        """
        steps = np.arange(SIDE) - SIDE // 2
        bell = np.exp(-(steps**2) / (2 * ASSUMED_PX**2))
        kernel = (bell[:, None] * bell)[np.newaxis]
        return cls(ASSUMED_SD * kernel / np.sqrt((kernel**2).sum()))

    @property
    def sd(self) -> float:
        """Standard deviation, in HU."""
        return float(np.sqrt((self.kernel**2).sum()))

    def field(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Draw noise, [z, y, x]."""
        wider = [n + k - 1 for n, k in zip(shape, self.kernel.shape, strict=True)]
        return np.asarray(signal.fftconvolve(rng.standard_normal(wider), self.kernel, mode="valid"))

    def share_in(self, voxels: NDArray[np.floating], within: NDArray[np.bool_]) -> float:
        """Return the grain of voxels [z, y, x] where ``within``, as a share of the scan's, at most 1."""
        grain = ndimage.correlate(np.asarray(voxels, np.float64), GRAIN[np.newaxis], mode="nearest")[within]
        own = np.sqrt((ndimage.correlate(self.kernel, GRAIN[np.newaxis], mode="wrap") ** 2).sum())
        return min(1.0, MEDIAN_TO_SD * float(np.median(np.abs(grain))) / float(own)) if grain.size else 0.0


def _calm_blocks(voxels: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Blocks that are soft tissue throughout, without their trend."""
    window = WINDOWS["liver"]
    trend = ndimage.gaussian_filter(voxels, (0, TREND_PX, TREND_PX), mode="nearest")
    soft = (trend >= window.low) & (trend <= window.high)
    depth = min(MOST_SLICES, len(voxels))
    sides, steps = (depth, SIDE, SIDE), (depth, SIDE // 2, SIDE // 2)  # they overlap: soft tissue is scarce in a chest
    starts = [range(0, n - side + 1, step) for n, side, step in zip(voxels.shape, sides, steps, strict=True)]
    blocks = []
    for k in starts[0]:
        for j in starts[1]:
            for i in starts[2]:
                block = slice(k, k + depth), slice(j, j + SIDE), slice(i, i + SIDE)
                if soft[block].all():
                    blocks.append(voxels[block] - trend[block])
    return blocks
