"""The page in a real headless Chromium, against the running server and the stand-in face server."""

import base64
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from helpers import ROOT
from page_helpers import (
    CONTRASTS,
    HAS_ITS_FILES,
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
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from served import NOWHERE, place_of, running, running_app, save_models, save_photo
from stripping_proxy import StrippingProxy
from werkzeug.exceptions import BadRequest, RequestEntityTooLarge, TooManyRequests

from sample.stand_in_server import StandInServer
from serving.pictures import describe_faces as really_describe_faces

pytestmark = needs_chromium

DROP = """
const [base64, type] = arguments;
const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
const data = new DataTransfer();
data.items.add(new File([bytes], "photo", { type }));
const options = { bubbles: true, cancelable: true };
const event = arguments[2] === "paste"
  ? new ClipboardEvent("paste", { ...options, clipboardData: data })
  : new DragEvent(arguments[2], { ...options, dataTransfer: data });
document.getElementById("drop").dispatchEvent(event);
"""

ASK_FROM_ELSEWHERE = """
const [url, done] = arguments;
fetch(url, { method: "POST", headers: { "Content-Type": "text/x" }, body: "x" })
  .then(async (answer) => (await answer.json()).error && done(answer.status))
  .catch((error) => done(error.name));
"""

COUNT_URLS = """
window.made = new Set();
const { createObjectURL, revokeObjectURL } = URL;
URL.createObjectURL = (file) => {
  const url = createObjectURL.call(URL, file);
  window.made.add(url);
  return url;
};
URL.revokeObjectURL = (url) => {
  window.made.delete(url);
  revokeObjectURL.call(URL, url);
};
"""

DO_NOT_WAIT = """
const original = window.setTimeout;
window.setTimeout = (action, wait) => original(action, wait > 60_000 ? wait : 0);
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return save_models(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def url(settings: dict[str, Any]) -> Iterator[str]:
    with StandInServer() as face_server, running_app(settings, face_server.url) as address:
        yield address


@pytest.fixture
def page(driver: webdriver.Chrome, url: str) -> Iterator[Page]:
    """Open the page; at the end the console holds no error but those of refused requests."""
    page = Page(driver, url)
    page.open()
    yield page
    assert page.console() == []


@pytest.fixture
def answer_with(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[bytes]]:
    """Return a function that sets the answers to photos, in turn, the last for ever."""
    return lambda *answers: set_answers(monkeypatch, *answers)


# --- a photo --------------------------------------------------------------------------------------


def assert_faces_are_shown(page: Page, num_faces: int, size: tuple[int, int]) -> None:
    photo = page.one("photo").rect
    assert photo["width"] / photo["height"] == pytest.approx(size[0] / size[1], rel=0.02)
    boxes, cards = page.all(".box"), page.all(".face")
    assert len(boxes) == len(cards) == num_faces
    scale = photo["width"] / size[0]
    for number, box in enumerate(boxes):
        left, top, right, bottom = (scale * value for value in place_of(number))
        assert box.rect["x"] - photo["x"] == pytest.approx(left, abs=3)
        assert box.rect["y"] - photo["y"] == pytest.approx(top, abs=3)
        assert box.rect["width"] == pytest.approx(right - left, abs=4)
        assert box.rect["height"] == pytest.approx(bottom - top, abs=4)


def test_a_chosen_photo_gets_boxes_and_a_list(page: Page, tmp_path: Path) -> None:
    path = save_photo(tmp_path / "photo.jpg", 3)
    page.choose(path)
    with Image.open(path) as picture:
        assert_faces_are_shown(page, 3, picture.size)
    assert page.one("count").text == "3 faces"
    assert page.one("status").get_property("textContent") == "3 faces found."
    for number, card in enumerate(page.all(".face"), 1):
        assert card.find_element(By.CLASS_NAME, "number").text.split() == ["Face", str(number)]
        assert "years" in card.text
        assert "male" in card.text
        assert card.text.count("%") == card.text.count("±") == 1
        assert card.find_elements(By.CLASS_NAME, "range") == []


@pytest.mark.parametrize("how", ["drop", "paste"])
def test_a_dropped_or_pasted_photo_is_shown(page: Page, tmp_path: Path, how: str) -> None:
    path = save_photo(tmp_path / "photo.jpg", 2)
    page.run(DROP, base64.b64encode(path.read_bytes()).decode(), "image/jpeg", how)
    page.wait_for_answer()
    with Image.open(path) as picture:
        assert_faces_are_shown(page, 2, picture.size)


def test_the_page_shows_where_a_photo_may_be_dropped(page: Page) -> None:
    before = page.one("drop").value_of_css_property("border-top-style")
    page.run(DROP, "", "image/jpeg", "dragover")
    assert before == "dashed"
    assert page.one("drop").value_of_css_property("border-top-style") == "solid"


def test_a_photo_that_lies_on_its_side_is_shown_upright_with_its_boxes(
    page: Page, tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 2)
    with Image.open(path) as picture:
        size, exif = picture.size, Image.Exif()
        exif[0x0112] = 6
        picture.transpose(Image.Transpose.ROTATE_90).save(path, exif=exif, quality=90)
    page.choose(path)
    assert_faces_are_shown(page, 2, size)


def test_the_numbers_are_those_of_the_server(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    answer_with(made_up(2, lambda _: True))
    page.choose(save_photo(tmp_path / "photo.jpg", 2))
    first, second = page.all(".face")
    assert "20 ± 2 years" in first.text
    assert "female 99 %" in first.text
    assert "21 ± 2 years" in second.text
    assert "male 93 %" in second.text


def test_a_range_is_a_bar_with_the_guess_on_it_and_words(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    answer_with(made_up(1, lambda _: True, **RANGES))
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    (card,), (bar,) = page.all(".face"), page.all(".range-bar")
    assert "20 years" in card.text
    assert "male or female" in card.text
    assert "14 to 29 years" in card.text
    assert "%" not in card.text
    assert bar.aria_role == "image"
    assert bar.accessible_name == "Range of ages, from 0 to 100: 14 to 29 years"
    (span,), (point,) = page.all(".range-bar .span"), page.all(".range-bar .point")
    left, width = bar.rect["x"], bar.rect["width"]
    assert span.rect["x"] - left == pytest.approx(0.14 * width, abs=1)
    assert span.rect["width"] == pytest.approx(0.15 * width, abs=1)
    assert point.rect["x"] + point.rect["width"] / 2 - left == pytest.approx(0.204 * width, abs=1)
    assert page.all(".box")[0].accessible_name == "Face 1: 20 years, 14 to 29, male or female"
    assert page.all(".tag")[0].text == "1 · 20, 14-29, male or female"


@pytest.mark.parametrize("ages", [[0, 0], [0, 100], [100, 100]])
def test_the_bar_of_the_youngest_and_of_the_oldest_is_seen_and_stays_within(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path, ages: list[int]
) -> None:
    answer = made_up(1, lambda _: True, **{**RANGES, "age_interval": ages})
    answer["faces"][0]["age"] = float(ages[1])
    answer_with(answer)
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    (bar,), (span,) = page.all(".range-bar"), page.all(".range-bar .span")
    assert span.rect["width"] >= 4
    assert span.rect["x"] >= bar.rect["x"]
    assert span.rect["x"] + span.rect["width"] <= bar.rect["x"] + bar.rect["width"] + 1


def test_a_face_that_its_range_does_not_cover_is_marked(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    answer = made_up(3, lambda _: True, **RANGES)
    for face, covered in zip(answer["faces"], (True, False, None), strict=True):
        face["covered"] = covered
    answer_with(answer)
    page.choose(save_photo(tmp_path / "photo.jpg", 3))
    assert ["may not hold" in card.text for card in page.all(".face")] == [False, True, False]
    names = [box.accessible_name for box in page.all(".box")]
    assert ["may not hold" in name for name in names] == [False, True, False]
    styles = [box.value_of_css_property("border-top-style") for box in page.all(".box")]
    assert styles == ["solid", "dashed", "solid"]


def test_the_same_photo_is_asked_about_without_passes_that_differ(
    page: Page, url: str, tmp_path: Path
) -> None:
    said = []
    for _ in range(2):
        page.choose(save_photo(tmp_path / "photo.jpg", 2))
        said.append(page.one("faces").text)
    assert said[0] == said[1]
    requests = page.run("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in requests if "/image" in name] == [f"{url}image?mc_samples=0"] * 2


def test_selecting_a_face_in_the_list_highlights_its_box_and_the_reverse(
    page: Page, tmp_path: Path
) -> None:
    page.choose(save_photo(tmp_path / "photo.jpg", 3))
    page.all(".pick")[1].click()
    assert (page.selected(".box"), page.selected(".pick")) == ([1], [1])
    colours = [box.value_of_css_property("border-top-color") for box in page.all(".box")]
    assert colours[0] == colours[2] != colours[1]
    page.all(".box")[2].click()
    assert (page.selected(".box"), page.selected(".pick")) == ([2], [2])
    page.press(Keys.ESCAPE)
    assert (page.selected(".box"), page.selected(".pick")) == ([], [])


def test_another_photo_starts_anew_and_no_address_of_a_photo_is_left(
    page: Page, tmp_path: Path
) -> None:
    page.run(COUNT_URLS)
    page.choose(save_photo(tmp_path / "a.jpg", 2))
    page.choose(save_photo(tmp_path / "b.jpg", 1))
    assert len(page.all(".box")) == 1
    assert page.run("return window.made.size") == 1
    page.one("another").click()
    assert page.one("start").is_displayed()
    assert not page.one("result").is_displayed()
    assert page.run("return window.made.size") == 0


def test_a_later_photo_wins(page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    is_free, waited = threading.Event(), threading.Event()

    def describe_faces(content: bytes, *others: Any) -> dict[str, Any]:
        if not waited.is_set():
            waited.set()
            is_free.wait(PATIENCE_S)
        return really_describe_faces(content, *others)

    monkeypatch.setattr("serving.routes.describe_faces", describe_faces)
    page.choose(save_photo(tmp_path / "a.jpg", 3), wait=False)
    waited.wait(PATIENCE_S)
    assert page.one("status").text == "Looking for faces …"
    page.choose(save_photo(tmp_path / "b.jpg", 1))
    is_free.set()
    assert page.one("count").text == "1 face"
    assert not page.one("problem").is_displayed()
    assert len(page.all(".box")) == 1


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_face_server_that_is_away_is_said_and_can_be_tried_again(
    driver: webdriver.Chrome,
    settings: dict[str, Any],
    answer_with: Callable[..., list[bytes]],
    tmp_path: Path,
) -> None:
    with running_app(settings, NOWHERE) as address:
        page = Page(driver, address)
        page.open()
        page.choose(save_photo(tmp_path / "photo.jpg", 2))
        assert "The face server is away" in page.problem()
        assert "FACE_SERVER_URL" in page.problem()
        assert NOWHERE in page.problem()
        assert page.one("photo").is_displayed()
        answer_with(made_up(2, lambda _: True))
        page.one("again").click()
        page.until(lambda: len(page.all(".face")) == 2)
        assert not page.one("problem").is_displayed()
        assert page.console() == []


def test_a_server_that_is_gone_is_said(
    driver: webdriver.Chrome, settings: dict[str, Any], tmp_path: Path
) -> None:
    with running_app(settings, NOWHERE) as address:
        page = Page(driver, address)
        page.open()
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert "The server does not answer" in page.problem()
    assert page.console() == []


def test_a_busy_server_is_asked_again(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    page.run(DO_NOT_WAIT)
    busy = TooManyRequests("busy: 4 at once; try again", retry_after=1)
    asked = answer_with(busy, busy, made_up(1, lambda _: None))
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert page.one("count").text == "1 face"
    assert len(asked) == 3


def test_a_server_that_stays_busy_is_said(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    page.run(DO_NOT_WAIT)
    asked = answer_with(TooManyRequests("busy: 4 at once; try again", retry_after=1))
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert "The server is busy" in page.problem()
    assert len(asked) == 4


def test_a_photo_of_too_many_pixels_is_made_smaller_and_sent_again(
    page: Page, tmp_path: Path
) -> None:
    path = tmp_path / "photo.png"
    Image.new("L", (6000, 5700), 90).save(path)  # above the limit of pixels
    page.choose(path)
    assert page.one("status").text.startswith("No face found")
    photo = page.one("photo").rect
    assert photo["width"] / photo["height"] == pytest.approx(6000 / 5700, rel=0.01)


def test_a_photo_that_stays_too_large_is_said(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    asked = answer_with(RequestEntityTooLarge("image too large: more than there may be"))
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert "This photo is too large." in page.problem()
    assert "more than there may be" in page.problem()
    assert len(asked) == 2


def test_a_damaged_photo_is_said(page: Page, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    page.choose(tmp_path / "photo.jpg", wait=False)
    assert "not a photo that can be read" in page.problem()
    assert "not an image" in page.problem()
    page.until(lambda: not page.one("stage").is_displayed())
    page.choose(save_photo(tmp_path / "readable.jpg", 0))
    assert page.one("stage").is_displayed()


def test_a_file_that_is_no_photo_is_not_sent(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    asked = answer_with(made_up(1, lambda _: True))
    (tmp_path / "notes.txt").write_text("notes")
    page.choose(tmp_path / "notes.txt", wait=False)
    assert "This is not a photo" in page.problem()
    assert page.one("choose").is_displayed()
    assert not page.one("again").is_displayed()
    assert asked == []


def test_a_photo_without_faces_is_said(page: Page, tmp_path: Path) -> None:
    page.choose(save_photo(tmp_path / "photo.jpg", 0))
    assert page.one("status").text.startswith("No face found")
    assert page.all(".box") == []


def test_a_foreign_vector_is_marked(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    answer_with(made_up(3, lambda number: number != 1))
    page.choose(save_photo(tmp_path / "photo.jpg", 3))
    marked = ["cannot be trusted" in card.text for card in page.all(".face")]
    assert marked == [False, True, False]
    assert not page.one("foreign").is_displayed()


def test_faces_that_are_all_foreign_are_said_once(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    answer_with(made_up(3, lambda _: False))
    page.choose(save_photo(tmp_path / "photo.jpg", 3))
    assert "No number here can be trusted" in page.one("foreign").text
    assert page.one("result").text.count("trusted") == 1


def test_what_a_server_says_is_text_and_never_markup(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    answer_with(BadRequest("<img src=x id=evil>"))
    page.choose(save_photo(tmp_path / "photo.jpg", 1))
    assert "<img src=x id=evil>" in page.problem()
    assert page.all("#evil") == []


# --- for everybody --------------------------------------------------------------------------------


def test_it_works_by_keyboard_alone(page: Page, tmp_path: Path) -> None:
    assert page.press(Keys.TAB).get_attribute("id") == "choose"
    clicked = "document.getElementById('file').addEventListener('click', (event) => {"
    page.run(clicked + " event.preventDefault(); window.wasOpened = true; })")
    page.press(Keys.ENTER)
    assert page.run("return window.wasOpened")
    page.choose(save_photo(tmp_path / "photo.jpg", 2))
    assert page.run("return document.activeElement.id") == "count"
    first = page.press(Keys.TAB)
    assert "pick" in str(first.get_attribute("class"))
    assert (
        page.run("return getComputedStyle(arguments[0], '::after').outlineStyle", first) == "solid"
    )
    page.press(Keys.ENTER)
    assert page.selected(".box") == [0]
    page.press(Keys.TAB, Keys.SPACE)
    assert page.selected(".box") == [1]
    assert page.press(Keys.TAB).tag_name == "summary"
    page.press(Keys.ENTER)
    assert page.one("how").get_property("open")


def test_everything_has_a_name_and_a_role(page: Page, tmp_path: Path) -> None:
    assert page.driver.title == "age-gender"
    assert page.run("return document.documentElement.lang") == "en"
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert page.one("status").aria_role == "status"
    assert page.one("status").get_attribute("aria-live") == "polite"
    assert page.one("problem").get_attribute("role") == "alert"
    assert [box.get_attribute("aria-label") for box in page.all("input")] == [
        "Photo",
        "Photo from the camera",
    ]
    page.choose(save_photo(tmp_path / "photo.jpg", 2))
    for button in page.all("button"):
        assert not button.is_displayed() or button.accessible_name
    assert page.one("photo").accessible_name == "Your photo; faces marked: 2"
    assert page.one("faces").accessible_name == "2 faces"
    names = [pick.accessible_name for pick in page.all(".pick")]
    assert [name.split()[:2] for name in names] == [["Face", "1"], ["Face", "2"]]
    assert [box.accessible_name.split(":")[0] for box in page.all(".box")] == ["Face 1", "Face 2"]


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_overflows(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path, width: int
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    page.open(width, 700)
    assert page.overflowing(width) == []
    for answer in (
        made_up(1, lambda _: False, **RANGES),
        made_up(2, lambda _: True, **RANGES),
        made_up(40, lambda _: True, **RANGES),
        BadRequest("x" * 300),
    ):
        answer_with(answer)
        page.choose(path)
        assert page.overflowing(width) == []


def test_the_tag_of_a_narrow_box_is_short(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    shown = ((2, "1 · 20, 14-29, male or female"), (4, "1 · 20, male or female"), (8, "1 · 20"))
    for num_faces, expected in (*shown, (40, "1")):
        answer_with(made_up(num_faces, lambda _: True, **RANGES))
        page.choose(path)
        assert page.all(".tag")[0].text == expected


def test_a_phone_may_take_a_photo(page: Page) -> None:
    assert not page.one("take").is_displayed()
    page.open(390, 844)
    assert page.one("take").is_displayed()
    assert page.one("camera").get_attribute("capture") == "environment"
    for button in (page.one("take"), page.one("choose")):
        assert button.rect["height"] >= 44


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(
    page: Page, answer_with: Callable[..., list[bytes]], tmp_path: Path, scheme: str
) -> None:
    path = save_photo(tmp_path / "photo.jpg", 1)
    page.open(prefers_color_scheme=scheme)
    found = page.run(CONTRASTS)
    unclear = {**RANGES, "covered": False}
    for answer in (
        made_up(3, lambda n: n == 0, **unclear),
        made_up(2, lambda _: False),
        BadRequest("bad"),
    ):
        answer_with(answer)
        page.choose(path)
        for pick in page.all(".pick")[:1]:
            pick.click()
        found += page.run(CONTRASTS)
    assert len(found) > 40
    assert min(found)[0] >= LEAST_CONTRAST, min(found)


@pytest.mark.parametrize(("motion", "is_moving"), [("no-preference", True), ("reduce", False)])
def test_nothing_moves_where_that_is_not_wanted(
    page: Page, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, motion: str, is_moving: bool
) -> None:
    is_free = threading.Event()

    def describe_faces(*_: object) -> dict[str, Any]:
        is_free.wait(PATIENCE_S)
        return made_up(1, lambda _: True)

    monkeypatch.setattr("serving.routes.describe_faces", describe_faces)
    page.open(prefers_reduced_motion=motion)
    page.choose(save_photo(tmp_path / "photo.jpg", 1), wait=False)
    page.until(lambda: page.all(".is-busy"))
    script = "return getComputedStyle(document.getElementById('stage'), '::after').animationName"
    name = page.run(script)
    is_free.set()
    page.wait_for_answer()
    assert (name != "none") == is_moving


def test_it_loads_nothing_but_its_own_files(page: Page, url: str) -> None:
    loaded = page.run("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    files = (ROOT / "serving" / "static").glob("*.*s")
    assert {name.removeprefix(url) for name in loaded if not name.startswith("data:")} == {
        f"static/{file.name}" for file in files
    }


@pytest.fixture
def proxy(url: str) -> Iterator[tuple[str, StrippingProxy]]:
    """Return the URL of a proxy that has the server below /faces, and the proxy."""
    application = StrippingProxy("/faces", url)
    with running(application) as address:
        yield address, application


@pytest.mark.parametrize("path", ["faces/", "faces", "faces?x=1"])
def test_it_works_below_a_prefix_with_a_slash_at_the_end_and_without(
    driver: webdriver.Chrome, proxy: tuple[str, StrippingProxy], tmp_path: Path, path: str
) -> None:
    address, application = proxy
    page = Page(driver, address + path)
    driver.get(page.url)
    page.until(lambda: driver.current_url.startswith(f"{address}faces/"))
    page.until(
        lambda: page.run("return document.readyState === 'complete'") and page.run(HAS_ITS_FILES)
    )
    assert driver.current_url == f"{address}{path.replace('faces?', 'faces/?')}".rstrip("/") + (
        "" if "?" in path else "/"
    )
    picture = save_photo(tmp_path / "photo.jpg", 2)
    page.choose(picture)
    with Image.open(picture) as opened:
        assert_faces_are_shown(page, 2, opened.size)
    assert application.asked[-1] == "/faces/image"
    page.console()  # takes what it says of files that were asked for before the slash was there


def test_a_page_of_an_allowed_origin_may_ask_and_read_errors_and_one_of_another_may_not(
    driver: webdriver.Chrome, settings: dict[str, Any]
) -> None:
    elsewhere = Flask("elsewhere")
    elsewhere.add_url_rule("/", "page", lambda: "<!doctype html><title>elsewhere</title>")
    with running(elsewhere) as foreign:
        origin = foreign.removesuffix("/")
        for allowed, expected in ((origin, 415), ("https://other.example", "TypeError")):
            with running_app({**settings, "allowed_origins": allowed}, NOWHERE) as url:
                driver.get(foreign)
                assert driver.execute_async_script(ASK_FROM_ELSEWHERE, url) == expected
    driver.get_log("browser")  # type: ignore[no-untyped-call]


def test_it_says_that_nothing_is_stored_and_what_it_is_for(page: Page) -> None:
    notes = page.all("footer")[0].text
    assert "Nothing is stored." in notes
    assert "For research only." in notes
    assert "Not for decisions about people" in notes
    assert "Gender is one of the two classes of the data sets" in notes
