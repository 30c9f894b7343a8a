"""The bundle: writes a run's evidence to one file that an auditor takes home, and reads it for the audit.

manifest.json  genesis.json  blocks.rlp  artifact.json  checkpoints.jsonl  counts/...  dealings/...  releases/...
[ciphertexts/<sha256> ...]

`blocks.rlp` holds each block after block 0 as its length (4 bytes, big-endian) and its RLP. The manifest has the run's
claims, the ciphertexts of each round by name, and the SHA-256 of every other member; a ciphertext's is its name.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, TypeVar

from blockchain.audit.report import Report, Step
from blockchain.audit.sources import claims as claimed
from blockchain.audit.sources.archive import ArchiveWriter, writing
from blockchain.audit.sources.evidence import Claims, Evidence, Genesis, RawBlock
from blockchain.audit.sources.round_keys import KEY_FILE, MAX_KEY_FILE_BYTES, RoundKeys
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.ledger.artifact import ARTIFACT_FILE
from blockchain.node.stored_chain import Balances, encode_balances
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.archive import Archive
from fedward.checked_json import to_json
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import EvidenceError, FedwardError, VerificationError
from fedward.files import read_file
from fedward.folders.ciphertexts import RoundFiles
from fedward.folders.format import FORMAT, check_format
from fedward.folders.places import record_file

MANIFEST, GENESIS, BLOCKS, ARTIFACT, CHECKPOINTS = (
    "manifest.json",
    "genesis.json",
    "blocks.rlp",
    "artifact.json",
    "checkpoints.jsonl",
)
CIPHERTEXTS = "ciphertexts/"
_DIGESTED = {GENESIS, BLOCKS, ARTIFACT, CHECKPOINTS}
MAX_BLOCK_BYTES = 16 * 1024 * 1024  # the gas limit leaves room for half of that
MAX_HEADER_BYTES = 4096
MAX_MEMBERS = 4_000_000  # 780 rounds of five hospitals with a model of seven million parameters
MAX_MANIFEST_BYTES = 512 * 1024 * 1024  # 70 bytes a ciphertext

_LENGTH_BYTES = 4
_PIECE_BYTES = 1024 * 1024
_REMEDY = "Ask for the bundle again, or compare it with another copy."
Format = TypeVar("Format")


class ListedEvidence(Evidence, Protocol):
    """Evidence that can list the rounds whose ciphertexts it knows."""

    def rounds(self) -> tuple[int, ...]:
        """The rounds whose ciphertexts are listed, in order."""

    def key_files(self) -> tuple[str, ...]:
        """The files about rounds' shared keys, in order."""

    def key_file(self, name: str) -> bytes:
        """One of them."""

    def check_members(self, report: Report) -> None:
        """Report under the step EVIDENCE, for every part, whether it is there and whole."""


@dataclass(frozen=True)
class BundleFacts:
    """What was written: numbers of blocks after block 0, of checkpoints, of ciphertexts, and of missing ciphertexts."""

    blocks: int
    checkpoints: int
    ciphertexts: int
    absent: int


def write_bundle(evidence: ListedEvidence, path: Path, with_ciphertexts: bool) -> BundleFacts:
    """Write evidence into one file.

    Ciphertexts that the source no longer has are left out: each run decides how long it keeps them.

    Raises:
        UsageError: the file is there already, or its folder is not.
        ResourceError: the disk is full.
        EvidenceError, VerificationError: a part of the source is missing or damaged.

    Guarantees:
        1. The same evidence gives the same bytes.
        2. The file has its name only once it is whole and on the disk.
        3. No path of this machine, and no key, is in it.
    """
    with writing(path) as archive:
        claims, genesis, checkpoints = evidence.claims(), evidence.genesis(), evidence.checkpoints()
        rounds = {index: evidence.round_files(index) for index in evidence.rounds()}
        blocks = _Framed(evidence.blocks())
        digests = {ARTIFACT: archive.add(ARTIFACT, [ARTIFACT_FILE.read_bytes()])}
        digests[BLOCKS] = archive.add(BLOCKS, blocks)
        digests[CHECKPOINTS] = archive.add(CHECKPOINTS, [claimed.checkpoints_to_lines(checkpoints)])
        names = _names(rounds.values()) | RoundKeys(evidence).counted_ciphertexts() if with_ciphertexts else set()
        included = _add_ciphertexts(archive, evidence, sorted(names))
        key_files = evidence.key_files()
        # Members must come in the order of their names.
        for name in (name for name in key_files if name < GENESIS):
            digests[name] = archive.add(name, [evidence.key_file(name)])
        fields = {"header": genesis.header.hex(), "balances": json.loads(encode_balances(genesis.balances))}
        digests[GENESIS] = archive.add(GENESIS, [_json(fields)])
        later = [name for name in key_files if name > MANIFEST]
        digests |= {name: sha256(evidence.key_file(name)).hexdigest() for name in later}
        manifest = {
            "format": "fedward-bundle",
            "version": FORMAT,
            "claims": to_json(claims),
            "rounds": to_json(rounds),
            "members": digests,
            "ciphertexts": with_ciphertexts,
        }
        archive.add(MANIFEST, [_json(manifest)])
        for name in later:
            archive.add(name, [evidence.key_file(name)])
    return BundleFacts(blocks.count, len(checkpoints), included, len(names) - included)


