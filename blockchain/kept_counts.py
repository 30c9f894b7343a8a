"""Kept validation counts against votes: the comparison that hospitals and audit make; no ledger's node is needed."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from fedward.ciphertexts.serialized import check_stored, sum_ciphertexts
from fedward.files import merkle_root, sha256
from fedward.folders.ciphertexts import CiphertextSource
from fedward.folders.round_counts import PlainCounts, RoundCounts
from fedward.messages.ballots import NO_COUNTS, counts_hash
from fedward.types import Address

_SHOWN = 16  # digits of a hash


@dataclass(frozen=True)
class Difference:
    """Where kept counts are not what a vote names.

    Attributes:
        hospital: Whose.
        what: What is wrong with its counts, as in "hash to ...".
        missing: Whether they are not there, rather than others.
    """

    hospital: Address
    what: str
    missing: bool = False


def differences(kept: RoundCounts, signed: Mapping[Address, bytes], included: Set[Address]) -> Iterator[Difference]:
    """Compare a round's kept counts with its votes.

    Args:
        kept: What the server kept.
        signed: By hospital that voted: the hash of the counts that its vote names, 32 bytes; zeros: none.
        included: The hospitals whose updates are in the aggregate; only their encrypted counts are added.
    """
    kinds = {len(counts.positives) for counts in kept.plain.values()} | {
        len(names) for names in kept.encrypted.values()
    }
    for hospital in sorted({*kept.plain, *kept.encrypted}):
        named = signed.get(hospital, NO_COUNTS)
        found = _hash(kept.plain.get(hospital), kept.encrypted.get(hospital, ()))
        if named == NO_COUNTS:
            yield Difference(hospital, "are kept, and no vote of this round names any")
        elif hospital in kept.encrypted and hospital not in included:
            yield Difference(hospital, "are in the encrypted sum, and its update is not in the aggregate")
        elif found != named:
            text = f"{found.hex()[:_SHOWN]}…" if found else "nothing that any images give"
            yield Difference(hospital, f"hash to {text}, its vote names {named.hex()[:_SHOWN]}…")
        elif (kept.plain and kept.encrypted) or len(kinds) > 1:
            yield Difference(hospital, "are of another kind or number than others' in this round")
    for hospital, named in signed.items():
        wanted = named != NO_COUNTS and (not kept.encrypted or hospital in included)
        if wanted and hospital not in kept.plain and hospital not in kept.encrypted:
            yield Difference(hospital, "are named by its vote, and not kept", missing=True)


def _hash(plain: PlainCounts | None, encrypted: Sequence[str]) -> bytes:
    """What a vote names of such counts; empty where they are no counts."""
    if encrypted:
        return merkle_root([bytes.fromhex(name) for name in encrypted])
    counts = plain.histogram() if plain else None
    return counts_hash(counts, ()) if counts else b""


def added_again(kept: RoundCounts, source: CiphertextSource) -> tuple[str, ...]:
    """The SHA-256 of the sums of the kept encrypted counts, position by position, as `RoundCounts.total` has them.

    Raises:
        EvidenceError: a ciphertext is missing.
        VerificationError, EncryptionError: one is another than its hash says, or none that can be added.
    """
    return tuple(
        sha256(sum_ciphertexts(check_stored(source.chunk(name), name) for name in names)).hex()
        for names in zip(*kept.encrypted.values(), strict=True)
    )
