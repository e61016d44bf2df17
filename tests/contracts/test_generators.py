"""What every generative method must do; a new file in `generators/methods` is tested by existing."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lesionforge import registry, settings
from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.generators import checkpoint, methods
from lesionforge.generators.contract import GenerativeMethod
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.networks import parameter_count, seeded
from lesionforge.storage import read_json
from lesionforge.synthesis.sample import sample

# Whatever of these a method has as fields is made small, so that every method is quick to try.
SMALL = {"batch_size": 8, "epochs": 2, "latent_size": 5, "generator_width": 16, "discriminator_width": 4, "width": 8}
SHAPE = (16, 16)
PLAN = TrainingPlan(
    images=80,
    seed=3,
    checkpoint_every_images=24,
    grid_every_images=32,
    log_every_images=16,
    average_half_life_images=30,
)

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.parametrize("name", registry.names(methods), scope="module"),
]


@pytest.fixture(scope="module")
def method(name):
    kind = registry.class_named(methods, name, GenerativeMethod)
    fields = {field.name for field in dataclasses.fields(kind)}
    return kind(**{key: value for key, value in SMALL.items() if key in fields})


@pytest.fixture(scope="module")
def patches():
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (12, *SHAPE)).astype(np.uint8)
    return Patches.of(
        images, patient=[f"patient-{k // 2}" for k in range(12)], label="solid", unit="u8", spacing_mm=0.5
    )


@pytest.fixture(scope="module")
def trained(method, patches, tmp_path_factory):
    return train(method, patches, tmp_path_factory.mktemp("trained") / "checkpoint", plan=PLAN, device="cpu")


@pytest.fixture
def copied(trained, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "copy")


@pytest.fixture
def networks(method):
    with seeded("networks"):
        return method.build(SHAPE)


def batches(method, networks):
    """Real images, and fakes with the graph that made them."""
    rng = torch.Generator().manual_seed(0)
    real = torch.rand(method.batch_size, 1, *SHAPE, generator=rng) * 2 - 1
    return real, networks["generator"](method.latent(method.batch_size, rng))


def test_it_names_its_paper_and_its_published_settings_are_the_defaults(name):
    kind = registry.class_named(methods, name, GenerativeMethod)
    assert kind.paper
    assert registry.name_of(kind()) == name


def test_settings_are_frozen_hashable_and_survive_json(method):
    stored = json.loads(json.dumps(settings.to_json(method)))
    assert settings.from_json(type(method), stored) == method
    assert hash(settings.from_json(type(method), stored)) == hash(method)
    with pytest.raises(dataclasses.FrozenInstanceError):
        method.batch_size = 1


def test_a_seed_decides_the_initial_weights(method):
    built = []
    for seed in (1, 1, 2):
        with seeded(seed):
            built.append(torch.cat([p.flatten() for p in method.build(SHAPE).parameters()]))
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])
    assert len(built[0]) == parameter_count(method.build(SHAPE))


def test_latent_vectors_follow_their_random_numbers_alone(method):
    first, again, other = (method.latent(6, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape[0] == 6
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_images_have_the_asked_shape_and_lie_within_minus_one_and_one(method, networks):
    _, fake = batches(method, networks)
    assert fake.shape == (method.batch_size, 1, *SHAPE)
    assert fake.dtype == torch.float32
    assert -1 <= fake.min() < fake.max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (16,), (8, 16), (15, 15), (32, 32), (8, 16, 16)], ids=str)
def test_a_shape_is_made_or_refused_by_name(method, shape):
    try:
        method.check_shape(shape)
    except LesionForgeError as error:
        assert "×".join(map(str, shape)) in str(error)  # noqa: PT017
        with pytest.raises(LesionForgeError):
            method.build(shape)
    else:
        rng = torch.Generator().manual_seed(0)
        assert method.build(shape)["generator"](method.latent(2, rng)).shape == (2, 1, *shape)


def test_one_pixel_is_refused(method):
    with pytest.raises(LesionForgeError, match="1×1"):
        method.check_shape((1, 1))


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_every_parameter_learns_from_its_own_players_losses_and_none_from_the_others(method, networks, player):
    real, fake = batches(method, networks)
    if player == "discriminator":
        losses = method.discriminator_losses(networks, real, fake.detach())
    else:
        networks["discriminator"].requires_grad_(False)
        losses = method.generator_losses(networks, fake)
    assert losses
    sum(losses.values()).backward()
    for name, parameter in networks.named_parameters():
        own = name.startswith(player)
        learns = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert learns == own, name


def test_losses_are_finite_scalars_that_agree_with_themselves_in_double_precision(method, networks):
    real, fake = batches(method, networks)
    found = {
        **method.discriminator_losses(networks, real, fake.detach()),
        **method.generator_losses(networks, fake),
    }
    networks.double()
    real, fake = real.double(), fake.detach().double()
    expected = {**method.discriminator_losses(networks, real, fake), **method.generator_losses(networks, fake)}
    for name, loss in found.items():
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5, abs=1e-6)


def test_training_leaves_a_checkpoint_of_the_averaged_generator(method, patches, trained):
    opened = checkpoint.load(trained)
    assert opened.method == method
    assert opened.images_seen == PLAN.images
    assert (opened.subject.shape, opened.subject.label) == (SHAPE, "solid")
    assert opened.subject.exposure == patches.exposure
    (state,) = trained.glob("training-*.safetensors")
    kept = load_file(state)
    for name, tensor in load_file(trained / checkpoint.WEIGHTS).items():
        assert torch.equal(tensor, kept[f"average.{name}"])


def test_training_changes_every_weight(method, trained, networks):
    (state,) = trained.glob("training-*.safetensors")
    kept = load_file(state)
    for name, parameter in networks.named_parameters():
        assert not torch.equal(kept[f"networks.{name}"], parameter), name


@pytest.mark.parametrize("step", [1, 2, 3, 4, 6, 7, 10])
def test_killed_and_resumed_it_ends_as_if_uninterrupted(
    method, patches, trained, tmp_path, stop_after, killed, step
):  # states are kept after steps 3, 6, 9 and 10
    out = tmp_path / "resumed"
    with pytest.raises(killed):
        train(method, patches, out, plan=PLAN, device="cpu", progress=stop_after(step))
    assert not (out / checkpoint.MANIFEST).exists()
    train(method, patches, out, plan=PLAN, device="cpu", resume=True)
    for file in (checkpoint.WEIGHTS, checkpoint.MANIFEST, "log.jsonl"):
        assert (out / file).read_bytes() == (trained / file).read_bytes()
    (state,) = out.glob("training-*.safetensors")
    expected = load_file(trained / state.name)
    assert all(torch.equal(tensor, expected.pop(name)) for name, tensor in load_file(state).items())
    assert not expected


def test_killed_twice_it_ends_as_if_uninterrupted(method, patches, trained, tmp_path, stop_after, killed):
    out = tmp_path / "resumed"
    for step in (4, 4):
        with pytest.raises(killed):
            train(method, patches, out, plan=PLAN, device="cpu", resume=True, progress=stop_after(step))
    train(method, patches, out, plan=PLAN, device="cpu", resume=True)
    assert (out / checkpoint.WEIGHTS).read_bytes() == (trained / checkpoint.WEIGHTS).read_bytes()


def test_another_seed_trains_another_generator(method, patches, trained, tmp_path):
    other = train(method, patches, tmp_path / "other", plan=PLAN.with_seed(4), device="cpu")
    assert checkpoint.load(other).id != checkpoint.load(trained).id
    assert (other / checkpoint.WEIGHTS).read_bytes() != (trained / checkpoint.WEIGHTS).read_bytes()


def test_saved_and_loaded_it_samples_the_same_bits(trained, tmp_path):
    first = sample(checkpoint.load(trained), 11, seed=1)
    again = sample(checkpoint.load(trained), 11, seed=1)
    assert first.digest == again.digest
    assert patches_file.load(patches_file.save(first, tmp_path / "sampled")).digest == first.digest


def test_a_row_of_a_sample_does_not_depend_on_how_many_are_drawn(trained):
    opened = checkpoint.load(trained)
    many = sample(opened, 20, seed=1)
    for count in (1, 3, 8, 9):
        np.testing.assert_array_equal(sample(opened, count, seed=1).images, many.images[:count])
    assert len(np.unique(many.images.reshape(20, -1), axis=0)) == 20
    assert not np.array_equal(sample(opened, 20, seed=2).images, many.images)


def rewritten(folder, change):
    manifest = read_json(folder / checkpoint.MANIFEST, of="a checkpoint")
    change(manifest)
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["subject"]["exposure"].update(patients=[], pixels=[]),
        lambda manifest: manifest["subject"]["exposure"]["patients"].pop(),
        lambda manifest: manifest["subject"].update(label="non-solid"),
        lambda manifest: manifest["subject"]["window"].update(low=-500.0),
        lambda manifest: manifest["settings"].update(batch_size=9),
        lambda manifest: manifest.update(method="other"),
        lambda manifest: manifest.update(images_seen=1_000_000),
        lambda manifest: manifest.update(id="mine"),
        lambda manifest: manifest.pop("subject"),
        lambda manifest: manifest.pop("files"),
        lambda manifest: manifest.update(files={}),
        lambda manifest: manifest.update(version=99),
        lambda manifest: manifest.update(format="something else"),
    ],
)
def test_a_manifest_that_was_edited_is_refused(copied, change):
    rewritten(copied, change)
    with pytest.raises(StorageError):
        checkpoint.load(copied)


def test_weights_that_are_cut_short_changed_or_missing_are_refused(copied):
    weights = copied / checkpoint.WEIGHTS
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-7])
    with pytest.raises(StorageError, match="cut short"):
        checkpoint.load(copied)
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StorageError, match="checksum"):
        checkpoint.load(copied)
    weights.unlink()
    with pytest.raises(StorageError, match="missing"):
        checkpoint.load(copied)


def test_weights_of_another_method_are_refused_even_under_a_fitting_id(copied):
    """Someone who puts other settings to the weights, and works out the id anew, gets no further than that."""

    def change(manifest):
        field = next(key for key in ("generator_width", "width", "latent_size") if key in manifest["settings"])
        manifest["settings"][field] *= 2
        manifest["id"] = checkpoint.identify(manifest)

    rewritten(copied, change)
    with pytest.raises(StorageError, match="do not fit"):
        checkpoint.load(copied)


def test_an_unfinished_training_is_no_checkpoint(copied):
    (copied / checkpoint.MANIFEST).unlink()
    with pytest.raises(StorageError, match="generator checkpoint"):
        checkpoint.load(copied)
