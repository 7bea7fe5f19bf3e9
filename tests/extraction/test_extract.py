import csv
import errno
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from face_helpers import (
    PATIENCE_S,
    answering,
    face,
    options,
    picture_file,
    seeds_of,
    stored,
    write_images,
    write_wiki,
)
from failing_disks import read_only
from picture_files import entry, exif, in_jpeg
from PIL import Image

from base.interrupt import StopRequest
from extraction import extractor, pipeline
from extraction.extract import extract, extract_imdb_wiki
from extraction.extraction_report import ExtractionCounts
from extraction.pipeline import Pipeline
from extraction.places import Places
from extraction.pool import ServerPool, ServersAwayError
from faces.client import AnswerError, FaceAnswer, FaceServer, ServerAwayError
from faces.squares import picture_to_send
from sample.stand_in_server import Behaviour, StandInServer
from utils import scripts
from utils.cli import Interrupted
from utils.errors import ConfigError, DataError, PathError

NUM_IMAGES = 60


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    write_images(folder, NUM_IMAGES)
    return folder


@pytest.fixture
def folder(images: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(images, tmp_path / "set"))


PATHS = [f"{number % 2:02}/{number}.jpg" for number in range(NUM_IMAGES)]


def failures(folder: Path) -> dict[str, str]:
    with (folder / "failed.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["path", "reason"]
    assert len(dict(rows)) == len(rows)
    return dict(rows)


def assert_accounted(counts: ExtractionCounts, folder: Path, suffix: str = ".pkl") -> None:
    """Check that every image is counted once, and what is counted is there."""
    num_answers = sum(1 for path in folder.glob("*/*.pkl") if path.name.endswith(suffix))
    assert counts.num_before + counts.num_now == num_answers
    assert counts.num_total == num_answers + len(counts.failed) + counts.num_left
    assert failures(folder) == dict(counts.failed)
    assert counts.reasons.total() == len(counts.failed)
    assert not list(folder.glob("*/.*"))


def restarted(port: int) -> StandInServer:
    """Serve on a port again, as soon as the server of before has left it."""
    while True:
        try:
            return StandInServer(port)
        except OSError:
            time.sleep(0.002)


@pytest.mark.parametrize(("resize", "suffix"), [(None, ".jpg.pkl"), (256, ".jpg.RESIZED.pkl")])
def test_every_image_gets_its_own_answer(folder: Path, resize: int | None, suffix: str) -> None:
    with StandInServer() as server:
        counts = extract(Places(folder), PATHS, options(server.url, resize=resize))
    assert (counts.num_before, counts.num_now, counts.failed) == (0, NUM_IMAGES, [])
    assert_accounted(counts, folder, suffix)
    assert seeds_of(folder, PATHS, suffix.removeprefix(".jpg")) == list(range(NUM_IMAGES))


def test_a_second_call_sends_nothing(folder: Path) -> None:
    with StandInServer() as server:
        extract(Places(folder), PATHS, options(server.url))
        num_requests = server.num_requests
        counts = extract(Places(folder), PATHS, options(server.url))
        assert server.num_requests == num_requests
    assert (counts.num_before, counts.num_now) == (NUM_IMAGES, 0)


def test_no_more_than_the_allowed_requests_are_in_flight(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_flight, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(5, timeout=PATIENCE_S)

    def answer(_: Any, body: bytes) -> FaceAnswer:
        nonlocal in_flight, most
        if len(body) <= 2000:  # asks whether the server is up
            return FaceAnswer([face(1)])
        with lock:
            in_flight += 1
            most = max(most, in_flight)
        together.wait()
        with lock:
            in_flight -= 1
        return FaceAnswer([face(1)])

    with answering(monkeypatch, answer):
        extract(Places(folder), PATHS, options("http://a/", in_flight=5))
    assert most == 5


def test_no_more_pictures_are_in_memory_than_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the server keeps the first requests waiting, few further images are read."""
    release = threading.Event()
    read: list[Path] = []
    original = pipeline.request_for

    def request_for(path: Path, settings: Any) -> bytes:
        read.append(path)
        return original(path, settings)

    monkeypatch.setattr(pipeline, "request_for", request_for)
    seen: list[int] = []

    def answer(_: Any, body: bytes) -> FaceAnswer:
        if len(body) > 2000:
            if not release.is_set():
                time.sleep(0.05)
                seen.append(len(read))
            release.set()
        return FaceAnswer([face(1)])

    with answering(monkeypatch, answer):
        extract(Places(folder), PATHS, options("http://a/", in_flight=2))
    assert max(seen) <= 2 * 2 + 1
    assert len(read) == NUM_IMAGES


@pytest.mark.parametrize(
    "faults",
    [
        {"fail_every": 7},
        {"garbage_every": 11},
        {"fail_every": 7, "garbage_every": 11},
        {"key": "fa_results"},
    ],
)
def test_every_image_is_answered_although_the_server_stumbles(
    folder: Path, faults: dict[str, Any]
) -> None:
    # A fault in five requests, so that four in a row for one image do occur.
    with StandInServer(behaviour=Behaviour(**faults)) as server:
        counts = extract(Places(folder), PATHS, options(server.url, retry_waits_s=(0.001,) * 12))
    assert (counts.num_now, counts.failed) == (NUM_IMAGES, [])
    assert_accounted(counts, folder)
    assert seeds_of(folder, PATHS, ".pkl") == list(range(NUM_IMAGES))


def test_a_server_that_dies_ends_it_and_the_next_call_does_the_rest(folder: Path) -> None:
    waits: dict[str, Any] = {
        "retry_waits_s": (0.001,) * 3,
        "probe_waits_s": (0, 0.01),
        "give_up_s": 0.05,
    }
    with (
        StandInServer(behaviour=Behaviour(exit_after=40)) as server,
        pytest.raises(ServersAwayError, match="nothing listens there"),
    ):
        extract(Places(folder), PATHS, options(server.url, **waits))
    num_done = len(list(folder.glob("*/*.pkl")))
    assert 20 < num_done < 40
    with StandInServer() as server:
        counts = extract(Places(folder), PATHS, options(server.url))
        assert server.num_requests <= NUM_IMAGES - num_done + 4
    assert (counts.num_before, counts.num_now) == (num_done, NUM_IMAGES - num_done)
    assert_accounted(counts, folder)


def test_a_request_that_fails_is_tried_again_with_growing_waits_and_then_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    def answer(_: Any, body: bytes) -> FaceAnswer:
        if len(body) > 2000:
            times.append(time.monotonic())
            raise AnswerError("HTTP 500", "a page")
        return FaceAnswer([])

    waits: dict[str, Any] = {
        "retry_waits_s": (0.02, 0.04, 0.08),
        "probe_waits_s": (0,),
        "give_up_s": 1,
    }
    with answering(monkeypatch, answer):
        counts = extract(Places(folder), PATHS[:1], options("http://a/", **waits))
    gaps = np.diff(times)
    assert len(times) == 4
    assert (gaps >= [0.02, 0.04, 0.08]).all()
    assert dict(counts.reasons) == {"HTTP 500": 1}
    assert failures(folder) == {PATHS[0]: "HTTP 500: a page"}
    assert not list(folder.glob("*/*.pkl"))


def test_a_server_that_says_how_long_to_wait_is_given_that_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []

    def answer(_: Any, body: bytes) -> FaceAnswer:
        if len(body) > 2000:
            times.append(time.monotonic())
            if len(times) == 1:
                raise AnswerError("HTTP 503", wait_s=0.1)
        return FaceAnswer([])

    waits: dict[str, Any] = {"retry_waits_s": (0.001,), "probe_waits_s": (0,), "give_up_s": 1}
    with answering(monkeypatch, answer):
        counts = extract(Places(folder), PATHS[:1], options("http://a/", **waits))
    assert counts.num_now == 1
    assert times[1] - times[0] >= 0.1


def test_images_that_wait_for_another_try_do_not_hold_up_the_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: set[bytes] = set()
    order: list[bool] = []

    def answer(_: Any, body: bytes) -> FaceAnswer:
        if len(body) > 2000 and len(failed) < 20 and body not in failed:
            failed.add(body)
            raise AnswerError("HTTP 503")
        order.append(body in failed)
        return FaceAnswer([face(1)])

    waits: dict[str, Any] = {"retry_waits_s": (1.0,), "probe_waits_s": (0,), "give_up_s": 1}
    with answering(monkeypatch, answer):
        counts = extract(Places(folder), PATHS, options("http://a/", **waits, in_flight=4))
    assert counts.num_now == NUM_IMAGES
    assert order[-20:] == [True] * 20


def test_an_error_that_will_not_pass_is_not_tried_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(_: Any, body: bytes) -> FaceAnswer:
        if len(body) > 2000:
            raise AnswerError("HTTP 413", is_temporary=False)
        return FaceAnswer([])

    with answering(monkeypatch, answer) as asked:
        counts = extract(Places(folder), PATHS[:2], options("http://a/"))
    assert dict(counts.reasons) == {"HTTP 413": 2}
    assert len(asked) == 2 + 2


def test_an_image_that_always_breaks_the_connection_is_counted(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = (folder / PATHS[3]).read_bytes()
    from faces.wire import encode_request

    def answer(_: Any, body: bytes) -> FaceAnswer:
        if body == encode_request(poison):
            raise ServerAwayError("the connection broke")
        return FaceAnswer([face(1)])

    with answering(monkeypatch, answer):
        counts = extract(Places(folder), PATHS, options("http://a/", in_flight=1))
    assert counts.num_now == NUM_IMAGES - 1
    assert counts.failed == [(PATHS[3], "the connection broke")]


def test_two_servers_share_the_work_and_the_faster_one_gets_more(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slow one does one picture, by which the other is known, and then holds on to the next."""
    slow, fast = "http://slow/", "http://fast/"
    num_done: Counter[str] = Counter()
    both_are_at_work, most_are_done = threading.Event(), threading.Event()

    def answer(server: FaceServer, body: bytes) -> FaceAnswer:
        if len(body) > 2000:  # a picture, not the question whether the server is up
            # It must not hold all requests in flight before the fast one has its first.
            if server.url == slow and num_done[slow] > 0 and both_are_at_work.wait(0.1):
                assert most_are_done.wait(PATIENCE_S)
            num_done[server.url] += 1
            if num_done[fast] > 1:  # the first one is the comparison of the two
                both_are_at_work.set()
            if num_done[fast] >= NUM_IMAGES * 3 // 4:
                most_are_done.set()
        return FaceAnswer([face(1)])

    with answering(monkeypatch, answer):
        counts = extract(Places(folder), PATHS, options(slow, fast, in_flight=4))
    assert counts.num_now == NUM_IMAGES
    assert num_done[slow] >= 1
    assert num_done[fast] > 2 * num_done[slow]
    assert_accounted(counts, folder)


def test_a_server_that_dies_is_dropped_and_rejoins_when_it_is_back(folder: Path) -> None:
    dying = StandInServer(behaviour=Behaviour(exit_after=12))
    port = int(dying.url.rstrip("/").rpartition(":")[2])
    steady = StandInServer(behaviour=Behaviour(service_ms=8, slots=1))
    back: list[int] = []

    def come_back() -> None:
        with restarted(port) as again:
            while worker.is_alive():
                time.sleep(0.002)
            back.append(again.num_requests)

    all_counts: list[ExtractionCounts] = []
    with dying, steady:
        urls = (dying.url, steady.url)
        worker = threading.Thread(
            target=lambda: all_counts.append(
                extract(Places(folder), PATHS, options(*urls, in_flight=4))
            )
        )
        worker.start()
        come_back()
        worker.join()
    assert all_counts[0].num_now == NUM_IMAGES
    assert back[0] > 3  # more than the looks at it
    assert_accounted(all_counts[0], folder)


def test_a_null_answer_is_stored_and_not_sent_again(folder: Path) -> None:
    grey = Image.new("L", (50, 50))
    grey.save(folder / PATHS[0])
    with StandInServer() as server:
        counts = extract(Places(folder), PATHS[:2], options(server.url))
        assert (counts.num_now, counts.num_unusable, counts.failed) == (2, 1, [])
        assert extract(Places(folder), PATHS[:2], options(server.url)).num_before == 2
    assert stored(folder / f"{PATHS[0]}.pkl") is None
    assert "unusable for the server" in counts.table()


def test_images_that_cannot_be_sent_are_counted_by_reason_and_tried_again(folder: Path) -> None:
    whole = (folder / PATHS[0]).read_bytes()
    (folder / PATHS[0]).write_bytes(whole[:1000])
    (folder / PATHS[1]).write_bytes(b"no image")
    (folder / PATHS[2]).unlink()
    with StandInServer() as server:
        counts = extract(Places(folder), [*PATHS[:5], "../a.jpg"], options(server.url, resize=256))
        assert dict(counts.reasons) == {
            "truncated or damaged image": 1,
            "not an image": 1,
            "no such file": 2,
        }
        assert_accounted(counts, folder)
        (folder / PATHS[0]).write_bytes(whole)
        again = extract(Places(folder), PATHS[:5], options(server.url, resize=256))
    assert (again.num_before, again.num_now, len(again.failed)) == (2, 1, 2)


def test_a_run_ends_with_a_table_that_adds_up(
    folder: Path, program_log: pytest.LogCaptureFixture
) -> None:
    (folder / PATHS[0]).unlink()
    with StandInServer() as server:
        extract(Places(folder), PATHS[:4], options(server.url))
        extract(Places(folder), PATHS[:6], options(server.url))
    text = program_log.text
    last = text[text.rindex("done before") :].splitlines()
    rows = {" ".join(words[:-1]): words[-1] for words in map(str.split, last[:6])}
    assert rows.pop("images/s")
    counts = {"done before": "3", "done now": "2", "failed": "1", "no such file": "1"}
    assert rows == counts | {"images": "6"}
    assert "failed.csv; the next call tries them again" in text


def test_a_full_disk_stops_it_and_what_was_done_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = os.fsync, []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(handle)

    with StandInServer() as server, monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match="No space left"):
            extract(Places(folder), PATHS, options(server.url, in_flight=2))
    num_done = len(list(folder.glob("*/*.pkl")))
    assert 0 < num_done <= 10
    assert not list(folder.glob("*/.*"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EIO])
def test_a_disk_that_takes_nothing_ends_it_and_the_error_names_the_file(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    program_log: pytest.LogCaptureFixture,
    code: int,
) -> None:
    def fsync(_: int) -> None:
        raise OSError(code, os.strerror(code))

    with answering(monkeypatch, lambda *_: FaceAnswer([face(1)])), monkeypatch.context() as patch:
        patch.setattr(extractor, "write_json", lambda *_: None)
        patch.setattr(os, "fsync", fsync)
        with pytest.raises(OSError, match=rf"{os.strerror(code)}: '.*/\d\d/\d+\.jpg\.pkl'"):
            extract(Places(folder), PATHS, options("http://a/"))
    assert "left for the next call" in program_log.text
    assert f"failed.csv cannot be written: {os.strerror(code)}" in program_log.text


def test_a_path_that_cannot_be_written_is_counted_and_the_others_are_done(folder: Path) -> None:
    long = f"00/{'x' * 248}.jpg"
    (folder / long).write_bytes(picture_file(0))
    (folder / f"{PATHS[1]}.pkl").mkdir()
    (folder / "loop").symlink_to("loop")
    bad = [long, PATHS[1], f"{'y' * 300}/a.jpg", "loop/a.jpg"]
    with StandInServer() as server:
        counts = extract(Places(folder), [*bad, *PATHS[2:6]], options(server.url))
    assert (counts.num_now, counts.num_left) == (4, 0)
    assert dict(counts.reasons) == {"answer cannot be stored": 2, "cannot be read": 2}
    assert failures(folder)[long] == "answer cannot be stored: File name too long"
    assert not list(folder.glob("*/.*"))


def test_a_stop_does_not_wait_long_for_a_server_that_hangs(folder: Path) -> None:
    waits: dict[str, Any] = {"retry_waits_s": (0.001,), "probe_waits_s": (0,), "stop_s": 0.05}
    with socket.create_server(("127.0.0.1", 0)) as silent, StopRequest() as stop:
        made = options(in_flight=2, **waits)
        pool = ServerPool([FaceServer(silent.getsockname()[1], 10 * PATIENCE_S)], made)
        pool._members[0].is_up = True
        pipeline = Pipeline(Places(folder), pool, made)
        threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        assert list(pipeline.outcomes(PATHS, lambda: stop.is_set)) == []
        pool.close()


def test_a_programming_error_is_not_swallowed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(*_: Any) -> FaceAnswer:
        raise ZeroDivisionError

    with answering(monkeypatch, lambda *_: FaceAnswer([])) as asked:
        extract(Places(folder), PATHS[:1], options("http://a/"))
        assert asked
    calls = iter([FaceAnswer([]), FaceAnswer([])])

    def fail_later(*_: Any) -> FaceAnswer:
        found = next(calls, None)
        if found is None:
            raise ZeroDivisionError
        return found

    with answering(monkeypatch, fail_later), pytest.raises(ZeroDivisionError):
        extract(Places(folder), PATHS, options("http://a/"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_finishes_what_is_under_way_and_the_next_call_goes_on(
    folder: Path, number: int, program_log: pytest.LogCaptureFixture
) -> None:
    def interrupt() -> None:
        while len(list(folder.glob("*/*.pkl"))) < 5:
            time.sleep(0.002)
        os.kill(os.getpid(), number)

    with StandInServer(behaviour=Behaviour(service_ms=10, slots=2)) as server:
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(Interrupted) as caught:
            extract(Places(folder), PATHS, options(server.url, in_flight=4))
        thread.join()
        assert caught.value.exit_code == 128 + number
        num_done = len(list(folder.glob("*/*.pkl")))
        assert 5 <= num_done < NUM_IMAGES
        assert "left for the next call" in program_log.text
        counts = extract(Places(folder), PATHS, options(server.url))
    assert (counts.num_before, counts.num_now) == (num_done, NUM_IMAGES - num_done)


def test_a_folder_without_images_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 2 images .* such as 00/a\.jpg; unpack"):
        extract(Places(tmp_path), ["00/a.jpg", "00/b.jpg"], options("http://a/"))
    with pytest.raises(DataError, match="none of the 0 images"):
        extract(Places(tmp_path), [], options("http://a/"))


def test_the_images_are_those_that_the_labels_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wiki(tmp_path / "wiki_crop", 3)
    (tmp_path / "wiki_crop" / "00" / "unnamed.jpg").write_bytes(picture_file(0))
    with answering(monkeypatch, lambda *_: FaceAnswer([face(1)])):
        counts = extract_imdb_wiki("wiki", options("http://a/", data_dir=tmp_path))
    assert counts.num_total == 3
    assert len(list(tmp_path.glob("wiki_crop/*/*.pkl"))) == 3


def test_an_image_folder_that_cannot_be_written_is_found_before_the_first_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", read_only(folder / "01"))
    with (
        answering(monkeypatch, lambda *_: FaceAnswer([face(1)])) as asked,
        pytest.raises(PathError, match=r"/01 cannot be written: Read-only file system"),
    ):
        extract(Places(folder), PATHS, options("http://a/"))
    assert asked == []
    assert not list(folder.glob("*/*.pkl"))


def test_a_damaged_record_is_found_before_the_first_request(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "extractor.json").write_text("[" * 100_000)
    with (
        answering(monkeypatch, lambda *_: FaceAnswer([face(1)])) as asked,
        pytest.raises(ConfigError, match=r"extractor\.json is nested"),
    ):
        extract(Places(folder), PATHS, options("http://a/"))
    assert asked == []


@pytest.mark.parametrize(
    ("before", "now", "refused", "unread", "in_vain"),
    [
        (0, 3, 1, 1, 0),
        (0, 0, 2, 1, 3),
        (0, 0, 0, 2, 2),
        (5, 0, 1, 1, 2),
        (5, 0, 0, 2, 0),
        (5, 0, 0, 0, 0),
    ],
)
def test_a_call_that_stored_nothing_although_it_tried_is_told_apart(
    before: int, now: int, refused: int, unread: int, in_vain: int
) -> None:
    counts = ExtractionCounts(before + now + refused + unread + 1, before)
    counts.fail("absent.jpg", "no such file")
    counts.start()
    for outcome in (
        *[pipeline.ImageOutcome("a.jpg")] * now,
        *[pipeline.ImageOutcome("b.jpg", "HTTP 500")] * refused,
        *[pipeline.ImageOutcome("c.jpg", "not an image", is_unread=True)] * unread,
    ):
        counts.add(outcome)
    assert counts.num_tried_in_vain == in_vain


def test_a_command_that_stored_nothing_ends_with_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_wiki(tmp_path / "wiki_crop", 3)
    for path in PATHS[:3]:
        (tmp_path / "wiki_crop" / f"{path}.RESIZED.pkl").mkdir()
    words = r"all 3 images .* failed: answer cannot be stored; failed\.csv lists them"
    with (
        answering(monkeypatch, lambda *_: FaceAnswer([face(1)])),
        pytest.raises(DataError, match=words),
    ):
        scripts.extract_imdb_wiki_arcface("wiki", "http://a/", data_dir=tmp_path)


def test_a_full_disk_says_that_what_was_stored_stays(
    folder: Path, monkeypatch: pytest.MonkeyPatch, program_log: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pipeline, "write_answer", full)
    with (
        answering(monkeypatch, lambda *_: FaceAnswer([face(1)])),
        pytest.raises(OSError, match="No space left"),
    ):
        extract(Places(folder), PATHS, options("http://a/"))
    assert "what was stored stays; the same command goes on" in program_log.text


@pytest.mark.parametrize("resize", [None, 256])
def test_whatever_one_picture_raises_is_counted_by_its_kind_and_the_others_go_on(
    folder: Path, resize: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = {"00/0.jpg": AttributeError("no 'encode'"), "01/1.jpg": RuntimeError("x"),
              "00/2.jpg": AttributeError("y"), "01/3.jpg": MemoryError()}  # fmt: skip

    def prepared(path: Path, *arguments: Any) -> bytes:
        if error := errors.get(path.relative_to(folder).as_posix()):
            raise error
        return picture_to_send(path, *arguments)

    monkeypatch.setattr("extraction.pipeline.picture_to_send", prepared)
    with StandInServer() as server:
        counts = extract(Places(folder), PATHS, options(server.url, resize=resize))
    assert counts.num_now == NUM_IMAGES - len(errors)
    assert dict(counts.reasons) == {
        "cannot be decoded (AttributeError)": 2,
        "cannot be decoded (RuntimeError)": 1,
        "image too large": 1,
    }
    assert "no 'encode' at test_extract.py" in failures(folder)["00/0.jpg"]


def test_odd_metadata_fails_no_picture(folder: Path) -> None:
    numbers = exif(entry(0x010F, 5, 1, b"\0\0\0\x26"), entry(0x0112, 3, 1, b"\0\1\0\0"))
    for path in PATHS[:5]:
        odd = in_jpeg((folder / path).read_bytes(), b"Exif\0\0" + numbers + bytes(8))
        (folder / path).write_bytes(odd[:-2])  # and without its end marker
    with StandInServer() as server:
        counts = extract(Places(folder), PATHS, options(server.url, resize=256))
    assert (counts.num_now, counts.failed) == (NUM_IMAGES, [])
    assert seeds_of(folder, PATHS, ".RESIZED.pkl") == list(range(NUM_IMAGES))