def _add_ciphertexts(archive: ArchiveWriter, evidence: ListedEvidence, names: Iterable[str]) -> int:
    """Put in those ciphertexts that the source still has; returns how many."""
    included = 0
    for name in names:
        try:
            chunk = evidence.chunk(name)
        except EvidenceError:
            continue
        if archive.add(CIPHERTEXTS + name, [chunk]) != name:
            raise VerificationError(
                f"The ciphertext {name} of {evidence.source} is damaged.", "Restore it, or leave ciphertexts out."
            )
        included += 1
    return included


class _Framed:
    """Blocks in the format of `blocks.rlp`, counted as they are written."""

    def __init__(self, blocks: Iterable[RawBlock]) -> None:
        self._blocks = blocks
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for each in self._blocks:
            self.count += 1
            yield len(each.block).to_bytes(_LENGTH_BYTES, "big") + each.block


def _names(rounds: Iterable[RoundFiles]) -> set[str]:
    """Names of all ciphertexts that rounds are made of."""
    return {name for files in rounds for names in (files.aggregate, *files.updates.values()) for name in names}


def _json(fields: Mapping[str, Any]) -> bytes:
    """JSON whose bytes follow from its content."""
    return json.dumps(fields, indent=1, sort_keys=True, allow_nan=False).encode() + b"\n"


@dataclass(frozen=True)
class _Manifest:
    """`manifest.json`."""

    format: Literal["fedward-bundle"]
    version: Literal[3]
    claims: Claims
    rounds: Mapping[int, claimed.RoundForm]
    members: Mapping[str, str]
    ciphertexts: bool


class _ShortHeader:
    """A header of block 0 is at most as long as a header can be."""

    def problem(self, value: bytes) -> str | None:
        """What is wrong with it; None where nothing is."""
        return None if len(value) <= MAX_HEADER_BYTES else f"must have at most {MAX_HEADER_BYTES} bytes"


@dataclass(frozen=True)
class _GenesisForm:
    """`genesis.json`."""

    header: Annotated[bytes, _ShortHeader()]
    balances: Balances

    def genesis(self) -> Genesis:
        """Block 0."""
        return Genesis(self.header, {address: int(wei) for address, wei in self.balances.items()})


