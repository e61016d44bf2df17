"""The leak guard, attacked: by whatever route a patient's pixels went in, scoring on that patient must raise."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesionforge.data.exposure import Exposure, patient_digest, pixel_digest
from lesionforge.data.patches import Patches, concatenate
from lesionforge.data.patches_file import MANIFEST, load, save
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.storage import digest

PATIENTS = 6
NAMES = [f"LIDC-{number:04}" for number in range(PATIENTS)]
OWNER = np.repeat(np.arange(PATIENTS), 2)
PIXELS = np.random.default_rng(3).normal(-700, 150, (len(OWNER), 8, 8)).round().astype(np.int16)
WORLD = Patches.of(PIXELS, patient=[NAMES[owner] for owner in OWNER], label="nodule", spacing_mm=0.7)


@dataclass(frozen=True)
class Tracked:
    """A set, and whose pixels went into each of its rows, booked apart from the code under test."""

    patches: Patches
    owners: tuple[frozenset[int], ...]

    @property
    def all_owners(self) -> frozenset[int]:
        return frozenset().union(*self.owners)


def of_world(rows: list[int]) -> Tracked:
    return Tracked(WORLD.rows(rows), tuple(frozenset({int(OWNER[row])}) for row in rows))


def sampled(training: Tracked, origin: str, rng: np.random.Generator) -> Tracked:
    """What a generator gives that was trained on the whole of ``training``."""
    images = rng.normal(-700, 150, (2, *training.patches.shape)).round().astype(np.int16)
    table = Patches.of(images, patient=[origin] * 2, label="nodule").table.assign(origin=origin)
    made = Patches(images, table, generators={origin: training.patches.exposure})
    return Tracked(made, (training.all_owners,) * 2)


def renamed(rows: list[int]) -> Tracked:
    """The same images, ingested again under other patients' names and in another dtype."""
    patches = Patches.of(PIXELS[rows].astype(np.float32), patient=[f"anon-{row}" for row in rows], label="nodule")
    return Tracked(patches, of_world(rows).owners)


def joined(one: Tracked, two: Tracked) -> Tracked:
    size = min(one.patches.shape[0], two.patches.shape[0])
    patches = concatenate([one.patches.centre_crop(size), two.patches.centre_crop(size)])
    return Tracked(patches, one.owners + two.owners)


some_rows = st.lists(st.integers(0, len(OWNER) - 1), min_size=1, max_size=4)
STEPS = ["subset", "relabel", "augment", "crop", "disk", "generator", "generator and real", "mix", "rename"]


def step(kind: str, now: Tracked, draw, new) -> Tracked:
    """Take one public operation; ``new`` is a path that nothing has yet."""
    rng = np.random.default_rng([1, draw(st.integers(0, 2**32 - 1))])  # never the seed of PIXELS
    patches, count = now.patches, len(now.owners)
    match kind:
        case "subset":
            rows = draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=8))
            return Tracked(patches.rows(rows), tuple(now.owners[row] for row in rows))
        case "relabel":
            return Tracked(patches.with_columns(label="other", scan="new", spacing_y_mm=1.0), now.owners)
        case "augment":
            images = patches.images[:, ::-1] + rng.normal(0, 20, patches.images.shape)
            return Tracked(patches.with_images(images, spacing_mm=2.0), now.owners)
        case "crop":
            return Tracked(patches.centre_crop(max(1, patches.shape[0] - 1)), now.owners)
        case "disk":
            return Tracked(load(save(patches, new)), now.owners)
        case "generator":
            return sampled(now, new.name, rng)
        case "generator and real":
            return joined(sampled(now, new.name, rng), now)
        case "mix":
            return joined(now, of_world(draw(some_rows)))
        case "rename":
            return joined(now, renamed(draw(some_rows)))
    raise AssertionError(kind)


@given(data=st.data(), start=some_rows, kinds=st.lists(st.sampled_from(STEPS), max_size=7))
@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_no_route_from_a_tested_patient_into_training_stays_unseen(tmp_path_factory, data, start, kinds):
    folder = tmp_path_factory.mktemp("sets")
    now = of_world(start)
    for number, kind in enumerate(kinds):
        now = step(kind, now, data.draw, folder / f"gan-{number}")
    for patient in range(PATIENTS):
        test = WORLD.rows(patient == OWNER)
        if patient in now.all_owners:
            with pytest.raises(LeakError) as refusal:
                now.patches.exposure.refuse(refused := test.exposure, doing="scoring")
            assert NAMES[patient] not in str(refusal.value)
            assert not any(each in str(refusal.value) for each in refused.patients | refused.pixels)
        else:
            now.patches.exposure.refuse(test.exposure, doing="scoring")


def test_the_message_counts_and_says_the_way_out():
    with pytest.raises(LeakError, match=r"fitting.*2 of the 6 patients and 4 of the 12 .*Split by patient first"):
        WORLD.rows(range(4)).exposure.refuse(WORLD.exposure, doing="fitting")


