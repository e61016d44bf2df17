import errno
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from PIL import Image

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError, TrainingDivergedError
from lesionforge.generators import checkpoint, training, training_folder
from lesionforge.generators.distributed import Part
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.state import TrainingPlan, TrainingState
from lesionforge.generators.training import train
from lesionforge.generators.training_folder import read_log

pytestmark = pytest.mark.usefixtures("one_thread")

METHOD = DCGAN(batch_size=8, generator_width=16, discriminator_width=4, latent_size=5)
PLAN = TrainingPlan(images=80, checkpoint_every_images=24, grid_every_images=32, log_every_images=16)


@pytest.fixture(scope="module")
def patches(small_patches):
    return small_patches(shape=(16, 16))


@pytest.fixture(scope="module")
def trained(patches, tmp_path_factory):
    return train(METHOD, patches, tmp_path_factory.mktemp("trained") / "out", plan=PLAN, device="cpu")


def resume(patches, out, **changed):
    arguments = {"method": METHOD, "plan": PLAN, "device": "cpu"} | changed
    return train(arguments.pop("method"), patches, out, resume=True, **arguments)


def weights(out):
    return (out / checkpoint.WEIGHTS).read_bytes()


def test_the_log_tells_each_term_at_the_asked_intervals(trained):
    rows = read_log(trained)
    assert [row["images_seen"] for row in rows] == [16, 32, 48, 64, 80]
    for row in rows:
        terms = set(row) - {"images_seen"}
        assert terms == {"discriminator_real", "discriminator_fake", "generator"}
        assert all(0 < row[term] < 50 for term in terms)


def test_the_log_holds_the_means_of_the_steps_between(patches, tmp_path, trained):
    every_step = train(METHOD, patches, tmp_path / "out", plan=replace(PLAN, log_every_images=8), device="cpu")
    fine = [row["generator"] for row in read_log(every_step)]
    coarse = [row["generator"] for row in read_log(trained)]
    np.testing.assert_allclose(np.mean(np.reshape(fine, (5, 2)), axis=1), coarse, rtol=1e-6)


def test_a_log_that_is_due_less_often_than_the_state_is_resumed_exactly(patches, tmp_path, stop_after, killed):
    plan = replace(PLAN, log_every_images=40)
    whole = train(METHOD, patches, tmp_path / "whole", plan=plan, device="cpu")
    with pytest.raises(killed):
        resume(patches, tmp_path / "out", plan=plan, progress=stop_after(4))
    resume(patches, tmp_path / "out", plan=plan)
    assert read_log(tmp_path / "out") == read_log(whole)


def test_sample_sheets_say_that_they_are_synthetic(trained):
    sheets = sorted((trained / "grids").iterdir())
    assert [sheet.name for sheet in sheets] == [f"synthetic_{n:09d}.png" for n in (32, 64, 80)]
    for sheet in sheets:
        grey = np.asarray(Image.open(sheet))
        assert grey.shape == (8 * 18 + 2, 8 * 18 + 2)  # 8×8 patches of 16 pixels, 2 pixels apart
        assert grey.dtype == np.uint8
        assert len(np.unique(grey)) > 2  # more than the frame and one grey


def test_only_the_newest_state_is_kept(trained):
    assert [state.name for state in trained.glob("training-*")] == ["training-000000080.safetensors"]
    assert not list(trained.rglob(".*"))


def test_the_average_follows_its_equation(patches):
    """Weights of the average against a naive one in double precision: half-life ramped up to a bound."""
    plan = replace(PLAN, average_half_life_images=5, average_ramp=0.1)
    run = TrainingState(METHOD, patches, window=WINDOWS["lung"], plan=plan, device=torch.device("cpu"))
    expected = {name: value.double() for name, value in run.generator.state_dict().items()}
    for step in range(1, 11):
        run.step()
        shown = step * 8
        keep = 0.5 ** (8 / min(5, 0.1 * shown))
        for name, value in run.generator.state_dict().items():
            expected[name] = keep * expected[name] + (1 - keep) * value.double()
    averaged = run.average.state_dict()
    floating = [name for name, value in averaged.items() if value.is_floating_point()]
    assert any("running_var" in name for name in floating)
    for name in floating:
        torch.testing.assert_close(averaged[name].double(), expected[name], rtol=1e-5, atol=1e-7)
        assert not torch.equal(averaged[name], run.generator.state_dict()[name])


