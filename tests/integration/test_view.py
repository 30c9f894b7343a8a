"""`main.py view`: who may see pages, that all links lead somewhere, and that hostile texts stay texts."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import pytest
import requests
from shared_runs import SharedRuns
from viewing import HOSTILE, TOKEN, Browser, Links, rewrite, served

from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.ledger.events import EVENTS
from commands.view.following import whole_ledger
from commands.view.guard import POLICY, WITH_SCRIPTS
from commands.view.serving import listening, serve
from commands.view.shelf import read_run
from fedward.errors import ResourceError, UsageError
from fedward.folders.whereabouts import announced


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def client(run: Path) -> Iterator[Browser]:
    with served(run) as browser:
        yield browser


@pytest.fixture(scope="module")
def key(run: Path) -> str:
    return read_run(run).key


# ---- who may see a page -----------------------------------------------------------------------------------------


def test_without_the_token_nothing_is_shown(run: Path, key: str) -> None:
    with served(run, known=False) as stranger:
        for place in ("/", f"/runs/{key}", "/style.css", "/?token=wrong", "/?token="):
            assert stranger.get(place).status_code == 403
        stranger.session.cookies.set(f"fedward-view-{stranger.port}", "wrong")
        assert stranger.get("/").status_code == 403


def test_the_token_becomes_a_cookie_and_leaves_the_address(run: Path) -> None:
    with served(run, known=False) as stranger:
        answer = stranger.get(f"/?token={TOKEN}")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/"
    assert {"HttpOnly", "SameSite=strict"} <= set(answer.headers["set-cookie"].split("; "))


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1"])
def test_another_name_for_this_machine_is_refused(client: Browser, host: str) -> None:
    assert client.get("/", headers={"host": host.format(port=client.port)}).status_code == 421
    assert client.get("/", headers={"host": f"localhost:{client.port}"}).status_code == 403, "a cookie for another name"


def test_pages_are_only_read(client: Browser, key: str) -> None:
    own = {"Origin": f"http://127.0.0.1:{client.port}"}
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        assert client.get(f"/runs/{key}", method, headers=own).status_code == 405
        assert client.get(f"/runs/{key}", method).status_code == 403, "it comes from nowhere"


# ---- all pages --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crawled(client: Browser) -> dict[str, requests.Response]:
    """Every page that links lead to, from the first on; of single transactions, blocks and ciphertexts a few."""
    found: dict[str, requests.Response] = {}
    kinds: dict[str, int] = {}
    waiting = ["/"]
    while waiting:
        place = waiting.pop()
        kind = re.sub("[0-9a-f]{8,}|[0-9]+", "*", place.partition("?")[0])
        if place in found or kinds.get(kind, 0) >= 12:
            continue
        kinds[kind] = kinds.get(kind, 0) + 1
        answer = client.get(place)
        found[place] = answer
        if answer.status_code == 303:
            waiting.append(answer.headers["location"])
        elif answer.headers["content-type"].startswith("text/html"):
            waiting += [
                urljoin(place, link) for link in Links(answer.text).places if not link.startswith(("#", "data:"))
            ]
    return found


def test_every_link_leads_somewhere(crawled: dict[str, requests.Response]) -> None:
    assert {
        place: answer.status_code for place, answer in crawled.items() if answer.status_code not in (200, 303)
    } == {}
    kinds = {re.sub("[0-9a-f]{8,}|[0-9]+", "*", place.partition("?")[0]) for place in crawled}
    assert kinds >= {
        "/", "/style.css", "/icon.svg",
        "/runs/*", "/runs/*/ledger", "/runs/*/audit", "/runs/*/report", "/runs/*/search", "/runs/*/curves.png",
        "/runs/*/model", "/runs/*/hospitals", "/scripts/threshold.js",
        "/runs/*/rounds/*", "/runs/*/blocks/*", "/runs/*/transactions/*", "/runs/*/rounds/*/ciphertexts/*",
    }  # fmt: skip


def test_no_page_has_scripts_of_its_own_or_anything_from_elsewhere(crawled: dict[str, requests.Response]) -> None:
    for place, answer in crawled.items():
        policy = answer.headers["content-security-policy"]
        if place.endswith(("/audit", "/report")):
            assert "script" not in policy
            assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'")
        else:
            assert policy == (WITH_SCRIPTS if place.partition("?")[0].endswith("/model") else POLICY)
        assert "unsafe" not in WITH_SCRIPTS + POLICY
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        if answer.headers.get("content-type", "").startswith("text/html"):
            page = Links(answer.text)
            assert not {"iframe", "object", "base"} & set(page.tags)
            assert all(script.startswith("/scripts/") for script in page.scripts), place
            assert page.inline == []
            own = ("data:image/png;base64,",) if place.endswith("/report") else ("/", "#")
            assert all(link.startswith(own) for link in page.places), place


def test_the_audit_is_the_commands_own(crawled: dict[str, requests.Response]) -> None:
    (audit,) = (answer.text for place, answer in crawled.items() if place.endswith("/audit"))
    assert "Nothing contradicts the ledger" in audit


# ---- what pages say ---------------------------------------------------------------------------------------------


def test_the_chain_that_is_shown_is_the_runs(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_bytes())
    with whole_ledger(read_run(run)) as chain:
        assert chain.height == len(chain.blocks(0, 1000)) == summary["ledger"]["height"]
        events = chain.events(0, 1000)
        assert len(events) == chain.count_events()
        assert events[0].ledger_head.hex() == summary["ledger"]["head"]
        assert {event.name for event in events} <= set(EVENTS)
        assert chain.rounds(0, 10) == (2, 1)
        assert len([event for event in chain.round(1) if event.name == "VoteCast"]) == len(read_run(run).record.roster)


def test_a_round_names_each_hospitals_ciphertexts(client: Browser, key: str, run: Path) -> None:
    page = client.get(f"/runs/{key}/rounds/1").text
    files = RunEvidence(run).round_files(1)
    for name in (*files.aggregate, *(name for names in files.updates.values() for name in names)):
        assert f"/runs/{key}/rounds/1/ciphertexts/{name}" in page
    name = files.aggregate[0]
    shown = client.get(f"/runs/{key}/rounds/1/ciphertexts/{name}").text
    assert "have the hash that it is named by" in shown
    assert "of the aggregate" in shown
    assert client.get(f"/runs/{key}/rounds/2/ciphertexts/{name}").status_code == 404


@pytest.mark.parametrize(
    ("text", "found"),
    [("2", "Round 2"), ("hospital-1", "Vote cast, round 1"), ("HOSPITAL-1", "Sent in block"), ("zz", "Nothing found")],
)
def test_search_finds_rounds_and_hospitals(client: Browser, key: str, text: str, found: str) -> None:
    assert found in client.get(f"/runs/{key}/search", params={"q": text}).text


def test_search_finds_hashes_by_their_beginning(client: Browser, key: str, run: Path) -> None:
    with whole_ledger(read_run(run)) as chain:
        vote = next(event for event in chain.events(0, 1000) if event.name == "VoteCast")
        block = chain.block(4)
    assert block
    for value, found in (
        (vote.candidate_digest.hex()[:8], "its candidate digest"),  # type: ignore[attr-defined]
        ("0x" + vote.transaction_hash.hex(), "Transaction in block"),
        (block.block_hash.hex()[:10], f"Block {block.number}, by its hash"),
        (vote.ledger_head.hex()[:12], "its ledger head"),
    ):
        assert found in client.get(f"/runs/{key}/search", params={"q": value}).text
    nothing = client.get(f"/runs/{key}/search", params={"q": f"{HOSTILE}"}).text
    assert HOSTILE not in nothing
    assert "Nothing found" in nothing


def test_only_the_runs_pictures_are_given_out(client: Browser, key: str) -> None:
    for name in ("trust.json", "..%2Fsummary.json", "%2e%2e%2fserver%2frun.json", "model.keras", "roc.png.key"):
        assert client.get(f"/runs/{key}/pictures/{name}").status_code == 404
    for place in ("/runs/0123456789", f"/runs/{key}/rounds/9", f"/runs/{key}/blocks/0", f"/runs/{key}/transactions/zz"):
        assert client.get(place).status_code == 404


# ---- other runs -------------------------------------------------------------------------------------------------


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "runs" / "copy"))


def test_hostile_names_are_shown_as_text(copy: Path) -> None:
    def change(fields: Any) -> None:
        fields["run_id"] = HOSTILE
        fields["class_names"] = [HOSTILE, "b"]
        fields["settings"]["model"]["name"] = HOSTILE

    rewrite(copy / "server" / "run.json", change)
    metrics = copy / "server" / "metrics.jsonl"
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    lines[0]["rejections"] = [{"hospital": HOSTILE, "reason": HOSTILE}]
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    key = read_run(copy).key
    with served(copy.parent) as client:
        answers = [client.get(place) for place in (f"/runs/{key}", f"/runs/{key}/rounds/1", f"/runs/{key}/ledger")]
    for answer in answers:
        assert answer.status_code == 200
        assert "script" not in Links(answer.text).tags
        assert any(HOSTILE in word for word in Links(answer.text).words)


def test_a_damaged_ciphertext_is_seen(copy: Path) -> None:
    name = RunEvidence(copy).round_files(1).aggregate[0]
    path = copy / "server" / "ciphertexts" / name
    place = f"/runs/{read_run(copy).key}/rounds/1/ciphertexts/{name}"
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))
    with served(copy) as client:
        assert "have another hash than the one that it is named by" in client.get(place).text
        path.unlink()
        assert "could not be read" in client.get(place).text


def test_a_run_that_cannot_be_read_does_not_hide_the_others(copy: Path) -> None:
    broken = copy.parent / "broken"
    (broken / "server").mkdir(parents=True)
    (broken / "server" / "run.json").write_text("{")
    with served(copy.parent) as client:
        page = client.get("/").text
        assert "<b>broken</b> cannot be shown" in page
        assert f"/runs/{read_run(copy).key}" in page
        (copy / "ledger" / "chain.sqlite").write_bytes(b"no database")
        answer = client.get(f"/runs/{read_run(copy).key}/ledger")
    assert answer.status_code == 500
    assert "This cannot be shown" in answer.text


def test_a_running_run_is_read_from_its_node(shared_runs: SharedRuns, tmp_path: Path) -> None:
    place = tmp_path / "run"
    with (
        shared_runs.federation(place, rounds=1) as federation,
        announced(place / "ledger", federation.node.url),
        served(place) as client,
    ):
        seen = read_run(place)
        assert seen.state == "runs"
        page = client.get(f"/runs/{seen.key}")
        assert 'http-equiv="refresh"' in page.text
        assert "Accepted" in client.get(f"/runs/{seen.key}/rounds/1").text
        assert client.get(f"/runs/{seen.key}/audit").status_code == 409


def test_no_runs_and_wrong_folders_get_a_sentence(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        assert "No runs here yet" in client.get("/").text
    with pytest.raises(UsageError, match="There is no folder"):
        serve((tmp_path / "nowhere",), 0)
    with listening(0) as taken, pytest.raises(ResourceError, match="cannot be used"), listening(taken.getsockname()[1]):
        pass
