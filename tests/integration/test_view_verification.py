"""One round that is verified from its page: what the whole audit says of it, and what a change in it is called."""

import html
import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from shared_runs import SharedRuns
from viewing import Browser, served

from blockchain.audit.report import Report, Step
from blockchain.audit.sources.run_evidence import RunEvidence
from commands.audit import examination
from commands.audit.examination import audited
from commands.view.shelf import read_run


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.fixture
def client(copy: Path) -> Iterator[Browser]:
    with served(copy) as browser:
        yield browser


def place(run: Path, index: int) -> str:
    return f"/runs/{read_run(run).key}/rounds/{index}/verification"


def begin(client: Browser, where: str) -> int:
    own = {"Origin": f"http://127.0.0.1:{client.port}"}
    return client.get(where, "POST", headers=own).status_code


def verified(client: Browser, where: str) -> str:
    """Begin, and wait for what was found, as the page does that asks again by itself."""
    assert begin(client, where) == 303
    while 'http-equiv="refresh"' in (shown := client.get(where).text):
        time.sleep(0.1)
    return html.unescape(shown)


def test_a_round_holds_by_the_checks_of_the_whole_audit_and_nothing_is_written(client: Browser, copy: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    shown = verified(client, place(copy, 2))
    whole = audited(copy, None, progress=lambda _done, _of: None).report.lines
    own = [line.evidence for line in whole if line.round_index == 2]
    assert {line.step for line in whole if line.round_index == 2} >= {Step.CIPHERTEXTS, Step.ADDITION}
    assert all(evidence in shown for evidence in own)
    assert re.search(r"All [\d,]+ checks of this round, and of the history that it rests on, hold\.", shown)
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_a_changed_ciphertext_is_found_in_its_own_round_alone(client: Browser, copy: Path) -> None:
    with closing(RunEvidence(copy)) as evidence:
        of_second = next(iter(evidence.round_files(2).updates.values()))
    stored = copy / "server" / "ciphertexts" / of_second[0]
    changed = bytearray(stored.read_bytes())
    changed[len(changed) // 2] ^= 1
    stored.write_bytes(bytes(changed))
    found = [verified(client, place(copy, index)) for index in (1, 2)]
    assert ["and of the history that it rests on, hold." in shown for shown in found] == [True, False]
    assert of_second[0] in found[1]


def test_there_is_one_at_a_time_and_of_rounds_that_there_are(
    client: Browser, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, began = threading.Event(), threading.Event()

    def slow(_path: Path, _trust: Any, _check: Any, progress: Any) -> Any:
        progress(3, 7)
        began.set()
        assert go_on.wait(60)
        raise OSError("the disk went away")

    monkeypatch.setattr(examination, "audited", slow)
    assert begin(client, place(copy, 9)) == 404
    assert "It was not verified since" in client.get(place(copy, 1)).text
    assert begin(client, place(copy, 1)) == 303
    assert began.wait(60)
    assert "3 of 7 blocks or rounds." in client.get(place(copy, 1)).text
    go_on.set()
    while 'http-equiv="refresh"' in (shown := client.get(place(copy, 1)).text):
        time.sleep(0.05)
    assert "The audit broke off: the disk went away" in shown


def test_nothing_is_found_of_a_run_without_evidence(
    client: Browser, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Empty:
        report = Report()

    monkeypatch.setattr(examination, "audited", lambda *_: Empty())
    shown = verified(client, place(copy, 1))
    assert "evidence is missing" in shown
    assert "hold." not in shown


def test_the_page_of_a_round_leads_there(client: Browser, copy: Path) -> None:
    shown = client.get(place(copy, 1).removesuffix("/verification")).text
    assert f'<form class="line" method="post" action="{place(copy, 1)}">' in shown
