from itertools import product

import numpy as np
import pytest
import torch

from lesionforge.generators.attention import attend, summed_alongside

SHAPES = [(6, 7), (4, 5, 4)]


def drawn(shape, channels=3, seed=0):
    return torch.rand(2, channels, *shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2 - 1


def box(shape, first=1, last=2):
    hole = torch.zeros(2, 1, *shape, dtype=torch.float64)
    hole[(..., *(slice(first, last) for _ in shape))] = 1
    return hole


class Plain:
    """Yu et al.'s contextual attention by loops over places, patches cut out and laid over each other."""

    def __init__(self, features, hole, sharpness, coherence):
        self.features, self.hole, self.shape = features, hole, features.shape[1:]
        self.sharpness, self.coherence = sharpness, coherence
        self.places = list(product(*map(range, self.shape)))
        self.offsets = list(product((-1, 0, 1), repeat=len(self.shape)))

    def beside(self, place, offset):
        moved = tuple(a + b for a, b in zip(place, offset, strict=True))
        return moved if all(0 <= a < side for a, side in zip(moved, self.shape, strict=True)) else None

    def patch(self, place):
        empty = np.zeros(len(self.features))
        found = [self.beside(place, offset) for offset in self.offsets]
        return np.concatenate([empty if at is None else self.features[(slice(None), *at)] for at in found])

    def likeness(self):
        patches = {place: self.patch(place) for place in self.places}
        norms = {place: np.linalg.norm(patch) for place, patch in patches.items()}
        pairs = list(product(self.places, self.places))
        found = {(p, q): patches[p] @ patches[q] / (norms[p] * norms[q]) for p, q in pairs}
        for axis in range(len(self.shape)):
            before, found = found, {}
            for p, q in pairs:
                steps = [
                    tuple(step if at == axis else 0 for at in range(len(self.shape)))
                    for step in range(-self.coherence, self.coherence + 1)
                ]
                moved = [(self.beside(p, step), self.beside(q, step)) for step in steps]
                found[p, q] = sum(before[pair] for pair in moved if None not in pair)
        return found

    def attended(self):
        likeness = self.likeness()
        near = {place: [self.beside(place, offset) for offset in self.offsets] for place in self.places}
        known = [q for q in self.places if not any(at is not None and self.hole[at] > 0 for at in near[q])]
        total, cover = np.zeros_like(self.features), np.zeros(self.shape)
        for p in self.places:
            weights = np.exp(self.sharpness * np.array([likeness[p, q] for q in known]))
            weights /= weights.sum()
            put = sum(weight * self.patch(q) for weight, q in zip(weights, known, strict=True))
            for values, at in zip(put.reshape(len(self.offsets), -1), near[p], strict=True):
                if at is not None:
                    total[(slice(None), *at)] += values
                    cover[at] += 1
        return np.where(self.hole > 0, total / cover, self.features)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("coherence", [0, 1, 2])
def test_attention_is_that_of_loops_over_places(shape, coherence):
    features, hole = drawn(shape), box(shape)
    found = attend(features, hole, sharpness=4, coherence=coherence)
    for one, of_one, its_hole in zip(found, features, hole, strict=True):
        expected = Plain(of_one.numpy(), its_hole[0].numpy(), 4, coherence).attended()
        np.testing.assert_allclose(one.numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_known_places_stay_and_what_is_in_the_hole_is_not_handed_on(shape):
    features, hole = drawn(shape), box(shape)
    other = torch.where(hole > 0, 5 * drawn(shape, seed=1), features)
    made = attend(features, hole)
    assert torch.equal(made[(hole == 0).expand_as(made)], features[(hole == 0).expand_as(made)])
    lowest, highest = features.amin((0, *range(2, features.ndim))), features.amax((0, *range(2, features.ndim)))
    again = attend(other, hole).movedim(1, -1)
    inside = again[hole.movedim(1, -1)[..., 0] > 0]
    assert (lowest.clamp(max=0) <= inside).all()  # zeros lie beyond the border
    assert (inside <= highest.clamp(min=0)).all()


def test_a_texture_is_continued_where_its_neighbours_tell_the_phase():
    stripes = (torch.arange(16) % 4 < 2).double().expand(1, 1, 16, 16) * 2 - 1
    features = torch.cat([stripes, stripes.roll(1, -1)], dim=1)
    hole = torch.zeros(1, 1, 16, 16, dtype=torch.float64)
    hole[..., 7:9, :] = 1  # of each patch in it one row of three is known
    torn = torch.where(hole > 0, 0, features)
    made = attend(torn, hole, sharpness=50)
    assert (made - features).abs().max() < 0.05


def test_a_hole_that_leaves_nothing_attends_to_nothing_and_has_finite_slopes():
    features = drawn((4, 4)).requires_grad_(True)
    made = attend(features, torch.ones(2, 1, 4, 4, dtype=torch.float64))
    assert torch.equal(made, torch.zeros_like(made))
    made.sum().backward()
    assert features.grad.isfinite().all()


def test_slopes_of_attention_are_those_of_differences():
    hole = box((4, 5))
    features = drawn((4, 5)).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda values: attend(values, hole, sharpness=2), features)


def test_sums_alongside_stay_within_the_borders():
    pairs = torch.ones(1, 6, 6)
    assert summed_alongside(pairs, (2, 3), reach=1)[0, 0, 0] == 4  # of nine, the corner's four
    assert torch.equal(summed_alongside(pairs, (2, 3), reach=0), pairs)
    assert summed_alongside(pairs, (2, 3), reach=9)[0, 0, 0] == 6
