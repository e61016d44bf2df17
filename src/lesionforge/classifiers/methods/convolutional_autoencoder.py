"""The convolutional autoencoder of paper C, and on its features CALM or another decision.

S. S. Ghosal, I. Sarkar, I. El Hallaoui, "Lung nodule classification using convolutional autoencoder and clustering
augmented learning method (CALM)", Health Search and Data Mining Workshop 2020, section 4: 40×40 → 50 kernels of 5×5 →
pool 2 → 50 of 3×3 → pool 2 → 50 of 3×3 → pool 2, ReLU; the last pooling's output is the features. Padding is not
printed; with it 40 pixels halve exactly, to 50 maps of 5×5. The rows of its table 1 are ``decision=calm``,
``decision=network``, ``decision=logistic`` and ``decision=svm`` with ``decision.kernel=linear``.
"""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from lesionforge.classifiers.autoencoding import AutoencoderClassifier, Layer
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count, Odd

CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}
POOLING = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


@dataclass(frozen=True)
class ConvolutionalAutoencoder(AutoencoderClassifier):
    """Published settings are the defaults; 2-D and 3-D patches."""

    paper: ClassVar[str] = "Ghosal et al. 2020 (CALM)"

    channels: Count = 50
    kernels: tuple[Odd, ...] = (5, 3, 3)

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches are large enough for every pooling."""
        shrink = 2 ** len(self.kernels)
        if min(shape) < shrink:
            raise LesionForgeError(
                f"convolutional_autoencoder takes patches of {shrink} pixels or more along each axis, but "
                f"{'×'.join(map(str, shape))} came."
            )

    def layers(self, shape: tuple[int, ...]) -> list[Layer]:
        """Convolution and ReLU; convolution back (transposed it would be the same, at steps of 1); max pooling."""
        axes, made = len(shape), []
        for before, kernel in zip((1, *[self.channels] * (len(self.kernels) - 1)), self.kernels, strict=True):
            encode = CONVOLUTION[axes](before, self.channels, kernel, padding=kernel // 2)
            decode = CONVOLUTION[axes](self.channels, before, kernel, padding=kernel // 2)
            made.append(Layer(nn.Sequential(encode, nn.ReLU()), decode, POOLING[axes](2)))
        return made
