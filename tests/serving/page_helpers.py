"""What the tests of the page share: the browser, what somebody sees of it, made-up answers."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import TimeoutException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",
)
PATIENCE_S = 30
HAS_ITS_FILES = """
return performance.getEntriesByType("resource").every((entry) => entry.responseStatus === 200)
"""
LEAST_CONTRAST = 4.5
needs_chromium = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()),
    reason="needs Debian's packages chromium and chromium-driver",
)

CONTRASTS = """
const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
const linear = (level) => level <= 10.31 ? level / 3294.6 : ((level / 255 + 0.055) / 1.055) ** 2.4;
const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
function ground(element) {
  for (let at = element; at; at = at.parentElement) {
    const [r, g, b, alpha = 1] = numbers(getComputedStyle(at).backgroundColor);
    if (alpha > 0.8) return [r, g, b];
  }
  throw new Error("no ground");
}
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const text = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
  if (!text.length || !element.checkVisibility() || element.closest(".tag, noscript")) continue;
  const levels = [numbers(getComputedStyle(element).color), ground(element)].map(luminance);
  found.push([(Math.max(...levels) + 0.05) / (Math.min(...levels) + 0.05), text[0].data.trim()]);
}
return found;
"""


@contextmanager
def browser(profile: Path, *flags: str) -> Iterator[webdriver.Chrome]:
    """Run Chromium with an empty profile."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}", *flags):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(str(DRIVER)))
    try:
        yield driver
    finally:
        driver.quit()


class Page:
    """What somebody sees of the page, and does on it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def open(self, width: int = 1280, height: int = 800, **media: str) -> None:
        """Open the page in a window of this size; `media` are media features."""
        self.look(width, height, **media)
        for _ in range(5):  # the tests' server now and then resets a connection
            self.driver.get(self.url)
            if self.run(HAS_ITS_FILES):
                return
            self.console()  # takes what it says of that
        raise AssertionError("the page never came whole")

    def look(self, width: int = 1280, height: int = 800, **media: str) -> None:
        """Look at the page that is open in a window of this size."""
        is_phone = width < 600
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        features = [{"name": name.replace("_", "-"), "value": media[name]} for name in media]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": is_phone})
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def run(self, script: str, *arguments: object) -> Any:
        return self.driver.execute_script(script, *arguments)

    def one(self, identity: str) -> WebElement:
        return self.driver.find_element(By.ID, identity)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def choose(self, path: Path, wait: bool = True) -> None:
        """Choose a photo, and wait until it is answered."""
        self.one("file").send_keys(str(path))
        if wait:
            self.wait_for_answer()

    def wait_for_answer(self) -> None:
        self.until(lambda: not self.all(".is-busy") and self.one("result").is_displayed())

    def until(self, condition: Callable[[], object]) -> None:
        try:
            WebDriverWait(self.driver, PATIENCE_S, 0.02).until(lambda _: condition())
        except TimeoutException:
            seen = self.driver.find_element(By.TAG_NAME, "body").text
            raise AssertionError(f"it never came; the page says: {seen}") from None

    def press(self, *keys: str) -> WebElement:
        """Press keys one after the other, and give what has the focus then."""
        for key in keys:
            self.driver.switch_to.active_element.send_keys(key)
        return self.driver.switch_to.active_element

    def problem(self) -> str:
        """Return what went wrong, once that is shown."""
        self.until(self.one("problem").is_displayed)
        return self.one("problem").text

    def selected(self, selector: str) -> list[int]:
        """Return which of the buttons are pressed."""
        found = self.all(selector)
        states = [button.get_attribute("aria-pressed") for button in found]
        return [number for number, state in enumerate(states) if state == "true"]

    def console(self) -> list[str]:
        """Take the lines of the console, those of refused requests aside."""
        lines = [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        refused = re.compile(r"/image(\?\S*)? - Failed to load resource")
        return [line for line in lines if not refused.search(line)]

    def overflowing(self, width: int) -> list[str]:
        """Return what reaches beyond the edges of a page of this width, by its class and text.

        Not by what the window says of itself: a phone's grows with what overflows.
        """
        script = """
        return [...document.querySelectorAll("body *")].filter((element) => {
          const { left, right, width } = element.getBoundingClientRect();
          return width > 1 && element.checkVisibility() && (left < 0 || right > arguments[0]);
        }).map((element) => `${element.className} ${element.textContent.trim()}`);
        """
        return list(self.run(script, width))


RANGES: dict[str, Any] = {"age_interval": [14, 29], "gender_set": ["m", "f"], "covered": True}


def made_up(
    num_faces: int, is_familiar: Callable[[int], bool | None], **ranges: Any
) -> dict[str, Any]:
    """Make an answer of the server with faces side by side; `ranges` are those of each face."""
    return {
        "width": 1000,
        "height": 500,
        "faces": [
            {
                "bbox": [1000 * n / num_faces, 100, 1000 * (n + 0.6) / num_faces, 400],
                "det_score": 0.9,
                "age": 20.4 + n,
                "gender": {"m": 0.93, "f": 0.07} if n % 2 else {"m": 0.004, "f": 0.996},
                "uncertainty": {"age": 2.3075, "gender": 0.0},
                "in_distribution": is_familiar(n),
                **ranges,
            }
            for n in range(num_faces)
        ],
        "max_uncertainty": {"age": 4.615, "gender": 0.693},
        "model": None,
    }


def set_answers(
    monkeypatch: pytest.MonkeyPatch, *answers: dict[str, Any] | Exception
) -> list[bytes]:
    """Set the answers to pictures, in turn, the last for ever; return the pictures asked for."""
    asked: list[bytes] = []

    def describe_faces(content: bytes, *_: object) -> dict[str, Any]:
        asked.append(content)
        given = answers[min(len(asked), len(answers)) - 1]
        if isinstance(given, Exception):
            raise given
        return given

    monkeypatch.setattr("serving.routes.describe_faces", describe_faces)
    return asked