def test_each_epoch_shows_every_patch_once_and_a_batch_may_reach_over_its_end(patches):
    run = TrainingState(
        replace(METHOD, batch_size=6), patches, window=WINDOWS["lung"], plan=PLAN, device=torch.device("cpu")
    )
    batches = []
    for _ in range(8):
        batches.append(run._real_batch(Part(0, 6, 6)))
        run.images_seen += 6
    shown = torch.cat([batch.images for batch in batches]).squeeze(1).numpy()
    known = WINDOWS["lung"].to_symmetric(patches.images)
    rows = [int(np.flatnonzero((known == image).all(axis=(1, 2)))[0]) for image in shown]
    assert len(patches) == 16
    epochs = [rows[:16], rows[16:32], rows[32:]]
    assert all(sorted(epoch) == list(range(16)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_a_batch_larger_than_the_training_set_is_filled_from_further_epochs(patches, tmp_path):
    train(METHOD, patches.rows([0, 1, 2]), tmp_path / "out", plan=PLAN, device="cpu")
    assert checkpoint.load(tmp_path / "out").images_seen == 80


@dataclass(frozen=True)
class Growing(DCGAN):
    """Shows fewer images at once as it goes on, and lets its discriminator step three times."""

    critic_steps: int = 3

    def batch_size_at(self, images_seen):
        return 8 if images_seen < 40 else 5 if images_seen < 70 else 2


GROWING = Growing(generator_width=16, discriminator_width=4, latent_size=5)


def test_batches_may_shrink_and_the_discriminator_may_step_more_often(patches):
    method = GROWING
    run = TrainingState(method, patches, window=WINDOWS["lung"], plan=PLAN, device=torch.device("cpu"))
    shown = [run.step() for _ in range(5)]
    assert shown == [24, 8 + 8 + 5, 15, 5 + 5 + 2, 6]
    assert (run.images_seen, run.batches_seen) == (78, 15)
    steps = {player: int(o.state_dict()["state"][0]["step"]) for player, o in run.optimisers.items()}
    assert steps == {"generator": 5, "discriminator": 15}


def test_the_mean_of_a_term_is_over_its_own_steps(patches, monkeypatch):
    one = torch.ones((), requires_grad=True)
    monkeypatch.setattr(DCGAN, "discriminator_losses", lambda *_: {"discriminator_one": one * 1})
    monkeypatch.setattr(DCGAN, "generator_losses", lambda *_: {"generator_two": one * 2})
    run = TrainingState(GROWING, patches, window=WINDOWS["lung"], plan=PLAN, device=torch.device("cpu"))
    run.step()
    run.step()
    assert run.take_mean_losses() == pytest.approx({"discriminator_one": 1, "generator_two": 2})


@pytest.mark.parametrize("step", range(1, 7))
def test_with_shrinking_batches_resumed_equals_uninterrupted(patches, tmp_path, stop_after, killed, step):
    plan = replace(PLAN, checkpoint_every_images=10, log_every_images=10)
    whole = train(GROWING, patches, tmp_path / "whole", plan=plan, device="cpu")
    with pytest.raises(killed):
        train(GROWING, patches, tmp_path / "out", plan=plan, device="cpu", progress=stop_after(step))
    train(GROWING, patches, tmp_path / "out", plan=plan, device="cpu", resume=True)
    for file in (checkpoint.WEIGHTS, "log.jsonl"):
        assert (tmp_path / "out" / file).read_bytes() == (whole / file).read_bytes()


def test_every_batch_has_its_own_random_numbers(patches, monkeypatch):
    """Noise, lines of a penalty, dropout: none is drawn twice, neither within a step nor between steps."""
    drawn = {"moment": [], "latent": [], "torch": []}
    latent, losses = DCGAN.latent, DCGAN.discriminator_losses

    def spy_latent(self, count, rng):
        drawn["latent"].append(rng.initial_seed())
        return latent(self, count, rng)

    def spy_losses(self, networks, real, fake, moment):
        drawn["moment"].append(moment.rng.initial_seed())
        drawn["torch"].append(torch.initial_seed())
        return losses(self, networks, real, fake, moment)

    monkeypatch.setattr(DCGAN, "latent", spy_latent)
    monkeypatch.setattr(DCGAN, "discriminator_losses", spy_losses)
    run = TrainingState(GROWING, patches, window=WINDOWS["lung"], plan=PLAN, device=torch.device("cpu"))
    run.step()
    run.step()
    assert len({seed for seeds in drawn.values() for seed in seeds}) == 3 * 6


def test_a_batch_brings_labels_and_masks(patches):
    masked = Patches(patches.images, patches.table, masks=(patches.images > -600).astype(np.uint8))
    one = TrainingState(METHOD, masked, window=WINDOWS["lung"], plan=PLAN, device=torch.device("cpu"))
    batch = one._real_batch(Part(0, 16, 16))
    known = WINDOWS["lung"].from_symmetric(batch.images.numpy())
    np.testing.assert_array_equal(batch.masks.numpy() == 1, known.round() > -600)
    assert batch.labels.tolist() == [-1] * 16  # dcgan does not tell the two classes apart
    conditional = ACGAN(batch_size=8, generator_width=16, discriminator_width=4)
    plain = Patches(patches.images, patches.table)
    two = TrainingState(conditional, plain, window=WINDOWS["lung"], plan=PLAN, device=torch.device("cpu"))
    batch = two._real_batch(Part(0, 16, 16))
    assert batch.masks is None
    pixels = WINDOWS["lung"].to_symmetric(patches.images)
    rows = [int(np.flatnonzero((pixels == image).all(axis=(1, 2)))[0]) for image in batch.images.squeeze(1).numpy()]
    assert [two.labels[number] for number in batch.labels.tolist()] == patches.labels[rows].tolist()


def test_without_a_number_of_images_it_trains_for_the_methods_epochs(patches, tmp_path):
    train(replace(METHOD, epochs=3), patches, tmp_path / "out", device="cpu")
    assert checkpoint.load(tmp_path / "out").images_seen == 3 * 16


def test_more_images_continue_a_finished_training(patches, tmp_path, trained):
    out = train(METHOD, patches, tmp_path / "out", plan=replace(PLAN, images=40), device="cpu")
    before = weights(out)
    resume(patches, out)
    assert weights(out) == weights(trained) != before
    assert checkpoint.load(out).images_seen == 80


def test_a_longer_training_leaves_the_finished_checkpoint_until_it_ends(patches, trained, tmp_path, stop_after, killed):
    out = tmp_path / "longer"
    shutil.copytree(trained, out)
    identity = checkpoint.load(out).id
    longer = replace(PLAN, images=PLAN.images + 64)
    with pytest.raises(killed):
        resume(patches, out, plan=longer, progress=stop_after(2))
    assert checkpoint.load(out).id == identity
    resume(patches, out, plan=longer)
    assert checkpoint.load(out).images_seen == PLAN.images + 64


def test_a_finished_training_is_left_as_it_is(patches, tmp_path, trained, stop_after):
    before = {file: file.stat().st_mtime_ns for file in trained.glob("*.safetensors")}
    watch = stop_after()
    resume(patches, trained, progress=watch)
    assert watch.seen == 0
    assert before == {file: file.stat().st_mtime_ns for file in trained.glob("*.safetensors")}


def test_killed_before_its_checkpoint_was_written_it_writes_it(patches, tmp_path, trained, monkeypatch):
    def refuse(*_):
        raise KeyError

    with monkeypatch.context() as patched:
        patched.setattr(training._Run, "finish", refuse)
        with pytest.raises(KeyError):
            train(METHOD, patches, tmp_path / "out", plan=PLAN, device="cpu")
    assert weights(resume(patches, tmp_path / "out")) == weights(trained)


def test_an_existing_folder_is_not_trained_into(patches, tmp_path, trained):
    with pytest.raises(StorageError, match="--resume"):
        train(METHOD, patches, trained, plan=PLAN, device="cpu")
    (tmp_path / "notes.txt").write_text("mine")
    for again in (False, True):
        with pytest.raises(StorageError, match="must be empty"):
            train(METHOD, patches, tmp_path, plan=PLAN, resume=again, device="cpu")
        with pytest.raises(StorageError, match="must be empty"):
            train(METHOD, patches, tmp_path / "notes.txt", plan=PLAN, resume=again, device="cpu")
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_what_a_kill_left_before_the_first_state_is_taken_for_nothing(patches, tmp_path, trained):
    out = tmp_path / "out"
    (out / "grids").mkdir(parents=True)
    (out / "log.jsonl").write_text('{"images_seen": 16, "generator"')
    (out / "training-000000024.safetensors").write_bytes(b"whole, but not yet named by training.json")
    (out / ".training.json.partial-x7.json").write_bytes(b"")
    resume(patches, out)
    assert weights(out) == weights(trained)
    assert read_log(out) == read_log(trained)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"method": replace(METHOD, learning_rate=1e-3)}, "settings"),
        ({"plan": replace(PLAN, seed=1)}, "training"),
        ({"plan": replace(PLAN, average_half_life_images=7)}, "training"),
        ({"window": replace(WINDOWS["lung"], high=300.0)}, "window"),
    ],
)
def test_another_training_is_not_continued(patches, trained, changed, named):
    with pytest.raises(StorageError, match=f"other {named}"):
        resume(patches, trained, **changed)


