"""Structural similarity of two images, as a loss.

Z. Wang, A. C. Bovik, H. R. Sheikh, E. P. Simoncelli, "Image quality assessment: from error visibility to structural
similarity", IEEE Transactions on Image Processing 13 (2004): 1 for equal images, less for others. Means, variances and
covariance are taken about each pixel, weighed by a Gaussian; pixels nearer to the border than it reaches are left out.
"""

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

# B batch, H W pixels. Images are [B, 1, H, W] in [−1, 1].

SD_PX = 1.5
RANGE = 2.0  # of intensities
C1, C2 = (0.01 * RANGE) ** 2, (0.03 * RANGE) ** 2


def dissimilarity(images: Tensor, others: Tensor, *, window_px: int) -> Tensor:
    """1 − SSIM, the mean over pixels and images: 0 for equal images, 2 at most."""
    about = _Moments(images, others, window_px)
    luminance = (2 * about.mean * about.other_mean + C1) / (about.mean**2 + about.other_mean**2 + C1)
    structure = (2 * about.covariance + C2) / (about.variance + about.other_variance + C2)
    return 1 - (luminance * structure).mean()


def printed_dissimilarity(images: Tensor, others: Tensor, *, window_px: int) -> Tensor:
    """Equation 3 of L. Wang et al. 2022 as it is printed, which is no measure of similarity.

    1 − [(2·μx·μy + C1) + (σxy + C2)] / [(μx²·μy² + C1)·(σx²·σy² + C2)]: of the standard form's numerator the product
    has become a sum and a factor of 2 is gone, and both sums in its denominator have become products. It is not 0 for
    equal images, but far below, has no lower bound but what C1 and C2 give it, and falls wherever variances do. To be
    compared with; intensities are taken from 0 to 1, as in the paper.
    """
    about = _Moments((images + 1) / 2, (others + 1) / 2, window_px)
    c1, c2 = C1 / RANGE**2, C2 / RANGE**2
    above = (2 * about.mean * about.other_mean + c1) + (about.covariance + c2)
    below = (about.mean**2 * about.other_mean**2 + c1) * (about.variance * about.other_variance + c2)
    return 1 - (above / below).mean()


class _Moments:
    """Means, variances and covariance of two sets of images about each pixel."""

    def __init__(self, images: Tensor, others: Tensor, window_px: int) -> None:
        window_px = min(window_px, *images.shape[2:])
        away = torch.arange(window_px).to(images) - (window_px - 1) / 2
        bell = torch.exp(-away.square() / (2 * SD_PX**2))
        bell = (bell / bell.sum()).view(1, 1, 1, -1)

        def mean(values: Tensor) -> Tensor:
            return F.conv2d(F.conv2d(values, bell), bell.mT)

        self.mean, self.other_mean = mean(images), mean(others)
        self.variance = mean(images.square()) - self.mean.square()
        self.other_variance = mean(others.square()) - self.other_mean.square()
        self.covariance = mean(images * others) - self.mean * self.other_mean
