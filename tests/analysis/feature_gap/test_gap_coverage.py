"""Whether the intervals over images of the gap's metrics hold: made-up features of known gaps.

Teacher and student are Gaussian, so that linear CKA and the Fréchet distance of their distributions
follow from the covariances. 400 experiments a case: the standard error of a share of 95 % is 1.1.
"""

import numpy as np
import pytest

from analysis.feature_gap import features, image_noise, metrics
from analysis.feature_gap.views import View

EXPERIMENTS = 400
pytestmark = pytest.mark.simulation
KEPT = 0.85
"""Share of the teacher's feature that is in the student's."""


class World:
    """A teacher of ``width`` features and a student that is a shrunk, noisy and shifted copy."""

    def __init__(self, width, decay, noise):
        self.rng = np.random.default_rng(20261125)
        scale = np.arange(1, width + 1) ** (-decay / 2)
        self.ways = [np.linalg.qr(self.rng.normal(size=(width, width)))[0] for _ in range(2)]
        self.teacher, self.own = (
            scale[:, None] * self.ways[0],
            noise * scale[:, None] * self.ways[1],
        )
        variance = self.teacher.T @ self.teacher
        student = KEPT**2 * variance + self.own.T @ self.own
        self.shift = 0.1 * self.rng.normal(size=width) * np.sqrt(np.trace(variance) / width)
        inner = np.linalg.norm
        self.cka = inner(KEPT * variance) ** 2 / (inner(student) * inner(variance))
        values, vectors = np.linalg.eigh(student)
        root = (vectors * np.sqrt(values)) @ vectors.T
        cross = np.sqrt(np.linalg.eigvalsh(root @ variance @ root)).sum()
        distance = (self.shift**2).sum() + np.trace(student + variance) - 2 * cross
        self.frechet = distance / np.trace(variance)

    def draw(self, images):
        width = len(self.shift)
        teacher = self.rng.normal(size=(images, width)) @ self.teacher
        noise = self.rng.normal(size=(images, width)) @ self.own
        student = KEPT * teacher + noise + self.shift
        return View("student", student, student, teacher, np.zeros(images))


CASES = {
    "16 features, 360 images": (16, 1.0, 0.5, 360),
    "64 features, 1,000 images": (64, 1.0, 0.5, 1000),
    "64 equal features, 1,000 images": (64, 0.0, 0.7, 1000),
    "64 features, 360 images": (64, 1.0, 0.5, 360),
}


@pytest.mark.parametrize("case", CASES)
def test_intervals_over_images_hold_in_about_95_of_100_experiments(case):
    *world, images = CASES[case]
    world = World(*world)
    truth = {"cka": world.cka, "frechet": world.frechet}
    hits = {name: [] for name in truth}
    values = {name: [] for name in truth}
    for _ in range(EXPERIMENTS):
        view = world.draw(images)
        for name, true in truth.items():
            measured = metrics.METRICS[name].measure(view)
            half = 1.96 * image_noise.deviation(measured.influence)
            hits[name].append(abs(measured.value - true) <= half)
            values[name].append(measured.value)
    for name, true in truth.items():
        share, mean = 100 * np.mean(hits[name]), np.mean(values[name])
        print(f"{case}, {name}: {share:.1f} %, true {true:.4f}, mean {mean:.4f}")
        assert 90 <= share <= 98.5
        assert abs(mean - true) < 0.25 * np.std(values[name])  # the bias is far below the noise


def test_512_independent_features_of_1000_images_have_no_similarity():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 1000, 512))
    parts = features.hsic_parts(x, y)
    value = features.cka_of(*(part.mean() for part in parts))
    assert abs(value) < 1.96 * image_noise.deviation(image_noise.cka_influence(*parts))
    assert abs(value) < 0.01  # the plain estimate is 0.34 here


def test_the_frechet_distance_of_as_many_features_as_half_the_images_is_a_tenth_off_at_most():
    world = World(512, 1.0, 0.5)
    values = [metrics.frechet(world.draw(1000)).value for _ in range(3)]
    print(f"512 features, 1,000 images: true {world.frechet:.4f}, mean {np.mean(values):.4f}")
    assert np.mean(values) == pytest.approx(world.frechet, rel=0.1)
