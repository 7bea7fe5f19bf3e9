import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face_networks.alignment import TEMPLATE, crops, similarities, template


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_a_similarity_is_the_best_of_all_in_the_least_squares_sense(seed: int) -> None:
    """The oracle solves for the four numbers of [[a, -b, x], [b, a, y]] as a linear system."""
    rng = np.random.default_rng(seed)
    points, target = rng.uniform(0, 640, (5, 2)), rng.uniform(0, 112, (5, 2))
    rows = [row for x, y in points for row in ((x, -y, 1, 0), (y, x, 0, 1))]
    a, b, right, down = np.linalg.lstsq(np.array(rows), target.ravel(), rcond=None)[0]
    (found,) = similarities([points], target)
    np.testing.assert_allclose(found, [[a, -b, right], [b, a, down]], atol=1e-6)


def test_many_faces_are_fitted_as_each_one_alone() -> None:
    faces = np.random.default_rng(0).uniform(0, 640, (3, 5, 2))
    alone = [similarities([face], TEMPLATE)[0] for face in faces]
    np.testing.assert_allclose(similarities(faces, TEMPLATE), alone)


def test_landmarks_that_are_one_point_become_a_crop_of_one_colour() -> None:
    pixels = np.full((640, 640, 3), 90, np.uint8)
    (crop,) = crops(pixels, np.full((1, 5, 2), 300.0), 112)
    assert crop.shape == (112, 112, 3)
    assert len(np.unique(crop)) == 1


def test_a_face_that_lies_as_the_template_does_is_cut_out_as_it_is() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (640, 640, 3), np.uint8)
    (crop,) = crops(pixels, [TEMPLATE + np.array((100, 200))], 112)
    np.testing.assert_array_equal(crop, pixels[200:312, 100:212])


def test_what_is_beyond_the_edge_is_black() -> None:
    pixels = np.full((640, 640, 3), 255, np.uint8)
    (crop,) = crops(pixels, [TEMPLATE - 60], 112)
    assert crop[:59, :59].max() == 0
    assert crop[61:, 61:].min() == 255


@pytest.mark.parametrize("side", [112, 128, 224, 256])
def test_wider_crops_show_the_same_face(side: int) -> None:
    eyes = np.subtract(*template(side)[[1, 0]])
    assert eyes[0] / side == pytest.approx((73.5318 - 38.2946) / (112 if side % 112 == 0 else 128))
    middle = template(side).mean(0)[0] / side
    assert middle == pytest.approx(0.5, abs=0.01)
