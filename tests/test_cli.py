import json
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from PIL import Image

from lesionforge import __version__, cli
from lesionforge.data import patches_file
from lesionforge.generators.training_folder import read_quality
from lesionforge.storage import read_json

pytestmark = pytest.mark.usefixtures("one_thread")

VERBS = sorted(command.callback.__name__.replace("_", "-") for command in cli.app.registered_commands)
SMALL_GAN = ["--set", "generator_width=16", "--set", "discriminator_width=4", "--set", "batch_size=8"]
SMALL_CNN = ["--set", "channels=[4,4]", "--set", "max_images=64"]


def lesionforge(*arguments):
    """Call the command line here; its exit code."""
    with pytest.raises(SystemExit) as stop:
        cli.main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "lung.patches"
    assert lesionforge("--quiet", "phantom", "--patients", 24, "--size", 32, "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def checkpoint(phantom):
    out = phantom.with_name("solid.dcgan")
    arguments = ["--label", "solid", "--images", 32, *SMALL_GAN, "--out", out]
    assert lesionforge("--quiet", "train", "dcgan", phantom, *arguments) == 0
    return out


@pytest.fixture(scope="module")
def other(phantom):
    """Patches of other patients."""
    out = phantom.with_name("other.patches")
    assert lesionforge("--quiet", "phantom", "--patients", 2, "--seed", 9, "--size", 32, "--out", out) == 0
    return out


def test_the_verbs_are_those_of_the_design():
    assert {
        "demo",
        "doctor",
        "experiment",
        "ingest",
        "inspect",
        "methods",
        "phantom",
        "report",
        "sample",
        "train",
    } <= set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_with_an_example(verb, capsys):
    assert lesionforge(verb, "--help") == 0
    shown = capsys.readouterr().out
    assert f"Example: lesionforge {verb}" in shown
    assert "Usage: lesionforge" in shown


def test_without_a_verb_it_explains_itself(capsys):
    lesionforge()
    shown = capsys.readouterr()
    assert all(verb in shown.out + shown.err for verb in VERBS)


def test_it_tells_its_version(capsys):
    assert lesionforge("--version") == 0
    assert capsys.readouterr().out.strip() == __version__


def test_the_command_line_starts_without_heavy_packages():
    code = "import sys, lesionforge.cli; print(sorted({'torch', 'pandas', 'scipy', 'matplotlib'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_as_a_process_a_users_mistake_is_one_line_and_2(tmp_path):
    call = [sys.executable, "-c", "from lesionforge.cli import main; main()", "inspect", str(tmp_path / "none")]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_inspect_tells_what_is_in_patches(phantom, capsys):
    assert lesionforge("inspect", phantom, "--json") == 0
    facts = json.loads(capsys.readouterr().out)
    patches = patches_file.load(phantom)
    assert facts["patches"] == len(patches)
    assert facts["patients"] == 24
    assert facts["shape"] == [32, 32]
    assert sum(found["patches"] for found in facts["labels"].values()) == len(patches)
    assert lesionforge("inspect", phantom) == 0
    assert "24" in capsys.readouterr().out


def test_inspect_draws_a_contact_sheet(phantom, tmp_path, capsys):
    assert lesionforge("--quiet", "inspect", phantom, "--png", tmp_path / "sheet.png") == 0
    assert np.asarray(Image.open(tmp_path / "sheet.png")).std() > 10


def test_inspect_tells_what_is_in_a_checkpoint_without_naming_patients(checkpoint, phantom, capsys):
    assert lesionforge("inspect", checkpoint, "--json") == 0
    shown = capsys.readouterr().out
    facts = json.loads(shown)
    assert (facts["method"], facts["label"], facts["images_seen"]) == ("dcgan", "solid", 32)
    assert facts["patients_seen"] == patches_file.load(phantom).with_label("solid").patients.nunique()
    assert not any(patient in shown for patient in patches_file.load(phantom).patients)


def test_a_sample_is_drawn_and_marked(checkpoint, tmp_path, capsys):
    out = tmp_path / "solid.synthetic"
    assert lesionforge("sample", checkpoint, "--n", 5, "--seed", 3, "--out", out) == 0
    shown = capsys.readouterr().out
    drawn = patches_file.load(out)
    assert len(drawn) == 5
    assert drawn.is_synthetic.all()
    implausible = int((drawn.table["implausible"] != "").sum())
    assert shown == f"{out}: 5 synthetic patches, {implausible} implausible\n"
    arguments = ["--n", 5, "--truncation", 0.9, "--label", "solid", "--json", "--out", tmp_path / "truncated"]
    assert lesionforge("--quiet", "sample", checkpoint, *arguments) == 0
    facts = json.loads(capsys.readouterr().out)
    table = patches_file.load(facts["out"]).table
    assert (facts["patches"], facts["implausible"], facts["redrawn"]) == (5, (table["implausible"] != "").sum(), 0)
    assert set(table["sample_truncation"]) == {0.9}
    assert lesionforge("--quiet", "inspect", out, "--png", tmp_path / "sheet.png") == 2
    assert "synthetic_sheet.png" in capsys.readouterr().err
    assert lesionforge("--quiet", "inspect", out, "--png", tmp_path / "synthetic_sheet.png") == 0


LOOKS = {
    "strips": (["--n", 2, "--steps", 3], 6),
    "truncation": (["--n", 2, "--psi", "0.5,1"], 4),
    "rows": (["--rows", "3,1"], 2),
}


@pytest.mark.parametrize("look", LOOKS)
def test_one_looks_into_a_generator(checkpoint, tmp_path, capsys, look):
    arguments, count = LOOKS[look]
    out = tmp_path / look
    assert lesionforge("latent", look, checkpoint, *arguments, "--seed", 2, "--json", "--out", out) == 0
    drawn = patches_file.load(out)
    implausible = int((drawn.table["implausible"] != "").sum())
    expected = {"out": str(out), "patches": count, "implausible": implausible}
    assert json.loads(capsys.readouterr().out) == expected
    assert set(drawn.table["sample_seed"]) == {2}
    with Image.open(out / f"synthetic_{look}.png") as sheet:
        assert sheet.text["Description"].startswith("Synthetic")
    assert lesionforge("latent", look, checkpoint, *arguments, "--out", out) == 2
    assert "must not exist yet" in capsys.readouterr().err


def test_the_nearest_training_patches_lie_beside_samples(checkpoint, phantom, tmp_path, capsys):
    out = tmp_path / "neighbours"
    assert lesionforge("latent", "neighbours", checkpoint, phantom, "--n", 3, "--out", out) == 0
    shown = capsys.readouterr().out
    assert f"training_patches: {len(patches_file.load(phantom).with_label('solid'))}" in shown
    assert "training_images_missing: 0" in shown
    assert (out / "synthetic_beside_real.png").exists()
    assert not any(patient in (out / "neighbours.csv").read_text() for patient in patches_file.load(phantom).patients)


@pytest.mark.parametrize("look", [*LOOKS, "neighbours"])
def test_every_look_explains_itself_with_an_example(look, capsys):
    assert lesionforge("latent", look, "--help") == 0
    assert f"Example: lesionforge latent {look}" in capsys.readouterr().out


def test_training_is_resumed_where_asked(checkpoint, phantom, capsys):
    arguments = ["dcgan", phantom, "--label", "solid", *SMALL_GAN, "--out", checkpoint]
    assert lesionforge("--quiet", "train", *arguments, "--images", 32) == 2
    assert "--resume" in capsys.readouterr().err
    assert lesionforge("--quiet", "train", *arguments, "--images", 32, "--resume") == 0


def test_classify_ends_with_the_reports_path(phantom, tmp_path, capsys):
    out = tmp_path / "run"
    assert lesionforge("classify", "small_cnn", phantom, "--folds", 2, *SMALL_CNN, "--out", out) == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == str(out / "report.html")
    assert "fitting small_cnn" in shown.err
    config = read_json(out / "config.json", of="a run")
    assert (config["folds"], config["size"], config["classifiers"][0]["method"]["channels"]) == (2, 32, [4, 4])
    (out / "report.html").unlink()
    assert lesionforge("report", out) == 0
    assert (out / "report.html").exists()


def test_classify_refuses_synthetic_patches_that_have_seen_the_patients(phantom, checkpoint, tmp_path, capsys):
    given = tmp_path / "given"
    assert lesionforge("--quiet", "sample", checkpoint, "--n", 4, "--out", given) == 0
    arguments = ["small_cnn", phantom, "--with", given, "--folds", 2, *SMALL_CNN, "--out", tmp_path / "run"]
    assert lesionforge("--quiet", "classify", *arguments) == 2
    assert "were seen" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_arrays_are_ingested(tmp_path, capsys):
    images = np.random.default_rng(0).integers(-1000, 400, (6, 20, 20)).astype(np.int16)
    np.savez(tmp_path / "hu.npz", hu=images)
    rows = [f"p{k},{5 + k},0.7" for k in range(6)]
    (tmp_path / "table.csv").write_text("\n".join(["patient_id,diameter,pixel_mm", *rows]) + "\n")
    mapping = ["images=hu.npz:hu", "patient=patient_id", "diameter_mm=diameter", "spacing_mm=pixel_mm"]
    labels = json.dumps({"small": "diameter_mm < 8", "large": "diameter_mm >= 8"})
    given = [argument for setting in mapping for argument in ("--set", setting)]
    given += ["--label", labels, "--size", 16, "--out", tmp_path / "lung.patches"]
    assert lesionforge("--quiet", "ingest", tmp_path, *given) == 0, capsys.readouterr().err
    patches = patches_file.load(tmp_path / "lung.patches")
    assert patches.shape == (16, 16)
    assert patches.labels.tolist() == ["small"] * 3 + ["large"] * 3
    assert patches.table["diameter_mm"].tolist() == [5, 6, 7, 8, 9, 10]
    np.testing.assert_array_equal(patches.spacing_mm, np.full((6, 2), 0.7))


def test_patches_are_augmented_by_a_papers_recipe(phantom, tmp_path):
    out = tmp_path / "augmented"
    arguments = ["--label", "solid", "--count", 10, "--set", "output_size=24", "--out", out]
    assert lesionforge("--quiet", "augment", "wang_2020", phantom, *arguments) == 0
    patches = patches_file.load(out)
    assert patches.shape == (24, 24)
    assert set(patches.labels) == {"solid"}
    assert len(patches) == 10
    assert "source_row" in patches.table


def test_patients_are_dealt_out_alike_whatever_the_patches_size(phantom, tmp_path):
    cropped = patches_file.save(patches_file.load(phantom).centre_crop(16), tmp_path / "small.patches")
    for patches, out in ((phantom, tmp_path / "split"), (cropped, tmp_path / "small")):
        assert lesionforge("--quiet", "split", patches, "--fractions", "0.5,0.25,0.25", "--out", out) == 0
    parts = [
        [patches_file.load(folder / f"{part}.patches").patients.tolist() for part in ("train", "validation", "test")]
        for folder in (tmp_path / "split", tmp_path / "small")
    ]
    assert parts[0] == parts[1]
    train, validation, test = parts[0]
    assert sorted(train + validation + test) == sorted(patches_file.load(phantom).patients)
    assert not set(train) & set(validation) | set(train + validation) & set(test)


def test_phantom_scans_are_ingested_inspected_and_annotated(tmp_path, capsys):
    scans, patches, nodule = tmp_path / "scans", tmp_path / "patches", tmp_path / "nodule"
    arguments = ["--scans", "--patients", 1, "--difficulty", 0.2, "--spacing-mm", "4,2,2", "--out", scans]
    assert lesionforge("--quiet", "phantom", *arguments) == 0
    assert lesionforge("--quiet", "ingest", scans, "--workers", 1, "--set", "slices=1", "--out", patches) == 0
    cut = patches_file.load(patches)
    assert set(cut.labels) <= {"non-solid", "solid"}
    capsys.readouterr()
    image = next((scans / "image").iterdir())
    assert lesionforge("--quiet", "inspect", image, "--json", "--png", tmp_path / "slices.png") == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["unit"] == "HU"
    assert facts["spacing_mm"] == [4, 2, 2]
    with Image.open(tmp_path / "slices.png") as sheet:
        assert sheet.size[0] > 100
    of_scan = cut.table.sort_values("diameter_mm").iloc[-1]
    at = ",".join(str(of_scan[f"position_{axis}_mm"]) for axis in "xyz")
    assert lesionforge("--quiet", "annotate", image, f"--at={at}", "--out", nodule, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["diameter_mm"] == pytest.approx(of_scan["diameter_mm"], rel=0.3)
    assert {file.name for file in nodule.iterdir()} == {"mask.nii.gz", "lesion.json", "picture.png"}
    assert lesionforge("annotate", image, "--at", "1,2", "--out", tmp_path / "other") == 2
    assert "three numbers" in capsys.readouterr().err


def test_methods_are_listed_with_their_papers(capsys):
    assert lesionforge("methods", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert set(listed) == {
        *("sources", "selections", "labellings", "cutters", "recipes", "generators", "classifiers", "protocols")
    }
    assert listed["generators"]["dcgan"] == "Frid-Adar et al. 2018"
    assert "arrays" in listed["sources"]
    assert lesionforge("methods") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for names in listed.values() for name in names)


def test_doctor_says_what_is_installed(capsys):
    assert lesionforge("doctor", "--json") == 0
    found = {finding["name"]: finding for finding in json.loads(capsys.readouterr().out)}
    assert found["lesionforge"]["state"] == __version__
    assert found["numpy"]["state"] == np.__version__
    assert lesionforge("doctor") == 0
    assert "torch" in capsys.readouterr().out


def test_training_sets_patients_aside_and_keeps_the_generator_that_is_best_on_them(phantom, tmp_path, capsys):
    out = tmp_path / "solid.dcgan"
    arguments = ["--validation-share", 0.3, "--watch", "every_images=16", "--watch", "samples=8", *SMALL_GAN]
    assert lesionforge("train", "dcgan", phantom, "--label", "solid", "--images", 32, *arguments, "--out", out) == 0
    assert "training dcgan solid" in capsys.readouterr().err
    assert read_quality(out)["images_seen"].tolist() == [16, 32]
    choice = json.loads((out / "checkpoint.json").read_text())["choice"]
    assert choice["images_seen"] in {16, 32}
    assert choice["validation_patients"] > 0


MISTAKES = {
    "no such patches": (["inspect", "NOWHERE"], "must be a folder of patches, a scan"),
    "no such method": (["train", "dcgna", "PHANTOM", "--out", "OUT"], "did you mean 'dcgan'"),
    "no such setting": (["train", "dcgan", "PHANTOM", "--set", "widht=3", "--out", "OUT"], "no setting 'widht'"),
    "no images a batch": (
        ["train", "dcgan", "PHANTOM", "--set", "batch_size=0", "--out", "OUT"],
        "batch_size does not",
    ),
    "an even kernel": (["train", "dcgan", "PHANTOM", "--set", "kernel=4", "--out", "OUT"], "must be odd"),
    "no such label": (["train", "dcgan", "PHANTOM", "--label", "cyst", "--out", "OUT"], "'cyst' came"),
    "validation twice": (
        ["train", "dcgan", "PHANTOM", "--validation", "PHANTOM", "--validation-share", "0.2", "--out", "OUT"],
        "--validation-share must be left out",
    ),
    "validation on its own patients": (
        ["train", "dcgan", "PHANTOM", "--validation", "PHANTOM", "--out", "OUT"],
        "needs patients that training has not seen",
    ),
    "no share": (["train", "dcgan", "PHANTOM", "--validation-share", "1", "--out", "OUT"], "below 1"),
    "no such watch": (["train", "dcgan", "PHANTOM", "--watch", "every=5", "--out", "OUT"], "no setting 'every'"),
    "no such window": (["train", "dcgan", "PHANTOM", "--window", "bone", "--out", "OUT"], "'bone' came"),
    "no such device": (["train", "dcgan", "PHANTOM", "--device", "abacus", "--out", "OUT"], "'abacus' cannot"),
    "no such protocol": (["experiment", "usefulnes", "--data", "PHANTOM", "--out", "OUT"], "did you mean 'usefulness'"),
    "no such scale": (["experiment", "usefulness", "--data", "PHANTOM", "--scale", "huge", "--out", "OUT"], "'huge'"),
    "too few patients": (["classify", "small_cnn", "PHANTOM", "--folds", "30", "--out", "OUT"], "use fewer parts"),
    "no checkpoint": (["sample", "PHANTOM", "--out", "OUT"], "not a generator checkpoint"),
    "no such class": (["sample", "CHECKPOINT", "--label", "cyst", "--out", "OUT"], "'cyst' was asked for"),
    "a truncation above 1": (["sample", "CHECKPOINT", "--truncation", "2", "--out", "OUT"], "from 0 to 1"),
    "conditions for nothing": (["sample", "CHECKPOINT", "--conditions", "PHANTOM", "--out", "OUT"], "no pictures"),
    "rows that are no numbers": (["latent", "rows", "CHECKPOINT", "--rows", "3-5", "--out", "OUT"], "with commas"),
    "other training patches": (["latent", "neighbours", "CHECKPOINT", "OTHER", "--out", "OUT"], "none of these"),
    "no finished run": (["report", "NOWHERE"], "not a finished run"),
    "no such phantom": (["phantom", "--kind", "kidney", "--out", "OUT"], "'kidney'"),
    "no arrays": (["ingest", "NOWHERE", "--out", "OUT"], "error: "),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_users_mistake_is_one_line_and_2_and_leaves_nothing(mistake, phantom, checkpoint, other, tmp_path, capsys):
    arguments, why = MISTAKES[mistake]
    places = {
        "PHANTOM": phantom,
        "CHECKPOINT": checkpoint,
        "OTHER": other,
        "OUT": tmp_path / "out",
        "NOWHERE": tmp_path / "nowhere",
    }
    capsys.readouterr()
    assert lesionforge("--quiet", *(places.get(argument, argument) for argument in arguments)) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert why in shown.err
    assert shown.err.startswith("error: ")
    assert shown.err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_debug_shows_where_a_mistake_was_found(tmp_path, capsys):
    assert lesionforge("--debug", "inspect", tmp_path / "nowhere") == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("arguments", [["forge"], ["phantom"], ["phantom", "--out"], ["phantom", "--patients", "0"]])
def test_a_call_that_cannot_be_parsed_is_2(arguments, capsys):
    assert lesionforge(*arguments) == 2
    assert "Error: " in capsys.readouterr().err


def test_what_exists_is_not_overwritten(phantom, capsys):
    assert lesionforge("--quiet", "phantom", "--patients", 1, "--size", 16, "--out", phantom) == 2
    assert "must not exist yet" in capsys.readouterr().err


def test_an_interrupt_is_130_and_says_how_to_go_on(phantom, tmp_path, monkeypatch, capsys):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(patches_file, "load", interrupt)
    assert lesionforge("inspect", phantom) == 130
    assert "The same command continues a run" in capsys.readouterr().err


def test_our_own_faults_are_not_hidden(phantom, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("ours")

    monkeypatch.setattr(patches_file, "load", fail)
    with pytest.raises(RuntimeError, match="ours"):
        cli.main(["inspect", str(phantom)])


@pytest.mark.parametrize(
    "command",
    [
        ["train", "dcgan", "{phantom}", "--images", "8", *SMALL_GAN, "--out", "{file}/x"],
        ["classify", "small_cnn", "{phantom}", *SMALL_CNN, "--out", "{file}/x"],
        ["phantom", "--patients", "1", "--size", "16", "--out", "{long}"],
        ["sample", "{file}", "--out", "{long}"],
        ["report", "{file}"],
    ],
    ids=lambda command: command[0],
)
def test_a_path_that_cannot_be_used_is_one_message(command, phantom, tmp_path, capsys):
    file = tmp_path / "file"
    file.touch()
    names = {"phantom": phantom, "file": file, "long": tmp_path / ("n" * 300)}
    assert lesionforge("--quiet", *(part.format_map(names) for part in command)) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.parametrize("error", [MemoryError(), BrokenProcessPool("a process was terminated abruptly")])
def test_memory_that_runs_out_is_explained(phantom, monkeypatch, capsys, error):
    def load(*_):
        raise error

    monkeypatch.setattr(patches_file, "load", load)
    assert lesionforge("inspect", phantom) == 2
    assert capsys.readouterr().err.startswith("error: there must be memory for all processes")
    with pytest.raises(type(error)):
        cli.main(["--debug", "inspect", str(phantom)])
