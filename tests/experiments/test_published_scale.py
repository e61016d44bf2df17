from dataclasses import replace

from lesionforge.experiments.protocol import Asked, protocol_named
from lesionforge.experiments.published_scale import differences


def found(experiment):
    return {each["setting"]: (each["here"], each["published"]) for each in differences(experiment)}


def test_the_published_scale_differs_in_nothing_and_what_is_set_is_found():
    described = protocol_named("wang2020").experiment("paper")
    assert differences(described) == []
    assert found(replace(described, repeats=3, seed=5)) == {"repeats": ("3", "50")}


def test_settings_of_methods_are_named_and_those_that_decide_nothing_are_not():
    told = found(protocol_named("fridadar2018").experiment("desk"))
    assert told["generators.dcgan.method.generator_width"] == ("256", "1024")
    assert told["classifiers.lesion_cnn.method.max_images"] == ("12000", "0")
    assert "classic 500; classic 2000" in told["regimes"][0]
    assert not any("checkpoint_every" in name or "check_every" in name for name in told)


def test_what_a_user_asked_for_is_held_against_the_same_methods_as_published():
    described = protocol_named("usefulness").experiment("desk", Asked(generators=("wgan_gp",), classifiers=("gabor",)))
    told = found(described)
    assert "generators" not in told
    assert told["generators.wgan_gp.method.generator_width"] == ("128", "512")


def test_an_experiment_of_no_protocol_differs_from_none(tiny):
    assert differences(tiny) == []
