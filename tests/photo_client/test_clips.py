import itertools
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clip_files import (
    FPS,
    GREEN,
    RED,
    SIDE,
    SIZE,
    ColourFaces,
    FakeAges,
    Squares,
    frame,
    frames_of,
    slowed_clip,
    turned_clip,
    write_clip,
    write_pictures,
)
from conftest import RunScript
from helpers import ROOT, Outcome
from PIL import Image
from served import save_models, save_photo

from faces.client import AnswerError, FaceAnswer
from photo_client import clip_writer
from photo_client.answers import Wanted
from photo_client.clip_reader import ClipLimits, opened_clip
from photo_client.clip_writer import written_clip
from photo_client.errors import PhotoError
from photo_client.guesser import FaceGuesser
from utils.errors import UserError

pytest.importorskip("cv2")

Ask = Callable[..., Outcome]


@pytest.fixture
def source() -> ColourFaces:
    return ColourFaces()


@pytest.fixture
def ask(run_script: RunScript, monkeypatch: pytest.MonkeyPatch, source: ColourFaces) -> Ask:
    """Return a function that runs client.py with a face source that knows colours."""

    @contextmanager
    def guesser(*_: Any) -> Iterator[FaceGuesser]:
        yield FaceGuesser(source, FakeAges(), Wanted(8))

    monkeypatch.setattr("photo_client.client.opened_guesser", guesser)
    monkeypatch.setattr("photo_client.annotate.MIN_LONG_SIDE", SIZE[0])  # for speed
    return lambda *paths, options=(): run_script("client.py", "--image-path", *paths, *options)


def moving(time_s: float) -> Squares:
    """Let one person walk to the right, another one stand."""
    return [(0, (20 + int(60 * time_s), 30)), (1, (200, 150))]


def resting(_: float) -> Squares:
    return [(0, (100, 90))]


