"""Long, growing and replaced ledgers on the pages of `main.py view`: from a source of blocks that each test fills."""

import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from eth_abi.abi import encode
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from shared_runs import SharedRuns
from viewing import Browser, Links, served

from blockchain.audit.history import ExecutedBlock, ExecutedTransaction, Log
from blockchain.ledger.artifact import load_artifact
from commands.view import following, paging, search
from commands.view.shelf import Run, read_run

ROUNDS = 2 * paging.ROUNDS + 3


@dataclass
class Ledger:
    """A chain that tests write: blocks by number, each with the hash of the one before it.

    Attributes:
        state: What tells one store from another; None: of a node.
    """

    run: Run
    blocks: list[tuple[ExecutedBlock, bytes]] = field(default_factory=list)
    state: Any = None
    wait: threading.Event | None = None
    replaced: list[tuple[ExecutedBlock, bytes]] | None = None  # by a reorganization, once the second block is read

    def height(self) -> int:
        return len(self.blocks)

    def block_hash(self, number: int) -> bytes | None:
        return self.blocks[number - 1][0].block_hash if number <= len(self.blocks) else None

    def block(self, number: int) -> tuple[ExecutedBlock, bytes]:
        if self.wait:
            assert self.wait.wait(60)
        if self.replaced and number == 2:
            self.blocks, self.replaced = self.replaced, None
        return self.blocks[number - 1]

    def add(self, index: int, salt: str = "") -> None:
        """A block in which a round is rejected, and a hospital votes against it."""
        voter = self.run.record.roster[0].address
        words = {"candidateDigest": _word("candidate", index, salt), "ledgerHead": _word("head", index, salt)}
        logs = (
            _log(self.run, "VoteCast", index, hospital=voter, accept=False, **words),
            _log(self.run, "RoundRejected", index, accepts=0, rejects=1, ledgerHead=words["ledgerHead"]),
        )
        number, parent = len(self.blocks) + 1, self.blocks[-1][0].block_hash if self.blocks else b""
        transaction = ExecutedTransaction(
            block=number, timestamp=number, position=0, transaction_hash=_word("transaction", index, salt), chain_id=1,
            sender=voter, to=self.run.record.contract, created=None, data=b"", succeeded=True, logs=logs,
        )  # fmt: skip
        block = ExecutedBlock(number, _word("block", index, salt), number, (transaction,))
        self.blocks.append((block, parent))


def _word(*parts: object) -> bytes:
    return bytes(keccak(repr(parts).encode()))


def _log(run: Run, name: str, index: int, **values: Any) -> Log:
    shape = next(shape for shape in load_artifact().events().values() if shape.name == name)
    filled = {kind_name: values.get(kind_name, bytes(32)) for kind_name, _, _ in shape.fields} | {"round": index}
    topics = (encode([kind], [filled[key]]) for key, kind, indexed in shape.fields if indexed)
    plain = [(kind, filled[key]) for key, kind, indexed in shape.fields if not indexed]
    data = encode([kind for kind, _ in plain], [value for _, value in plain])
    return Log(to_canonical_address(run.record.contract), (shape.selector, *topics), data)


