"""Stage 6, verify: accept an update only if the contract accepted its commitment and its ciphertexts match it.

In two steps, since nobody waits for a block after each update: `examine` when the update comes, `verify` when its
commitment is in a block.
"""

from dataclasses import dataclass

from blockchain.ledger.encoding import encode_event
from blockchain.ledger.events import UpdateCommitted
from blockchain.ledger.flights import Call
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import (
    CHUNK_MISMATCH,
    MALFORMED_CIPHERTEXT,
    SHARES_MISMATCH,
    WRONG_PRIVACY_EVENT,
    RoundOpening,
)
from fedward.ciphertexts.serialized import CHUNK_BYTES, check_stored
from fedward.errors import EncryptionError, EvidenceError, LedgerError, VerificationError
from fedward.files import merkle_root, read_file
from fedward.sharing.sealed_shares import shares_root
from fedward.types import Commitment, PrivacyEvent, Rejection, StoredUpdate, VerifiedUpdate

# The contract's errors, before and after the deadline, where the very same commitment may be on the ledger already.
ALREADY_THERE = ("AlreadySubmitted", "SubmissionDeadlinePassed")


@dataclass(frozen=True)
class ExaminedUpdate:
    """An update whose commitment the contract would take, or has taken already; `verify` decides once it has.

    Attributes:
        stored: The update.
        index: The hospital's place on the roster.
        call: What records the commitment; None where it is on the ledger already.
        fault: What is wrong with the update though the commitment is good; None where nothing is.
    """

    stored: StoredUpdate
    index: int
    call: Call | None
    fault: Rejection | None


def examine(
    stored: StoredUpdate,
    opening: RoundOpening,
    promised: PrivacyEvent,
    ledger: Ledger,
) -> ExaminedUpdate | Rejection:
    """Check an update that came from outside; whatever is wrong with the update becomes a `Rejection`, never an error.

    In this order:
    1. The sender is on the round's roster, and the commitment is the sender's and for this round.
    2. The contract would take the commitment after the last block: signature, roster, round, time, base, key, weight,
       one per round. Or the contract has taken this very commitment before, because somebody else relayed it or the
       node's answer was lost. The commitment is to be recorded from here on, whatever 3 to 6 find, so that a bad update
       behind a good signature counts as submitted.
    3. The declared privacy event is what the settings promise.
    4. Every chunk's hash is its file name, and total length and Merkle root are the committed ones.
    5. Every chunk is a well-formed ciphertext of this project's parameters. Whether it is under the key that the
       hospital dealt cannot be seen from its bytes; a sum with a chunk under another key does not decode.
    6. There is a sealed share for each hospital on the roster, and their Merkle root is the committed one. Whether the
       shares fit together, their holders answer afterwards (`blockchain.leading.dealings`).

    Args:
        stored: The update.
        opening: The open round.
        promised: The privacy event that the settings call for.
        ledger: Where the commitment will be recorded; nothing is sent to it here.

    Raises:
        LedgerError: the ledger cannot be reached, which is not the update's fault.
        VerificationError: the node gives malformed events, which is not the update's fault either.
    """
    commitment = stored.signed.commitment
    entry = next((entry for entry in opening.roster if entry.address == stored.hospital), None)
    if entry is None:
        return _reject(stored, "NotOnRoster", f"{stored.hospital} does not take part in round {opening.round_index}")
    if commitment.hospital != stored.hospital:
        return _reject(stored, "WrongSender", f"the commitment is {commitment.hospital}'s")
    if commitment.round_index != opening.round_index:
        return _reject(stored, "WrongRound", f"the commitment is for round {commitment.round_index}")
    call = None
    try:
        call = ledger.prepare(stored.signed)
    except LedgerError as error:
        if refused := _unless_recorded(stored, error, ledger):
            return refused
    fault = _check_event(stored, promised) or _check_chunks(stored) or _check_shares(stored, len(opening.roster))
    return ExaminedUpdate(stored, entry.index, call, fault)


