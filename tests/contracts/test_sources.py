"""What every source must do; a new file in `data/sources` is tested by existing."""

import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lesionforge import registry
from lesionforge import settings as house
from lesionforge.data import cutting, sources
from lesionforge.data.cutter import Cutter
from lesionforge.data.source import PatchSource, ScanSource, Source
from lesionforge.errors import LesionForgeError

NAMES = registry.names(sources)
# Names that formats look for: a file of such a name need not be what the name says.
SUFFIXES = ("dcm", "xml", "nii.gz", "nii", "mhd", "mha", "nrrd", "nhdr", "npz", "npy", "csv", "json", "png", "tif", "")
WELL_KNOWN = (
    "annotations.csv",
    "candidates.csv",
    "arrays.json",
    "DICOMDIR",
    "lesions.csv",
    "metadata.csv",
    "image.nii",
)

pytestmark = pytest.mark.parametrize("name", NAMES)


def kind(name):
    return registry.class_named(sources, name, Source)


def read(source, path):
    return source.patches(path) if isinstance(source, PatchSource) else source.find(path)


def test_a_source_is_a_frozen_dataclass_with_settings_that_json_can_hold(name):
    source = kind(name)()
    assert isinstance(source, (PatchSource, ScanSource))
    assert dataclasses.is_dataclass(source)
    assert house.from_json(type(source), json.loads(json.dumps(house.to_json(source)))) == source
    with pytest.raises(dataclasses.FrozenInstanceError):
        source.unheard_of = 1


def test_it_says_what_it_is(name):
    documented = (registry.module_named(sources, name).__doc__ or "").splitlines()
    assert documented[0].endswith((".", ":"))


def test_its_settings_share_no_name_with_a_cutters(name):
    mine = {field.name for field in dataclasses.fields(kind(name))} if issubclass(kind(name), ScanSource) else set()
    for cutter in registry.names(cutting):
        theirs = {field.name for field in dataclasses.fields(registry.class_named(cutting, cutter, Cutter))}
        assert not mine & theirs, f"--set cannot tell {name} and {cutter} apart"


def test_an_empty_folder_holds_nothing(name, tmp_path):
    assert kind(name).recognise(tmp_path) == ""
    with pytest.raises(LesionForgeError):
        read(kind(name).at(tmp_path), tmp_path)
    with pytest.raises(LesionForgeError):
        read(kind(name).at(tmp_path / "none"), tmp_path / "none")


@given(
    files=st.dictionaries(
        st.one_of(
            st.sampled_from(WELL_KNOWN),
            st.tuples(st.sampled_from(["a", "sub/b", "image/c", "mask/c"]), st.sampled_from(SUFFIXES)).map(".".join),
        ),
        st.binary(max_size=400),
        min_size=1,
        max_size=6,
    )
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_under_well_known_names_ends_in_one_message(name, tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("noise")
    for file, content in files.items():
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).write_bytes(content)
    assert isinstance(kind(name).recognise(folder), str)
    try:
        found = read(kind(name).at(folder), folder)
    except LesionForgeError:
        return
    for case in getattr(found, "cases", ()):  # what was found is opened as well
        try:
            case.annotations()
            case.scan()
        except LesionForgeError:
            continue


def test_loops_and_dead_links_do_not_hang_it(name, tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dead.dcm").symlink_to(tmp_path / "nothing")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "again").symlink_to(tmp_path / "deep")
    os.mkfifo(tmp_path / "pipe.xml")
    assert kind(name).recognise(tmp_path) == ""
    with pytest.raises(LesionForgeError):
        read(kind(name).at(tmp_path), tmp_path)


def test_arrays_of_objects_are_never_unpickled(name, tmp_path):
    np.savez(tmp_path / "images.npz", images=np.array([print], dtype=object))
    (tmp_path / "table.csv").write_text("patient\np\n")
    with pytest.raises(LesionForgeError):
        read(kind(name).at(tmp_path), tmp_path)
