import pytest

from lesionforge import registry
from lesionforge.experiments.protocols.usefulness import SCALES
from lesionforge.generators import methods
from lesionforge.generators.methods.dcgan import DCGAN


@pytest.mark.parametrize("name", registry.names(methods))
@pytest.mark.parametrize("scale", SCALES)
def test_any_generator_takes_part_and_suits_the_size_and_length_of_a_scale(scale, name):
    described = SCALES[scale]("lung", name)
    (generation,) = described.generators
    method, plan = generation.method, generation.training
    assert registry.name_of(method) == name
    assert described.regimes[-1].name == f"classic+{name}"
    method.check_shape((described.size, described.size))
    method.check_length((described.size, described.size), plan.images or 10**7)
    if scale == "paper":
        assert method == type(method)()


def test_without_a_name_it_is_paper_ds_generator():
    methods = {scale: make("lung").generators[0].method for scale, make in SCALES.items()}
    assert methods == {
        "paper": DCGAN(),
        "desk": DCGAN(generator_width=256, discriminator_width=32, batch_size=16),
        "smoke": DCGAN(generator_width=128, discriminator_width=32, batch_size=16),
    }
