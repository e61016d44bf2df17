"""Fixtures and switches that the whole suite shares."""

import dataclasses
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import hypothesis
import numpy as np
import pytest
import torch

from lesionforge import registry
from lesionforge.data.patches import Patches
from lesionforge.generators import methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.networks import derived_seed
from lesionforge.progress import Advance, Progress

# A commit passes or fails, and does not once pass and once fail. `--hypothesis-profile=explore` looks for new examples.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.register_profile("explore", derandomize=False)
hypothesis.settings.load_profile("repeatable")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-length", action="store_true", help="also run the tests that take many minutes")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--full-length"):
        for item in items:
            if "full_length" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes many minutes: run with --full-length"))


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[object], request: pytest.FixtureRequest) -> None:
    seed_everything(request.node.nodeid, fixturedef.argname)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    seed_everything(item.nodeid)


def seed_everything(*parts: str) -> None:
    """Let global generators begin anew, so that what a test draws does not hang on the tests before it."""
    seed = derived_seed(*parts) % 2**32
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 — of scikit-learn's random_state=None
    torch.manual_seed(seed)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real CT; its tests carry the mark `real_data`."""
    folder = os.environ.get("LESIONFORGE_DATA", "")
    if not folder:
        pytest.skip("LESIONFORGE_DATA is not set: it names the folder of real CT")
    if not Path(folder).is_dir():
        pytest.fail(f"LESIONFORGE_DATA names {folder}, which is no folder")
    return Path(folder)


@pytest.fixture(scope="session")
def lidc(real_data: Path) -> Path:
    """1704 real LIDC-IDRI nodules on the slice of their largest area."""
    folder = real_data / "lidc_maxslice"
    if not folder.is_dir():
        pytest.skip("LESIONFORGE_DATA has no lidc_maxslice")
    return folder


@pytest.fixture(scope="session")
def module_at() -> Callable[[str, str], ModuleType]:
    """Runs a file, given from the repository's root, as a module of that name: for code outside the package."""

    def load(name: str, file: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[1] / file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # its dataclasses look themselves up there
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def lidc_tasks(module_at: Callable[[str, str], ModuleType]) -> ModuleType:
    """The benchmark's mappings of `lidc`, which live outside the package."""
    return module_at("lidc_maxslice", "benchmarks/lidc_maxslice.py")


# Whatever of these a generative method has as fields is made small, so that every method is quick to try.
SMALL = {"epochs": 2, "latent_size": 5, "generator_width": 16, "discriminator_width": 4, "width": 8, "blocks": 2}
SMALL |= {"roi_px": 8, "dilations": (2,), "steps": 6}
SMALL |= {"stable_images": 16, "fade_images": 16, "class_from_images": 16}  # within trainings of 80 images


@pytest.fixture(scope="session")
def small_method() -> Callable[..., GenerativeMethod]:
    """Makes the method of a name small; further settings are set where it has them."""

    def make(name: str, **further: object) -> GenerativeMethod:
        kind = registry.class_named(methods, name, GenerativeMethod)  # type: ignore[type-abstract]
        fields = {field.name for field in dataclasses.fields(kind)}
        return kind(**{key: value for key, value in (SMALL | further).items() if key in fields})

    return make


def make_patches(
    *,
    patients: int = 8,
    per_patient: int = 2,
    classes: tuple[str, ...] = ("benign", "malignant"),
    shape: tuple[int, ...] = (8, 8),
    prefix: str = "patient",
    seed: int = 0,
) -> Patches:
    """Noise in HU with a lesion's mask; a patient has one class, and each image is like no other."""
    rng = np.random.default_rng(seed)
    count = patients * per_patient
    images = rng.normal(-700, 150, (count, *shape)).round().astype(np.int16)
    masks = np.zeros_like(images, dtype=np.uint8)
    masks[(slice(None), *(slice(n // 4, -(n // 4)) for n in shape))] = 1
    owner = np.repeat(np.arange(patients), per_patient)
    return Patches.of(
        images,
        patient=[f"{prefix}-{number:03}" for number in owner],
        label=[classes[number % len(classes)] for number in owner],
        spacing_mm=0.7,
        masks=masks,
        diameter_mm=rng.uniform(4, 30, count),
    )


@pytest.fixture(scope="session")
def small_patches() -> Callable[..., Patches]:
    """Makes small sets: `make_patches`."""
    return make_patches


class Killed(BaseException):
    """What `StopAfter` raises: nothing may catch it."""


class StopAfter(Progress):
    """Ends the work that it watches at its ``steps``-th step; counts the steps."""

    def __init__(self, steps: int = 10**9) -> None:
        self.steps, self.seen = steps, 0

    @contextmanager
    def work(self, description: str, total: int, *, unit: str, done: int = 0) -> Iterator[Advance]:
        def advance(amount: int, **figures: float) -> None:
            self.seen += 1
            if self.seen >= self.steps:
                raise Killed

        yield advance


@pytest.fixture(scope="session")
def stop_after() -> Callable[..., StopAfter]:
    """Makes a progress that ends long work after some steps, as a kill would: `StopAfter`."""
    return StopAfter


@pytest.fixture(scope="session")
def killed() -> type[BaseException]:
    """What `stop_after` raises."""
    return Killed


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Small networks do not gain from more, and machines that run tests side by side lose."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