def test_a_training_is_not_continued_on_other_patches(patches, trained):
    with pytest.raises(StorageError, match="other patches"):
        resume(patches.rows(range(15)), trained)
    renamed = patches.rows(range(16)).with_columns(scan=[f"scan-{k}" for k in range(16)])
    with pytest.raises(StorageError, match="other patches"):
        resume(renamed, trained)


def test_a_state_that_was_cut_short_is_refused(patches, tmp_path, stop_after, killed):
    out = tmp_path / "out"
    with pytest.raises(killed):
        resume(patches, out, progress=stop_after(5))
    (state,) = out.glob("training-*.safetensors")
    state.write_bytes(state.read_bytes()[:-5])
    with pytest.raises(StorageError, match="cut short"):
        resume(patches, out)


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (lambda patches: patches.rows([0]), "at least 2 patches"),
        (lambda patches: patches.rows([]), "at least 2 patches"),
        (lambda patches: patches.with_images(np.full_like(patches.images, -800)), "lie in -800 to -800"),
        (lambda patches: patches.centre_crop(13), "13×13"),
        (lambda patches: Patches.of(patches.images, patient=list(patches.patients), unit="counts"), "'counts'"),
    ],
)
def test_patches_that_cannot_be_learnt_from_are_refused_before_anything_is_written(patches, tmp_path, bad, why):
    with pytest.raises(LesionForgeError, match=why):
        train(METHOD, bad(patches), tmp_path / "out", plan=PLAN, device="cpu")
    assert not (tmp_path / "out").exists()


