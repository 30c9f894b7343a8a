"""Every page of `main.py view`, and `report.html`, in a real browser: nothing complains, nothing leaves loopback.

`make browser-test` runs these; `make test` needs no Chromium. Runs have classes of a hostile name, from folders of
images that are called so, and one a hospital of such a name.
"""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from chromium import Chromium, chromium
from federation import PRIVATE_SCATTER, founded, going_on
from PIL import Image
from sample_images import encoded, picture
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from source_tree import ROOT

from blockchain.audit.sources.run_evidence import RunEvidence
from commands.report.writing import write_report
from commands.simulate.conclusion import conclude
from commands.view.shelf import read_run
from fedward.dataset.phantoms import FINDING, list_phantoms
from fedward.folders.whereabouts import announced
from fedward.timing import Stopwatch

pytestmark = pytest.mark.browser

HOSTILE = "<script>alert(1)</script>"
CLASS = "<img src=x onerror=alert(1)>"  # the name of a folder, which has no slash
PAGES = {"", "model", "ledger", "rounds/*", "blocks/*", "transactions/*", "rounds/*/ciphertexts/*", "search"}
MOST_OF_A_KIND = 2  # pages that differ by a number or hash only


def draw_images(folder: Path) -> None:
    """Phantoms as files, in a folder a class, one of which has a hostile name."""
    listing = list_phantoms(150, 16, 1)
    assert listing.pixels is not None
    for number, (pixels, entry) in enumerate(zip(listing.pixels, listing.entries, strict=True)):
        place = folder / (CLASS if FINDING in entry.classes else "normal")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(place / f"person{entry.patient}_{number}.png")


def rewrite(path: Path, change: Any) -> None:
    fields = json.loads(path.read_bytes())
    change(fields)
    path.write_text(json.dumps(fields))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of runs: one that has ended, one stopped, one with a hostile hospital, and one running."""
    place = tmp_path_factory.mktemp("browser")
    draw_images(place / "images")
    settings = (*PRIVATE_SCATTER, ("data.source", str(place / "images")), ("data.finding", CLASS))
    runs = place / "runs"
    with founded(runs / "finished", *settings) as federation:
        assert federation.lead_round()["phase"] == "accepted"
        conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
    write_report(runs / "finished")
    for name in ("stopped", "hostile", "running"):
        shutil.copytree(runs / "finished", runs / name)
        rewrite(runs / name / "server" / "run.json", lambda fields, name=name: fields.update(run_id=name))
    for name in ("stopped", "running"):
        (runs / name / "summary.json").unlink()
    rewrite(runs / "hostile" / "server" / "run.json", lambda fields: fields["roster"][0].update(hospital=HOSTILE))
    with (
        going_on(runs / "running", *settings) as federation,
        announced(runs / "running" / "ledger", federation.node.url),
    ):
        yield runs


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    """Where `main.py view` shows them, as it printed it."""
    command = [sys.executable, str(ROOT / "main.py"), "view", str(runs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.fixture
def browser(opened: Chromium, address: str) -> Iterator[Chromium]:
    """A browser on the list of runs; after each test it must have had nothing to complain of, and asked nobody else."""
    opened.forget()
    opened.open(address)
    yield opened
    opened.listen()
    assert opened.complaints == []
    here = {"data", f"http://{urlsplit(address).netloc}"}
    assert {each.partition(":")[0] if each.startswith("data:") else origin(each) for each in opened.asked} <= here


def origin(address: str) -> str:
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}"


def key(runs: Path, name: str) -> str:
    return read_run(runs / name).key


def kind(place: str) -> str:
    """A page's address with stars for what pages of its kind differ by; runs are told apart."""
    run, _, rest = place.partition("/runs/")[2].partition("/")
    return f"{run}/" + re.sub("[0-9a-f]{8,}|[0-9]+", "*", rest.partition("?")[0])


def test_every_page_is_quiet_and_fits(browser: Chromium, runs: Path, address: str) -> None:
    start = f"{origin(address)}/"
    # These say why there is nothing to show, with a status that consoles tell of.
    refused = {f"/runs/{key(runs, 'running')}/audit", f"/runs/{key(runs, 'hostile')}/report"}
    seen: dict[str, int] = {}
    waiting, done = [start], set[str]()
    while waiting:
        place = waiting.pop().partition("#")[0]
        path = place.removeprefix(start[:-1])
        if place in done or seen.get(kind(path), 0) >= MOST_OF_A_KIND or path in refused:
            continue
        done.add(place)
        seen[kind(path)] = seen.get(kind(path), 0) + 1
        browser.open(place)
        assert browser.found("h1"), path
        assert not browser.found("img[src=x]"), path
        wide = browser.driver.execute_script("return document.documentElement.scrollWidth > innerWidth")
        assert not wide, f"{path} is wider than the window"
        waiting += [link for link in browser.links() if origin(link) == origin(address)]
    for name in ("finished", "stopped", "hostile", "running"):
        own = {each.partition("/")[2] for each in seen if each.startswith(key(runs, name))}
        assert own >= PAGES, name
        assert ("report" in own) == (name == "finished"), "of the hostile one it is refused"


def test_from_a_round_to_a_ciphertexts_hash_by_clicks(browser: Chromium, runs: Path) -> None:
    browser.click(f"a[href='/runs/{key(runs, 'finished')}']")
    browser.click("td a[href$='/rounds/1']")
    name = RunEvidence(runs / "finished").round_files(1).aggregate[0]
    browser.click(f"a[href$='/ciphertexts/{name}']")
    stored = (runs / "finished" / "server" / "ciphertexts" / name).read_bytes()
    assert sha256(stored).hexdigest() == name
    assert name in browser.words
    assert "have the hash that it is named by" in browser.words


