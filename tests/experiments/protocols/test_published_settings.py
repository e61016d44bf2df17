"""What the papers print of their settings, typed here from the papers, against the scale that claims to be theirs."""

import pytest

from lesionforge.classifiers.methods.resnet_3d import ResNet3D
from lesionforge.data.splits import TEN_STEPS
from lesionforge.distances.radiomics import names
from lesionforge.experiments.protocol import protocol_named
from lesionforge.experiments.published_features import P_VALUES
from lesionforge.generators.methods.acgan import ACGAN
from lesionforge.generators.methods.class_aware_inpainting import ClassAwareInpainting
from lesionforge.generators.methods.d2srgan import D2SRGAN
from lesionforge.generators.methods.dcgan import DCGAN
from lesionforge.generators.methods.pix2pix import Pix2Pix
from lesionforge.generators.methods.progressive_wgan import ProgressiveWGAN
from lesionforge.generators.methods.wgan_gp import WGANGP


def of_paper(name):
    described = protocol_named(name).experiment("paper")
    methods = {each.name: each.method for each in (*described.classifiers, *described.generators)}
    return described, methods, {regime.name: regime for regime in described.regimes}


def figures(described, table):
    return {(each.row, each.metric): each.value for each in described.published if each.table == table}


def test_wang_2020():
    described, methods, regimes = of_paper("wang2020")
    assert (described.patients_per_class, described.folds, described.repeats, described.size) == (30, 3, 50, 64)
    assert described.recipe == "wang_2020"
    assert [methods[name] for name in ("wgan_gp", "pix2pix", "progressive_wgan")] == [
        WGANGP(),
        Pix2Pix(),
        ProgressiveWGAN(),
    ]
    assert regimes["classic+progressive_wgan"].synthetic_per_class == 10_000
    assert regimes["classic"].classic == 2 / 3 * 18_900
    assert {each.patches for each in described.generators} == {18_900 * 2 // 3 // 3}
    small = methods["small_cnn"]
    assert (small.epochs, small.batch_size, small.dropout, small.max_images) == (500, 128, 0.25, 0)
    assert {methods[name].patience_epochs for name in ("vgg16", "resnet50", "mobilenet")} == {10}
    assert {methods[name].pretrained for name in ("vgg16", "resnet50", "mobilenet")} == {"imagenet"}
    printed = [each for each in described.published if each.table == "Table 1"]
    assert len(printed) == 12
    assert {each.value: each.spread for each in printed if each.regime.startswith("vgg16")} == {
        0.377: 0.029, 0.483: 0.071, 0.602: 0.04,
    }  # fmt: skip
    assert (described.reading.generator, described.reading.real, described.reading.synthetic) == (
        "progressive_wgan",
        100,
        100,
    )
    assert figures(described, "Table 2")["Overall average", "reader_accuracy"] == 0.605


def test_wang_2020_table_3():
    described, methods, _ = of_paper("wang2020_table3")
    assert (described.patients_per_class, described.folds, described.repeats, described.size) == (30, 4, 12, 32)
    assert methods["densesharp"].segmentation_weight == 0.2
    assert sorted(each.value for each in described.published) == [0.602, 0.607]


def test_wang_2022():
    described, methods, regimes = of_paper("wang2022")
    assert methods["d2srgan"] == D2SRGAN()
    assert (D2SRGAN().learning_rate, D2SRGAN().roi_px, described.size) == (1e-4, 32, 512)
    assert sorted({regime.portion for regime in regimes.values()}) == list(TEN_STEPS)
    assert len(regimes) == 20
    assert {regime.synthetic_classes for regime in regimes.values() if regime.synthetic_per_class} == {
        ("ground-glass",)
    }
    assert (described.reading.real, described.reading.synthetic) == (50, 50)
    assert figures(described, "Radiomics")["features that do not differ", "radiomics_alike_share"] == pytest.approx(
        0.624, abs=5e-4
    )


def test_wang_2022_table_1_is_of_pyradiomics_features_in_the_printed_order():
    assert set(P_VALUES) == set(names())
    assert sum(p_value >= 0.052 for p_value in P_VALUES.values()) == 59  # where the text says 58
    values = list(P_VALUES.values())
    assert values == sorted(values, reverse=True)
    assert (P_VALUES["glcm_Idm"], P_VALUES["glcm_Imc2"], P_VALUES["ngtdm_Complexity"]) == (0.984025, 0.052283, 1.4e-5)


def test_calm():
    described, methods, regimes = of_paper("calm")
    assert (described.size, described.folds, described.folds_run) == (40, 5, 1)  # 80:20
    assert methods["wgan_gp"] == WGANGP()
    proposed = methods["GAN+CAE+CALM"]
    assert (proposed.channels, proposed.kernels, proposed.passes, proposed.batch_size) == (50, (5, 3, 3), 150, 100)
    assert (proposed.decision.name, proposed.decision.clusters) == ("calm", 2)
    assert methods["GAN+CAE+SVM"].decision.kernel == "linear"
    assert methods["AE"].units == 1024
    with_gan = regimes["GAN+CAE+CALM"]
    assert (with_gan.synthetic_per_class, with_gan.synthetic_classes) == (2_169, ("nodule",))
    table = figures(described, "Table 1")
    assert [table["GAN+CAE+CALM (proposed)", metric] for metric in ("accuracy", "precision [nodule]", "auc")] == [
        0.953,
        0.949,
        0.97,
    ]
    assert len(table) == 6 * 5


def test_frid_adar_2018():
    described, methods, regimes = of_paper("fridadar2018")
    assert (described.folds, described.size, described.recipe, described.metric) == (
        3,
        64,
        "frid_adar_2018",
        "accuracy",
    )
    assert methods["dcgan"] == DCGAN()
    assert methods["acgan"] == ACGAN() == methods["acgan_head"].gan
    cnn = methods["lesion_cnn"]
    assert (cnn.epochs, cnn.batch_size, cnn.learning_rate, cnn.dropout, cnn.max_images) == (150, 64, 1e-3, 0.5, 0)
    classic = [regime.classic for name, regime in regimes.items() if name.startswith("classic ")]
    assert classic == [500, 1_000, 2_000, 3_000, 5_000, 7_500, 10_000, 15_000]
    synthetic = [regime.synthetic_per_class for name, regime in regimes.items() if name.startswith("classic+synthetic")]
    assert synthetic == [100, 500, 1_000, 2_000, 3_000, 4_000]
    single, multi = methods["bovw_mi_single"], methods["bovw_mi_multi"]
    assert (single.window_px, single.components, single.words, single.kept_words) == (11, 10, 750, 262)
    assert (multi.representation, multi.kept_words_of_each) == ("multi_binary", 23)
    assert figures(described, "Fig. 8") == {
        ("no augmentation", "accuracy"): 0.57,
        ("CNN-AUG, 5000 a fold", "accuracy"): 0.786,
        ("CNN-AUG-GAN, and 3×1000", "accuracy"): 0.857,
    }
    assert figures(described, "Table 6")["Gabor + SVM", "weighted_specificity"] == 0.865
    assert (described.reading.real, described.reading.synthetic) == (182, 120)


def test_yang_2019():
    described, methods, regimes = of_paper("yang2019")
    assert (described.size, described.folds, described.folds_run) == (64, 10, 1)
    assert described.validation == pytest.approx(156 / 1_405)
    assert methods["class_aware_inpainting"] == ClassAwareInpainting()
    for network in ("resnet50", "resnet101", "resnet152", "resnext101"):
        plain, weighted = methods[network], methods[f"{network}_weighted"]
        assert isinstance(plain, ResNet3D)
        assert (plain.network, plain.width, plain.class_weights, weighted.class_weights) == (network, 64, False, True)
        assert regimes[f"{network}: synthesis"].synthetic_per_class == 463
        assert regimes[f"{network}: synthesis"].synthetic_classes == ("malignant",)
    table = figures(described, "Table 2")
    for balance, mean in (("raw", 0.8480), ("weighted", 0.8188), ("synthesis", 0.8696)):
        aucs = [
            table[f"{network}, {balance}", "auc"] for network in ("resnet50", "resnet101", "resnet152", "resnext101")
        ]
        assert sum(aucs) / 4 == pytest.approx(mean, abs=1e-4)
        assert table[f"Mean, {balance}", "auc"] == mean


def test_usefulness():
    described, methods, regimes = of_paper("usefulness")
    assert methods["dcgan"] == DCGAN()
    assert (regimes["classic"].classic, regimes["classic+dcgan"].synthetic_per_class) == (5_000, 1_000)
    assert described.choices[-1].among == ("raw", "classic", "classic+dcgan")
