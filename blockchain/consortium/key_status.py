"""Which key epochs a ledger has had, why each began, and who has taken which key: names and dates, nothing secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blockchain.ledger.fold import LedgerEvent
from blockchain.ledger.reader import LedgerReader, as_address
from fedward.errors import EvidenceError
from fedward.folders.hospital import HeldKey
from fedward.folders.key_board import KeyBoard
from fedward.types import Address, HospitalId, Member

FOUNDING, JOINED, REVOKED, GIVEN_UP = "founding", "a hospital joined", "a hospital was revoked", "the key was given up"


@dataclass
class EpochStatus:
    """One key epoch, as the ledger tells it.

    Attributes:
        epoch: From 1.
        reason: Why it began.
        who: Who joined or was revoked, or who gave the last key up; None at the founding.
        block: In which block it began.
        fingerprint: 32 bytes; names its key. None: there is none yet.
        rounds: Numbers of the rounds under it.
        sealed: The hospitals for whom a sealed key was left.
        taken: The hospitals in whose folders its key lies.
    """

    epoch: int
    reason: str
    who: Address | None
    block: int
    fingerprint: bytes | None = None
    rounds: list[int] = field(default_factory=list)
    sealed: list[HospitalId] = field(default_factory=list)
    taken: list[HospitalId] = field(default_factory=list)


def epochs(ledger: LedgerReader) -> list[EpochStatus]:
    """All key epochs, oldest first, with reason, fingerprint and rounds; who has which key is left empty.

    Raises:
        LedgerError: the node cannot be reached.
        VerificationError: an event is malformed.
    """
    found = [EpochStatus(1, FOUNDING, None, 0)]
    joined: LedgerEvent | None = None
    for event in ledger.events():
        values = event.values
        if event.name == "HospitalRegistered":
            joined = event
        elif event.name == "HospitalRevoked":
            found.append(EpochStatus(values["keyEpoch"], REVOKED, as_address(values["hospital"]), event.block))
        elif event.name == "KeyEpochStarted":
            # A registration that starts an epoch tells both in one transaction.
            newcomer = joined.values if joined and joined.transaction_hash == event.transaction_hash else None
            who = as_address(newcomer["hospital"] if newcomer else values["startedBy"])
            found.append(EpochStatus(values["keyEpoch"], JOINED if newcomer else GIVEN_UP, who, event.block))
        elif event.name == "ContextSet":
            found[-1].fingerprint = bytes(values["contextFingerprint"])
        elif event.name == "RoundOpened":
            found[-1].rounds.append(values["round"])
    return found


def key_status(
    roster: Sequence[Member], held: Mapping[HospitalId, tuple[HeldKey, ...]], board: KeyBoard, ledger: LedgerReader
) -> list[EpochStatus]:
    """All key epochs of a run, and who has which key.

    Args:
        roster: Whose keys to look for.
        held: Which keys each hospital says that it has: their names, never a key.
        board: Where sealed keys were left.
        ledger: Tells the epochs.

    Raises:
        LedgerError: the node cannot be reached.
        VerificationError: an event is malformed.
    """
    found = epochs(ledger)
    for status in found:
        status.sealed = [member.hospital for member in roster if _is_sealed(board, status.epoch, member)]
        status.taken = _holders(held, status)
    return found


def _holders(held: Mapping[HospitalId, tuple[HeldKey, ...]], status: EpochStatus) -> list[HospitalId]:
    """Who has an epoch's key: the one that the ledger names, not another of that epoch."""
    if status.fingerprint is None:
        return []
    wanted = HeldKey(status.epoch, status.fingerprint)
    return [hospital for hospital, keys in held.items() if wanted in keys]


def _is_sealed(board: KeyBoard, epoch: int, member: Member) -> bool:
    """Whether something lies there for a hospital; what it is, only that hospital can tell."""
    try:
        board.load_sealed_key(epoch, member.address)
    except EvidenceError:
        return False
    return True
