"""Dropout whose random numbers do not take longer than the convolutions between which it stands.

PyTorch draws them on a CPU one by one, a third of the time of a step of ACGAN; here each drawn number of 64 bits
decides about four units.
"""

import torch
from torch import Tensor, nn

from lesionforge.generators.convolutions import left_to_torch

LEVELS = 2**16  # the share that is dropped is set to one in so many, exactly


class Dropout(nn.Dropout):
    """As `torch.nn.Dropout`, from the same global generator but not the same numbers."""

    def forward(self, features: Tensor) -> Tensor:
        """Set each unit to 0 with probability p, and the others to 1/(1 − p) times what they are; any shape."""
        level = round(self.p * LEVELS)
        if not self.training or not 0 < level < LEVELS or left_to_torch(features):
            return super().forward(features)
        drawn = torch.empty(-(-features.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
        kept = drawn.view(torch.int16)[: features.numel()] >= level - LEVELS // 2
        factor = kept.to(features.dtype).mul_(LEVELS / (LEVELS - level))
        # In the order in which the features lie in memory: others would have to be gathered one by one.
        return features * factor.as_strided(features.shape, torch.empty_like(features).stride())
