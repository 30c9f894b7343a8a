"""Key epochs of a ledger: why each began, which rounds it had, and which hospitals have its key; nothing secret."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from blockchain.ledger.events import ContextSet, HospitalRegistered, HospitalRevoked, KeyEpochStarted, RoundOpened
from blockchain.ledger.reader import LedgerReader
from fedward.errors import EvidenceError
from fedward.folders.hospital import HeldKey
from fedward.folders.key_board import KeyBoard
from fedward.types import Address, HospitalId, Member

FOUNDING, JOINED, REVOKED, GIVEN_UP = "founding", "a hospital joined", "a hospital was revoked", "the key was given up"


@dataclass
class EpochStatus:
    """One key epoch, as ledger, key board and hospitals report it.

    Attributes:
        epoch: From 1.
        reason: Why it began.
        who: The hospital that joined or was revoked, or the account that gave up the last key; None at the founding.
        block: Number of the block in which it began.
        fingerprint: 32 bytes; identifies the epoch's key. None: no key was named yet.
        rounds: Numbers of the rounds in this epoch.
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
    """All key epochs, oldest first, with reason, fingerprint and rounds; `sealed` and `taken` are left empty.

    Raises:
        LedgerError: the node cannot be reached.
        VerificationError: an event is malformed.
    """
    found = [EpochStatus(1, FOUNDING, None, 0)]
    joined: HospitalRegistered | None = None
    for event in ledger.history():
        match event:
            case HospitalRegistered():
                joined = event
            case HospitalRevoked():
                found.append(EpochStatus(event.key_epoch, REVOKED, event.hospital, event.block))
            case KeyEpochStarted():
                # A registration that starts an epoch tells both in one transaction.
                if joined and joined.transaction_hash == event.transaction_hash:
                    found.append(EpochStatus(event.key_epoch, JOINED, joined.hospital, event.block))
                else:
                    found.append(EpochStatus(event.key_epoch, GIVEN_UP, event.started_by, event.block))
            case ContextSet():
                found[-1].fingerprint = event.context_fingerprint
            case RoundOpened():
                found[-1].rounds.append(event.round_index)
    return found


def key_status(
    roster: Sequence[Member], held: Mapping[HospitalId, tuple[HeldKey, ...]], board: KeyBoard, ledger: LedgerReader
) -> list[EpochStatus]:
    """All key epochs of a run, and who has which key.

    Args:
        roster: Whose keys to look for.
        held: Which keys each hospital reports that it has: their epochs and fingerprints, never a key.
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
    """The hospitals that have the key which the ledger names for an epoch; another key of that epoch does not count."""
    if status.fingerprint is None:
        return []
    wanted = HeldKey(status.epoch, status.fingerprint)
    return [hospital for hospital, keys in held.items() if wanted in keys]


def _is_sealed(board: KeyBoard, epoch: int, member: Member) -> bool:
    """Whether something lies on the board for a hospital; only that hospital can tell whether it is the right key."""
    try:
        board.load_sealed_key(epoch, member.address)
    except EvidenceError:
        return False
    return True
