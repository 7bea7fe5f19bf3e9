"""Draws people into the frames of a clip, so that boxes and labels do not jump between frames."""

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw

from photo_client.annotate import (
    FONT_SHARES,
    Label,
    colour_of,
    draw_box,
    draw_label,
    enlargement,
    fitting_font_size,
    label_extent,
    pixel_box,
    place_boxes,
    words,
)
from photo_client.people import SeenPerson


@dataclass(frozen=True, slots=True)
class DrawnTimes:
    """When a box is drawn.

    Attributes:
        margin_s: seconds before and after the analysed frames at which a person was seen.
        last_s: time of the last analysed frame; its boxes stay to the end of the clip.
    """

    margin_s: float
    last_s: float


class FramePainter:
    """Draws each person that is seen at a time: a label says the same throughout the clip.

    Attributes:
        size: of the frames that it returns, even numbers of pixels, as encoders need it.

    Args:
        frame_size: width and height of the frames that it gets.
        people: of the clip.
        times: when their boxes are drawn.
    """

    def __init__(
        self, frame_size: tuple[int, int], people: Sequence[SeenPerson], times: DrawnTimes
    ) -> None:
        self._scale, self._enlarged = enlargement(frame_size)
        self.size = (self._enlarged[0] // 2 * 2, self._enlarged[1] // 2 * 2)
        self._people, self._times = people, times
        is_alone = len(people) == 1
        self._texts = {
            person.number: words(person.mean_face, None if is_alone else person.number)
            for person in people
        }
        wanted = max(1, round(max(self.size) * FONT_SHARES[1]))
        self._font_size = fitting_font_size(list(self._texts.values()), wanted, self.size[0])
        self._places: dict[int, int] = {}

    def painted(self, frame: Image.Image, time_s: float) -> Image.Image:
        """Return a frame, RGB, with the boxes of its time; the frame itself may change."""
        if self._scale > 1:
            frame = frame.resize(self._enlarged, Image.Resampling.LANCZOS)
        if frame.size != self.size:
            frame = frame.crop((0, 0, *self.size))
        time_s = min(time_s, self._times.last_s)
        boxes = [person.box_at(time_s, self._times.margin_s) for person in self._people]
        seen = [
            (person, pixel_box(box, self._scale, self.size))
            for person, box in zip(self._people, boxes, strict=True)
            if box is not None
        ]
        if seen:
            self._draw(frame, [person for person, _ in seen], [face for _, face in seen])
        return frame

    def _draw(
        self,
        frame: Image.Image,
        people: Sequence[SeenPerson],
        faces: Sequence[tuple[int, int, int, int]],
    ) -> None:
        draw = ImageDraw.Draw(frame)
        texts = [self._texts[person.number] for person in people]
        colours = [colour_of(person.mean_face, person.number - 1) for person in people]
        _, boxes, places = place_boxes(
            [label_extent(lines, self._font_size) for lines in texts],
            faces,
            self.size,
            [self._places.get(person.number) for person in people],
        )
        self._places = {person.number: place for person, place in zip(people, places, strict=True)}
        for face, colour in zip(faces, colours, strict=True):
            draw_box(draw, face, colour, max(2, max(self.size) // 400))
        for lines, box, colour in zip(texts, boxes, colours, strict=True):
            draw_label(draw, Label(lines, box), colour, self._font_size)
