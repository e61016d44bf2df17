from collections.abc import Callable

import pytest

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.data.plausibility import PlausibleRanges
from lesionforge.generators.checkpoint import Checkpoint, Subject
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.networks import seeded


def as_if_trained(method: GenerativeMethod, patches: Patches) -> Checkpoint:
    """A checkpoint with the initial weights: what is drawn is no lesion, but as good as one for the code around."""
    window, labels = WINDOWS["lung"], patches.classes
    ranges = tuple(PlausibleRanges.of(patches, window, label=label) for label in labels)
    with seeded("initial weights"):
        generator = method.build(patches.shape, len(labels))["generator"].eval().requires_grad_(False)
    subject = Subject(patches.shape, window, labels, (0.7,) * len(patches.shape), patches.exposure, ranges)
    return Checkpoint("method-0123456789abcdef", method, subject, 10**9, generator)


@pytest.fixture(scope="session")
def untrained() -> Callable[[GenerativeMethod, Patches], Checkpoint]:
    """Makes a checkpoint without training: `as_if_trained`."""
    return as_if_trained
