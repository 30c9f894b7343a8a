"""A run folder as evidence, read without changing a byte of it."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from blockchain.audit.report import Report, Step
from blockchain.audit.sources import claims as claimed
from blockchain.audit.sources.evidence import MAX_RELEASES, Amount, ClaimedMember, Claims, Genesis, RawBlock, Tables
from blockchain.audit.sources.released import ReleasedFolder
from blockchain.audit.sources.round_keys import KEY_FILE, MAX_KEY_FILE_BYTES
from blockchain.ledger.encoding import encode_event
from blockchain.ledger.json_fields import Account
from blockchain.node.stored_chain import StoredChain
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.checked_json import Part, Readable
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import EvidenceError, LedgerError, VerificationError
from fedward.files import read_file
from fedward.folders.ciphertexts import RoundFiles
from fedward.folders.format import check_format
from fedward.folders.places import chain_file, hospitals_part, record_file, server_part, summary_file
from fedward.privacy.accounting import Release, epsilon
from fedward.settings import guaranteed
from fedward.types import HospitalId, PrivacyEvent, Whole, Word

_ROUND_FILE = re.compile(r"round-([0-9]{4,10})\.json", re.ASCII)


@dataclass(frozen=True)
class _Summary:
    """What `summary.json` says of privacy and of the ledger's end; all None where there is no such file yet."""

    epsilon: float | None = None
    delta: float | None = None
    height: int | None = None
    ledger_head: bytes | None = None


@dataclass(frozen=True)
class _Spent:
    """The sum of a hospital's privacy record; 0 releases: their number is not given."""

    epsilon: float
    delta: float
    releases: int = 0


