"""The 2-D DenseNet of paper A.

Wang et al., QIMS 10 (2020), table 3: about 116 k parameters. Of the settings of `classifiers.densenet` its count, given
to a thousand, is that of two blocks of four layers.
"""

from dataclasses import dataclass
from typing import ClassVar

from lesionforge.classifiers.densenet import DenseNetClassifier
from lesionforge.settings import Widths


@dataclass(frozen=True)
class DenseNet2D(DenseNetClassifier):
    """Published settings are the defaults."""

    paper: ClassVar[str] = "Wang et al. 2020, after Huang et al. 2017"
    axes: ClassVar[int] = 2

    blocks: Widths = (4, 4)
