"""Seconds a page of `main.py view`, and the server's memory, by a run's rounds: 20 hospitals, up to 1,000 rounds.

A run's first two rounds are led through the contract on the embedded node, with real ciphertexts. Its further rounds
are the second one over again: each transaction signed anew under the next nonce, hashes and numbers of the round
changed in calls and events, tries, receipts and headers made of that, all written into the store as the node writes
them. State roots stay as they were, so an audit would object; pages read none. Metrics, counts and summary are made of
random scores, without training. The server is a process of its own; pages are asked for one after another, twice.
`reading` is how long the index of the ledger takes, while pages that need it say how far it is; `while reading` is the
slowest page meanwhile. Not timed: the pages of the audit and the report, which are commands of their own.
Run (on Linux): .venv/bin/python benchmarks/view.py [--rounds 50 200 1000] [--hospitals 20] [--keep DIR] [--json]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import requests
import rlp
from eth.db.schema import SchemaV1
from eth.vm.forks.cancun.transactions import CancunTransactionBuilder
from eth_typing import BlockNumber, Hash32
from eth_utils.crypto import keccak
from trie.hexary import HexaryTrie

from benchmarks.audit import WEIGHT, make_ledger
from blockchain.identity import Identity
from blockchain.node.store import ChainStore
from blockchain.node.stored_chain import StoredChain
from commands.view.shelf import read_run
from fedward import settings as setting
from fedward.figures.histograms import histogram
from fedward.figures.scores import score, score_findings
from fedward.folders.places import chain_file
from fedward.folders.round_counts import PlainCounts, RoundCounts
from fedward.folders.simulation import SimulationFolder
from fedward.types import ImageSet

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE_ROUNDS = 2
ROUNDS, HOSPITALS = (50, 200, 1000), 20
_PARENT, _TRANSACTIONS, _RECEIPTS, _NUMBER, _TIME = 0, 4, 5, 8, 11  # places in a header
_SECONDS = 3  # from block to block


@dataclass(frozen=True)
class Row:
    """A run of one size: what it holds, seconds of each page the first time and again, and the server's memory."""

    rounds: int
    hospitals: int
    blocks: int
    reading_s: float
    while_reading_s: float
    first_s: dict[str, float]
    again_s: dict[str, float]
    start_mb: float
    peak_mb: float


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, nargs="+", default=list(ROUNDS), help="each at least 3")
    parser.add_argument("--hospitals", type=int, default=HOSPITALS)
    parser.add_argument("--keep", type=Path, help="where runs are made, and found again")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.keep or Path(folder)
        rows = [measure(made(place, rounds, arguments.hospitals)) for rounds in arguments.rounds]
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    for row in rows:
        slowest = max(row.first_s, key=lambda name: row.first_s[name])
        print(
            f"{row.rounds} rounds of {row.hospitals} hospitals, {row.blocks:,} blocks: reading {row.reading_s:.1f} s, "
            f"while reading {row.while_reading_s:.2f} s; slowest page {row.first_s[slowest]:.2f} s ({slowest}), again "
            f"{max(row.again_s.values()):.2f} s; memory {row.start_mb:.0f} MB at the start, {row.peak_mb:.0f} at most"
        )
        for name, seconds in row.first_s.items():
            print(f"  {name:28s} {seconds:6.3f} {row.again_s[name]:6.3f}")


# ---- a run ----------------------------------------------------------------------------------------------------------


def made(place: Path, rounds: int, hospitals: int) -> Path:
    """A run of that size, which is made where it is not there yet."""
    path = place / f"rounds-{rounds}-hospitals-{hospitals}"
    if path.exists():
        return path
    unfinished = SimulationFolder.create(path.with_name(f"{path.name}.part"))
    wanted = (("data.hospitals", hospitals), ("training.rounds", TEMPLATE_ROUNDS), ("speed.poll-interval-s", 0.01))
    make_ledger(unfinished, setting.load(None, *wanted))
    height = repeat_rounds(unfinished, rounds)
    write_figures(unfinished, rounds, height)
    return unfinished.path.rename(path)


def repeat_rounds(run: SimulationFolder, rounds: int) -> int:
    """Write the second round again until there are so many; returns the chain's height."""
    path = chain_file(run.path)
    server = Identity.load(run.server.identity)
    with StoredChain.open(path) as chain:
        height = chain.height()
        blocks = [(chain.block(number), chain.receipts(number)) for number in range(1, height + 1)]
    template = blocks[-_length([_fields(block)[0][7][:4] for block, _ in blocks]) :]
    head = keccak(rlp.encode(rlp.decode(blocks[-1][0])[0]))
    nonce = int.from_bytes(_fields(template[-1][0])[0][1], "big") + 1
    store = ChainStore(path)
    try:
        for index in range(TEMPLATE_ROUNDS + 1, rounds + 1):
            with store.transaction():
                for block, receipts in template:
                    height += 1
                    head = _write_block(store, (block, receipts), index, (height, nonce), head, server)
                    nonce += 1
                store[SchemaV1.make_canonical_head_hash_lookup_key()] = head
    finally:
        store.close()
    return height