class RunEvidence:
    """Evidence from a run folder whose node is stopped; see `Evidence`.

    Guarantees:
        1. Nothing in the folder is written, made or removed.
    """

    live = False

    def __init__(self, run: Path) -> None:
        self._ciphertexts = server_part(run) / "ciphertexts"
        self._record = record_file(run)
        self._chain = chain_file(run)
        self._hospitals = hospitals_part(run)
        self._summary_file = summary_file(run)
        self._run = run
        self.source = f"the run folder {run}"

    def close(self) -> None:
        """Nothing stays open between calls."""

    def claims(self) -> Claims:
        """What `run.json`, `summary.json` and the hospitals' own privacy records say."""
        base, summary = self.record(), self._summary()
        spent = self._spent(base)
        if not spent and summary.epsilon is not None:  # the largest epsilon of any hospital
            spent = {member.hospital: _Spent(summary.epsilon, summary.delta or 0.0) for member in base.roster}
        deltas = [of_one.delta for of_one in spent.values() if of_one.delta > 0]
        return replace(
            base,
            epsilons={hospital: of_one.epsilon for hospital, of_one in spent.items()},
            releases={hospital: of_one.releases for hospital, of_one in spent.items() if of_one.releases},
            delta=max(deltas) if deltas else None,
            height=summary.height,
            ledger_head=summary.ledger_head,
        )

    def released(self) -> ReleasedFolder:
        """What the run hands out as its result."""
        return ReleasedFolder(self._run)

    def genesis(self) -> Genesis:
        """Block 0, from the ledger's store."""
        with StoredChain.open(self._chain) as chain:
            return Genesis(chain.header(0), chain.balances())

    def blocks(self) -> Iterator[RawBlock]:
        """The blocks after block 0, from the ledger's store, which is held open meanwhile."""
        with StoredChain.open(self._chain) as chain:
            for number in range(1, chain.height() + 1):
                yield RawBlock(number, chain.block(number))

    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        """Every hospital's signed checkpoints, by hospital, each oldest first; unsigned ones prove nothing."""
        found: list[SignedCheckpoint] = []
        for path in self._hospital_files("checkpoints.jsonl"):
            content = _read(path, "The file of checkpoints")
            found += claimed.checkpoints_from_lines(content, str(path))
        return tuple(found)

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round."""
        what = f"The list of ciphertexts of round {round_index}"
        path = self._ciphertexts / f"round-{round_index:04d}.json"
        return claimed.parse(claimed.RoundForm, _read(path, what), f"{path}").files()

    def rounds(self) -> tuple[int, ...]:
        """The rounds whose ciphertexts are listed, in order."""
        matches = (_ROUND_FILE.fullmatch(path.name) for path in self._listing(self._ciphertexts))
        return tuple(sorted(int(match[1]) for match in matches if match))

    def chunk(self, name: str) -> bytes:
        """The ciphertext that is stored under a hash; whether it has that hash is for the reader to check."""
        if not claimed.is_hash(name):
            raise VerificationError(f"{name[:80]!r} is not the name of a ciphertext.", "Compare with another copy.")
        return _read(self._ciphertexts / name, f"Ciphertext {name[:12]}", CHUNK_BYTES)

    def key_files(self) -> tuple[str, ...]:
        """The files about rounds' shared keys and counts, in order."""
        server = server_part(self._run)
        found = (path for part in ("counts", "dealings", "releases") for path in self._listing(server / part))
        names = (path.relative_to(server).as_posix() for path in found)
        return tuple(name for name in names if KEY_FILE.fullmatch(name))

    def key_file(self, name: str) -> bytes:
        """One of them."""
        return _read(server_part(self._run) / name, f"The file {name}", MAX_KEY_FILE_BYTES)

    def check_members(self, report: Report) -> None:
        """Report under the step EVIDENCE, for every part of the folder, whether it is there and readable."""
        told: Claims | None = None
        with report.guarding(Step.EVIDENCE):
            told = self.claims()
            report.ok(Step.EVIDENCE, f"run.json names {len(told.roster)} hospitals and the ledger {told.contract}.")
        with report.guarding(Step.EVIDENCE), StoredChain.open(self._chain) as chain:
            report.ok(Step.EVIDENCE, f"chain.sqlite holds {chain.height() + 1} blocks.")
            entries = chain.check_entries()
            text = f"{entries:,} entries of chain.sqlite are what the hash says that each is kept under."
            report.ok(Step.EVIDENCE, text, checks=entries)
        with report.guarding(Step.EVIDENCE):
            report.note(Step.EVIDENCE, f"There are {len(self.checkpoints())} signed checkpoints.")
        with report.guarding(Step.EVIDENCE):
            rounds = [self.round_files(index) for index in self.rounds()]
            report.ok(Step.EVIDENCE, f"The ciphertexts of {len(rounds)} rounds are listed.", checks=len(rounds))
        with report.guarding(Step.EVIDENCE):
            if told and self._summary_file.exists():
                self._check_stated(self._summary(), told, report)

    def _check_stated(self, stated: _Summary, told: Claims, report: Report) -> None:
        """Compare what `summary.json` states of privacy with the hospitals' records, which step 12 looks into."""
        largest = max(told.epsilons.values(), default=None)
        if stated.epsilon is not None and stated.epsilon != largest:
            text = f"summary.json states epsilon {stated.epsilon!r}; the hospitals' records make it {largest!r}."
            report.fail(Step.EVIDENCE, text)
        if stated.delta != told.delta:
            text = f"summary.json states delta {stated.delta!r}; the hospitals' records have {told.delta!r}."
            report.fail(Step.EVIDENCE, text)

    # ---- the folder's own files ---------------------------------------------------------------------------------

    def record(self) -> Claims:
        """What `run.json` alone claims: no budget, and no end of the ledger."""
        path = self._record
        content = _read(path, "The run's record")
        check_format(content, f"The run in {self._run}")
        return claimed.parse(_RecordForm, content, str(path)).claims(path)

    def _summary(self) -> _Summary:
        """What `summary.json` says; a run that is not finished has none."""
        path = self._summary_file
        if not path.exists() and not path.is_symlink():
            return _Summary()
        stated = claimed.parse(_SummaryForm, _read(path, "The summary"), str(path))
        privacy, ledger = stated.privacy, stated.ledger
        return _Summary(privacy.epsilon, privacy.delta, ledger.height, ledger.head)

    def _spent(self, base: Claims) -> dict[HospitalId, _Spent]:
        """What each hospital has spent, where its privacy record is here and has private releases."""
        spent = {}
        for member in base.roster:
            path = self._hospitals / member.hospital / "privacy.jsonl"
            if not path.exists() and not path.is_symlink():
                continue
            lines = _read(path, "The privacy record").split(b"\n")[:-1]
            if len(lines) > MAX_RELEASES:
                raise VerificationError(f"{path} lists more than {MAX_RELEASES:,} releases.", "Restore that file.")
            releases = claimed.parse_lines(Release, lines, str(path))
            events = [_checked_event(release, f"Line {at} of {path}") for at, release in enumerate(releases, start=1)]
            private = [event for event in events if event.mode != "none"]
            if private:
                largest = max(event.delta for event in private)
                spent[member.hospital] = _Spent(_epsilon(private, path), largest, len(private))
        return spent

    def _hospital_files(self, name: str) -> list[Path]:
        """A file of every hospital that has it, by hospital."""
        files = (path / name for path in self._listing(self._hospitals))
        return [path for path in files if path.exists() or path.is_symlink()]

    def _listing(self, folder: Path) -> list[Path]:
        """What lies in a folder, by name."""
        try:
            return sorted(folder.iterdir()) if folder.exists() else []
        except OSError as error:
            raise EvidenceError(f"{folder} could not be read: {error.strerror}.", "Check who may read it.") from error


