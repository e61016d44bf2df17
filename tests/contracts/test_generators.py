"""What every generative method must do; a new file in `generators/methods` is tested by existing."""

import dataclasses
import json
import shutil
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from lesionforge import registry, settings
from lesionforge.data import patches_file
from lesionforge.data.patches import Patches
from lesionforge.errors import LesionForgeError, StorageError
from lesionforge.generators import checkpoint, methods
from lesionforge.generators.contract import Batch, GenerativeMethod, Moment
from lesionforge.generators.state import TrainingPlan
from lesionforge.generators.training import train
from lesionforge.networks import parameter_count, seeded
from lesionforge.storage import read_json
from lesionforge.synthesis.sample import sample

SHAPE = (16, 16)
VOLUME = (8, 12, 16)
CLASSES = ("non-solid", "solid")
SHOWN = 8  # images that a step shows to the discriminator
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
def method(name, small_method):
    critic_steps = min(2, registry.class_named(methods, name, GenerativeMethod)().critic_steps)
    return small_method(name, critic_steps=critic_steps, batch_size=SHOWN // critic_steps)


@pytest.fixture(scope="module")
def labels(method):
    """What the checkpoint of `trained` can be asked for."""
    return CLASSES if method.conditional else ("solid",)


@pytest.fixture(scope="module")
def patches(labels):
    return noise(labels, SHAPE)


def noise(labels, shape):
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (12, *shape)).astype(np.uint8)
    return Patches.of(
        images,
        patient=[f"patient-{k // 2}" for k in range(12)],
        label=[labels[k % len(labels)] for k in range(12)],
        unit="u8",
        masks=np.stack([ball(3 + k % 4, shape) for k in range(12)]),
        spacing_mm=0.5,
    )


