import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from lesionforge.data.hounsfield import WINDOWS
from lesionforge.distances.kernel import Standardised
from lesionforge.distances.neighbours import halved
from lesionforge.distances.texture import Texture
from lesionforge.errors import LesionForgeError
from lesionforge.evaluation.memorisation import (
    AUGMENTED,
    Real,
    Search,
    conformal_p,
    membership,
    memory,
    nearness,
    real_distances,
)

LUNG = WINDOWS["lung"]

# Features of 6 numbers: two lesions a patient, alike within the patient.


def patients(count, seed, first=0):
    rng = np.random.default_rng(seed)
    features = np.repeat(rng.normal(size=(count, 6)), 2, axis=0) + rng.normal(0, 0.5, (2 * count, 6))
    return features, np.repeat(np.arange(first, first + count), 2).astype(str)


def known(seed=0, trained=60, held_out=40):
    (train, of_train), (others, of_others) = patients(trained, seed), patients(held_out, seed + 1, first=trained)
    features = np.concatenate([train, others])
    return Real(features, np.concatenate([of_train, of_others]), np.arange(len(features)) < len(train))


def fresh(count, seed):
    return patients(count, seed)[0]


def test_fresh_patients_are_flagged_as_rarely_as_promised():
    flagged = [memory(fresh(40, 100 + seed), known(3 * seed), seed=seed).p_value < 0.05 for seed in range(80)]
    assert np.mean(flagged) <= 0.1  # 5 % and chance


def test_five_percent_of_copies_are_found_among_a_hundred():
    real = known()
    samples = fresh(50, 9)
    copies = np.array([3, 17, 30, 44, 71])
    samples[copies] = real.images[copies] + np.random.default_rng(0).normal(0, 0.02, (5, 6))
    found = memory(samples, real)
    assert found.p_value < 0.05
    assert set(copies) <= set(np.flatnonzero(found.samples["copy"]))
    np.testing.assert_array_equal(found.samples["real_row"][copies], copies)
    assert (found.samples["p_value"][copies] == found.samples["p_value"].min()).all()
    assert found.overall.value < 0.6  # most samples are fresh


def test_the_training_set_itself_is_all_copies():
    real = known()
    found = memory(real.images[:60], real)
    assert found.samples["copy"].all()
    assert found.overall.low > 0.9


def test_what_is_far_from_everyone_is_no_copy():
    found = memory(fresh(40, 5) * 4, known())
    assert found.p_value > 0.05
    assert not found.samples["copy"].any()


def test_one_patients_lesions_share_a_vote():
    ratios = conformal_p(np.array([0.4, 0.5, 5.0]), np.array([0.5, 0.9, 0.45, 2.0]), np.array(["a", "a", "b", "c"]))
    np.testing.assert_allclose(ratios, [1 / 4, (1 + 0.5 + 1) / 4, 1])


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.2, 0.5]))
@settings(deadline=None, max_examples=8)
def test_a_samples_p_value_is_small_as_seldom_as_it_says(seed, level):
    rng = np.random.default_rng(seed)
    values = [conformal_p(rng.normal(size=1), rng.normal(size=39), np.arange(39))[0] for _ in range(500)]
    assert np.mean(np.array(values) <= level) == pytest.approx(level, abs=5 * np.sqrt(level / 500))


def test_no_real_lesion_is_held_against_its_own_patient():
    real = known()
    found = real_distances(real, search=Search())
    row = 5
    others = real.patients != real.patients[row]
    apart = np.sqrt(((real.images - real.images[row]) ** 2).mean(axis=1))
    assert found["distance"][row] == pytest.approx(apart[others & real.trained_on].min(), rel=1e-5)
    assert found["distance_held_out"][row] == pytest.approx(apart[others & ~real.trained_on].min(), rel=1e-5)


def test_calibration_at_hand_is_used():
    real, samples = known(), fresh(20, 3)
    found = memory(samples, real, calibration=real_distances(real, search=Search()))
    assert found.p_value == memory(samples, real).p_value


def test_members_are_guessed_from_copies_and_not_from_fresh_samples():
    real = known()
    calibration = real_distances(real, search=Search())
    copied = nearness(real.images[:80] + 0.05, real, calibration)
    found = membership(copied, real.trained_on, real.patients)
    assert found.value == pytest.approx(roc_auc_score(real.trained_on, copied))
    assert found.low > 0.6
    assert membership(nearness(fresh(40, 4), real, calibration), real.trained_on, real.patients).low < 0.5
    knows = real.trained_on.astype(float)  # as a discriminator may
    assert membership(knows, real.trained_on, real.patients).value == 1


def test_too_few_held_out_patients_are_refused():
    with pytest.raises(LesionForgeError, match="20 held-out patients"):
        known(held_out=19)
    with pytest.raises(LesionForgeError, match="training images"):
        Real(np.ones((60, 2)), np.arange(60).astype(str), np.zeros(60, dtype=bool))
    with pytest.raises(LesionForgeError, match="none came"):
        memory(np.empty((0, 6)), known())


@pytest.mark.real_data
def test_five_percent_of_copied_training_nodules_are_flagged_and_fresh_ones_are_not(lidc):
    hu = np.load(lidc / "images_hu.npz")["hu"][:900, 3:67, 3:67]
    owners = pd.read_csv(lidc / "metadata.csv")["patient_id"].to_numpy(dtype=str)[:900]
    names, code = np.unique(owners, return_inverse=True)
    where = (np.random.default_rng(0).permutation(len(names)) / len(names))[code]
    train, others, new = where < 0.5, (where >= 0.5) & (where < 0.75), where >= 0.75
    kept = train | others
    fake = hu[new].copy()
    count = round(0.05 * len(fake))
    fake[:count] = np.rot90(np.flip(hu[train][:count], 1), 1, axes=(1, 2))
    small = {name: halved(halved(each.clip(LUNG.low, LUNG.high))) for name, each in (("all", hu), ("fake", fake))}
    real = Real(small["all"][kept], owners[kept], train[kept])
    quarter_turns = Search(flips=AUGMENTED.flips, shift=AUGMENTED.shift, angles=(0.0, 90.0))
    calibration = real_distances(real, search=quarter_turns)
    found = memory(small["fake"], real, search=quarter_turns, calibration=calibration)
    assert found.p_value < 0.01
    assert found.samples["copy"][:count].all()
    assert memory(small["all"][new], real, search=quarter_turns, calibration=calibration).p_value > 0.05
    texture = Texture(LUNG.low, LUNG.high)
    scale = Standardised.by(texture.describe(hu[train]))
    in_features = Real(scale(texture.describe(hu[kept])), owners[kept], train[kept])
    assert memory(scale(texture.describe(fake)), in_features).p_value < 0.01