def _length(calls: Sequence[bytes]) -> int:
    """How many blocks a round has: the last call of each ends it."""
    ends = [place for place, call in enumerate(calls) if call == calls[-1]]
    return ends[-1] - ends[-2]


def _fields(block: bytes) -> list[list[bytes]]:
    """The fields of a block's transactions, all of the kind with a base fee."""
    return [rlp.decode(item[1:]) for item in rlp.decode(block)[1]]


def _write_block(
    store: ChainStore,
    old: tuple[bytes, tuple[bytes, ...]],
    index: int,
    place: tuple[int, int],
    parent: bytes,
    server: Identity,
) -> bytes:
    """Write one block like another, of a later round; returns its hash."""
    (height, nonce), (encoded, receipts) = place, old
    header, items, *_ = rlp.decode(encoded)
    if len(items) != 1:
        raise SystemExit("A block of the template has more than one transaction.")
    transaction = CancunTransactionBuilder.decode(items[0])
    signed = server.sign_transaction(
        {
            "chainId": transaction.chain_id, "nonce": nonce, "gas": transaction.gas, "to": transaction.to,
            "value": 0, "data": _of_round(transaction.data, index, 4),
            "maxFeePerGas": transaction.max_fee_per_gas, "maxPriorityFeePerGas": transaction.max_priority_fee_per_gas,
        }
    )  # fmt: skip
    status, gas, bloom, logs = rlp.decode(receipts[0][1:])
    renewed = [
        [address, [topics[0], index.to_bytes(32, "big"), *topics[2:]], _of_round(data, index)]
        for address, topics, data in logs
    ]
    fields = list(header)
    fields[_PARENT], fields[_NUMBER] = parent, _short(height)
    fields[_TIME] = _short(int.from_bytes(header[_TIME], "big") + _SECONDS * height)
    fields[_TRANSACTIONS] = _save_trie(store, bytes(signed.raw_transaction))
    fields[_RECEIPTS] = _save_trie(store, receipts[0][:1] + rlp.encode([status, gas, bloom, renewed]))
    written = rlp.encode(fields)
    block_hash = bytes(keccak(written))
    store[block_hash] = written
    store[SchemaV1.make_block_number_to_hash_lookup_key(BlockNumber(height))] = rlp.encode(Hash32(block_hash))
    return block_hash


def _of_round(data: bytes, index: int, begin: int = 0) -> bytes:
    """Arguments with other words in place of those that look like hashes."""
    words = [data[at : at + 32] for at in range(begin, len(data), 32)]
    return data[:begin] + b"".join(
        keccak(word + index.to_bytes(32, "big")) if len(word) == 32 and word[:4] != bytes(4) else word for word in words
    )


def _save_trie(store: ChainStore, item: bytes) -> bytes:
    """Write a trie of one item; returns its root."""
    nodes: dict[bytes, bytes] = {}
    trie = HexaryTrie(nodes)
    trie[rlp.encode(0)] = item
    for key, node in nodes.items():
        store[key] = node
    return bytes(trie.root_hash)


