"""The witness: it adds each round's updates again, and attests to the aggregate that the server recorded.

It holds no key that decrypts, only an account that may attest. Where the ledger requires a witness, a server that
adds anything of its own, or leaves an included update out, gets no attestation, and its round is not accepted.

Limits: events are read through a node, which the witness trusts as far as the hospitals trust theirs; a full audit
executes the chain by itself.
"""

import threading
from collections.abc import Callable, Mapping, Sequence

from blockchain.ledger.encoding import decode_mask
from blockchain.ledger.events import SubmissionsClosed, UpdateCommitted
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from fedward.ciphertexts.serialized import CHUNK_BYTES, check_stored, sum_ciphertexts
from fedward.errors import EvidenceError, FedwardError, LedgerError, VerificationError
from fedward.files import merkle_root, sha256
from fedward.folders.ciphertexts import CiphertextSource
from fedward.types import Address

REMEDY = "Do not attest; ask the server's operator for the committed ciphertexts, and tell the hospitals."


def attest_round(ledger: Ledger, ciphertexts: CiphertextSource, round_index: int) -> None:
    """Add a round's included updates again, and attest to the recorded aggregate if the sums give the same hash.

    In this order:
    1. The ledger says which updates are included, and each has a commitment.
    2. Each included update's stored ciphertexts are listed under hashes whose Merkle root, and whose number, are the
       committed ones.
    3. Every ciphertext hashes to its name and is well formed; they are added position by position, one running sum
       and one ciphertext in memory.
    4. The Merkle root of the sums' hashes is the recorded aggregate.

    Args:
        ledger: The ledger, attached with the witness's own account.
        ciphertexts: The ciphertexts that the server stored and gives out.
        round_index: A round that is voted on.

    Raises:
        VerificationError: something differs from the ledger; nothing was attested.
        EvidenceError: a ciphertext, or the list of them, is missing; nothing was attested.
        EncryptionError: a committed ciphertext is malformed; nothing was attested.
        LedgerError: the node cannot be reached, or the contract refused the attestation.

    Guarantees:
        1. An attestation says that the committed updates that the ledger names, and nothing else, add up to the
           recorded aggregate.
    """
    closed = ledger.closing(round_index)
    recorded = closed.aggregate_hash
    listed = ciphertexts.round_files(round_index).updates
    included = [
        _committed_names(listed, address, commitment)
        for address, commitment in _included_commitments(ledger, round_index, closed)
    ]
    found = _add_again(ciphertexts, included)
    if found != recorded:
        raise VerificationError(
            f"Round {round_index}: the {len(included)} included updates add up to {found.hex()}, "
            f"the ledger holds {recorded.hex()}: the server added something else.",
            REMEDY,
        )
    ledger.attest(round_index, recorded)


def follow(
    ledger: Ledger,
    ciphertexts: CiphertextSource,
    stop: threading.Event,
    interval_s: float,
    tell: Callable[[str], None],
    attested: Callable[[int], None] = lambda _: None,
) -> None:
    """Attest to each round that comes to the vote, until told to stop.

    An update or aggregate that contradicts the ledger is reported once, and its round left alone. Where the node or the
    ciphertexts cannot be reached, the same round is tried again; that is reported once as well.

    Args:
        ledger: The ledger, attached with the witness's own account.
        ciphertexts: The ciphertexts that the server stored and gives out.
        stop: Ends the loop when set.
        interval_s: Seconds between two looks at the ledger.
        tell: Takes a sentence for people.
        attested: Told of each round that was attested to.
    """
    settled, told = 0, ""  # the last round that is done with; the last thing that was told
    while not stop.wait(interval_s):
        latest = settled
        try:
            latest = ledger.latest_round()
            if latest <= settled or ledger.round(latest).phase is not RoundPhase.VOTING:
                continue
            attest_round(ledger, ciphertexts, latest)
        except FedwardError as error:
            if isinstance(error, LedgerError) and error.reason == "AlreadyWitnessed":  # before it was started again
                settled = latest
                continue
            if str(error) != told:
                tell(f"The witness did not attest to round {latest}: {error}")
            told = str(error)
            refused = isinstance(error, LedgerError) and error.reason
            if refused or not isinstance(error, LedgerError | EvidenceError):
                settled = latest
        else:
            settled = latest
            attested(latest)


def _included_commitments(
    ledger: Ledger, round_index: int, closed: SubmissionsClosed
) -> list[tuple[Address, UpdateCommitted]]:
    """The commitments of the updates that are in the aggregate, by place on the roster."""
    members = {entry.index: entry.address for entry in ledger.opening(round_index).roster}
    events = {event.hospital: event for event in ledger.events(UpdateCommitted, round_index)}
    found = []
    for place in decode_mask(closed.included_mask):
        address = members.get(place)
        if address is None or address not in events:
            raise VerificationError(
                f"Round {round_index} includes an update of place {place} on the roster, which committed to none.",
                REMEDY,
            )
        found.append((address, events[address]))
    return found


def _committed_names(
    listed: Mapping[Address, tuple[str, ...]], address: Address, commitment: UpdateCommitted
) -> tuple[str, ...]:
    """The names that an update's ciphertexts are stored under, if they are what was committed to."""
    names = listed.get(address)
    if names is None:
        raise EvidenceError(f"The ciphertexts of {address}'s update are not listed.", "Restore the run's folder.")
    root, length = merkle_root([bytes.fromhex(name) for name in names]), len(names) * CHUNK_BYTES
    if (root, length) != (commitment.update_root, commitment.update_bytes):
        raise VerificationError(
            f"{address}'s stored update has root {root.hex()} and {length} bytes, committed were "
            f"{commitment.update_root.hex()} and {commitment.update_bytes}.",
            REMEDY,
        )
    return names


def _add_again(ciphertexts: CiphertextSource, updates: Sequence[tuple[str, ...]]) -> bytes:
    """Merkle root of the hashes of the sums: what an honest server recorded."""
    counts = {len(names) for names in updates}
    if len(counts) != 1:
        raise VerificationError(f"The included updates have {sorted(counts)} ciphertexts: they have no sum.", REMEDY)
    columns = zip(*updates, strict=True)
    return merkle_root(
        [sha256(sum_ciphertexts(check_stored(ciphertexts.chunk(name), name) for name in column)) for column in columns]
    )
