"""The page's live mode in a real headless Chromium, whose camera shows a clip made here."""

import threading
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_helpers import (
    CONTRASTS,
    LEAST_CONTRAST,
    PATIENCE_S,
    RANGES,
    Page,
    browser,
    made_up,
    needs_chromium,
    set_answers,
)
from PIL import Image
from selenium import webdriver
from served import NOWHERE, photo, place_of, running_app, save_models, save_photo
from werkzeug.exceptions import ServiceUnavailable, TooManyRequests

from sample.stand_in_server import StandInServer

pytestmark = needs_chromium

SIZE, SCALE = (1280, 720), 2
"""Size of the clip, and how much larger than `served.photo` its faces are."""

SENT_SIDE = 640
TIMEOUT_MS = 30_000
"""How long a frame may take; shorter waits are recorded, and end at once."""

RECORD = f"""
window.happened = [];
window.waits = [];
const {{ setTimeout: wait, fetch: ask }} = window;
const {{ toBlob }} = HTMLCanvasElement.prototype;
window.setTimeout = (action, ms) => {{
  if (ms >= 1000 && ms < {TIMEOUT_MS}) window.waits.push(ms / 1000);
  return wait(action, ms < {TIMEOUT_MS} ? 0 : ms);
}};
HTMLCanvasElement.prototype.toBlob = function (action, ...given) {{
  window.happened.push("take");
  const taken = (blob) => {{
    window.happened.push("taken");
    action(blob);
  }};
  return toBlob.call(this, taken, ...given);
}};
window.fetch = async (...given) => {{
  window.happened.push("ask");
  try {{
    return await ask(...given);
  }} finally {{
    window.happened.push("answer");
  }}
}};
const devices = navigator.mediaDevices;
const open = devices.getUserMedia.bind(devices);
window.streams = [];
window.asked = [];
devices.getUserMedia = async (constraints) => {{
  window.asked.push(constraints.video);
  const stream = await open({{ video: true }});
  window.streams.push(stream);
  return stream;
}};
"""

NUM_OPEN = """
const isLive = (stream) => stream.getTracks().some((track) => track.readyState === "live");
return window.streams.filter(isLive).length;
"""

TAKE_NO_MORE = "HTMLCanvasElement.prototype.toBlob = () => {}"

IS_IDLE = """
const count = (name) => (window.happened ?? []).filter((one) => one === name).length;
return count("take") === count("taken") && count("ask") === count("answer");
"""

SOME_FRAMES = """
const done = arguments[0];
const count = (left) => left === 0 ? done() : requestAnimationFrame(() => count(left - 1));
count(20);
"""

NOTE_VISIBILITY = f"""
const numOpen = () => {{ {NUM_OPEN} }};
const numAsked = () => window.happened.filter((one) => one === "ask").length;
const note = () => window.seen.push([document.hidden, numOpen(), numAsked()]);
window.seen = [];
document.addEventListener("visibilitychange", () => setTimeout(note));
"""

NOTE_ALERTS = """
window.alerts = 0;
const note = () => { window.alerts += 1; };
const changes = { childList: true, characterData: true, subtree: true };
new MutationObserver(note).observe(document.getElementById("problem"), changes);
"""

TRACKS = """
const done = arguments[arguments.length - 1];
import("./static/tracks.js").then(({ Tracks }) => {
  const tracks = new Tracks();
  done(arguments[0].map(([faces, now]) => tracks.follow(faces, now).map((one) => ({ ...one }))));
});
"""


def write_clip(path: Path, picture: Image.Image) -> None:
    """Write a clip (YUV4MPEG2) that shows one picture for ever."""
    levels = np.asarray(picture.convert("YCbCr"), np.float32) - (0, 128, 128)
    luma = 16 + levels[..., 0] * 219 / 255
    chroma = 128 + levels[::2, ::2, 1:] * 224 / 255
    planes = [luma, chroma[..., 0], chroma[..., 1]]
    frame = b"".join(plane.round().astype(np.uint8).tobytes() for plane in planes)
    header = f"YUV4MPEG2 W{picture.width} H{picture.height} F30:1 Ip A1:1 C420jpeg\n"
    path.write_bytes(header.encode() + b"FRAME\n" + frame)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    folder = tmp_path_factory.mktemp("browser")
    faces, shown = photo(2), Image.new("RGB", SIZE, (30, 40, 50))
    nearest = Image.Resampling.NEAREST
    shown.paste(faces.resize((SCALE * faces.width, SCALE * faces.height), nearest))
    write_clip(folder / "clip.y4m", shown)
    flags = (
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-video-capture={folder / 'clip.y4m'}",
    )
    with browser(folder / "profile", *flags) as driver:
        yield driver


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def url(settings: dict[str, Any]) -> Iterator[str]:
    with StandInServer() as face_server, running_app(settings, face_server.url) as address:
        yield address


