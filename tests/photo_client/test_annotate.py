import itertools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFont
from served import noise

from photo_client.annotate import MIN_LONG_SIDE, annotated, place_boxes, place_labels, words
from photo_client.face import SeenFace, Uncertainty

Box = tuple[float, float, float, float]
UNSURE = Uncertainty(3.0, 0.2, 101)
LEAST_CONTRAST = 4.5
"""Of text, by WCAG 2 level AA."""


def guess(
    bbox: Box = (0, 0, 1, 1),
    is_familiar: bool | None = True,
    unsure: Uncertainty | None = UNSURE,
    **ranges: Any,
) -> SeenFace:
    return SeenFace(bbox, 0.9, 31.4, 0.07, unsure, is_familiar, **ranges)


def luminance(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the relative luminance of WCAG 2."""
    shares = pixels / 255
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    weighted: NDArray[np.float64] = linear @ np.array([0.2126, 0.7152, 0.0722])
    return weighted


def label_boxes(size: tuple[int, int], guesses: list[SeenFace]) -> list[tuple[int, ...]]:
    """Return where labels are drawn in a photo that is not enlarged."""
    faces = [tuple(int(value) for value in one.bbox) for one in guesses]
    return [label.box for label in place_labels(guesses, faces, size)[1]]  # type: ignore[arg-type]


def grounds() -> list[tuple[str, Image.Image]]:
    size = (1200, 900)
    plain = [(str(level), Image.new("RGB", size, (level,) * 3)) for level in (0, 18, 128, 255)]
    return [*plain, ("noise", noise(size)), ("yellow", Image.new("RGB", size, (255, 213, 74)))]


@pytest.mark.parametrize(("name", "ground"), grounds(), ids=[name for name, _ in grounds()])
def test_a_label_can_be_read_on_any_ground(name: str, ground: Image.Image) -> None:
    face = guess((400, 300, 700, 700))
    drawn = np.asarray(annotated(ground, [face]), float)
    left, top, right, bottom = label_boxes(ground.size, [face])[0]
    levels = luminance(drawn[top:bottom, left:right])
    dark, light = np.median(levels), np.quantile(levels, 0.98)
    assert (light + 0.05) / (dark + 0.05) > LEAST_CONTRAST
    assert (levels < 0.02).mean() > 0.5
    assert (levels > 0.8).mean() > 0.03


@pytest.mark.parametrize(("name", "ground"), grounds(), ids=[name for name, _ in grounds()])
def test_a_box_is_seen_on_any_ground(name: str, ground: Image.Image) -> None:
    drawn = np.asarray(annotated(ground, [guess((400, 300, 700, 700))]), float)
    row = luminance(drawn[600, 390:410])
    assert (row.max() + 0.05) / (row.min() + 0.05) > LEAST_CONTRAST


SIZES = [(1, 1), (64, 48), (110, 110), (500, 500), (1024, 200), (3000, 4000), (30, 900), (900, 8)]


@pytest.mark.parametrize("size", SIZES)
def test_photos_of_any_size_come_out_with_room_for_labels(size: tuple[int, int]) -> None:
    face = guess((size[0] * 0.3, size[1] * 0.3, size[0] * 0.7, size[1] * 0.7))
    drawn = annotated(Image.new("RGB", size, (90, 90, 90)), [face])
    assert max(drawn.size) == max(*size, MIN_LONG_SIDE)
    assert drawn.width / drawn.height == pytest.approx(size[0] / size[1], rel=0.07)
    assert np.asarray(drawn).max() > 200


@pytest.mark.parametrize("size", [(1024, 768), (600, 2000), (4000, 3000)])
@pytest.mark.parametrize("seed", range(5))
def test_labels_stay_inside_the_photo_and_off_each_other(size: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    guesses = []
    for row, column in itertools.product(range(3), range(2)):
        left = size[0] * (column + rng.uniform(0, 0.6)) / 2
        top = size[1] * (row + rng.uniform(0, 0.6)) / 3
        guesses.append(guess((left, top, left + 0.15 * size[0], top + 0.12 * size[1])))
    boxes = label_boxes(size, guesses)
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]
    for one, other in itertools.combinations(boxes, 2):
        across = min(one[2], other[2]) - max(one[0], other[0])
        down = min(one[3], other[3]) - max(one[1], other[1])
        assert across <= 0 or down <= 0


@pytest.mark.parametrize(
    "bbox", [(0, 0, 200, 200), (824, 568, 1024, 768), (0, 600, 90, 768), (0, 0, 1024, 768)]
)
def test_the_label_of_a_face_at_the_edge_is_whole(bbox: Box) -> None:
    left, top, right, bottom = label_boxes((1024, 768), [guess(bbox)])[0]
    assert left >= 0
    assert top >= 0
    assert right <= 1024
    assert bottom <= 768


def test_a_label_is_rather_small_than_on_a_face() -> None:
    row = [guess((x, 340, x + 160, 520)) for x in range(40, 1000, 200)]
    boxes = label_boxes((1024, 768), row)
    for (left, top, right, bottom), one in itertools.product(boxes, row):
        across = min(right, one.bbox[2]) - max(left, one.bbox[0])
        down = min(bottom, one.bbox[3]) - max(top, one.bbox[1])
        assert across <= 0 or down <= 0


def test_a_face_that_fills_the_photo_does_not_make_the_label_small() -> None:
    font_size, _ = place_labels([guess((0, 0, 1024, 768))], [(0, 0, 1024, 768)], (1024, 768))
    assert font_size == round(1024 / 45)


def test_text_is_never_smaller_than_can_be_read() -> None:
    crowd = [guess((x, y, x + 30, y + 30)) for x in range(0, 1000, 50) for y in range(0, 750, 50)]
    faces = [tuple(int(value) for value in one.bbox) for one in crowd]
    font_size, labels = place_labels(crowd, faces, (1024, 768))  # type: ignore[arg-type]
    assert font_size >= 11
    assert len(labels) == 300


def test_a_label_holds_its_text() -> None:
    face = guess((400, 300, 700, 700))
    font_size, labels = place_labels([face], [(400, 300, 700, 700)], (1200, 900))
    widest = max(ImageFont.load_default(font_size).getlength(line) for line in words(face))
    assert labels[0].box[2] - labels[0].box[0] > widest


def test_words_say_the_age_and_its_range_the_genders_and_ages_that_are_reached() -> None:
    sure = guess(age_interval=(24, 39), gender_set=["f"], covered=True)
    assert words(sure) == ("age 31, 24-39", "female")
    unsure = guess(age_interval=(2, 90), gender_set=["m", "f"], over={"18": 0.97, "65": 0.004})
    assert words(unsure, 2) == ("2: age 31, 2-90", "male or female", "18+: 97 %, 65+: 1 %")


def test_without_ranges_words_say_the_spread_in_years_if_it_is_known() -> None:
    assert words(guess()) == ("age 31 ± 5", "female 93 %")
    assert words(guess(unsure=Uncertainty(1.2, 0.2, 8))) == ("age 31", "female 93 %")
    assert words(guess(unsure=None), 2) == ("2: age 31", "female 93 %")


@pytest.mark.parametrize("years", [1, 4, 12])
def test_the_spread_is_the_standard_deviation_of_a_bell_curve(years: float) -> None:
    curve = np.exp(-(((np.arange(101) - 50) / years) ** 2) / 2)
    probabilities = curve / curve.sum()
    entropy = float(-(probabilities * np.log(np.maximum(probabilities, 1e-300))).sum())
    assert Uncertainty(entropy, 0.1, 101).spread_years == pytest.approx(years, rel=0.01)


def test_a_foreign_vector_is_marked_and_so_is_an_unclear_face() -> None:
    assert words(guess(is_familiar=False, covered=False))[-1] == "not to be trusted"
    assert words(guess(covered=False))[-1] == "unclear: range may not hold"
    assert len(words(guess(is_familiar=None, covered=True))) == 2
    red = (255, 107, 94)
    for doubtful in (guess(is_familiar=False), guess(covered=False)):
        assert red in set(annotated(Image.new("RGB", (1024, 768)), [doubtful]).get_flattened_data())


def test_boxes_outside_the_photo_or_inside_out_do_no_harm() -> None:
    odd = [(-50.0, -50.0, 9000.0, 9000.0), (300.0, 300.0, 100.0, 100.0), (50.0, 50.0, 50.0, 50.0)]
    drawn = annotated(Image.new("RGB", (1024, 768)), [guess(bbox) for bbox in odd])
    assert drawn.size == (1024, 768)


def test_the_photo_itself_stays_as_it_is() -> None:
    ground = Image.new("RGB", (1200, 900), (50, 60, 70))
    annotated(ground, [guess((400, 300, 700, 700))])
    assert ground.getextrema() == ((50, 50), (60, 60), (70, 70))


def test_without_faces_nothing_is_drawn() -> None:
    ground = noise((1200, 900))
    assert annotated(ground, []).tobytes() == ground.tobytes()


def test_a_label_stays_where_it_was_unless_it_covers_more_there() -> None:
    size, extent, face, below = (900, 900), (120, 40), (400, 400, 500, 500), (400, 500, 520, 560)
    assert place_boxes([extent], [face], size)[2] == [0]
    assert place_boxes([extent], [face], size, [1])[2] == [1]
    assert place_boxes([extent, extent], [face, below], size, [1, None])[2][0] != 1