def ball(radius, shape):
    away = [(np.arange(side) - side // 2) ** 2 for side in shape]
    return (sum(np.meshgrid(*away, indexing="ij")) <= radius**2).astype(np.uint8)


@pytest.fixture(scope="module")
def draw(method, patches):
    """Sample; a method that is shown something is shown the training patches."""
    return partial(sample, conditions=patches if method.pictured else None)


@pytest.fixture(scope="module")
def trained(method, patches, tmp_path_factory):
    return train(method, patches, tmp_path_factory.mktemp("trained") / "checkpoint", plan=PLAN, device="cpu")


@pytest.fixture
def copied(trained, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(trained, tmp_path / "copy")


def build(method, shape=SHAPE):
    return method.build(shape, len(CLASSES))


@pytest.fixture
def networks(method):
    with seeded("networks"):
        return build(method)


def skip_without(player, networks):
    if player not in networks:
        pytest.skip(f"it has no {player}")


AT_LAST = 1_000_000_000  # images seen: all phases of a schedule are over


def moment(images_seen):
    return Moment(images_seen, torch.Generator().manual_seed(0))


def real(method, count, labels=None, shape=SHAPE):
    """Noise with a box for a lesion."""
    labels = torch.arange(count) % len(CLASSES) if labels is None else labels
    images = torch.rand(count, 1, *shape, generator=torch.Generator().manual_seed(1)) * 2 - 1
    masks = torch.zeros_like(images)
    masks[(..., *(slice(side // 4, side // 2) for side in shape))] = 1
    batch = Batch(images=images, labels=labels, masks=masks)
    return dataclasses.replace(batch, picture=method.picture(batch))


def synthesised(method, generator, given, images_seen=AT_LAST):
    """Images that fulfil what is given."""
    latent = method.latent(len(given.images), torch.Generator().manual_seed(0))
    return method.synthesise(generator, latent, given, moment(images_seen))


def batches(method, networks, images_seen=AT_LAST, shape=SHAPE):
    """Real images, and fakes with the graph that made them."""
    given = real(method, SHOWN, shape=shape)
    latent = method.latent(SHOWN, torch.Generator().manual_seed(0))
    return given, method.fakes(networks["generator"], latent, given, moment(images_seen))


def detached(batch, dtype=torch.float32):
    tensors = {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    cast = {
        name: tensor.detach().to(dtype)
        for name, tensor in tensors.items()
        if tensor is not None and tensor.is_floating_point()
    }
    return dataclasses.replace(batch, **cast)


def losses_of(player, method, networks, real, fake, images_seen=AT_LAST):
    at = moment(images_seen)
    with seeded("dropout"):
        if player == "discriminator":
            return method.discriminator_losses(networks, real, detached(fake, fake.images.dtype), at)
        return method.generator_losses(networks, fake, at)


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
            built.append(torch.cat([p.flatten() for p in build(method).parameters()]))
    assert torch.equal(built[0], built[1])
    assert not torch.equal(built[0], built[2])
    assert len(built[0]) == parameter_count(build(method))


def test_its_discriminator_learns_to_tell_noise_from_an_untrained_generators_images(method, networks):
    """One whose normalisation hides what whole batches have in common cannot, however long it learns."""
    skip_without("discriminator", networks)
    quick = dataclasses.replace(method, learning_rate=3e-3)
    optimiser = quick.optimiser("discriminator", networks["discriminator"].parameters())
    given, fake = batches(quick, networks)
    found = []
    for _ in range(40):
        losses = losses_of("discriminator", quick, networks, given, fake)
        adversarial = sum(loss for name, loss in losses.items() if "class" not in name and "penalty" not in name)
        found.append(adversarial.item())
        optimiser.zero_grad()
        sum(losses.values()).backward()
        optimiser.step()
    assert found[-1] < found[0] - 0.5


def test_latent_vectors_follow_their_random_numbers_alone(method):
    first, again, other = (method.latent(6, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert first.shape[0] == 6
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_images_have_the_asked_shape_and_lie_within_minus_one_and_one(method, networks):
    fake = synthesised(method, networks["generator"].eval(), real(method, 6))
    assert fake.shape == (6, 1, *SHAPE)
    assert fake.dtype == torch.float32
    assert -1 <= fake.min() < fake.max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (16,), (8, 16), (15, 15), (32, 32), (8, 16, 16)], ids=str)
def test_a_shape_is_made_or_refused_by_name(method, shape):
    try:
        method.check_shape(shape)
    except LesionForgeError as error:
        assert "×".join(map(str, shape)) in str(error)  # noqa: PT017
        with pytest.raises(LesionForgeError):
            build(method, shape)
    else:
        made = synthesised(method, build(method, shape)["generator"], real(method, 2, shape=shape))
        assert made.shape == (2, 1, *shape)


def test_only_a_conditional_method_looks_at_labels(method, networks):
    generator = networks["generator"].eval()
    first, second = (
        synthesised(method, generator, real(method, 4, labels=torch.full((4,), label))) for label in (0, 1)
    )
    assert torch.equal(first, second) != method.conditional


def test_only_a_pictured_method_is_shown_something_and_looks_at_it(method, networks):
    given, generator = real(method, 4), networks["generator"].eval()
    assert (given.picture is not None) == method.pictured
    first = synthesised(method, generator, given)
    if method.pictured:
        assert (len(given.picture), given.picture.shape[2:]) == (4, SHAPE)
        assert -1 <= given.picture.min() < given.picture.max() <= 1
        assert not torch.equal(
            synthesised(method, generator, dataclasses.replace(given, picture=given.picture.roll(3, -1))), first
        )
    blind = dataclasses.replace(given, images=torch.full_like(given.images, torch.nan), masks=None)
    torch.testing.assert_close(synthesised(method, generator, blind), first, rtol=0, atol=0)


@pytest.mark.parametrize("images_seen", [0, 1, 1000, 10**9])
def test_a_batch_holds_images_at_any_time(method, images_seen):
    assert method.batch_size_at(images_seen) >= 1


def test_one_pixel_is_refused(method):
    with pytest.raises(LesionForgeError, match="1×1"):
        method.check_shape((1, 1))


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_every_parameter_learns_from_its_own_players_losses_and_none_from_the_others(method, networks, player):
    skip_without(player, networks)
    for other, network in networks.items():
        network.requires_grad_(player == "discriminator" or other == player)
    for images_seen in range(0, PLAN.images, SHOWN):  # at some time of a training, if not at all
        losses = losses_of(player, method, networks, *batches(method, networks, images_seen), images_seen)
        assert losses
        sum(losses.values()).backward()
    for name, parameter in networks.named_parameters():
        own = name.startswith(player)
        learns = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
        assert learns == own, name


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_losses_are_finite_scalars_that_agree_with_themselves_in_double_precision(method, networks, player):
    skip_without(player, networks)
    real, fake = batches(method, networks)
    found = losses_of(player, method, networks, real, fake)
    real, fake = detached(real, torch.float64), detached(fake, torch.float64)
    expected = losses_of(player, method, networks.double(), real, fake)
    assert found.keys() == expected.keys()
    for name, loss in found.items():
        assert loss.shape == ()
        assert torch.isfinite(loss)
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5, abs=1e-6)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_losses_follow_the_random_numbers_of_their_moment(method, networks, player):
    skip_without(player, networks)
    first, again = (losses_of(player, method, networks, *batches(method, networks)) for _ in range(2))
    assert {name: loss.item() for name, loss in first.items()} == {name: loss.item() for name, loss in again.items()}


def test_training_leaves_a_checkpoint_of_the_averaged_generator(method, patches, trained, labels):
    opened = checkpoint.load(trained)
    assert opened.method == method
    assert opened.images_seen == PLAN.images
    assert (opened.subject.shape, opened.subject.labels) == (SHAPE, labels)
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


def test_saved_and_loaded_it_samples_the_same_bits(trained, draw, tmp_path):
    first = draw(checkpoint.load(trained), 11, seed=1)
    again = draw(checkpoint.load(trained), 11, seed=1)
    assert first.digest == again.digest
    assert patches_file.load(patches_file.save(first, tmp_path / "sampled")).digest == first.digest


def test_a_row_of_a_sample_does_not_depend_on_how_many_are_drawn(trained, draw):
    opened = checkpoint.load(trained)
    many = draw(opened, 20, seed=1)
    for count in (1, 3, 8, 9):
        np.testing.assert_array_equal(draw(opened, count, seed=1).images, many.images[:count])
    assert len(np.unique(many.images.reshape(20, -1), axis=0)) == 20
    assert not np.array_equal(draw(opened, 20, seed=2).images, many.images)


def test_a_sample_is_of_the_class_that_was_asked_for(trained, draw, labels):
    opened = checkpoint.load(trained)
    assert draw(opened, 5).labels.tolist() == [labels[k % len(labels)] for k in range(5)]
    asked = {label: draw(opened, 5, label=label) for label in labels}
    for label, drawn in asked.items():
        assert drawn.labels.tolist() == [label] * 5
    assert len({drawn.images.tobytes() for drawn in asked.values()}) == len(labels)
    with pytest.raises(LesionForgeError, match=f"makes {' or '.join(labels)} lesions, but 'cyst'"):
        draw(opened, 1, label="cyst")


@pytest.fixture(scope="module")
def two_kinds():
    """Patches of two classes that one look at the middle tells apart: a bright or a dark blob on grey."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:8, :8]
    blob = np.exp(-((y - 3.5) ** 2 + (x - 3.5) ** 2) / 6)
    sign = np.tile([-1, 1], 100)
    images = 128 + sign[:, None, None] * blob * rng.uniform(60, 110, (200, 1, 1)) + rng.normal(0, 8, (200, 8, 8))
    label = np.where(sign > 0, "bright", "dark")
    return Patches.of(
        images.clip(0, 255).astype(np.uint8), patient=[f"p{k}" for k in range(200)], label=label, unit="u8"
    )


def learnt(method, patches, out, *, images):
    """A checkpoint of so many images, by networks that are small but not as small as elsewhere here."""
    never = 10**6
    plan = TrainingPlan(
        images=images, seed=1, average_half_life_images=500, grid_every_images=never, checkpoint_every_images=never
    )
    quick = {"generator_width": 32, "discriminator_width": 8, "width": 32, "latent_size": 8, "learning_rate": 1e-3}
    fields = {field.name for field in dataclasses.fields(method)}
    learner = dataclasses.replace(
        method, batch_size=32 // method.critic_steps, **{key: value for key, value in quick.items() if key in fields}
    )
    return checkpoint.load(train(learner, patches, out, plan=plan, device="cpu"))


def test_two_kinds_of_lesions_are_both_made_and_each_where_it_is_asked_for(method, two_kinds, tmp_path):
    if method.pictured:
        pytest.skip("one that is shown something makes that: the next test")
    drawn = sample(learnt(method, two_kinds, tmp_path / "out", images=16_000), 200)
    contrast = drawn.images[:, 3:5, 3:5].mean(axis=(1, 2)) - drawn.images[:, ::7, ::7].mean(axis=(1, 2))
    is_bright, is_dark = contrast > 20, contrast < -20  # of the real ones, all: their contrast is 45 or more
    assert (is_bright | is_dark).mean() > 0.8  # one network makes both kinds, and so makes some between them
    assert 0.25 < is_bright.mean() < 0.75
    if method.conditional:
        assert is_bright[drawn.labels == "bright"].mean() > 0.9
        assert is_dark[drawn.labels == "dark"].mean() > 0.9


def test_lesions_are_where_and_as_large_as_they_are_shown(method, tmp_path):
    if not method.pictured:
        pytest.skip("it is shown nothing")
    rng = np.random.default_rng(0)
    centres, radii = rng.integers(6, 10, (200, 2)), rng.uniform(2, 5, 200)
    y, x = np.mgrid[:16, :16]
    masks = np.stack([(y - a) ** 2 + (x - b) ** 2 <= r**2 for (a, b), r in zip(centres, radii, strict=True)])
    sign = np.tile([-1, 1] if method.conditional else [1, 1], 100)
    images = (128 + 100 * sign[:, None, None] * masks + rng.normal(0, 8, masks.shape)).clip(0, 255).astype(np.uint8)
    discs = Patches.of(
        images,
        patient=[f"p{k}" for k in range(200)],
        label=np.where(sign > 0, "bright", "dark"),
        masks=masks.astype(np.uint8),
        unit="u8",
    )
    shown, unseen = discs.rows(np.arange(150)), discs.rows(np.arange(150, 200))
    drawn = sample(learnt(method, shown, tmp_path / "out", images=2_400), 50, conditions=unseen)
    asked = np.where(drawn.labels == "bright", 1, -1)[:, None, None]
    found = asked * (drawn.images - 128) > 50
    agreement = 2 * (found & unseen.masks).sum((1, 2)) / (found.sum((1, 2)) + unseen.masks.sum((1, 2)))
    assert np.median(agreement) > 0.8  # Dice's coefficient
    np.testing.assert_array_equal(drawn.masks, unseen.masks)
    assert drawn.exposure.patients == discs.exposure.patients
    assert drawn.exposure.pixels >= discs.exposure.pixels


@pytest.mark.parametrize("missing", ["conditions", "masks"])
def test_without_what_it_is_shown_a_pictured_method_makes_nothing(method, trained, patches, missing, tmp_path):
    if not method.pictured:
        pytest.skip("it is shown nothing")
    bare = patches.with_images(patches.images)
    with pytest.raises(LesionForgeError, match=missing):
        sample(checkpoint.load(trained), 3, conditions=bare if missing == "masks" else None)
    with pytest.raises(LesionForgeError, match="masks"):
        train(method, bare, tmp_path / "out", plan=PLAN, device="cpu")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("labels_given", [["solid"] * 4, ["", "", "solid", "non-solid"], [""] * 4], ids=str)
def test_a_conditional_method_refuses_patches_that_do_not_say_two_classes(method, patches, tmp_path, labels_given):
    few = patches.rows([0, 1, 2, 3]).with_columns(label=labels_given)
    if method.conditional:
        with pytest.raises(LesionForgeError, match="two labels or more"):
            train(method, few, tmp_path / "out", plan=PLAN, device="cpu")
        assert not (tmp_path / "out").exists()
    else:
        opened = checkpoint.load(train(method, few, tmp_path / "out", plan=PLAN, device="cpu"))
        assert opened.subject.labels == tuple({*labels_given} - {""} if len({*labels_given} - {""}) == 1 else ())


def rewritten(folder, change):
    manifest = read_json(folder / checkpoint.MANIFEST, of="a checkpoint")
    change(manifest)
    (folder / checkpoint.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: manifest["subject"]["exposure"].update(patients=[], pixels=[]),
        lambda manifest: manifest["subject"]["exposure"]["patients"].pop(),
        lambda manifest: manifest["subject"].update(labels=["other"]),
        lambda manifest: manifest["subject"]["ranges"][0]["mean"].append(400.0),
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


@pytest.fixture(scope="module")
def volumes(method, labels):
    """Volumes, for a method that makes them."""
    try:
        method.check_shape(VOLUME)
    except LesionForgeError as refused:
        pytest.skip(f"it makes no volumes: {refused}")
    return noise(labels, VOLUME)


@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_losses_of_volumes_agree_with_themselves_in_double_precision(method, volumes, player):
    with seeded("networks"):
        networks = build(method, VOLUME)
    skip_without(player, networks)
    real, fake = batches(method, networks, shape=VOLUME)
    found = losses_of(player, method, networks, real, fake)
    real, fake = detached(real, torch.float64), detached(fake, torch.float64)
    expected = losses_of(player, method, networks.double(), real, fake)
    for name, loss in found.items():
        assert loss.item() == pytest.approx(expected[name].item(), rel=1e-5, abs=1e-6)


def test_volumes_are_learnt_resumed_and_sampled_as_slices_are(method, volumes, tmp_path, stop_after, killed):
    plan = dataclasses.replace(PLAN, images=48)
    whole = train(method, volumes, tmp_path / "whole", plan=plan, device="cpu")
    with pytest.raises(killed):
        train(method, volumes, tmp_path / "resumed", plan=plan, device="cpu", progress=stop_after(4))
    train(method, volumes, tmp_path / "resumed", plan=plan, device="cpu", resume=True)
    weights = [(tmp_path / name / checkpoint.WEIGHTS).read_bytes() for name in ("whole", "resumed")]
    assert weights[0] == weights[1]
    drawn = [sample(checkpoint.load(whole), 9, seed=1, conditions=volumes if method.pictured else None) for _ in "12"]
    assert drawn[0].digest == drawn[1].digest
    assert drawn[0].shape == VOLUME
    assert len(np.unique(drawn[0].images.reshape(9, -1), axis=0)) == 9