def test_a_synthetic_test_set_brings_its_generators_patients():
    rng = np.random.default_rng(0)
    made = sampled(of_world([0, 1]), "gan-1", rng).patches
    with pytest.raises(LeakError):
        WORLD.rows([0]).exposure.refuse(made.exposure, doing="scoring")
    WORLD.rows([5]).exposure.refuse(made.exposure, doing="scoring")


def test_a_generator_of_a_generator_remembers_the_first_ones_patients():
    rng = np.random.default_rng(0)
    second = sampled(sampled(of_world([0]), "gan-1", rng), "gan-2", rng)
    assert set(second.patches.generators) == {"gan-2"}
    with pytest.raises(LeakError):
        second.patches.exposure.refuse(WORLD.rows([1]).exposure, doing="scoring")  # the same patient's other image


def test_one_pixel_of_another_patient_in_a_big_set_is_found():
    many = concatenate([WORLD.rows([0, 1] * 50), WORLD.rows([11])])
    with pytest.raises(LeakError, match="1 of the 1 patients"):
        many.exposure.refuse(WORLD.rows([10]).exposure, doing="scoring")


@pytest.fixture
def synthetic_folder(tmp_path):
    made = joined(sampled(of_world([0, 1]), "gan-1", np.random.default_rng(0)), of_world([4]))
    return save(made.patches, tmp_path / "set")


def edit(folder, change, *, sealed: bool) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    if sealed:  # by somebody who took the trouble
        del manifest["digest"]
        manifest["digest"] = digest(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


def empty_generator(manifest) -> None:
    manifest["generators"]["gan-1"] = {"patients": [], "pixels": []}


def test_a_generator_removed_from_the_manifest_is_missed(synthetic_folder):
    edit(synthetic_folder, lambda manifest: manifest["generators"].clear(), sealed=False)
    with pytest.raises(StorageError, match="checksum"):
        load(synthetic_folder)
    edit(synthetic_folder, lambda manifest: None, sealed=True)
    with pytest.raises(LesionForgeError, match="trained on"):
        load(synthetic_folder)


def test_an_emptied_generator_is_found(synthetic_folder):
    edit(synthetic_folder, empty_generator, sealed=False)
    with pytest.raises(StorageError, match="checksum"):
        load(synthetic_folder, checksums=False)


@pytest.mark.parametrize(("old", "new"), [("gan-1", "real"), (NAMES[2], NAMES[5])])
def test_an_edited_table_is_found(synthetic_folder, old, new):
    table = synthetic_folder / "synthetic_table.csv"
    table.write_text(table.read_text().replace(old, new))
    with pytest.raises(StorageError):
        load(synthetic_folder)


def test_swapped_images_are_found(synthetic_folder):
    images = np.load(synthetic_folder / "synthetic_images.npy")
    np.save(synthetic_folder / "synthetic_images.npy", images[::-1])
    with pytest.raises(StorageError, match="checksum"):
        load(synthetic_folder)


def test_manifests_hold_no_patient_of_a_generator(synthetic_folder):
    manifest = (synthetic_folder / MANIFEST).read_text()
    assert patient_digest(NAMES[0]) in manifest
    assert not any(name in manifest for name in NAMES)


def test_identity_taken_from_the_images_when_the_table_has_none():
    table = WORLD.table.drop(columns="source_pixels").assign(patient="somebody else")
    laundered = Patches(WORLD.images, table)
    with pytest.raises(LeakError, match="12 of the 12 source images"):
        laundered.exposure.refuse(WORLD.exposure, doing="scoring")


@given(st.lists(st.text(min_size=1), max_size=5), st.lists(st.text(), max_size=5))
def test_exposures_survive_json(patients, pixels):
    exposure = Exposure.to([each.encode("utf-8", "ignore").decode() for each in patients], pixels)
    assert Exposure.from_json(json.loads(json.dumps(exposure.to_json()))) == exposure


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"patients": []}, {"patients": [], "pixels": [1]}, {"patients": "abc", "pixels": []},
     {"patients": None, "pixels": []}, {"patients": [], "pixels": [], "more": []}],
)  # fmt: skip
def test_what_is_no_exposure_is_refused(value):
    with pytest.raises(StorageError, match="exposure"):
        Exposure.from_json(value)


def test_exposures_add_up():
    one, two = (Exposure.to([name], [name]) for name in "ab")
    assert (one | two).patients == {patient_digest("a"), patient_digest("b")}
    assert one | Exposure() == one
    Exposure().refuse(one, doing="scoring")
    one.refuse(Exposure(), doing="scoring")


@given(st.integers(0, 15), st.sampled_from([1, -1]))
def test_the_pixel_digest_sees_one_hu(at, change):
    image = np.arange(16, dtype=np.int16).reshape(4, 4)
    other = image.copy()
    other.flat[at] += change
    assert pixel_digest(image) != pixel_digest(other)
    assert pixel_digest(other) == pixel_digest(np.asfortranarray(other.astype(np.float32)))


def test_tables_joined_by_hand_cannot_hide_an_origin():
    made = sampled(of_world([0]), "gan-1", np.random.default_rng(0)).patches
    table = pd.concat([made.table, WORLD.table])
    with pytest.raises(LesionForgeError, match="gan-1"):
        Patches(np.concatenate([made.images, WORLD.images]), table)
