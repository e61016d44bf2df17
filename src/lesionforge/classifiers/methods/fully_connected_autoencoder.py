"""The fully connected autoencoder that paper C compares with, and a network on its features.

S. S. Ghosal, I. Sarkar, I. El Hallaoui (CALM), Health Search and Data Mining Workshop 2020, section 7 ("AE", table 1):
trained without labels, 1024 neurons in the fully connected layer, then tested for classification. What classifies is
not printed: the network of its section 5.3.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from torch import nn

from lesionforge.classifiers.autoencoding import AutoencoderClassifier, Layer
from lesionforge.classifiers.decision import AnyDecision
from lesionforge.classifiers.decisions.network import Network
from lesionforge.errors import LesionForgeError
from lesionforge.settings import Count

SMALLEST_PX = 4


@dataclass(frozen=True)
class FullyConnectedAutoencoder(AutoencoderClassifier):
    """Published settings are the defaults; 2-D and 3-D patches."""

    paper: ClassVar[str] = "Ghosal et al. 2020 (CALM)"

    decision: AnyDecision = field(default_factory=Network)
    units: Count = 1024

    def check_shape(self, shape: tuple[int, ...]) -> None:
        """Patches have something to encode."""
        if min(shape[-2:]) < SMALLEST_PX:
            raise LesionForgeError(
                f"fully_connected_autoencoder takes patches of {SMALLEST_PX} pixels or more, but "
                f"{'×'.join(map(str, shape))} came."
            )

    def layers(self, shape: tuple[int, ...]) -> list[Layer]:
        """One dense layer and ReLU; dense and back in shape."""
        pixels = int(np.prod(shape))
        encode = nn.Sequential(nn.Flatten(), nn.Linear(pixels, self.units), nn.ReLU())
        decode = nn.Sequential(nn.Linear(self.units, pixels), nn.Unflatten(1, (1, *shape)))
        return [Layer(encode, decode, nn.Identity())]