class LivePage(Page):
    """The page with a camera."""

    def start(self, permission: str = "granted", before: str = "", *given: object) -> None:
        """Open the page, and start the camera; `before` that, run a script on the page."""
        self.open()
        self.run(RECORD)
        self.run(before, *given)
        self.permit(permission)
        self.one("live").click()

    def end(self) -> None:
        """Send no more frames, so that none reaches what the next test puts into the server."""
        self.run(TAKE_NO_MORE)
        self.until(lambda: self.run(IS_IDLE))

    def permit(self, setting: str) -> None:
        what = {"permission": {"name": "camera"}, "setting": setting}
        self.driver.execute_cdp_cmd("Browser.setPermission", {**what, "origin": self.url[:-1]})

    def wait_for_boxes(self, num_boxes: int) -> None:
        self.until(lambda: len(self.all(".box")) == num_boxes)

    def happened(self, name: str) -> int:
        """Return how often a frame was taken ("take"), sent ("ask") or answered ("answer")."""
        return list(self.run("return window.happened")).count(name)

    def is_released(self) -> bool:
        return bool(self.run(NUM_OPEN) == 0)


@pytest.fixture
def page(driver: webdriver.Chrome, url: str) -> Iterator[LivePage]:
    """Return the page; at the end the console holds no error but those of refused requests."""
    page = LivePage(driver, url)
    yield page
    page.end()
    assert page.console() == []