def people_of(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


# --- what is written ------------------------------------------------------------------------------


def test_a_clip_is_annotated_beside_it_with_a_row_a_person(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 2, moving)
    outcome = ask(path)
    assert outcome.code == 0
    assert "annotated clips have no sound" in outcome.err
    header, *rows = [line.split() for line in outcome.out.splitlines()]
    assert header[-3:] == ["box,", "or", "seconds"]
    assert [row[:6] for row in rows] == [
        [str(path), "1", "20", "±", "1", "male"],
        [str(path), "2", "30", "±", "1", "female"],
    ]
    assert {row[-1] for row in rows} == {"0.0-1.8"}
    names = {"clip.mp4", "clip.ANNOTATED.mp4", "clip.PEOPLE.json"}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_the_file_of_people_says_who_is_seen_when_and_where(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 2, moving)
    outcome = ask(path, options=("--json",))
    said, printed = people_of(tmp_path / "clip.PEOPLE.json"), json.loads(outcome.out)
    assert (said["width"], said["height"], said["seconds"]) == (*SIZE, 2.0)
    assert (said["num_frames"], said["num_analysed"], said["missing"]) == (50, 10, None)
    assert said["model"] == "colours"
    first, second = said["people"]
    assert (first["person"], first["num_frames"]) == (1, 10)
    assert first["age"] == pytest.approx(20)
    assert first["gender"]["m"] == pytest.approx(0.9)
    assert second["ranges"] == [[0.0, 1.8]]
    for box in first["boxes"]:
        left = 20 + 60 * box["time"]
        assert box["bbox"] == pytest.approx([left, 30, left + SIDE, 30 + SIDE], abs=3)
    for person in said["people"]:
        del person["boxes"]
    assert printed["photos"] == []
    assert printed["clips"] == [{key: said[key] for key in printed["clips"][0]}]


def test_boxes_lie_around_the_faces_on_every_frame(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 1, moving)
    ask(path)
    frames = frames_of(tmp_path / "clip.ANNOTATED.mp4")
    assert len(frames) == FPS
    for number in (0, 7, 13, 24):
        left, bottom = round(20 + 60 * min(number / FPS, 0.8)), 30 + SIDE
        edges = frames[number][bottom - 4 : bottom + 5, left + 8 : left + SIDE - 8].max(axis=0)
        yellow = (edges[:, 0] > 150) & (edges[:, 1] > 130)
        assert yellow.mean() > 0.8, number


def test_only_some_frames_are_looked_at(ask: Ask, tmp_path: Path, source: ColourFaces) -> None:
    path = write_clip(tmp_path / "clip.mp4", 1, moving)
    ask(path, options=("--fps", 3))
    assert source.asked == 3
    ask(path, options=("--fps", 100))
    assert source.asked == 3 + FPS


def test_clips_of_a_folder_are_annotated_among_photos_and_not_what_was_written(
    ask: Ask, tmp_path: Path
) -> None:
    save_photo(tmp_path / "a" / "photo.jpg", 1)
    write_clip(tmp_path / "a" / "clip.avi", 0.4, resting, "MJPG")
    write_clip(tmp_path / "a" / "clip.MP4", 0.4, resting)
    for _ in range(2):
        outcome = ask(tmp_path / "a", options=("--out-dir", tmp_path / "out"))
        assert outcome.code == 0
    names = ("clip.ANNOTATED.mp4", "clip-2.ANNOTATED.mp4", "photo.ANNOTATED.jpg")
    written = {*names, "clip.PEOPLE.json", "clip-2.PEOPLE.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == written
    outcome = ask(tmp_path / "out")
    assert outcome.code == 2
    assert "5 written by this program" in outcome.err


def test_a_clip_that_is_to_be_turned_is_upright(ask: Ask, tmp_path: Path) -> None:
    path = turned_clip(write_clip(tmp_path / "clip.mp4", 0.4, lambda _: [(0, (10, 20))]))
    ask(path)
    said = people_of(tmp_path / "clip.PEOPLE.json")
    assert (said["width"], said["height"]) == SIZE[::-1]
    left, top = SIZE[1] - 20 - SIDE, 10
    box = said["people"][0]["boxes"][0]["bbox"]
    assert box == pytest.approx([left, top, left + SIDE, top + SIDE], abs=3)


def test_times_are_those_of_the_file_when_its_frame_rate_varies(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 2, lambda time_s: [(int(time_s >= 1), (60, 60))])
    slowed_clip(path, FPS, 3)  # a second of the first person, three of the second
    assert ask(path).code == 0
    said = people_of(tmp_path / "clip.PEOPLE.json")
    (start, end), (second, last) = (person["ranges"][0] for person in said["people"])
    assert (start, second) == pytest.approx((0, 1.0), abs=0.3)
    assert (end, last) == pytest.approx((0.9, 3.9), abs=0.2)
    frames = frames_of(tmp_path / "clip.ANNOTATED.mp4")
    middles = [frame[60 + SIDE // 2, 60 + SIDE // 2].astype(int) for frame in frames]
    is_first = [red > green for red, green, _ in middles]
    assert is_first.count(True) == pytest.approx(FPS, abs=2)  # no frame is lost
    assert len(frames) == pytest.approx(4 * FPS, abs=4)


def test_a_clip_without_people_is_no_failure(ask: Ask, tmp_path: Path) -> None:
    outcome = ask(write_clip(tmp_path / "clip.mp4", 0.4, lambda _: []))
    assert outcome.code == 0
    assert outcome.out.splitlines()[1].split()[1] == "none"
    assert people_of(tmp_path / "clip.PEOPLE.json")["people"] == []


def test_an_odd_size_and_a_large_frame_keep_their_size_but_for_a_pixel(
    ask: Ask, tmp_path: Path
) -> None:
    path = write_clip(tmp_path / "clip.avi", 0.2, resting, "MJPG", (402, 301))
    assert ask(path).code == 0
    assert frames_of(tmp_path / "clip.ANNOTATED.mp4")[0].shape == (300, 402, 3)


def test_a_small_clip_is_enlarged_as_a_small_photo_is(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo_client.annotate.MIN_LONG_SIDE", 3 * SIZE[0])
    assert ask(write_clip(tmp_path / "clip.mp4", 0.1, resting)).code == 0
    assert frames_of(tmp_path / "clip.ANNOTATED.mp4")[0].shape == (3 * SIZE[1], 3 * SIZE[0], 3)


@pytest.mark.parametrize("codec", ["mp4v", "vp9"])
def test_each_codec_that_wheels_have_can_be_chosen(ask: Ask, tmp_path: Path, codec: str) -> None:
    path = write_clip(tmp_path / "clip.mp4", 0.2, resting)
    assert ask(path, options=("--codec", codec)).code == 0
    assert len(frames_of(tmp_path / "clip.ANNOTATED.mp4")) == 5


def test_a_codec_without_an_encoder_is_one_line_with_the_others(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(clip_writer.CODECS, "avc1", ("none",))
    outcome = ask(write_clip(tmp_path / "clip.mp4", 0.2, resting), options=("--codec", "avc1"))
    assert outcome.code == 1
    assert "no encoder for --codec avc1; take another of auto, mp4v, vp9" in outcome.err
    assert not list(tmp_path.glob("*.ANNOTATED.mp4"))


# --- bad input ------------------------------------------------------------------------------------


def playlist(port: int) -> bytes:
    address = f"http://127.0.0.1:{port}/clip.ts"
    return f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{address}\n#EXT-X-ENDLIST\n".encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty file"),
        (b"no clip at all" * 50, "not a clip that can be read"),
        (b"\0\0\0\x18ftypmp42" + bytes(500), "not a clip that can be read"),
        (b"v=0\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", "not a clip that can be read"),
    ],
)
def test_what_is_no_clip_is_one_line_and_the_others_go_on(
    ask: Ask, tmp_path: Path, content: bytes, message: str
) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    write_clip(tmp_path / "b.mp4", 0.2, resting)
    outcome = ask(tmp_path / "a.mp4", tmp_path / "b.mp4")
    said = [line for line in outcome.err.splitlines() if "photos:" not in line]
    assert outcome.code == 1
    assert [line for line in said if "a.mp4" in line] == [
        line for line in said if line.startswith(f"{tmp_path / 'a.mp4'}: {message}")
    ]
    assert f"1 of 2 photos and clips failed (1 {message})" in outcome.err
    assert (tmp_path / "b.ANNOTATED.mp4").is_file()
    assert not (tmp_path / "a.ANNOTATED.mp4").exists()


def test_decoder_and_encoder_are_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no clip at all" * 50)
    with pytest.raises(PhotoError), opened_clip(tmp_path / "a.mp4", ClipLimits()):
        pass
    with written_clip(tmp_path / "b.mp4", SIZE, 25) as clip:
        clip.write(frame([]))
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.webm"])
def test_a_playlist_under_the_name_of_a_clip_reaches_neither_addresses_nor_other_files(
    ask: Ask, tmp_path: Path, name: str
) -> None:
    write_clip(tmp_path / "other.mp4", 0.2, resting)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for content in (
            playlist(listener.getsockname()[1]),
            b"ffconcat version 1.0\nfile other.mp4\n",
        ):
            (tmp_path / name).write_bytes(content)
            outcome = ask(tmp_path / name)
            assert outcome.code == 1
            assert "not a clip that can be read" in outcome.err
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_of_a_clip_that_is_cut_off_what_can_be_read_is_annotated(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.avi", 4, moving, "MJPG")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    outcome = ask(path)
    assert outcome.code == 1
    said = people_of(tmp_path / "clip.PEOPLE.json")
    assert 1.5 < said["seconds"] < 2.5
    words = f"cut off or damaged: {said['seconds']:.1f} of 4.0 s could be read"
    assert said["missing"] == words
    assert f"{path}: {words}\n" in outcome.err
    assert len(frames_of(tmp_path / "clip.ANNOTATED.mp4")) == said["num_frames"]


def test_an_mp4_that_is_cut_off_before_its_index_is_no_clip(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 1, moving)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    outcome = ask(path)
    assert (outcome.code, outcome.err.count("\n")) == (1, 2)
    assert "not a clip that can be read" in outcome.err


def test_seconds_and_pixels_are_bounded(ask: Ask, tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 2, moving)
    outcome = ask(path, options=("--max-seconds", 1))
    assert outcome.code == 1
    assert "only the first 1 s were read (--max-seconds)" in outcome.err
    assert len(frames_of(tmp_path / "clip.ANNOTATED.mp4")) == FPS + 1
    outcome = ask(path, options=("--max-pixels", 1000))
    assert outcome.code == 1
    assert "frames of 320 x 240, expected at most 1,000 pixels (--max-pixels)" in outcome.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--fps", "0"), "--fps is 0, expected 0.1 to 240"),
        (("--fps", "nan"), "--fps is nan"),
        (("--max-seconds", "0"), "--max-seconds is 0, expected"),
        (("--max-pixels", "0"), "--max-pixels is 0, expected"),
    ],
)
def test_an_option_out_of_its_range_is_an_error(
    ask: Ask, tmp_path: Path, options: tuple[str, str], message: str
) -> None:
    outcome = ask(tmp_path / "clip.mp4", options=options)
    assert outcome.code == 2
    assert f"error: {message}" in outcome.err


def test_without_opencv_one_line_says_what_to_install_and_photos_go_on(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("photo_client.photos.has_opencv", lambda: False)
    (tmp_path / "clip.mp4").write_bytes(b"x")
    save_photo(tmp_path / "photo.jpg", 1)
    outcome = ask(tmp_path)
    assert outcome.code == 0
    assert "left out: 1 clip (needs OpenCV: pip install -r requirements-faces.txt)" in outcome.err
    outcome = ask(tmp_path / "clip.mp4")
    assert outcome.code == 2
    assert "is a clip, which needs OpenCV: pip install -r requirements-faces.txt" in outcome.err
    assert outcome.err.count("\n") == 1


# --- what goes wrong on the way -------------------------------------------------------------------


def test_frames_without_an_answer_are_counted_and_the_others_stay(
    ask: Ask, tmp_path: Path, source: ColourFaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, numbers = source.ask, itertools.count(1)

    def failing(image: bytes) -> FaceAnswer:
        if next(numbers) in (2, 3):
            raise AnswerError("HTTP 500")
        return answer(image)

    monkeypatch.setattr(source, "ask", failing)
    path = write_clip(tmp_path / "clip.mp4", 2, moving)
    outcome = ask(path)
    assert outcome.code == 1
    assert f"{path}: 2 frames got no answer (the face server: HTTP 500)" in outcome.err
    assert people_of(tmp_path / "clip.PEOPLE.json")["num_analysed"] == 8


@pytest.mark.parametrize("error", [UserError("away"), KeyboardInterrupt()])
def test_a_stop_loses_nothing_that_was_written_and_leaves_no_half_file(
    ask: Ask,
    tmp_path: Path,
    source: ColourFaces,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    answer, numbers = source.ask, itertools.count(1)

    def failing(image: bytes) -> FaceAnswer:
        if next(numbers) > 7:
            raise error
        return answer(image)

    monkeypatch.setattr(source, "ask", failing)
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, 1, moving)
    outcome = ask(tmp_path)
    assert outcome.code in (2, 130)
    assert len(outcome.out.splitlines()) == 1 + 2
    names = {"a.mp4", "b.mp4", "a.ANNOTATED.mp4", "a.PEOPLE.json"}
    assert {file.name for file in tmp_path.iterdir()} == names


def test_a_stop_while_a_clip_is_written_leaves_what_was_there(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", 1, moving)
    (tmp_path / "clip.ANNOTATED.mp4").write_bytes(b"of last time")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("photo_client.clip_annotator.FramePainter.painted", interrupted)
    assert ask(path).code == 130
    assert (tmp_path / "clip.ANNOTATED.mp4").read_bytes() == b"of last time"
    assert {file.name for file in tmp_path.iterdir()} == {"clip.mp4", "clip.ANNOTATED.mp4"}


def test_a_clip_that_the_disk_did_not_take_whole_is_not_left(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", 1, moving)
    num_frames = clip_writer._num_frames

    def cut(cv2: Any, written: Path) -> int:
        content = written.read_bytes()
        written.write_bytes(content[: len(content) // 2])  # as on a disk that is full
        return num_frames(cv2, written)

    monkeypatch.setattr(clip_writer, "_num_frames", cut)
    outcome = ask(path)
    assert outcome.code == 1
    assert "cannot be written" in outcome.err
    assert {file.name for file in tmp_path.iterdir()} == {"clip.mp4"}


def test_frames_are_read_as_they_are_needed(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 1, moving)
    with opened_clip(path, ClipLimits()) as reader:
        times = reader.times()
        assert [next(times) for _ in range(3)] == pytest.approx([0, 1 / FPS, 2 / FPS])
        picture = reader.picture()
        assert picture is not None
        pixels = np.asarray(picture)
        assert reader.num_frames == 3
    for (left, top), colour in (((24, 30), RED), ((200, 150), GREEN)):
        middle = pixels[top + SIDE // 2, left + SIDE // 2]
        assert np.abs(middle.astype(int) - colour).max() < 40


# --- a clip of a real face ------------------------------------------------------------------------


def test_a_real_face_that_moves_and_grows_is_one_person(
    run_script: RunScript, tmp_path: Path
) -> None:
    shared = ROOT.parent / "shared"
    pack = shared / "face-server" / "models" / "tiny"
    photo = shared / "data" / "raw" / "data" / "wiki_crop" / "00" / "0000337_1980-08-28_1995.jpg"
    if not (pack.is_dir() and photo.is_file()):
        pytest.skip(f"needs {pack} and {photo}")
    with Image.open(photo) as picture:
        face = picture.convert("RGB")

    def draw(time_s: float) -> Image.Image:
        drawn = Image.new("RGB", (640, 480), (90, 90, 90))
        side = round(300 + 150 * time_s)
        drawn.paste(face.resize((side, side)), (round(20 + 250 * time_s), 20))
        return drawn

    path = write_pictures(tmp_path / "clip.mp4", (draw(number / FPS) for number in range(FPS)))
    models = save_models(tmp_path / "models")
    local = ("--local", "--face-pack", pack, "--age-model", models["age_model"])
    outcome = run_script(
        "client.py", "--image-path", path, *local, "--gender-model", models["gender_model"]
    )
    assert outcome.code == 0
    (person,) = people_of(tmp_path / "clip.PEOPLE.json")["people"]
    assert (person["num_frames"], person["ranges"]) == (5, [[0.0, 0.8]])
    lefts = [box["bbox"][0] for box in person["boxes"]]
    assert lefts == sorted(lefts)
    assert lefts[-1] - lefts[0] > 200
