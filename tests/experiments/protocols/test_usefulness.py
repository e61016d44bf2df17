import pytest

from lesionforge import registry
from lesionforge.experiments.protocol import Asked, protocol_named
from lesionforge.experiments.protocols import usefulness
from lesionforge.experiments.scale import SCALES
from lesionforge.generators import methods
from lesionforge.generators.methods.dcgan import DCGAN

PROTOCOL = protocol_named("usefulness")


@pytest.mark.parametrize("name", registry.names(methods))
@pytest.mark.parametrize("scale", SCALES)
def test_any_generator_takes_part_and_suits_the_size_and_length_of_a_scale(scale, name):
    described = PROTOCOL.experiment(scale, Asked(generators=(name,)))
    (generation,) = described.generators
    method, plan = generation.method, generation.training
    assert registry.name_of(method) == name
    assert described.regimes[-1].name == f"classic+{name}"
    method.check_shape((described.size, described.size))
    method.check_length((described.size, described.size), plan.images or 10**7)
    if scale == "paper":
        assert method == type(method)()


def test_without_a_name_it_is_paper_ds_generator():
    found = {scale: PROTOCOL.experiment(scale).generators[0].method for scale in ("desk", "paper")}
    assert found["paper"] == DCGAN()
    assert found["desk"] == DCGAN(generator_width=256, discriminator_width=32, batch_size=16)
    assert usefulness.demo().generators[0].method == DCGAN(generator_width=128, discriminator_width=32, batch_size=16)


def test_generators_classifiers_and_amounts_are_crossed_and_validation_patients_choose():
    asked = Asked(generators=("dcgan", "wgan_gp"), classifiers=("small_cnn", "gabor"), amounts=(50, 20))
    described = PROTOCOL.experiment("smoke", asked)
    rungs = ["raw", "classic", *(f"classic+{name} {n}" for name in asked.generators for n in (20, 50))]
    assert [regime.name for regime in described.regimes] == [*rungs, *(f"gabor: {rung}" for rung in rungs)]
    by_name = {choice.name: choice.among for choice in described.choices}
    assert by_name["classic+dcgan, chosen"] == ("classic+dcgan 20", "classic+dcgan 50")
    assert set(by_name["recommended"]) == {regime.name for regime in described.regimes}
    assert ("gabor: classic+wgan_gp, chosen", "gabor: classic") in described.pairs