class SlowServer:
    """Stands in for the server's answers; each waits until it may go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.arrived, self.may_answer = threading.Semaphore(0), threading.Semaphore(0)
        self.num_asked = self.num_waiting = self.most_waiting = 0
        monkeypatch.setattr("serving.routes.describe_faces", self.describe)

    def describe(self, *_: object) -> dict[str, Any]:
        self.num_asked += 1
        self.num_waiting += 1
        self.most_waiting = max(self.most_waiting, self.num_waiting)
        self.arrived.release()
        self.may_answer.acquire(timeout=PATIENCE_S)
        self.num_waiting -= 1
        return made_up(1, lambda _: True)

    def wait_for_picture(self) -> None:
        assert self.arrived.acquire(timeout=PATIENCE_S)

    def wait_until_idle(self) -> None:
        """Let every answer go from now on."""
        self.may_answer.release(1_000_000)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowServer]:
    server = SlowServer(monkeypatch)
    yield server
    server.wait_until_idle()


# --- faces ----------------------------------------------------------------------------------------


def test_faces_before_the_camera_get_boxes_and_a_list_as_in_a_mirror(page: LivePage) -> None:
    page.start()
    page.wait_for_boxes(2)
    video = page.one("video").rect
    assert video["width"] / video["height"] == pytest.approx(SIZE[0] / SIZE[1], rel=0.02)
    scale = video["width"] / SIZE[0] * SCALE
    for box, number in zip(page.all(".box"), (1, 0), strict=True):  # from left to right
        left, top, right, bottom = (scale * value for value in place_of(number))
        assert box.rect["x"] - video["x"] == pytest.approx(video["width"] - right, abs=4)
        assert box.rect["y"] - video["y"] == pytest.approx(top, abs=4)
        assert box.rect["width"] == pytest.approx(right - left, abs=6)
        assert box.rect["height"] == pytest.approx(bottom - top, abs=6)
    assert page.one("count").text == "2 faces"
    for number, card in enumerate(page.all(".face"), 1):
        assert card.text.split()[:2] == ["Face", str(number)]
        assert "years" in card.text
        assert card.text.count("%") == 1
    page.until(lambda: page.one("pace").text.endswith("delay"))


def test_a_camera_at_the_back_of_a_phone_is_not_mirrored(page: LivePage) -> None:
    facing = "MediaStreamTrack.prototype.getSettings = () => ({ facingMode: 'environment' })"
    page.start(before=facing)
    page.wait_for_boxes(2)
    video = page.one("video").rect
    left = video["width"] / SIZE[0] * SCALE * place_of(0)[0]
    assert page.all(".box")[0].rect["x"] - video["x"] == pytest.approx(left, abs=4)
    assert page.one("video").value_of_css_property("transform") == "none"


def test_frames_are_small_jpegs_and_asked_about_without_dropout(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set_answers(monkeypatch, made_up(1, lambda _: True))
    page.start()
    page.wait_for_boxes(1)
    with Image.open(BytesIO(asked[0])) as picture:
        assert picture.format == "JPEG"
        assert picture.size == (SENT_SIDE, SENT_SIDE * SIZE[1] // SIZE[0])
    requests = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert f"{page.url}image?mc_samples=0" in requests


def test_one_frame_is_under_way_at_a_time_and_those_between_are_dropped(
    page: LivePage, slow: SlowServer
) -> None:
    page.start()
    frames = "return document.getElementById('video').getVideoPlaybackQuality().totalVideoFrames"
    for number in range(1, 4):
        slow.wait_for_picture()
        shown = page.run(frames)
        page.until(lambda least=shown + 5: page.run(frames) >= least)  # type: ignore[misc]
        assert (slow.num_asked, page.happened("take")) == (number, number)
        slow.may_answer.release()
    slow.wait_for_picture()
    assert slow.most_waiting == 1
    order = page.run("return window.happened")
    assert (
        order[:12] == ["take", "taken", "ask", "answer"] * 3
    )  # the newest frame, once the answer is there


def test_a_face_keeps_its_box_and_its_place_for_those_who_read_the_list(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = set_answers(monkeypatch, made_up(2, lambda _: True))
    page.start()
    page.wait_for_boxes(2)
    page.all(".pick")[1].click()
    box, num_before = page.all(".box")[1], len(asked)
    page.until(lambda: len(asked) > num_before + 3)
    assert page.all(".box")[1] == box
    assert page.selected(".box") == [1]
    assert page.run("return document.activeElement.className") == "pick"


def test_those_who_hear_the_page_are_not_told_of_every_frame(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    nobody, two = made_up(0, lambda _: True), made_up(2, lambda _: True)
    watch = """
    window.said = [];
    const status = document.getElementById("status");
    const note = () => window.said.push(status.textContent);
    new MutationObserver(note).observe(status, { childList: true, characterData: true });
    """
    asked = set_answers(monkeypatch, *[two, nobody] * 500)
    page.start(before=CLOCK % 150 + watch)
    page.until(lambda: len(asked) > 8)
    said = page.run("return window.said")
    assert said[:2] == [said[0], "The camera is on."]
    told = [words for words in said if "face" in words.lower()]
    assert {"2 faces", "No face in sight"} >= set(told) != set()
    seconds = page.run("return performance.now()") / 1000
    assert len(told) <= 1 + seconds / 4


CLOCK = """
let passed = 0;
performance.now = () => (passed += %d);
"""
"""A clock that goes on by so many ms whenever somebody looks at it."""


def test_boxes_lie_on_the_frame_that_was_answered_where_answers_come_late(
    page: LivePage,
) -> None:
    page.start(before=CLOCK % 1000)
    page.wait_for_boxes(2)
    page.until(lambda: page.all("#frame canvas"))
    shapes = """
    return ["#frame canvas", "#video"].map((selector) => {
      const shown = document.querySelector(selector);
      return [getComputedStyle(shown).transform, shown.getBoundingClientRect().toJSON()];
    });
    """
    frame, video = page.run(shapes)
    assert frame == video
    assert frame[0] == "matrix(-1, 0, 0, 1, 0, 0)"
    page.until(lambda: " s delay" in page.one("pace").text)
    page.one("stop").click()
    assert page.all("#frame canvas") == []


def test_the_pace_is_a_mean_that_holds_still_and_tells_whether_answers_are_late(
    page: LivePage,
) -> None:
    page.open()
    script = """
    const [frames, done] = arguments;
    import("./static/pace.js").then(({ Pace }) => {
      const pace = new Pace();
      done(frames.map((times) => { pace.count(...times); return [pace.text, pace.isLate]; }));
    });
    """
    fast = [(100 * n, 100 * n + 50) for n in range(30)]
    counted = page.driver.execute_async_script(script, fast)
    assert counted[0] == ["", False]
    assert {text for text, _ in counted[1:]} == {"10 frames/s · 50 ms delay"}
    slow = [(2000 * n, 2000 * n + 1500) for n in range(3)]
    assert page.driver.execute_async_script(script, slow)[-1] == [
        "0.5 frames/s · 1.5 s delay",
        True,
    ]


# --- which face is which --------------------------------------------------------------------------


def face(
    left: float, age: float, male: float = 1.0, known: bool | None = True, **ranges: Any
) -> dict[str, Any]:
    gender = {"m": male, "f": 1 - male}
    return {
        "bbox": [left, 0, left + 100, 100],
        "age": age,
        "gender": gender,
        "in_distribution": known,
        **ranges,
    }


def followed(
    page: Page, *answers: tuple[list[dict[str, Any]], float]
) -> list[list[dict[str, Any]]]:
    page.driver.set_script_timeout(PATIENCE_S)
    return list(page.driver.execute_async_script(TRACKS, [list(one) for one in answers]))


@pytest.fixture
def still(page: LivePage) -> LivePage:
    if page.driver.current_url != page.url:
        page.open()
    return page


def test_numbers_stay_with_people_in_whatever_order_answers_have_them(still: LivePage) -> None:
    answers = followed(
        still,
        ([face(0, 20), face(300, 40)], 0),
        ([face(290, 40), face(10, 20)], 100),
        ([face(20, 20)], 200),
    )
    assert [[one["number"] for one in answer] for answer in answers] == [[1, 2]] * 3
    assert [one["age"] for one in answers[-1]] == [20, 40]


def test_a_quick_head_keeps_its_number_and_one_elsewhere_or_of_another_size_has_another(
    still: LivePage,
) -> None:
    far, near = face(170, 20), {**face(0, 20), "bbox": [0, 0, 500, 500]}
    for then, number in ((face(110, 20), 1), (far, 2), (near, 2)):
        answers = followed(still, ([face(0, 20)], 0), ([then], 100))
        assert answers[-1][-1]["number"] == number
        assert len(answers[-1]) == number  # the one before is held


def test_a_face_that_is_gone_is_held_for_a_moment_and_its_number_is_free_then(
    still: LivePage,
) -> None:
    gone = [face(300, 40)]
    answers = followed(
        still, ([face(0, 20), *gone], 0), (gone, 300), (gone, 500), ([face(600, 60), *gone], 600)
    )
    numbers = [[one["number"] for one in answer] for answer in answers]
    assert numbers == [[1, 2], [1, 2], [2], [1, 2]]
    assert answers[-1][0]["age"] == 60


def test_a_slow_server_does_not_make_a_new_face_of_every_answer(still: LivePage) -> None:
    answers = followed(still, *[([face(5 * n, 30)], 5000 * n) for n in range(4)])
    assert [[one["number"] for one in answer] for answer in answers] == [[1]] * 4


def test_the_age_shown_is_the_mean_and_holds_still(still: LivePage) -> None:
    ages = [30, 31, 30, 31, 30, 31, 60, 60, 60]
    answers = followed(still, *[([face(0, age)], 100 * n) for n, age in enumerate(ages)])
    shown = [answer[0]["age"] for answer in answers]
    assert shown[:6] == [30] * 6
    assert shown[-1] == round(sum(ages) / len(ages))


def test_gender_and_trust_are_those_of_most_frames(still: LivePage) -> None:
    answers = followed(
        still,
        ([face(0, 30, male=0.9)], 0),
        ([face(0, 30, male=0.2, known=False)], 100),
        ([face(0, 30, male=0.9, known=None)], 200),
    )
    assert answers[-1][0]["gender"]["m"] == pytest.approx(2 / 3)
    assert answers[-1][0]["in_distribution"]


def test_the_range_shown_is_from_the_mean_of_the_first_years_to_that_of_the_last_and_holds_still(
    still: LivePage,
) -> None:
    ranges = [[20, 40], [21, 41], [20, 40], [21, 41], [35, 70], [35, 70]]
    answers = followed(
        still, *[([face(0, 30, age_interval=one)], 100 * n) for n, one in enumerate(ranges)]
    )
    shown = [answer[0]["age_interval"] for answer in answers]
    assert shown[:4] == [[20, 40]] * 4
    assert shown[-1] == [round(np.mean(one)) for one in np.transpose(ranges)]


def test_genders_that_are_possible_and_cover_are_those_of_half_of_the_frames(
    still: LivePage,
) -> None:
    sets, covered = [["m"], ["m"], ["m", "f"], ["f"], ["f"]], [True, None, False, False, False]
    answers = followed(
        still,
        *[
            ([face(0, 30, gender_set=one, covered=is_covered)], 100 * n)
            for n, (one, is_covered) in enumerate(zip(sets, covered, strict=True))
        ],
    )
    shown = [(answer[0]["gender_set"], answer[0]["covered"]) for answer in answers]
    assert shown == [
        (["m"], True),
        (["m"], True),
        (["m"], True),
        (["m", "f"], False),
        (["m", "f"], False),
    ]


def test_without_ranges_there_are_none_while_live(still: LivePage) -> None:
    nothing: dict[str, Any] = {"age_interval": None, "gender_set": None, "covered": None}
    without: dict[str, Any] = {}
    for ranges in (without, nothing):
        (shown,) = followed(still, ([face(0, 30, **ranges)], 0))[0]
        assert {shown[name] for name in nothing} == {None}


def test_a_range_is_shown_while_live(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    set_answers(monkeypatch, made_up(1, lambda _: True, **RANGES))
    page.start()
    page.wait_for_boxes(1)
    (card,) = page.all(".face")
    assert "14 to 29 years" in card.text
    assert "male or female" in card.text
    assert page.one("how").is_displayed()


def test_a_box_trembles_less_than_the_detector_and_follows_who_moves(still: LivePage) -> None:
    trembling = followed(still, ([face(100, 30)], 0), ([face(104, 30)], 100))
    moving = followed(still, ([face(100, 30)], 0), ([face(150, 30)], 100))
    assert trembling[-1][0]["bbox"][0] - 100 < 2.5
    assert moving[-1][0]["bbox"][0] - 100 > 35


# --- stopping -------------------------------------------------------------------------------------


def assert_nothing_goes_on(page: LivePage) -> None:
    """Check that the camera is released, and that what was under way was the last."""
    assert page.is_released()
    assert page.run("return document.getElementById('video').srcObject") is None
    num_asked = page.happened("ask")
    page.driver.execute_async_script(SOME_FRAMES)
    assert page.happened("ask") == num_asked


def test_stop_releases_the_camera_and_goes_back_to_the_start(page: LivePage) -> None:
    page.start()
    page.wait_for_boxes(2)
    assert page.run("return document.activeElement.id") == "stop"
    page.one("stop").click()
    assert page.one("start").is_displayed()
    assert not page.one("result").is_displayed()
    assert page.run("return document.activeElement.id") == "live"
    assert_nothing_goes_on(page)


def test_a_hidden_page_sends_nothing_and_releases_the_camera_until_it_is_shown(
    page: LivePage, slow: SlowServer
) -> None:
    page.start()
    page.run(NOTE_VISIBILITY)
    slow.wait_for_picture()
    driver = page.driver
    mine = driver.current_window_handle
    driver.switch_to.new_window("tab")
    slow.wait_until_idle()
    driver.execute_async_script(SOME_FRAMES)
    driver.close()
    driver.switch_to.window(mine)
    page.wait_for_boxes(1)
    hidden, shown = page.run("return window.seen")
    assert hidden == [True, 0, 1]  # released, and one frame sent, which was before
    assert (shown[0], shown[2]) == (False, 1)
    assert page.run(NUM_OPEN) == 1


def test_a_photo_ends_the_live_mode(page: LivePage, tmp_path: Path) -> None:
    page.start()
    page.wait_for_boxes(2)
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert page.one("photo").is_displayed()
    assert not page.one("video").is_displayed()
    assert page.one("another").is_displayed()
    assert len(page.all(".box")) == 1
    assert_nothing_goes_on(page)


def test_live_takes_the_place_of_a_photo(page: LivePage, tmp_path: Path) -> None:
    page.start()
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    page.one("another").click()
    page.one("live").click()
    page.wait_for_boxes(2)
    assert page.one("video").is_displayed()
    assert not page.one("photo").is_displayed()


def test_a_camera_that_comes_after_stop_is_released(page: LivePage) -> None:
    hold = """
    const open = navigator.mediaDevices.getUserMedia;
    const allowed = new Promise((allow) => { window.allow = allow; });
    navigator.mediaDevices.getUserMedia = (wanted) => allowed.then(() => open(wanted));
    """
    page.start(before=hold)
    assert "may ask whether this page may use it" in page.one("status").text
    page.one("stop").click()
    page.run("window.allow()")
    page.until(lambda: page.run("return window.streams.length === 1"))
    page.until(page.is_released)
    assert page.one("start").is_displayed()
    assert page.happened("ask") == 0


def test_a_camera_that_is_counted_after_a_photo_was_chosen_changes_nothing(
    page: LivePage, tmp_path: Path
) -> None:
    hold = """
    const counted = new Promise((answer) => { window.answer = () => answer([]); });
    navigator.mediaDevices.enumerateDevices = () => counted;
    """
    page.start(before=hold)
    page.until(lambda: page.run("return document.getElementById('video').videoWidth"))
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    page.run("window.answer()")
    assert_nothing_goes_on(page)
    assert not page.all(".is-live")
    assert page.one("status").get_property("textContent") == "1 face found."


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_refused_camera_is_said_and_the_page_stays_usable(page: LivePage, tmp_path: Path) -> None:
    page.start("denied")
    assert "This page may not use the camera." in page.problem()
    assert page.one("start").is_displayed()
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert page.one("count").text == "1 face"
    page.one("another").click()
    page.one("live").click()
    page.problem()
    page.permit("granted")
    page.one("again").click()
    page.wait_for_boxes(2)
    assert not page.one("problem").is_displayed()


def test_a_camera_that_cannot_be_used_is_said(page: LivePage) -> None:
    page.open()
    fail = """
    const name = arguments[0];
    navigator.mediaDevices.getUserMedia = async () => { throw new DOMException("no", name); };
    """
    for name, words in {
        "NotFoundError": "No camera was found.",
        "NotReadableError": "Another program may be using it.",
        "SecurityError": "This page may not use the camera.",
        "OverconstrainedError": "No camera was found.",
        "AbortError": "Another program may be using it.",
        "UnheardError": "UnheardError (no)",
    }.items():
        page.run(fail, name)
        page.one("live").click()
        page.until(lambda words=words: words in page.problem())  # type: ignore[misc]
        assert page.one("start").is_displayed()
        assert page.one("again").is_displayed()


def test_a_camera_that_is_unplugged_is_said_and_can_be_tried_again(page: LivePage) -> None:
    page.start()
    page.wait_for_boxes(2)
    page.run("window.streams[0].getTracks()[0].dispatchEvent(new Event('ended'))")
    assert "The camera is gone." in page.problem()
    assert page.one("start").is_displayed()
    assert_nothing_goes_on(page)
    page.one("again").click()
    page.wait_for_boxes(2)


def test_a_busy_server_is_asked_again_when_it_says(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = TooManyRequests("busy: 4 at once; try again", retry_after=7)
    asked = set_answers(monkeypatch, busy, busy, made_up(1, lambda _: True))
    page.start()
    page.wait_for_boxes(1)
    assert page.run("return window.waits")[:2] == [7, 7]
    assert len(asked) >= 3


def test_a_face_server_that_is_away_is_said_until_it_is_back(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = ServiceUnavailable("the face server at http://x is away", retry_after=5)
    asked = set_answers(monkeypatch, away)
    page.start()
    assert "The face server is away" in page.problem()
    assert not page.one("again").is_displayed()  # it goes on by itself
    assert page.all(".box") == []
    assert page.run("return window.waits[0]") == 5
    page.run(NOTE_ALERTS)
    num_before = len(asked)
    page.until(lambda: len(asked) > num_before + 1)
    assert page.run("return window.alerts") == 0  # the same one is not said again
    set_answers(monkeypatch, TooManyRequests("busy: 4 at once; try again", retry_after=1))
    page.until(lambda: "The server is busy." in page.one("pace").text)
    assert not page.one("problem").is_displayed()
    set_answers(monkeypatch, made_up(1, lambda _: True))
    page.wait_for_boxes(1)


def test_a_server_that_is_gone_is_asked_ever_more_rarely(
    driver: webdriver.Chrome, settings: dict[str, Any]
) -> None:
    with running_app(settings, NOWHERE) as address:
        page = LivePage(driver, address)
        page.open()
    page.run(RECORD)
    page.permit("granted")
    page.one("live").click()
    assert "The server does not answer" in page.problem()
    page.until(lambda: len(page.run("return window.waits")) >= 4)
    assert page.run("return window.waits")[:4] == [1, 2, 4, 8]
    assert page.one("video").is_displayed()
    page.one("stop").click()
    assert not page.one("problem").is_displayed()
    assert_nothing_goes_on(page)
    assert page.console() == []


# --- for everybody --------------------------------------------------------------------------------


def test_without_a_camera_to_ask_for_there_is_no_button(page: LivePage) -> None:
    source = "Object.defineProperty(navigator, 'mediaDevices', { value: undefined })"
    add, remove = (f"Page.{what}ScriptToEvaluateOnNewDocument" for what in ("add", "remove"))
    added = page.driver.execute_cdp_cmd(add, {"source": source})
    page.open()
    page.driver.execute_cdp_cmd(remove, added)
    assert not page.one("live").is_displayed()
    page.open()
    assert page.one("live").is_displayed()


@pytest.mark.parametrize(
    ("facing", "expected"),
    [("", {"deviceId": {"exact": "b"}}), ("user", {"facingMode": "environment"})],
)
def test_another_camera_can_be_chosen(
    page: LivePage, facing: str, expected: dict[str, Any]
) -> None:
    pretend = """
    const devices = ["a", "b"].map((deviceId) => ({ kind: "videoinput", deviceId }));
    navigator.mediaDevices.enumerateDevices = async () => devices;
    const [facingMode, deviceId] = [arguments[0], "a"];
    MediaStreamTrack.prototype.getSettings = () => ({ facingMode, deviceId });
    """
    page.start("granted", pretend, facing)
    page.until(page.one("other-camera").is_displayed)
    page.one("other-camera").click()
    page.until(lambda: page.run("return window.asked.length === 2"))
    assert expected.items() <= page.run("return window.asked[1]").items()
    page.wait_for_boxes(2)
    assert page.run(NUM_OPEN) == 1


def test_nothing_overflows_while_live(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    set_answers(monkeypatch, made_up(12, lambda n: n != 0, **RANGES))
    page.start()
    page.wait_for_boxes(12)
    page.until(lambda: page.one("pace").text)
    for width in (320, 390, 768, 1280):
        page.look(width, 700)
        assert page.overflowing(width) == []


def test_every_text_stands_out_from_its_ground_while_live(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_answers(monkeypatch, made_up(2, lambda n: n != 0, **{**RANGES, "covered": False}))
    page.start()
    page.wait_for_boxes(2)
    page.until(lambda: page.one("pace").text)
    for scheme in ("light", "dark"):
        page.look(prefers_color_scheme=scheme)
        found = page.run(CONTRASTS)
        assert "Stop" in {text for _, text in found}
        assert min(found)[0] >= LEAST_CONTRAST, min(found)


def test_everything_has_a_name_and_the_page_says_what_is_sent(page: LivePage) -> None:
    page.start()
    page.wait_for_boxes(2)
    for button in page.all("button"):
        assert not button.is_displayed() or button.accessible_name
    assert page.one("video").accessible_name == "Camera"
    assert page.one("faces").accessible_name == "2 faces"
    assert "frames of the camera go to this server" in page.one("live-note").text
    assert "Nothing is stored." in page.all("footer")[0].text
