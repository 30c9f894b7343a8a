"""The server's folder on its own disk: the study's description, ciphertexts, key board, metrics, and progress.

run.json  identity/  transactions/  ciphertexts/  metrics.jsonl  progress.jsonl  pause (asks to stop after a round)
counts/ (`fedward.folders.round_counts`)  shares/  dealings/  releases/ (`fedward.folders.round_keys`)
keys/ (the key board, which the server keeps: signed sealing keys and sealed keys, nothing secret)
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedward.checked_json import read_json, to_json
from fedward.errors import EvidenceError, LedgerError, UsageError
from fedward.files import append_line, parse_json, read_file, read_lines, write_atomic
from fedward.folders.ciphertexts import CiphertextFolder
from fedward.folders.format import FORMAT, check_format
from fedward.folders.key_board import KeyBoardFolder
from fedward.folders.round_counts import CountsFolder
from fedward.folders.round_keys import RoundKeyRecords, ShareFolder
from fedward.folders.whereabouts import announced_url
from fedward.sharing.signed import SentSum
from fedward.sharing.terms import Purpose
from fedward.timing import utc_now
from fedward.types import Address, Member

MAX_RECORD_BYTES = 64 * 1024**2
# In the environment of a server's processes on a host of their own: where its folder lies. Hospitals need not know.
SERVER_FOLDER = "FEDWARD_SERVER_FOLDER"


@dataclass(frozen=True)
class RunRecord:
    """The description of a study, fixed before its first round (`run.json`).

    Attributes:
        run_id: The study's name.
        created: UTC time, ISO 8601.
        versions: Package versions that results depend on.
        settings: All settings, as nested tables.
        settings_digest, initial_model_digest: As on the ledger, hexadecimal.
        findings, class_names: What the model tells apart.
        parameters: Number of trainable weights.
        contract: The ledger's address.
        roster: The hospitals, in the ledger's order.
        witnesses: Who may attest to aggregates.
        genesis_hash: Of block 0 of the ledger's chain, hexadecimal.
        format: Of the run (`fedward.folders.format`).
    """

    run_id: str
    created: str
    versions: dict[str, str]
    settings: dict[str, dict[str, Any]]
    settings_digest: str
    initial_model_digest: str
    findings: tuple[str, ...]
    class_names: tuple[str, ...]
    parameters: int
    contract: Address
    roster: tuple[Member, ...]
    witnesses: tuple[Address, ...]
    genesis_hash: str
    format: int = FORMAT


class ServerFolder:
    """Reads and writes the server's folder; every file is whole or not there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.identity = path / "identity"
        self.transactions = path / "transactions"
        self.ciphertexts = CiphertextFolder(path / "ciphertexts")
        self.counts = CountsFolder(path / "counts")
        self.shares = ShareFolder(path / "shares")
        self.round_keys = RoundKeyRecords(path)
        self.keys = KeyBoardFolder(path / "keys")
        self.metrics = path / "metrics.jsonl"
        self.progress = path / "progress.jsonl"
        self.pause = path / "pause"

    @classmethod
    def own(cls, named: str, environment: Mapping[str, str]) -> "ServerFolder":
        """The folder of the server that this process is.

        Args:
            named: The folder that the run config names; empty: the environment names it.
            environment: Environment variables of this process.

        Raises:
            UsageError: neither says which folder it is.
        """
        path = named or environment.get(SERVER_FOLDER)
        if not path:
            raise UsageError("This server does not know its folder.", "Start it by main.py serve, or set run.folder.")
        return cls(Path(path))

    def ledger_url(self, named: str) -> str:
        """Where the server's node of the ledger listens.

        Args:
            named: The URL that the run config names; empty: the node's folder, beside this one, says it.

        Raises:
            LedgerError: neither says it.
        """
        url = named or announced_url(self.path.parent / "ledger")
        if not url:
            raise LedgerError("The ledger's node is not running.", "Start it: main.py serve KIT, or set run.rpc-url.")
        return url

    def save_record(self, record: RunRecord) -> None:
        """Write `run.json`."""
        write_atomic(self.path / "run.json", json.dumps(to_json(record), indent=2).encode())

    def load_record(self) -> RunRecord:
        """Read `run.json`.

        Raises:
            EvidenceError: it is missing or damaged.
        """
        path, what, remedy = self.path / "run.json", "The run's record", "Name the folder of a run."
        check_format(read_file(path, MAX_RECORD_BYTES, what, remedy), f"The run in {self.path.parent}")
        return read_json(RunRecord, path, what, remedy)

    def load_sum(self, round_index: int) -> SentSum:
        """A round's aggregate, with what hospitals released to open it.

        Raises:
            EvidenceError: a part of it is missing or damaged.
        """
        releases = self.round_keys.load_releases(round_index, Purpose.UPDATES)
        return SentSum(self.ciphertexts.load_aggregate(round_index), releases)

    def log_round(self, metrics: dict[str, Any]) -> None:
        """Add a finished round to `metrics.jsonl`, with the time."""
        append_line(self.metrics, json.dumps({"time": utc_now(), **metrics}))

    def rounds(self) -> list[dict[str, Any]]:
        """The finished rounds, oldest first.

        Raises:
            EvidenceError: `metrics.jsonl` is damaged.
        """
        try:
            return [parse_json(line.encode()) for line in read_lines(self.metrics)]
        except ValueError as error:
            raise EvidenceError(f"{self.metrics} is damaged.", "Restore it from a backup.") from error

    def ask_to_pause(self) -> None:
        """Ask whoever leads the rounds to stop after the one that runs."""
        write_atomic(self.pause, b"")

    def log_progress(self, event: str, **details: Any) -> None:
        """Add an event that has just happened to `progress.jsonl`, with the time, for whoever watches the run."""
        append_line(self.progress, json.dumps({"time": utc_now(), "event": event, **details}))
