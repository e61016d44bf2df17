"""Power at each spatial frequency, and shares of each intensity: what blur, noise and a shifted scale change first.

Networks that up-sample get the high frequencies wrong (R. Durall, M. Keuper, J. Keuper, "Watch your up-convolution",
CVPR 2020); in CT these hold the noise and the reconstruction kernel, which a classifier can learn to tell apart. The
power is taken as in `lesionforge.distances.texture`, under Hann's window, but in finer rings of equal frequency.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.fft import fftfreq, fftn

# N images, R rings, B bins.

Images = NDArray[np.generic]
Numbers = NDArray[np.float64]

CHUNK_PIXELS = 2**18
ROUNDING = 1 / 12  # power that rounding to whole numbers adds
ROUNDED = 1e-9  # a frequency on the border of two rings belongs to the lower one


def frequencies(shape: tuple[int, ...]) -> Numbers:
    """Middle of each ring, in cycles a pixel, up to 0.5: [R], half as many as the shortest side has pixels."""
    rings = min(shape) // 2
    return np.asarray((np.arange(rings) + 0.5) / (2 * rings))


def radial_spectrum(images: Images) -> Numbers:
    """Power of each image in rings of spatial frequency, [N, *shape] → [N, R], in the squared unit of the images."""
    shape = images.shape[1:]
    rings, axes = min(shape) // 2, tuple(range(1, images.ndim))
    window = np.ones(shape)
    for axis, side in enumerate(shape):
        window *= np.hanning(side + 2)[1:-1].reshape(-1, *(1,) * (len(shape) - 1 - axis))
    along = np.meshgrid(*map(fftfreq, shape), indexing="ij")
    ring = np.ceil(np.sqrt(sum(axis**2 for axis in along)) * 2 * rings - ROUNDED).astype(np.intp).ravel() - 1
    inside = (ring >= 0) & (ring < rings)  # neither the mean, nor the corners beyond 0.5 cycles a pixel
    share = np.eye(rings)[np.where(inside, ring, 0)] * inside[:, None]
    share /= share.sum(axis=0)
    power = np.empty((len(images), rings))
    step = max(1, CHUNK_PIXELS // int(np.prod(shape)))
    for start in range(0, len(images), step):
        part = images[start : start + step].astype(np.float64)
        part -= part.mean(axis=axes, keepdims=True)
        squared = np.abs(fftn(part * window, axes=axes)) ** 2 / (window**2).sum()
        power[start : start + step] = squared.reshape(len(part), -1) @ share
    return power


def spectrum_distance_db(power: Numbers, other: Numbers) -> float:
    """Root mean square over frequencies of the difference of two sets' mean power [N, R], in decibels."""
    first, second = (10 * np.log10(each.mean(axis=0) + ROUNDING) for each in (power, other))
    return float(np.sqrt(((first - second) ** 2).mean()))


def histograms(images: Images, *, low: float, high: float, bins: int) -> Numbers:
    """Share of each image's pixels in equal bins from ``low`` to ``high``, [N, B]; what lies outside is clipped."""
    shares = np.empty((len(images), bins))
    step = max(1, CHUNK_PIXELS // int(np.prod(images.shape[1:])))
    for start in range(0, len(images), step):
        pixels = images[start : start + step].reshape(len(images[start : start + step]), -1)
        place = ((pixels.clip(low, high) - low) * (bins / (high - low))).astype(np.intp).clip(max=bins - 1)
        cell = place + bins * np.arange(len(place))[:, None]
        shares[start : start + step] = np.bincount(cell.ravel(), minlength=bins * len(place)).reshape(-1, bins)
    return shares / np.prod(images.shape[1:])


def histogram_distance(shares: Numbers, other: Numbers, *, width: float) -> float:
    """Wasserstein distance of two sets' mean histograms [N, B] with bins of ``width``, in its unit."""
    return float(np.abs(np.cumsum(shares.mean(axis=0) - other.mean(axis=0))).sum() * width)