def losing(monkeypatch, term, step, lose):
    """From ``step`` on, ``lose`` changes a term of the losses."""
    original, calls = getattr(DCGAN, f"{term.split('_')[0]}_losses"), []

    def losses(self, networks, *batches_and_moment):
        calls.append(1)
        found = original(self, networks, *batches_and_moment)
        return found | {term: lose(found[term], batches_and_moment[-2].images)} if len(calls) >= step else found

    monkeypatch.setattr(DCGAN, f"{term.split('_')[0]}_losses", losses)


@pytest.mark.parametrize("term", ["discriminator_fake", "generator"])
def test_a_term_that_is_no_number_stops_training_and_the_last_good_state_resumes(
    patches, tmp_path, trained, monkeypatch, term
):
    out = tmp_path / "out"
    with monkeypatch.context() as patched:
        losing(patched, term, 5, lambda loss, _: loss * float("nan"))
        with pytest.raises(TrainingDivergedError, match=f"{term}.*before 48 images.*state at 24 images.*learning_rate"):
            train(METHOD, patches, out, plan=PLAN, device="cpu")
    assert not (out / checkpoint.MANIFEST).exists()
    resume(patches, out)
    assert weights(out) == weights(trained)
    assert read_log(out) == read_log(trained)


def test_no_state_with_lost_weights_replaces_a_good_one(patches, tmp_path, trained, monkeypatch):
    """A loss may be finite where its gradient is not; and a state may be due when the log is not."""
    plan, out = replace(PLAN, log_every_images=1000), tmp_path / "out"
    with monkeypatch.context() as patched:
        # The square root adds 0 to the loss, and an infinite slope times 0 to its gradient.
        losing(patched, "generator", 6, lambda loss, fake: loss + (fake * 0).sum().sqrt())
        with pytest.raises(TrainingDivergedError, match=r"weights of the generator.*state at 24 images"):
            train(METHOD, patches, out, plan=plan, device="cpu")
    resume(patches, out, plan=plan)
    assert weights(out) == weights(trained)