def test_a_hospital_is_searched_and_its_transaction_found(browser: Chromium, runs: Path) -> None:
    browser.click(f"a[href='/runs/{key(runs, 'finished')}']")
    browser.type("input[name=q]", "hospital-2\n")
    assert browser.place.endswith("/search")
    browser.click("main li a")
    assert "/transactions/" in browser.place
    assert "hospital-2" in browser.words
    browser.type("input[name=q]", f"{HOSTILE}\n")
    assert "Nothing found" in browser.words


def test_hostile_names_are_text(browser: Chromium, runs: Path, address: str) -> None:
    for name, text in (("finished", CLASS), ("hostile", HOSTILE), ("running", CLASS)):
        browser.open(f"{origin(address)}/runs/{key(runs, name)}")
        assert text in browser.words
        assert not [each for each in browser.found("script") if "alert" in str(each.get_property("textContent"))]
        assert not browser.found("img[src=x]")
    browser.open(f"{origin(address)}/runs/{key(runs, 'hostile')}/rounds/1")
    assert HOSTILE in browser.words


def test_a_running_run_says_so_and_its_audit_waits(browser: Chromium, runs: Path, address: str) -> None:
    place = f"{origin(address)}/runs/{key(runs, 'running')}"
    browser.open(place)
    assert browser.found("meta[http-equiv=refresh]")
    assert "runs" in [each.text for each in browser.found(".tag")]
    browser.open(f"{place}/audit")
    assert "The run has not ended" in browser.words
    (complaint,) = browser.complaints
    assert "409" in complaint
    browser.complaints.clear()


def test_the_slider_moves_the_threshold_and_the_address(browser: Chromium, runs: Path, address: str) -> None:
    browser.open(f"{origin(address)}/runs/{key(runs, 'finished')}/model")
    before = browser.found("#at-threshold")[0].get_attribute("data-threshold")
    status = browser.found("#at-threshold [role=status]")[0].text
    browser.found("#edge")[0].send_keys(Keys.HOME)
    changed = "#at-threshold:not([data-threshold='" + str(before) + "'])"
    browser.wait_for(changed)
    assert browser.found(f"{changed} [role=status]")[0].text != status
    assert "edge=" in browser.driver.current_url
    browser.driver.refresh()
    assert browser.found(changed), "the address has the threshold"


def test_a_round_is_verified_by_a_click(browser: Chromium, runs: Path, address: str) -> None:
    browser.open(f"{origin(address)}/runs/{key(runs, 'finished')}/rounds/1")
    browser.click("form[action$='/verification'] button")
    browser.wait_for(".verdict.good")
    assert "of this round, and of the history that it rests on, hold." in browser.found(".verdict.good")[0].text
    assert browser.found("details.card .tag.good")


def test_an_image_that_is_chosen_is_scored_and_drawn(
    browser: Chromium, runs: Path, address: str, tmp_path: Path
) -> None:
    (tmp_path / "film.png").write_bytes(encoded(picture(50)))
    browser.open(f"{origin(address)}/runs/{key(runs, 'finished')}/model")
    browser.found("#image")[0].send_keys(str(tmp_path / "film.png"))
    WebDriverWait(browser.driver, 120).until(lambda _: browser.found("#told img"))
    assert "film.png" in browser.found("#said")[0].text
    assert "called" in browser.found("#told tbody")[0].text
    drawn = browser.found("#told img")[0]
    WebDriverWait(browser.driver, 10).until(lambda _: drawn.get_property("naturalWidth"))


def test_a_report_of_a_run_with_a_hostile_hospital_is_refused(browser: Chromium, runs: Path, address: str) -> None:
    browser.open(f"{origin(address)}/runs/{key(runs, 'hostile')}/report")
    assert "must be a hospital's name" in browser.words
    (complaint,) = browser.complaints
    assert "500" in complaint
    browser.complaints.clear()


def test_keys_alone_lead_to_the_content(browser: Chromium) -> None:
    browser.found("body")[0].send_keys(Keys.TAB)
    first = browser.driver.switch_to.active_element
    assert first.text == "To the content"
    first.send_keys(Keys.ENTER)
    assert browser.driver.current_url.endswith("#content")


def test_the_report_needs_nothing_else(opened: Chromium, runs: Path) -> None:
    opened.forget()
    place = (runs / "finished" / "report.html").as_uri()
    opened.open(place)
    assert opened.complaints == []
    assert {each for each in opened.asked if not each.startswith("data:image/png;base64,")} == {place}
    assert CLASS in opened.words
    shown = "return [...document.images].map(each => each.complete && each.naturalWidth > 0)"
    assert opened.driver.execute_script(shown) == [True] * 4


def test_a_page_that_complains_is_noticed(opened: Chromium, tmp_path: Path) -> None:
    """The checks above can fail."""
    page = tmp_path / "page.html"
    page.write_text("<p>a<script>console.error('no')</script><img src='http://127.0.0.1:9/x.png'>")
    opened.forget()
    opened.open(page.as_uri())
    assert any("no" in each for each in opened.complaints)
    assert "http://127.0.0.1:9/x.png" in opened.asked
    opened.complaints.clear()