class BundleEvidence:
    """Evidence from a bundle; see `Evidence`.

    The file stays open until `close`.

    Raises:
        EvidenceError: the file is missing or empty, or has no manifest.
        VerificationError: the file is no bundle, or damaged.
    """

    live = False

    def __init__(self, path: Path) -> None:
        self.source = f"the bundle {path}"
        self._archive = Archive(path, MAX_MEMBERS, _REMEDY, exact=True)
        try:
            check_format(self._archive.read(MANIFEST, MAX_MANIFEST_BYTES), f"The run in {path}", key="version")
            self._manifest = self._parsed(MANIFEST, MAX_MANIFEST_BYTES, _Manifest)
        except FedwardError:
            self._archive.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._archive.close()

    def claims(self) -> Claims:
        """What the manifest says of the run."""
        return self._manifest.claims

    def genesis(self) -> Genesis:
        """Block 0."""
        return self._parsed(GENESIS, claimed.MAX_JSON_BYTES, _GenesisForm).genesis()

    def blocks(self) -> Iterator[RawBlock]:
        """The blocks after block 0; a block's number is its place."""
        stream, number = self._archive.stream(BLOCKS), 0
        while prefix := stream.take(_LENGTH_BYTES):
            number += 1
            length = int.from_bytes(prefix, "big")
            block = stream.take(length) if length <= MAX_BLOCK_BYTES else b""
            if len(prefix) < _LENGTH_BYTES or length > MAX_BLOCK_BYTES or len(block) < length:
                raise VerificationError(
                    f"Block {number} of {self.source} is cut short.", "Compare the bundle with another copy."
                )
            yield RawBlock(number, block)

    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        """The hospitals' signed checkpoints."""
        content = self._archive.read(CHECKPOINTS, claimed.MAX_JSON_BYTES)
        return claimed.checkpoints_from_lines(content, f"{CHECKPOINTS} of {self.source}")

    def rounds(self) -> tuple[int, ...]:
        """The rounds whose ciphertexts are listed, in order."""
        return tuple(sorted(self._manifest.rounds))

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round."""
        if round_index not in self._manifest.rounds:
            raise EvidenceError(
                f"No ciphertexts of round {round_index} are listed by {self.source}.", "Audit the run folder."
            )
        return self._manifest.rounds[round_index].files()

    def chunk(self, name: str) -> bytes:
        """The ciphertext that is stored under a hash; whether it has that hash is for the reader to check."""
        if not claimed.is_hash(name):
            raise VerificationError(f"{name[:80]!r} is not the name of a ciphertext.", "Compare with another copy.")
        return self._archive.read(CIPHERTEXTS + name, CHUNK_BYTES)

    def key_files(self) -> tuple[str, ...]:
        """The files about rounds' shared keys and counts, in order."""
        return tuple(sorted(name for name in self._manifest.members if KEY_FILE.fullmatch(name)))

    def key_file(self, name: str) -> bytes:
        """One of them."""
        return self._archive.read(name, MAX_KEY_FILE_BYTES)

    def check_members(self, report: Report) -> None:
        """Compare every member with its digest in the manifest, under the step EVIDENCE.

        Ciphertexts are left to the step that compares them with the ledger; here only their names are looked at.
        """
        members, names = self._manifest.members, set(self._archive.names())
        digested = _DIGESTED | set(self.key_files())
        unknown = sorted(set(members) - digested)
        if unknown:
            report.fail(Step.EVIDENCE, f"The manifest has digests of {len(unknown)} members that no bundle has.")
        for name in sorted(digested):
            with report.guarding(Step.EVIDENCE):
                stated, found = members.get(name), self._digest(name)
                if found != stated:
                    report.fail(Step.EVIDENCE, f"{name} has the digest {found}; the manifest states {stated}.")
                elif name == ARTIFACT and found != sha256(ARTIFACT_FILE.read_bytes()).hexdigest():
                    text = f"{ARTIFACT} is not this version's, so what it says of the contract is nothing to go by."
                    report.fail(Step.EVIDENCE, text)
                else:
                    report.ok(Step.EVIDENCE, f"{name} has the digest {found[:16]}… that the manifest states.")
        kept = _names(form.files() for form in self._manifest.rounds.values()) | RoundKeys(self).counted_ciphertexts()
        listed = {CIPHERTEXTS + name for name in kept}
        strangers = sorted(names - digested - listed - {MANIFEST})
        if strangers:
            report.fail(Step.EVIDENCE, f"The manifest does not name {len(strangers)} members: {strangers[0]!r:.99}")
        if not self._manifest.ciphertexts and listed & names:
            report.fail(Step.EVIDENCE, "The manifest says that no ciphertext is inside, and there are some.")
        if self._manifest.ciphertexts:
            report.note(Step.EVIDENCE, f"Of {len(listed):,} ciphertexts {len(listed & names):,} are inside.")
        else:
            report.note(Step.EVIDENCE, "The bundle was made without ciphertexts.")

    def _digest(self, name: str) -> str:
        """The hexadecimal SHA-256 of a member's content."""
        digest, stream = sha256(), self._archive.stream(name)
        while piece := stream.take(_PIECE_BYTES):
            digest.update(piece)
        return digest.hexdigest()

    def _parsed(self, name: str, most: int, kind: type[Format]) -> Format:
        """A member of JSON, read as an annotated type."""
        return claimed.parse(kind, self._archive.read(name, most), f"{name} of {self.source}")


def open_evidence(path: Path) -> RunEvidence | BundleEvidence:
    """A run folder or a bundle, whichever a path names.

    Raises:
        EvidenceError: the path names neither, or a run of another format.
        VerificationError: it is a damaged bundle.
    """
    if path.is_dir() and record_file(path).exists():
        content = read_file(record_file(path), claimed.MAX_JSON_BYTES, "The run's record", "Restore that file.")
        check_format(content, f"The run in {path}")
        return RunEvidence(path)
    if path.is_file():
        return BundleEvidence(path)
    raise EvidenceError(
        f"{path} is neither a run folder (with a server/run.json) nor a bundle.",
        "Name the folder of a run, or a file that main.py export made.",
    )
