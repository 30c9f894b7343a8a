"""Answer sheets: all that one hospital says when shares are tested, as canonical bytes.

As a holder it gives, for each dealer that it was asked about, its answers about that dealer's share, or a complaint. As
a dealer it states what every holder must find in the shares that it dealt: it knows them all. So a holder's word stands
against the dealer's, and nobody needs to guess whose share it is that does not fit (`judging`).
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from fedward.errors import EncryptionError
from fedward.sharing.dealing import MASKS, Answers, Complaint, answer
from fedward.sharing.modular import MODULUS, Residues

MAX_HOLDERS = 128  # places on a roster

_MAGIC = b"fedward answers 1\n"
_COUNTS = struct.Struct(">HH")  # dealers that are answered about; holders in the statement, 0 for none
_ENTRY = struct.Struct(">HB")  # dealer; 0 where answers follow, else the complaint
_NUMBERS = struct.Struct(f">{MASKS}Q")
MAX_BYTES = len(_MAGIC) + _COUNTS.size + MAX_HOLDERS * (_ENTRY.size + 2 * _NUMBERS.size)


@dataclass(frozen=True)
class AnswerSheet:
    """What one hospital answers.

    Attributes:
        answers: By dealer, from 1: what the hospital's share combines to, or what is wrong with that share.
        statement: What holders 1, 2, ... must answer about this hospital's own dealing; empty where it has dealt no
            key, or no longer has its shares.
    """

    answers: Mapping[int, Answers | Complaint]
    statement: tuple[Answers, ...] = ()

    def to_bytes(self) -> bytes:
        """The same bytes for equal sheets."""
        content = _MAGIC + _COUNTS.pack(len(self.answers), len(self.statement))
        for dealer, said in sorted(self.answers.items()):
            if isinstance(said, Complaint):
                content += _ENTRY.pack(dealer, said)
            else:
                content += _ENTRY.pack(dealer, 0) + _NUMBERS.pack(*said)
        return content + b"".join(_NUMBERS.pack(*numbers) for numbers in self.statement)

    @classmethod
    def from_bytes(cls, content: bytes) -> "AnswerSheet":
        """Read what `to_bytes` wrote.

        Raises:
            EncryptionError: these bytes are no answer sheet; nothing else, whatever they are.

        Guarantees:
            1. `to_bytes` of the result is the content: no two contents say the same.
        """
        try:
            return _read(content)
        except (ValueError, struct.error) as error:
            raise EncryptionError(
                f"{len(content):,} bytes are no answer sheet: {error}.",
                "Take the hospital for one that did not answer.",
            ) from error


def state(shares: Residues, points: Answers) -> tuple[Answers, ...]:
    """What a dealer states: the answers of all holders about its dealing.

    Args:
        shares: uint64, shape (holders, width), as `dealing.deal_key` made them.
        points: The challenges.

    Guarantees:
        1. It tells nothing that the holders' own answers do not: these are the same numbers.
    """
    return tuple(answer(share, points) for share in shares)


def _read(content: bytes) -> AnswerSheet:
    """The sheet; ValueError or struct.error where the content is none."""
    if not content.startswith(_MAGIC) or len(content) > MAX_BYTES:
        raise ValueError("they do not begin as one, or are too many")
    place = len(_MAGIC)
    dealers, holders = _COUNTS.unpack_from(content, place)
    place += _COUNTS.size
    if dealers > MAX_HOLDERS or holders > MAX_HOLDERS:
        raise ValueError(f"they name more than {MAX_HOLDERS} hospitals")
    answers: dict[int, Answers | Complaint] = {}
    last = 0
    for _ in range(dealers):
        dealer, code = _ENTRY.unpack_from(content, place)
        place += _ENTRY.size
        if not last < dealer <= MAX_HOLDERS:
            raise ValueError("dealers do not ascend from 1")
        last = dealer
        if code:
            answers[dealer] = Complaint(code)
        else:
            answers[dealer] = _numbers(content, place)
            place += _NUMBERS.size
    statement = tuple(_numbers(content, place + row * _NUMBERS.size) for row in range(holders))
    if len(content) != place + holders * _NUMBERS.size:
        raise ValueError("bytes follow behind the end")
    return AnswerSheet(answers, statement)


def _numbers(content: bytes, place: int) -> Answers:
    numbers: Answers = _NUMBERS.unpack_from(content, place)
    if max(numbers) >= MODULUS:
        raise ValueError("a number is not below the prime")
    return numbers
