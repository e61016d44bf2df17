"""The 3-D DenseNet of paper A.

Wang et al., QIMS 10 (2020), table 3: about 405 k parameters; patches of 32×32 pixels and 3 slices, or whole cubes.
"""

from dataclasses import dataclass
from typing import ClassVar

from lesionforge.classifiers.densenet import DenseNetClassifier


@dataclass(frozen=True)
class DenseNet3D(DenseNetClassifier):
    """Published settings are the defaults."""

    paper: ClassVar[str] = "Wang et al. 2020, after Huang et al. 2017"
    axes: ClassVar[int] = 3