def verify(examined: ExaminedUpdate, refusal: LedgerError | None, ledger: Ledger) -> VerifiedUpdate | Rejection:
    """Decide on an examined update, once the transaction that records its commitment is in a block.

    Args:
        examined: The update.
        refusal: What the contract refused the transaction with; None where it took the commitment, or had done before.
        ledger: Tells whether somebody else recorded the commitment first.

    Raises:
        LedgerError: as `examine`.
        VerificationError: as `examine`.

    Guarantees:
        1. A `VerifiedUpdate` is only returned for the one commitment of its hospital that the contract has accepted
           in this round. All that are returned for a hospital in a round therefore stand for the same chunks.
        2. The same update given again is returned again: the caller drops updates of hospitals that it has already, so
           that none is counted twice.
    """
    stored = examined.stored
    if refusal and (refused := _unless_recorded(stored, refusal, ledger)):
        return refused
    return examined.fault or VerifiedUpdate(
        stored.hospital, examined.index, stored.chunk_files, stored.share_files, stored.signed
    )


def _unless_recorded(stored: StoredUpdate, error: LedgerError, ledger: Ledger) -> Rejection | None:
    """The rejection that a refusal by the contract leads to; None where this very commitment is on the ledger."""
    if not error.reason:
        raise error
    if error.reason in ALREADY_THERE and _is_recorded(stored.signed.commitment, ledger):
        return None
    return _reject(stored, error.reason, error.what.rstrip("."))


def _is_recorded(commitment: Commitment, ledger: Ledger) -> bool:
    """Whether the ledger holds this commitment, with equal values throughout; its signature was checked before."""
    wanted = (
        commitment.hospital,
        commitment.update_root,
        commitment.update_bytes,
        commitment.shares_root,
        commitment.weight,
        encode_event(commitment.event),
    )
    return any(
        (event.hospital, event.update_root, event.update_bytes, event.shares_root, event.weight, event.privacy)
        == wanted
        for event in ledger.events(UpdateCommitted, commitment.round_index)
    )


def _check_event(stored: StoredUpdate, promised: PrivacyEvent) -> Rejection | None:
    """Compare what was declared with what was promised."""
    declared = stored.signed.commitment.event
    if declared == promised:
        return None
    return _reject(stored, WRONG_PRIVACY_EVENT, f"it declares {declared}, the settings promise {promised}")


def _check_chunks(stored: StoredUpdate) -> Rejection | None:
    """Read each chunk once. A mismatch with the commitment is reported before a malformed ciphertext."""
    commitment = stored.signed.commitment
    total, malformed = 0, ""
    for position, path in enumerate(stored.chunk_files):
        try:
            content = read_file(path, CHUNK_BYTES, "It", "Have the hospital send it again.")
            total += len(content)
            check_stored(content, path.name)
        except (EvidenceError, VerificationError) as error:
            return _reject(stored, CHUNK_MISMATCH, f"chunk {position}: {error.what.rstrip('.')}")
        except EncryptionError as error:
            malformed = malformed or f"chunk {position}: {error.what.rstrip('.')}"
    if total != commitment.update_bytes:
        return _reject(stored, CHUNK_MISMATCH, f"{total} bytes are here, {commitment.update_bytes} were committed")
    root = merkle_root([bytes.fromhex(path.name) for path in stored.chunk_files])
    if root != commitment.update_root:
        return _reject(
            stored, CHUNK_MISMATCH, f"the chunks have root {root.hex()}, committed was {commitment.update_root.hex()}"
        )
    return _reject(stored, MALFORMED_CIPHERTEXT, malformed) if malformed else None


def _check_shares(stored: StoredUpdate, holders: int) -> Rejection | None:
    """Compare the sealed shares, which are named by their hashes, with the commitment."""
    if len(stored.share_files) != holders:
        return _reject(stored, SHARES_MISMATCH, f"{len(stored.share_files)} shares are here, for {holders} hospitals")
    root = shares_root([bytes.fromhex(path.name) for path in stored.share_files])
    committed = stored.signed.commitment.shares_root
    if root == committed:
        return None
    return _reject(stored, SHARES_MISMATCH, f"the shares have root {root.hex()}, committed was {committed.hex()}")


def _reject(stored: StoredUpdate, reason: str, evidence: str) -> Rejection:
    """A rejection, with its evidence as a sentence."""
    return Rejection(stored.hospital, reason, f"{evidence[:1].upper()}{evidence[1:]}.")