def _short(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def write_figures(run: SimulationFolder, rounds: int, height: int) -> None:
    """Metrics of every round, counts of the last one, and a summary: of random scores."""
    record, rng = run.server.load_record(), np.random.default_rng(1)
    record.settings["training"]["rounds"] = rounds
    run.server.save_record(record)
    per_round = height // rounds
    own = {str(member.hospital): _images(rng, WEIGHT) for member in record.roster}
    pooled = _images(rng, WEIGHT * len(record.roster))
    curve = np.linspace(0.7, 0.2, rounds)
    metrics = [
        {
            "time": "2026-01-01T00:00:00.000Z", "round": index, "phase": "rejected" if index % 10 == 0 else "accepted",
            "submitted": len(record.roster), "rejections": [], "failures": [], "accepts": len(record.roster),
            "rejects": 0, "train_loss": curve[index - 1], "val_n": 100, "val_loss": curve[index - 1],
            "val_auc": 1 - curve[index - 1], "threshold": 0.5, "thresholds": [0.5], "saturated": 0,
            "height": index * per_round, "ledger_head": "00" * 32, "timing_s": {"train": 1.0, "vote": 1.0},
        }
        for index in range(1, rounds + 1)
    ]  # fmt: skip
    run.server.metrics.write_text("".join(f"{json.dumps(line)}\n" for line in metrics))
    listed = run.server.ciphertexts.path / f"round-{TEMPLATE_ROUNDS:04d}.json"
    for index in range(TEMPLATE_ROUNDS + 1, rounds + 1):
        listed.with_name(f"round-{index:04d}.json").write_bytes(listed.read_bytes())
    plain = {
        member.address: PlainCounts.of(histogram(own[str(member.hospital)][1], own[str(member.hospital)][0].labels))
        for member in record.roster
    }
    for index in (rounds, rounds - 1):
        run.server.counts.save(index, RoundCounts(plain, {}, ()))
    scores = {
        "pooled": score(*pooled, 0.5).as_dict(),
        "hospitals": {name: score(*found, 0.5).as_dict() for name, found in own.items()},
        "findings": score_findings(*pooled, (0.5,), record.findings),
    }
    summary = {"scores": scores, "test": {"auc": scores["pooled"]["auc"]}, "privacy": {"epsilon": None}}
    run.summary.write_text(json.dumps(summary))


def _images(rng: np.random.Generator, count: int) -> tuple[ImageSet, Any]:
    """Images without pixels, with random truth, and scores that mostly say it."""
    labels = rng.integers(0, 2, (count, 1)).astype(np.float32)
    logits = (labels * 2 - 1 + rng.normal(0, 1, labels.shape)).astype(np.float32)
    patients = np.array([f"{number:032x}" for number in range(count)])
    return ImageSet(np.zeros((count, 1, 1, 1), np.uint8), labels, patients), logits


# ---- its pages ------------------------------------------------------------------------------------------------------


def measure(path: Path) -> Row:
    """Open each page of a run, the server in a process of its own."""
    run = read_run(path)
    with StoredChain.open(chain_file(path)) as chain:
        height = chain.height()
    with subprocess.Popen(  # noqa: S603  this program itself, and a path of ours
        [sys.executable, str(ROOT / "main.py"), "view", str(path)], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            if process.stdout is None:
                raise SystemExit("The server has no output.")
            address = process.stdout.readline().strip()
            session, origin = requests.Session(), address.partition("/?")[0]
            session.get(address).raise_for_status()
            start = _memory_mb(process.pid, "VmRSS")
            place = f"{origin}/runs/{run.key}"
            reading, meanwhile = _read(session, place)
            pages = dict(_pages(session, place, len(run.rounds), height))
            first = {name: _seconds(session, place + page) for name, page in pages.items()}
            again = {name: _seconds(session, place + page) for name, page in pages.items()}
            peak = _memory_mb(process.pid, "VmHWM")
        finally:
            process.terminate()
    hospitals = len(run.record.roster)
    return Row(len(run.rounds), hospitals, height, reading, meanwhile, first, again, start, peak)


def _read(session: requests.Session, place: str) -> tuple[float, float]:
    """Wait until the ledger's index is made; returns how long that took, and the slowest page meanwhile."""
    began, slowest = time.perf_counter(), _seconds(session, place)
    while True:
        asked = time.perf_counter()
        status = session.get(f"{place}/ledger").status_code
        slowest = max(slowest, time.perf_counter() - asked)
        if status == requests.codes.ok:
            return time.perf_counter() - began, slowest
        if status != requests.codes.unavailable:
            raise SystemExit(f"The ledger's page answered {status}.")
        slowest = max(slowest, _seconds(session, f"{place}/model"))
        time.sleep(0.5)


def _pages(session: requests.Session, place: str, rounds: int, height: int) -> Iterator[tuple[str, str]]:
    """Each page's name and address."""
    yield from (("run", ""), ("run, oldest rounds", f"?rounds={rounds}"), ("learning curves", "/curves.png"))
    yield from (("model", "/model"), ("hospitals", "/hospitals"), ("ledger", "/ledger"))
    yield "ledger, oldest", f"/ledger?events={height}&blocks={height}"
    yield from (("first round", "/rounds/1"), ("last round", f"/rounds/{rounds}"))
    block = f"/blocks/{height // 2}"
    yield "block", block
    found = session.get(place + block).text.partition("/transactions/")[2][:64]
    yield "transaction", f"/transactions/{found}"
    yield from (("search: hospital", "/search?q=hospital-1"), ("search: round", "/search?q=2"))
    yield from (("search: hash", f"/search?q={found[:12]}"), ("search: many", "/search?q=0000"))


def _seconds(session: requests.Session, address: str) -> float:
    """How long an answer takes, all of it."""
    began = time.perf_counter()
    session.get(address).raise_for_status()
    return time.perf_counter() - began


def _memory_mb(process: int, name: str) -> float:
    """A process's memory, as the kernel calls it: VmRSS now, VmHWM at most."""
    status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
    return int(status.split(f"{name}:")[1].split()[0]) * 1024 / 1e6


if __name__ == "__main__":
    main()
