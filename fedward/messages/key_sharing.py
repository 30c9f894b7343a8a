"""Write and read the messages about a round's shared keys: dealt shares and answers about them, asks and releases.

A reply that cannot be read becomes a `Malformed`, never an error. A request of the server that cannot be read raises
`VerificationError`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from flwr.app import ConfigRecord, Message, RecordDict

from fedward.errors import VerificationError
from fedward.messages.fields import MOST_MEMBERS, SAME_VERSION, Fields, malformed
from fedward.messages.replies import Failure, Malformed, Missing, read_absence
from fedward.messages.signed import MAX_BYTES, read_signed, write_signed
from fedward.sharing.signed import SentAnswers, SentRelease, SignedAnswers, SignedRelease
from fedward.sharing.terms import Purpose
from fedward.types import SignedCommitment

ANSWERS, RELEASE = "query.answers", "query.release"  # Flower's message types: they name the hospital's functions
DIGEST_BYTES = 32

Signed = TypeVar("Signed", SignedAnswers, SignedRelease)
Sent = TypeVar("Sent", SentAnswers, SentRelease)


@dataclass(frozen=True)
class DealtShare:
    """One dealer's share for one holder, as the server passes it on.

    Attributes:
        dealer: The dealer's place on the roster.
        hashes: SHA-256 of all sealed shares of this dealing, in roster order; the dealer committed to their root.
        sealed: The holder's own.
        signed: The dealer's commitment, which has that root. Its signature is not checked yet.
    """

    dealer: int
    hashes: tuple[bytes, ...]
    sealed: bytes = field(repr=False)
    signed: SignedCommitment


@dataclass(frozen=True)
class DealtShares:
    """What the server asks a holder about: all dealings of a round that it wants tested.

    Attributes:
        round_index: The round.
        ledger_head: 32 bytes; where the ledger stood after the last of these dealings.
        shares: Of different dealers.
    """

    round_index: int
    ledger_head: bytes
    shares: tuple[DealtShare, ...]


@dataclass(frozen=True)
class ReleaseRequest:
    """Which sum the server wants to have opened.

    Attributes:
        round_index: The round.
        purpose: What was added.
        included: Places whose ciphertexts are in the sum, ascending, each once. Of updates, the hospital reads them and
            the hash from the ledger instead.
        sum_hash: 32 bytes; Merkle root of the sum's ciphertexts.
    """

    round_index: int
    purpose: Purpose
    included: tuple[int, ...]
    sum_hash: bytes


def dealt_to_records(dealt: DealtShares) -> RecordDict:
    """Dealt shares as a message's content."""
    values = {
        "index": dealt.round_index,
        "ledger-head": dealt.ledger_head,
        "dealers": [share.dealer for share in dealt.shares],
        "hashes": [b"".join(share.hashes) for share in dealt.shares],
        "shares": [share.sealed for share in dealt.shares],
        "commitments": [write_signed(share.signed) for share in dealt.shares],
    }
    return RecordDict({"dealings": ConfigRecord(values)})  # type: ignore[arg-type]


def read_dealt(message: Message, share_bytes: int) -> DealtShares:
    """Dealt shares, of the length that a share of this round has.

    Raises:
        VerificationError: the message has other contents.
    """
    values = Fields(message.content, "dealings")
    dealers, hashes, shares = values.wholes("dealers"), values.contents("hashes"), values.contents("shares")
    commitments = values.contents("commitments")
    if not len(dealers) == len(hashes) == len(shares) == len(commitments) == len(set(dealers)) <= MOST_MEMBERS:
        raise malformed("lists dealings that do not belong together")
    if any(len(share) != share_bytes for share in shares):
        raise malformed(f"has a sealed share of other than {share_bytes} bytes")
    if any(len(joined) % DIGEST_BYTES or len(joined) > MOST_MEMBERS * DIGEST_BYTES for joined in hashes):
        raise malformed("has a list of hashes that is none")
    split = (
        tuple(joined[start : start + DIGEST_BYTES] for start in range(0, len(joined), DIGEST_BYTES))
        for joined in hashes
    )
    signed = (
        read_signed(SignedCommitment, content, "A dealer's commitment", VerificationError, SAME_VERSION)
        for content in commitments
    )
    dealt = tuple(DealtShare(*each) for each in zip(dealers, split, shares, signed, strict=True))
    return DealtShares(values.whole("index"), values.content("ledger-head", DIGEST_BYTES), dealt)


def request_to_records(request: ReleaseRequest) -> RecordDict:
    """A request for releases as a message's content."""
    values = {
        "index": request.round_index,
        "purpose": int(request.purpose),
        "included": list(request.included),
        "sum-hash": request.sum_hash,
    }
    return RecordDict({"sum": ConfigRecord(values)})  # type: ignore[arg-type]


def read_request(message: Message) -> ReleaseRequest:
    """A request for releases.

    Raises:
        VerificationError: the message has other contents.
    """
    values = Fields(message.content, "sum")
    included, purpose = values.places("included"), values.whole("purpose")
    if purpose not in tuple(Purpose):
        raise malformed(f"asks to open sum {purpose} of a round")
    return ReleaseRequest(values.whole("index"), Purpose(purpose), included, values.content("sum-hash", DIGEST_BYTES))


def answers_to_records(sent: SentAnswers) -> RecordDict:
    """Answers as a message's content."""
    return RecordDict({"answers": ConfigRecord({"signed": write_signed(sent.signed), "content": sent.content})})


def read_answers(message: Message, most_bytes: int) -> SentAnswers | Missing | Failure | Malformed:
    """What a hospital replied to dealt shares; its numbers, of at most so many bytes, are not parsed yet."""
    return _reply(
        message,
        "answers",
        lambda values: SentAnswers(_signed(SignedAnswers, values), values.content_up_to("content", most_bytes)),
    )


def release_to_records(sent: SentRelease) -> RecordDict:
    """A release as a message's content."""
    return RecordDict({"release": ConfigRecord({"signed": write_signed(sent.signed), "content": sent.content})})


def read_release(message: Message, content_bytes: int) -> SentRelease | Missing | Failure | Malformed:
    """What a hospital replied to a request for releases; nobody but hospitals can read what it released."""
    return _reply(
        message,
        "release",
        lambda values: SentRelease(_signed(SignedRelease, values), values.content("content", content_bytes)),
    )


def _reply(message: Message, name: str, read: Callable[[Fields], Sent]) -> Sent | Missing | Failure | Malformed:
    """What a hospital sent under a name, or why it sent nothing that can be read."""
    try:
        return read_absence(message) or read(Fields(message.content, name))
    except VerificationError as error:
        return Malformed(str(error))


def _signed(kind: type[Signed], values: Fields) -> Signed:
    """The signed struct of a reply; its signature is not checked."""
    content = values.content_up_to("signed", MAX_BYTES)
    return read_signed(kind, content, "What a message has as signed", VerificationError, SAME_VERSION)