def test_before_the_first_state_it_says_that_none_was_kept(patches, tmp_path, monkeypatch):
    losing(monkeypatch, "generator", 1, lambda loss, _: loss * float("inf"))
    with pytest.raises(TrainingDivergedError, match="no earlier state"):
        train(METHOD, patches, tmp_path / "out", plan=PLAN, device="cpu")


def test_a_full_disk_leaves_the_state_before(patches, tmp_path, trained, monkeypatch):
    out, write, calls = tmp_path / "out", training_folder.save_tensors, []

    def fill(path, tensors):
        calls.append(path)
        write(path, tensors)
        if len(calls) == 2:
            path.write_bytes(path.read_bytes()[:100])
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(training_folder, "save_tensors", fill)
        with pytest.raises(StorageError, match="disk is full"):
            train(METHOD, patches, out, plan=PLAN, device="cpu")
    assert [file.name for file in out.glob("*training-*")] == ["training-000000024.safetensors"]
    assert weights(resume(patches, out)) == weights(trained)


def test_training_leaves_torchs_random_numbers_alone(patches, tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(METHOD, patches, tmp_path / "out", plan=PLAN, device="cpu")
    assert torch.equal(torch.rand(3), expected)


def test_a_set_of_several_classes_has_no_label_and_spacing_is_the_median(patches, tmp_path, trained):
    assert checkpoint.load(trained).subject.label == ""
    assert checkpoint.load(trained).subject.spacing_mm == (0.7, 0.7)
    one = patches.with_label("benign").with_columns(spacing_x_mm=np.nan)
    train(METHOD, one, tmp_path / "out", plan=PLAN, device="cpu")
    assert checkpoint.load(tmp_path / "out").subject.label == "benign"
    assert checkpoint.load(tmp_path / "out").subject.spacing_mm == (0.7, None)


def test_no_file_of_a_training_names_a_patient(trained):
    for file in trained.rglob("*"):
        assert not file.is_file() or b"patient-0" not in file.read_bytes(), file
