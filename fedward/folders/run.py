"""The folder of a run, as its server and its simulation see it; hospitals see only their own part.

RUN/  run.json  summary.json  trust.json  metrics.jsonl  progress.jsonl  learning_curves.png  model.keras
      server/ (its Ethereum key)  witness/ (its Ethereum key, where one is required)
      counts/ (sums of encrypted validation counts, by round, where metrics.encrypted is set)
      ledger/  ciphertexts/<sha256>  keys/ (signed sealing keys, sealed keys: nothing secret)  hospitals/<id>/
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock

from fedward.ciphertexts.encrypted_counts import EncryptedCounts
from fedward.ciphertexts.serialized import CIPHERTEXT
from fedward.errors import EvidenceError, ResourceError, UsageError
from fedward.files import append_line, make_folder, parse_json, read_lines, sha256, write_atomic
from fedward.folders.hospital import HospitalFolder
from fedward.folders.key_board import KeyBoard
from fedward.types import Address, HospitalId

_HASH = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True)
class Member:
    """A hospital on the roster, as everybody may know it."""

    hospital: HospitalId
    address: Address
    weight: int


@dataclass(frozen=True)
class RunRecord:
    """What a run is, fixed before its first round (`run.json`).

    Attributes:
        run_id: The folder's name.
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


