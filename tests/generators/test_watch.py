import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from lesionforge.classifiers.methods.small_cnn import SmallCNN
from lesionforge.data.exposure import Exposure
from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.data.patches import concatenate as joined
from lesionforge.distances.kernel import Whitened, kernel_distance, less_distance
from lesionforge.distances.texture import Texture
from lesionforge.errors import LeakError, LesionForgeError, StorageError
from lesionforge.generators import checkpoint
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.state import TrainingPlan, TrainingState, WatchPlan
from lesionforge.generators.training import train
from lesionforge.generators.training_folder import read_curves, read_quality
from lesionforge.generators.watch import Watch
from lesionforge.progress import Progress
from lesionforge.synthesis.sample import sample

pytestmark = pytest.mark.usefixtures("one_thread")

METHOD = DCGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5)
PLAN = TrainingPlan(
    images=80,
    checkpoint_every_images=24,
    grid_every_images=80,
    log_every_images=40,
    average_half_life_images=20,
    watch=WatchPlan(every_images=16, samples=20),
)
FILES = (checkpoint.WEIGHTS, checkpoint.MANIFEST, "quality.csv", "log.jsonl")


@pytest.fixture(scope="module")
def patches(lesions):
    return lesions(16)


@pytest.fixture(scope="module")
def validation(lesions):
    return lesions(12, prefix="other", seed=1)


@pytest.fixture(scope="module")
def watched(patches, validation, tmp_path_factory):
    return run(patches, validation, tmp_path_factory.mktemp("watched") / "out")


def run(patches, validation, out, **changed):
    arguments = {"method": METHOD, "plan": PLAN, "device": "cpu"} | changed
    return train(arguments.pop("method"), patches, out, validation=validation, **arguments)


def with_watch(**changed):
    return replace(PLAN, watch=replace(PLAN.watch, **changed))


def manifest(out):
    return json.loads((out / checkpoint.MANIFEST).read_text())


def watch_on(patches, validation, method=METHOD, plan=PLAN):
    state = TrainingState(method, patches, window=WINDOWS["lung"], plan=plan, device=torch.device("cpu"))
    return Watch(state, validation)


