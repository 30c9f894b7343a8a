"""A headless Chromium that tests walk pages with, and what it has to complain of: its console, and where it asked.

Debian's packages `chromium` and `chromium-driver` are used as they are installed; nothing is downloaded.
"""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium.common.exceptions import WebDriverException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1100,900",
)  # fmt: skip
_SECONDS = 60


@dataclass
class Chromium:
    """One browser.

    Attributes:
        driver: What commands it.
        complaints: What its console said since it began, with the address.
        asked: Every address that it asked for.
    """

    driver: Chrome
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, address: str) -> None:
        """Go to a page, and note what became of it."""
        self.driver.get(address)
        self.listen()

    def listen(self) -> None:
        """Note what the console says and what was asked for since the last time."""
        self.complaints += [f"{entry['level']} {entry['message']}" for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]
        for entry in self.driver.get_log("performance"):  # type: ignore[no-untyped-call]
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                self.asked.append(message["params"]["request"]["url"])

    def forget(self) -> None:
        """Begin anew with what is noted."""
        self.listen()
        self.complaints.clear()
        self.asked.clear()

    @property
    def place(self) -> str:
        """The path of the page that is shown."""
        return urlsplit(self.driver.current_url).path

    @property
    def words(self) -> str:
        """What a reader of the page sees, inside closed details as well."""
        return str(self.driver.find_element(By.TAG_NAME, "body").get_property("textContent"))

    def links(self) -> list[str]:
        """Where the page's links lead, in full."""
        script = "return [...document.querySelectorAll('a[href]')].map(each => each.href)"
        return list(self.driver.execute_script(script))

    def found(self, selector: str) -> list[WebElement]:
        """The elements of a CSS selector."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def wait_for(self, selector: str) -> None:
        """Wait until there is an element of a CSS selector."""
        WebDriverWait(self.driver, _SECONDS).until(lambda _driver: self.found(selector))
        self.listen()

    def click(self, selector: str) -> None:
        """Click the first element of a CSS selector, and wait for the page that it leads to if it is a link."""
        element = self.found(selector)[0]
        with self._another_page() if element.tag_name == "a" else nullcontext():
            element.click()
        self.listen()

    def type(self, selector: str, text: str) -> None:
        """Type into a field, as keys: `\\n` at the end is Enter, which leads to another page."""
        box = self.found(selector)[0]
        box.clear()
        with self._another_page() if text.endswith("\n") else nullcontext():
            box.send_keys(text)
        self.listen()

    @contextmanager
    def _another_page(self) -> Iterator[None]:
        """Wait until the page that was there before has been replaced: an act may return before that begins.

        A page is known by when it began. No element of the page before is asked about, as Chromium has several answers
        for one whose page is being replaced; and while that goes on, nothing that is asked need have an answer.
        """
        before = self._page_began()
        yield
        wait = WebDriverWait(self.driver, _SECONDS, ignored_exceptions=(WebDriverException,))
        wait.until(lambda _driver: self._page_began() != before)
        wait.until(lambda driver: driver.execute_script("return document.readyState") == "complete")

    def _page_began(self) -> float:
        """When the page that is shown began to load, in ms since 1970: different for each load, by microseconds."""
        return float(self.driver.execute_script("return performance.timeOrigin"))


@contextmanager
def chromium(profile: Path) -> Iterator[Chromium]:
    """A browser with an empty profile; the test is skipped, with the reason, where there is no Chromium."""
    program, commander = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or commander is None:
        pytest.skip("needs Debian's packages chromium and chromium-driver")
    os.environ["SE_OFFLINE"] = os.environ["SE_AVOID_STATS"] = "true"  # selenium looks for no browsers elsewhere
    options = ChromeOptions()
    options.binary_location = program
    for flag in (*_FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options, ChromeService(commander))
    try:
        driver.set_page_load_timeout(_SECONDS)
        yield Chromium(driver)
    finally:
        driver.quit()
