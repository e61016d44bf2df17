"""Who is in the phantom."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from lesionforge.data.phantom.population import KINDS, Population
from lesionforge.errors import LesionForgeError


def drawn(population: Population, patients: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, diameters and attenuations of the first patients' lesions; nothing is rendered."""
    people = [population.patient(number) for number in range(patients)]
    lesions = [lesion for patient in people for lesion in patient.anatomy.lesions]
    labels = np.array([label for patient in people for label in patient.labels])
    diameters = np.array([lesion.shape.diameter_mm for lesion in lesions])
    return labels, diameters, np.array([lesion.facts["attenuation_hu"] for lesion in lesions])


def auc(scores: np.ndarray, positive: np.ndarray) -> float:
    statistic = mannwhitneyu(scores[positive], scores[~positive]).statistic
    return float(statistic / positive.sum() / (~positive).sum())


@pytest.mark.parametrize("kind", KINDS)
def test_a_patient_is_the_same_every_time_and_like_no_other(kind: str) -> None:
    one, again, other = (Population(kind, seed=3).patient(number) for number in (5, 5, 6))
    reseeded = Population(kind, seed=4).patient(5)
    centres = [tuple(p.anatomy.lesions[0].shape.centre_mm) for p in (one, again, other, reseeded)]
    assert centres[0] == centres[1]
    assert len(set(centres)) == 3
    assert one.scanner == again.scanner
    assert one.labels == again.labels


def test_classes_have_their_shares_of_the_patients_from_few_to_many() -> None:
    population = Population("lung", lesions_per_patient=(1, 1))
    first = [population._wanted(number, np.random.default_rng(0))[0][0] for number in range(400)]
    assert set(first[:5]) == {"solid", "non-solid"}
    for count in (20, 60, 400):
        assert abs(np.mean([label == "non-solid" for label in first[:count]]) - 0.3) < 2 / count + 0.02


def test_shares_can_be_set() -> None:
    population = Population("liver", shares={"cyst": 0, "hemangioma": 1, "metastasis": 1})
    labels = {label for number in range(30) for label, _ in population._wanted(number, np.random.default_rng(number))}
    assert labels == {"hemangioma", "metastasis"}


def test_size_does_not_give_the_class_away_and_attenuation_does_less_with_difficulty() -> None:
    told = []
    for difficulty in (0.0, 0.5, 1.0):
        labels, diameters, attenuation = drawn(Population("lung", 0, difficulty), patients=30)
        assert abs(auc(diameters, labels == "solid") - 0.5) < 0.12
        told.append(auc(attenuation, labels == "solid"))
    assert told[0] == 1
    assert told[1] > 0.9
    assert told[2] < min(0.85, told[1])


def test_liver_lesions_are_as_the_paper_describes_them() -> None:
    labels, diameters, attenuation = drawn(Population("liver", difficulty=0.0), patients=40)
    assert diameters.min() >= 10
    assert diameters.max() <= 102
    assert np.abs(attenuation[labels == "cyst"]).max() < 30
    assert np.median(attenuation[labels == "metastasis"]) > 40


def test_lesions_lie_inside_their_organ_and_apart() -> None:
    population = Population("lung", lesions_per_patient=(4, 4))
    for number in range(3):
        patient = population.patient(number)
        centres = np.array([lesion.shape.centre_mm for lesion in patient.anatomy.lesions])
        radii = np.array([lesion.shape.diameter_mm / 2 for lesion in patient.anatomy.lesions])
        depth = -patient.anatomy.chest.lung_distance(*centres.astype(np.float32).T)  # type: ignore[attr-defined]
        assert (depth > 0.8 * radii).all()
        gaps = np.linalg.norm(centres[:, None] - centres[None], axis=2)
        assert (gaps > radii[:, None] + radii[None])[~np.eye(4, dtype=bool)].all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Population("brain"), "kind of phantom must be one of lung, liver"),
        (lambda: Population("lung", seed=-1), "seed must be 0 or more"),
        (lambda: Population("lung", difficulty=1.5), "difficulty must lie between 0 and 1"),
        (lambda: Population("lung", difficulty=float("nan")), "difficulty must lie between 0 and 1"),
        (lambda: Population("lung", shares={"solid": 1.0}), "shares must give each of"),
        (lambda: Population("lung", shares={"solid": 0.0, "non-solid": 0.0}), "shares must give each of"),
        (lambda: Population("lung", lesions_per_patient=(0, 2)), "lesions_per_patient must be"),
        (lambda: Population("lung", lesions_per_patient=(3, 2)), "lesions_per_patient must be"),
    ],
)
def test_wrong_arguments_are_refused(make: Callable[[], Population], message: str) -> None:
    with pytest.raises(LesionForgeError, match=message):
        make()