class Heard(Progress):
    """Keeps what was said."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def rigged(monkeypatch, distances):
    """Let the measured distances be these, one after the other."""
    given = iter(distances)
    measure = Watch.measure

    def measured(self):
        found = measure(self)
        self.measurements[-1] = replace(found, distance=next(given))
        if self.best is self.measurements[-1]:
            self.best_weights = {name: tensor.clone() for name, tensor in self.state.average.state_dict().items()}
        return self.measurements[-1]

    monkeypatch.setattr(Watch, "measure", measured)


def test_quality_is_measured_at_the_asked_intervals_beside_the_floor(watched):
    table = read_quality(watched)
    assert table["images_seen"].tolist() == [16, 32, 48, 64, 80]
    assert (table["floor"] == table["floor"].iloc[0]).all()
    assert table["distance"].min() > table["floor"].iloc[0] + 3 * table["floor_se"].iloc[0]  # hardly trained
    assert np.isfinite(table.to_numpy(dtype=float)).all()


def test_curves_tell_losses_and_quality_in_one_long_table(patches, watched, tmp_path):
    curves = read_curves(watched)
    assert list(curves) == ["images_seen", "term", "value"]
    quality = {"distance", "floor", "nearest_ratio", "copied_share"}
    assert set(curves["term"]) == quality | {"discriminator_real", "discriminator_fake", "generator"}
    distance = curves[curves["term"] == "distance"]
    np.testing.assert_array_equal(distance["value"], read_quality(watched)["distance"])
    plain = train(METHOD, patches, tmp_path / "out", plan=PLAN, device="cpu")
    assert set(read_curves(plain)["term"]).isdisjoint(quality)


def test_the_floor_is_the_distance_of_training_from_validation_patches(patches, validation, watched):
    texture = Texture(-1000, 400)
    whitened = Whitened.by(texture.describe(patches.images))
    train_features, others = (whitened(texture.describe(each.images)) for each in (patches, validation))
    expected = kernel_distance(train_features, others, kernel=less_distance)
    row = read_quality(watched).iloc[0]
    assert row["floor"] == pytest.approx(expected.value)
    assert row["floor_se"] == pytest.approx(expected.standard_error)


@pytest.mark.parametrize("best", range(5))
def test_the_best_generator_is_kept_to_the_bit(patches, validation, tmp_path, monkeypatch, best):
    with monkeypatch.context() as patched:
        rigged(patched, [1.0 if number == best else 2.0 + number for number in range(5)])
        out = run(patches, validation, tmp_path / "out")
    images = 16 * (best + 1)
    alone = train(METHOD, patches, tmp_path / "alone", plan=replace(PLAN, images=images), device="cpu")
    assert (out / checkpoint.WEIGHTS).read_bytes() == (alone / checkpoint.WEIGHTS).read_bytes()
    assert checkpoint.load(out).images_seen == images
    choice = manifest(out)["choice"]
    assert (choice["images_seen"], choice["distance"], choice["images_trained"]) == (images, 1.0, 80)
    assert "least energy distance" in choice["criterion"]
    assert (choice["stopped_early"], choice["validation_patients"]) == ("", 12)


def test_without_validation_patients_nothing_changes(patches, watched, tmp_path):
    plain = train(METHOD, patches, tmp_path / "out", plan=PLAN, device="cpu")
    assert not (plain / "quality.csv").exists()
    assert "choice" not in manifest(plain)
    assert checkpoint.load(plain).images_seen == 80
    assert checkpoint.load(plain).subject.exposure == patches.exposure
    assert (plain / "log.jsonl").read_bytes() == (watched / "log.jsonl").read_bytes()  # watching does not disturb


@pytest.mark.parametrize("step", [2, 3, 5, 7, 9, 10])
def test_killed_and_resumed_it_ends_with_the_same_bytes(
    patches, validation, watched, tmp_path, stop_after, killed, step
):  # measured after steps 2, 4, 6, 8 and 10; states are kept after steps 3, 6, 9 and 10
    out = tmp_path / "out"
    with pytest.raises(killed):
        run(patches, validation, out, progress=stop_after(step))
    run(patches, validation, out, resume=True)
    for file in FILES:
        assert (out / file).read_bytes() == (watched / file).read_bytes()


def test_every_method_can_be_watched_and_resumed(any_method, patches, validation, tmp_path, stop_after, killed):
    plan = with_watch(every_images=24)
    whole = run(patches, validation, tmp_path / "whole", method=any_method, plan=plan)
    with pytest.raises(killed):
        run(patches, validation, tmp_path / "out", method=any_method, plan=plan, progress=stop_after(5))
    out = run(patches, validation, tmp_path / "out", method=any_method, plan=plan, resume=True)
    for file in FILES:
        assert (out / file).read_bytes() == (whole / file).read_bytes()
    assert checkpoint.load(out).images_seen == manifest(out)["choice"]["images_seen"]


def test_a_best_that_came_before_the_kill_is_not_lost(patches, validation, tmp_path, monkeypatch, stop_after, killed):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        rigged(patched, [1.0, 5.0])
        with pytest.raises(killed):
            run(patches, validation, out, progress=stop_after(5))
    with monkeypatch.context() as patched:
        rigged(patched, [5.0, 5.0, 5.0, 5.0])  # the last saved state knows of the first measurement only
        run(patches, validation, out, resume=True)
    assert checkpoint.load(out).images_seen == 16
    assert read_quality(out)["distance"].tolist() == [1, 5, 5, 5, 5]


def test_it_stops_when_there_was_no_better_one_for_so_long(patches, validation, tmp_path, monkeypatch):
    plan, heard, out = with_watch(patience_images=32), Heard(), tmp_path / "out"
    with monkeypatch.context() as patched:
        rigged(patched, [2.0, 1.0, 1.0, 3.0])
        run(patches, validation, out, plan=plan, progress=heard)
    assert read_quality(out)["images_seen"].tolist() == [16, 32, 48, 64]
    assert checkpoint.load(out).images_seen == 32
    reason = manifest(out)["choice"]["stopped_early"]
    assert reason == "the distance to validation patients was least after 32 images"
    assert heard.lines == [f"training ends after 64 images: {reason}."]
    before = {file: (out / file).read_bytes() for file in FILES}
    run(patches, validation, out, plan=plan, resume=True)
    assert before == {file: (out / file).read_bytes() for file in FILES}
    assert [file.name for file in out.glob("training-*")] == ["training-000000064.safetensors"]


@pytest.fixture
def copying(monkeypatch, patches):
    """A generator that gives training images back, mirrored."""
    known = torch.from_numpy(WINDOWS["lung"].to_symmetric(patches.images)).flip(2).unsqueeze(1)

    def remember(self, generator, latent, condition, moment):
        return known[torch.arange(len(latent)) % len(known)] + 0 * self_sum(generator)

    def self_sum(generator):
        return next(generator.parameters()).sum()

    monkeypatch.setattr(DCGAN, "synthesise", remember)


@pytest.mark.usefixtures("copying")
def test_a_generator_that_copies_is_told_of(patches, validation, tmp_path):
    heard = Heard()
    out = run(patches, validation, tmp_path / "out", progress=heard)
    table = read_quality(out)
    assert table["copying"].all()
    assert (table["copied_share"] == 1).all()
    assert (table["nearest_ratio"] < 0.01).all()
    assert len([line for line in heard.lines if "may be copying" in line]) == 5
    choice = manifest(out)["choice"]
    assert choice["copying"] is True
    assert (choice["copied_share"], choice["images_trained"]) == (1, 80)


@pytest.mark.usefixtures("copying")
def test_a_generator_that_copies_is_stopped_if_asked(patches, validation, tmp_path):
    out = run(patches, validation, tmp_path / "out", plan=with_watch(stop_at_copying=True))
    assert read_quality(out)["images_seen"].tolist() == [16]
    assert "100% of samples" in manifest(out)["choice"]["stopped_early"]


def made_of(patches, images, monkeypatch):
    """What is measured of a generator whose samples are these images [N, *shape]."""
    monkeypatch.setattr(Watch, "_samples", lambda self: images)
    validation = patches.rows(range(100, 200))
    watch = watch_on(patches.rows(range(100)), validation, plan=with_watch(samples=len(images)))
    return watch.measure()


def test_the_criterion_reacts_to_what_is_wrong(lesions, monkeypatch):
    patches, fresh = lesions(200), lesions(100, seed=9, prefix="fresh").images.astype(np.float32)
    rng = np.random.default_rng(0)
    good = made_of(patches, fresh, monkeypatch)
    assert abs(good.distance) < 4 * good.distance_se
    assert good.nearest_ratio == pytest.approx(1, abs=0.1)
    assert good.copied_share < 0.15
    smooth = (fresh + np.roll(fresh, 1, 1) + np.roll(fresh, 1, 2) + np.roll(fresh, (1, 1), (1, 2))) / 4
    for wrong in (
        fresh + rng.normal(0, 80, fresh.shape),
        smooth,
        fresh + 150,
        np.repeat(fresh[:1], 100, axis=0),  # one mode
        np.where(np.arange(100)[:, None, None] % 2, fresh, fresh[:1]),  # half of it
    ):
        found = made_of(patches, wrong.astype(np.float32), monkeypatch)
        assert found.distance > good.distance + 2 * found.distance_se
    copies = made_of(patches, np.flip(patches.images[:100], 2).astype(np.float32), monkeypatch)
    assert copies.copying
    assert abs(copies.distance) < 4 * copies.distance_se  # which only the neighbours see


def test_classes_are_drawn_in_the_proportion_of_validation_patients_and_measured_apart(lesions):
    patches = lesions(24)
    uneven = lesions(12, prefix="other", seed=1)
    uneven = uneven.rows(np.flatnonzero((uneven.labels == "solid") | (np.arange(12) < 6)))  # 6 solid, 3 non-solid
    conditional = ACGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5)
    watch = watch_on(patches, uneven, conditional, with_watch(samples=30))
    drawn = uneven.labels[watch._conditions]
    assert pd.Series(drawn).value_counts().to_dict() == {"solid": 20, "non-solid": 10}
    assert set(watch._conditions) == set(range(9))  # every patch in turn


def test_images_of_the_right_looks_under_the_wrong_class_are_far_away(lesions):
    def darkened(patches):
        dark = np.where((patches.labels == "solid")[:, None, None], patches.images, patches.images - 150)
        return patches.with_images(dark, patches.masks)

    patches = darkened(lesions(100))
    conditional = ACGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5)
    watch = watch_on(patches, darkened(lesions(60, prefix="other", seed=1)), conditional)
    classes = (patches.labels == "solid").astype(int)
    right, wrong = (watch._distance(patches.images.astype(np.float32), each) for each in (classes, 1 - classes))
    assert wrong.value > right.value + 4 * wrong.standard_error
    assert abs(right.value) < 4 * right.standard_error


def test_validation_patients_must_be_others(patches, validation, tmp_path):
    shared = joined([validation, patches.rows([3]).with_images(patches.images[[3]] + 1, patches.masks[[3]])])
    renamed = Patches.of(patches.images[:4], patient=list("abcd"), label=patches.labels[:4], spacing_mm=0.7)
    generated = sampled_from(validation)
    for train_on, watch_on_ in ((patches, shared), (patches, renamed), (joined([patches, generated]), validation)):
        with pytest.raises(LeakError, match="validation of a generator needs patients that training has not seen"):
            run(train_on, watch_on_, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def sampled_from(patches):
    """Synthetic patches of a generator that learnt from these."""
    images = (patches.images[:2] + 7).astype(np.int16)
    table = Patches.of(images, patient=["gan"] * 2, label=patches.labels[:2], spacing_mm=0.7).table
    return Patches(images, table.assign(origin="gan"), generators={"gan": patches.exposure})


def test_what_a_method_is_shown_must_be_there_before_training_begins(patches, validation, tmp_path):
    without = Patches(validation.images, validation.table)
    with pytest.raises(LesionForgeError, match="masks"):
        run(patches, without, tmp_path / "out", method=Pix2Pix(generator_width=4, discriminator_width=4))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda patches: patches.centre_crop(8), "one size and unit"),
        (lambda patches: Patches(patches.images, patches.table, unit="u8"), "one size and unit"),
        (sampled_from, "real patches"),
        (lambda patches: patches.rows([]), "3 validation patches or more"),
        (lambda patches: patches.rows([0, 1]), "3 validation patches or more of each class, but 2 of any class"),
        (lambda patches: patches.with_columns(label="cyst"), "'cyst' came"),
    ],
)
def test_validation_patches_must_fit(patches, validation, tmp_path, change, complaint):
    with pytest.raises(LesionForgeError, match=complaint):
        run(patches, change(validation), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_training_is_not_continued_with_other_validation_patients(patches, validation, watched):
    for other in (None, validation.rows(range(11))):
        with pytest.raises(StorageError, match="other validation"):
            run(patches, other, watched, resume=True)


def test_nothing_is_scored_on_the_patients_that_a_generator_was_chosen_on(patches, validation, watched, lesions):
    opened = checkpoint.load(watched)
    seen = opened.subject.exposure
    assert seen.patients == patches.exposure.patients | validation.exposure.patients
    assert seen.learnt == patches.exposure
    synthetic = sample(opened, 8, seed=0).with_columns(label=["non-solid", "solid"] * 4)
    training_set = joined([Patches(patches.images, patches.table), synthetic])
    judges, tested = (Patches(each.images, each.table) for each in (validation, lesions(6, prefix="test", seed=2)))
    classifier = SmallCNN(channels=(2,), batch_size=8, max_images=8)
    with pytest.raises(LeakError, match="will be scored"):
        classifier.fit(training_set, scored_on=judges)
    with pytest.raises(LeakError, match="validation"):
        classifier.fit(training_set, validation=Patches(patches.images, patches.table))
    fitted = classifier.fit(training_set, validation=judges, scored_on=tested)  # it may be chosen on them as well
    with pytest.raises(LeakError, match="scoring"):
        fitted.predict_proba(judges)
    assert fitted.predict_proba(tested).shape == (6, 2)


def test_chosen_on_and_learnt_from_is_learnt_from(patches, validation):
    both = patches.exposure | validation.exposure.judged
    assert both.learnt == patches.exposure
    assert (both | validation.exposure).learnt == (patches.exposure | validation.exposure)
    assert (validation.exposure | both).only_judged == frozenset()
    assert Exposure.from_json(json.loads(json.dumps(both.to_json()))) == both
    assert set(patches.exposure.to_json()) == {"patients", "pixels"}


def test_no_file_of_a_watched_training_names_a_patient(watched):
    for file in watched.rglob("*"):
        if file.is_file():
            assert b"patient-0" not in file.read_bytes()
            assert b"other-0" not in file.read_bytes()
