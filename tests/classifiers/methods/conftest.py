"""What a method is told of the patches that it describes."""

from collections.abc import Callable

import pytest

from lesionforge.classifiers.contract import Facts
from lesionforge.data.hounsfield import default_window
from lesionforge.data.patches import Patches


@pytest.fixture(scope="session")
def facts_of() -> Callable[[Patches], Facts]:
    """Makes what fitting on these patches would know."""

    def make(patches: Patches) -> Facts:
        return Facts(patches.classes, patches.shape, default_window(patches.unit), (), patches.exposure)

    return make