@pytest.fixture
def ledger(shared_runs: SharedRuns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    place = Path(shutil.copytree(shared_runs.concluded() / "run", tmp_path / "run"))
    metrics = place / "server" / "metrics.jsonl"
    line = metrics.read_text().splitlines()[0]
    lines = (re.sub('"round": [0-9]+', f'"round": {index}', line) for index in range(1, ROUNDS + 1))
    metrics.write_text("".join(f"{each}\n" for each in lines))
    made = Ledger(read_run(place))

    @contextmanager
    def source(_run: Run) -> Iterator[Ledger]:
        yield made

    monkeypatch.setattr(following, "ledger_source", source)
    monkeypatch.setattr(following, "store_state", lambda _run: made.state)
    monkeypatch.setattr(following, "PATIENCE_S", 60)
    return made


@pytest.fixture
def client(ledger: Ledger) -> Iterator[Browser]:
    with served(ledger.run.path) as browser:
        yield browser


def page(client: Browser, ledger: Ledger, place: str = "") -> str:
    answer = client.get(f"/runs/{ledger.run.key}{place}")
    assert answer.status_code == 200, answer.text
    return answer.text


def parts(client: Browser, ledger: Ledger, place: str, name: str, pattern: str) -> list[str]:
    """What a pattern finds in all parts of a list, following its own links, newest first."""
    found, place = [], f"/runs/{ledger.run.key}{place}"
    while place:
        text = client.get(place).text
        found.append(re.findall(pattern, text))
        links = Links(text).places
        number = len(found) + 1
        place = next((link for link in links if re.search(rf"[?&]{name}={number}(&|$)", link)), "")
    assert all(len(part) <= 2 * search.MOST for part in found)
    return [each for part in found for each in part]


def test_every_round_event_and_block_is_in_one_part_of_its_list(client: Browser, ledger: Ledger) -> None:
    for index in range(1, ROUNDS + 1):
        ledger.add(index)
    numbers = sorted(map(str, range(1, ROUNDS + 1)))
    cell = r'<td class="number"><a href="/runs/\w+/{}/(\d+)">'
    shown = parts(client, ledger, "", "rounds", cell.format("rounds"))
    assert shown == list(map(str, range(ROUNDS, 0, -1)))
    assert sorted(parts(client, ledger, "/ledger", "rounds", r'<a href="/runs/\w+/rounds/(\d+)">')) == numbers
    assert sorted(parts(client, ledger, "/ledger", "blocks", cell.format("blocks"))) == numbers
    assert sorted(parts(client, ledger, "/ledger", "events", "<b>Round rejected, round ([0-9]+)</b>")) == numbers
    found = parts(client, ledger, "/search?q=hospital-1", "page", "Vote cast, round ([0-9]+)<")
    assert sorted(found) == numbers
    for wanted in ("?rounds=0", "?rounds=x", "?rounds=-1", "?rounds=1e3", "?rounds=99999999999"):
        assert page(client, ledger, wanted) == page(client, ledger)
    assert "Older" not in page(client, ledger, "?rounds=99999")


def test_search_finds_what_an_early_round_left(client: Browser, ledger: Ledger) -> None:
    for index in range(1, ROUNDS + 1):
        ledger.add(index)
    digest = _word("candidate", 2, "").hex()
    for digits in (digest[:9], digest[:10], f"0x{digest}"):
        assert "Vote cast, round 2: its candidate digest" in page(client, ledger, f"/search?q={digits}")
    assert "Block 3, by its hash" in page(client, ledger, f"/search?q={_word('block', 3, '').hex()[:11]}")
    assert "Nothing found" in page(client, ledger, f"/search?q={digest}00")
    assert "Nothing found" in page(client, ledger, "/search?q=ffffffffffff")


def test_a_growing_chain_is_followed(client: Browser, ledger: Ledger) -> None:
    ledger.add(1)
    assert "<b>1</b>blocks" in page(client, ledger, "/ledger")
    assert client.get(f"/runs/{ledger.run.key}/rounds/2").status_code == 404
    ledger.add(2)
    assert "Rejected: 0 for, 1 against" in page(client, ledger, "/rounds/2")
    assert "<b>4</b>events" in page(client, ledger, "/ledger")


@pytest.mark.parametrize("kept", [0, 2], ids=["from the beginning", "in its middle"])
def test_a_replaced_chain_does_not_mix_with_the_one_before(client: Browser, ledger: Ledger, kept: int) -> None:
    for index in range(1, 5):
        ledger.add(index)
    page(client, ledger, "/ledger")
    del ledger.blocks[kept:]
    for index in range(kept + 1, 6):
        ledger.add(index, "other")
    text = page(client, ledger, "/ledger")
    assert ("<b>5</b>blocks" in text, "<b>10</b>events" in text) == (True, True)
    gone, new = _word("transaction", 4, "").hex(), _word("transaction", 4, "other").hex()
    assert client.get(f"/runs/{ledger.run.key}/transactions/{gone}").status_code == 404
    assert "Vote cast, round 4" in page(client, ledger, f"/transactions/{new}")
    assert "Nothing found" in page(client, ledger, f"/search?q={_word('candidate', 4, '').hex()}")


def test_a_chain_that_is_replaced_while_it_is_read_is_read_again(client: Browser, ledger: Ledger) -> None:
    other = Ledger(ledger.run)
    for index in range(1, 4):
        ledger.add(index)
        other.add(index, "other")
    ledger.replaced = other.blocks
    text = page(client, ledger, "/ledger")
    assert all(_word("block", index, "other").hex() in text for index in range(1, 4))
    assert "<b>6</b>events" in text


def test_a_store_that_somebody_replaced_is_read_anew(client: Browser, ledger: Ledger) -> None:
    ledger.state = "one"
    for index in range(1, 4):
        ledger.add(index)
    page(client, ledger, "/ledger")
    other = Ledger(ledger.run)
    other.add(7)
    ledger.blocks[0] = other.blocks[0]  # the last block is the same
    assert client.get(f"/runs/{ledger.run.key}/rounds/7").status_code == 404, "nothing says that it has changed"
    ledger.state = "another"
    assert "Rejected" in page(client, ledger, "/rounds/7")
    assert client.get(f"/runs/{ledger.run.key}/rounds/1").status_code == 404


def test_a_page_says_how_far_a_long_ledger_is_read(
    client: Browser, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.1)
    ledger.wait = threading.Event()
    for index in range(1, 4):
        ledger.add(index)
    try:
        answer = client.get(f"/runs/{ledger.run.key}/ledger")
        assert answer.status_code == 503
        assert "0 of 3 blocks so far" in answer.text
        assert 'http-equiv="refresh"' in answer.text
        assert "Not for diagnosis" in page(client, ledger, "/model"), "it needs no ledger"
    finally:
        ledger.wait.set()
    monkeypatch.setattr(following, "PATIENCE_S", 60)
    assert "<b>3</b>blocks" in page(client, ledger, "/ledger")