class RunFolder:
    """Names and reads the files of a run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = path / "server"
        self.witness = path / "witness"
        self.ledger = path / "ledger"
        self.ciphertexts = path / "ciphertexts"
        self.counts = path / "counts"
        self.hospitals = path / "hospitals"
        self.keys = KeyBoard(path / "keys")
        self.metrics = path / "metrics.jsonl"
        self.progress = path / "progress.jsonl"
        self.summary = path / "summary.json"
        self.trust = path / "trust.json"
        self.model = path / "model.keras"

    def check_unused(self) -> None:
        """Make sure that there is nothing in the folder.

        Raises:
            UsageError: there is.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(
                f"The output folder {self.path} is in use.",
                "Choose another --out, or continue that run with --resume.",
            )

    @classmethod
    def create(cls, path: Path) -> "RunFolder":
        """Make a new run folder.

        Raises:
            UsageError: there is something in it already, or it cannot be made.
        """
        run = cls(path)
        run.check_unused()
        try:
            for folder in (run.server, run.ledger, run.ciphertexts, run.hospitals):
                make_folder(folder)
        except ResourceError as error:
            raise UsageError(
                f"The output folder {path} cannot be made. {error.what}", "Choose another --out."
            ) from error
        return run

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, so that no second run writes to it.

        Raises:
            UsageError: another run holds it.
        """
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            with lock:
                yield
        except filelock.Timeout as error:
            raise UsageError(
                f"The output folder {self.path} is in use by a running simulation.", "Wait for it, or choose another."
            ) from error

    def hospital(self, hospital: HospitalId) -> HospitalFolder:
        """One hospital's folder."""
        return HospitalFolder(self.hospitals / hospital)

    def save_record(self, record: RunRecord) -> None:
        """Write `run.json`."""
        write_atomic(self.path / "run.json", json.dumps(asdict(record), indent=2).encode())

    def load_record(self) -> RunRecord:
        """Read `run.json`.

        Raises:
            EvidenceError: it is missing or damaged.
        """
        path = self.path / "run.json"
        try:
            values = parse_json(path.read_bytes())
            values["roster"] = tuple(Member(**member) for member in values["roster"])
            values |= {name: tuple(values[name]) for name in ("findings", "class_names", "witnesses")}
            return RunRecord(**values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(f"{path} is missing or damaged.", "Name the folder of a run.") from error

    def store_ciphertext(self, chunk: bytes) -> Path:
        """Keep a ciphertext under its SHA-256; the same bytes are kept once."""
        path = self.ciphertexts / sha256(chunk).hex()
        if not path.exists():
            write_atomic(path, chunk)
        return path

    def save_round(
        self, round_index: int, aggregate: Sequence[Path], updates: Mapping[Address, Sequence[Path]]
    ) -> None:
        """Write down which ciphertexts make up a round: what an absent hospital, and an auditor, will ask for."""
        names = {address: [path.name for path in paths] for address, paths in updates.items()}
        content = {"aggregate": [path.name for path in aggregate], "updates": names}
        write_atomic(self._round_file(round_index), json.dumps(content, indent=1).encode())

    def load_aggregate(self, round_index: int) -> tuple[bytes, ...]:
        """The ciphertexts of a round's aggregate.

        Raises:
            EvidenceError: one of them is missing.
        """
        try:
            names = parse_json(self._round_file(round_index).read_bytes())["aggregate"]
            return tuple((self.ciphertexts / name).read_bytes() for name in names)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(
                f"The aggregate of round {round_index} is missing from {self.ciphertexts}.", "Restore that folder."
            ) from error

    def load_updates(self, round_index: int) -> dict[Address, tuple[str, ...]]:
        """Under which names the ciphertexts of each update of a round are stored, in order.

        Raises:
            EvidenceError: this is not known, or a name is none of a ciphertext.
        """
        path = self._round_file(round_index)
        try:
            updates = parse_json(path.read_bytes())["updates"]
            named = {Address(address): tuple(names) for address, names in updates.items()}
            damaged = not all(_HASH.fullmatch(name) for names in named.values() for name in names)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvidenceError(f"{path} is missing or damaged.", "Restore that file from a backup.") from error
        if damaged:
            raise EvidenceError(f"{path} names something else than hashes.", "Restore that file from a backup.")
        return named

    def _round_file(self, round_index: int) -> Path:
        return self.ciphertexts / f"round-{round_index:04d}.json"

    def save_counts(self, round_index: int, counts: EncryptedCounts) -> None:
        """Keep a round's sum of encrypted validation counts, whole or not at all: a line of JSON, then ciphertexts."""
        make_folder(self.counts)
        head = json.dumps({"hospitals": counts.hospitals}).encode()
        write_atomic(self._counts_file(round_index), head + b"\n" + b"".join(counts.chunks))

    def load_counts(self, round_index: int) -> EncryptedCounts | None:
        """The sum of a round's encrypted validation counts; None where there is none.

        Raises:
            EvidenceError: it is damaged.
        """
        path = self._counts_file(round_index)
        try:
            head, _, content = path.read_bytes().partition(b"\n")
            hospitals = parse_json(head)["hospitals"]
            damaged = not isinstance(hospitals, list) or not all(isinstance(name, str) for name in hospitals)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvidenceError(f"{path} is damaged.", "Restore that file from a backup.") from error
        size = CIPHERTEXT.total_bytes
        if damaged or len(content) % size:
            raise EvidenceError(f"{path} is damaged.", "Restore that file from a backup.")
        chunks = tuple(content[start : start + size] for start in range(0, len(content), size))
        return EncryptedCounts(tuple(Address(name) for name in hospitals), chunks)

    def _counts_file(self, round_index: int) -> Path:
        return self.counts / f"round-{round_index:04d}.sum"

    def log_round(self, metrics: dict[str, Any]) -> None:
        """Add a finished round to `metrics.jsonl`."""
        append_line(self.metrics, json.dumps(metrics))

    def rounds(self) -> list[dict[str, Any]]:
        """The finished rounds, oldest first.

        Raises:
            EvidenceError: `metrics.jsonl` is damaged.
        """
        try:
            return [parse_json(line.encode()) for line in read_lines(self.metrics)]
        except ValueError as error:
            raise EvidenceError(f"{self.metrics} is damaged.", "Restore it from a backup.") from error

    def log_progress(self, event: str, **details: Any) -> None:
        """Tell whoever watches what has just happened."""
        append_line(self.progress, json.dumps({"event": event, **details}))