@dataclass(frozen=True)
class _RecordForm(Part):
    """The part of `run.json` that claims something."""

    run_id: Annotated[str, Readable(255)]
    contract: Account
    settings: Tables
    roster: tuple[ClaimedMember, ...]

    def claims(self, path: Path) -> Claims:
        """As claims without budget and end."""
        remedy = "Compare with another copy."
        try:
            chain_id, settings = self.settings["ledger"]["chain-id"], guaranteed(self.settings)
        except KeyError as error:
            raise VerificationError(f"{path} is malformed: its settings lack {error}.", remedy) from error
        if not isinstance(chain_id, int) or isinstance(chain_id, bool) or chain_id < 0:
            raise VerificationError(f"{path} is malformed: ledger.chain-id must be a whole number.", remedy)
        return Claims(self.run_id, chain_id, self.contract, settings, self.roster)


@dataclass(frozen=True)
class _StatedPrivacy(Part):
    """What `summary.json` says of privacy."""

    epsilon: Amount | None
    delta: Amount | None


@dataclass(frozen=True)
class _StatedEnd(Part):
    """Where `summary.json` says that the ledger ends."""

    height: Whole
    head: Word


@dataclass(frozen=True)
class _SummaryForm(Part):
    """The part of `summary.json` that claims something."""

    privacy: _StatedPrivacy
    ledger: _StatedEnd


def _checked_event(release: Release, what: str) -> PrivacyEvent:
    """The event of a line of a privacy record, if the ledger could hold it."""
    event = release.event
    try:
        encode_event(event)
    except LedgerError as error:
        raise VerificationError(f"{what} is malformed: {error.what}", "Restore that file.") from error
    if event.mode != "none" and not (0 < event.sampling_rate <= 1 and event.noise_multiplier > 0 < event.delta < 1):
        raise VerificationError(f"{what} is malformed: it is no private release.", "Restore that file.")
    return event


def _read(path: Path, what: str, most: int = claimed.MAX_JSON_BYTES) -> bytes:
    """A file of the folder; raises as `fedward.files.read_file`."""
    return read_file(path, most, what, "Restore that file.")


def _epsilon(private: list[PrivacyEvent], path: Path) -> float:
    """The epsilon of one hospital's releases."""
    try:
        value = epsilon(private)
    except (ArithmeticError, ValueError) as error:
        raise VerificationError(f"No epsilon follows from {path}: {error}.", "Restore that file.") from error
    if value is None or not math.isfinite(value):
        raise VerificationError(f"No finite epsilon follows from {path}.", "Restore that file.")
    return value
