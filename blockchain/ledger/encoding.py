"""Conversion of Fedward's values to the integers and 32-byte words that the contract takes, and back, without loss."""

import functools
from collections.abc import Iterable
from decimal import Decimal

from eth_utils.address import is_checksum_address, to_checksum_address

from fedward.errors import LedgerError, VerificationError
from fedward.types import Address, Commitment, PrivacyEvent, Vote

DECIMALS = 30  # the contract's decimal numbers are in units of 1e-30
MAX_UINT128 = 2**128 - 1
MAX_UINT64 = 2**64 - 1
MAX_UINT32 = 2**32 - 1
WORD_BYTES = 32
MODES = ("none", "update", "sample")
UNITS = ("none", "hospital", "patient", "image")
MAX_REASON_BYTES = 31
SHOWN_LENGTH = 42  # of a malformed value in a message: as long as an address
MOST_REMEMBERED = 4096  # addresses
MISFIT = "MalformedValue"  # reason of a `LedgerError` over a value that no contract call can carry

EncodedEvent = tuple[int, int, int, int, int, int, int]


def encode_decimal(value: float, name: str) -> int:
    """A number in units of 1e-30, exactly as it is written in decimal.

    Args:
        value: Finite, at least 0, below 3.4e8; its shortest decimal form has at most 30 decimals.
        name: What it is, for the message.

    Raises:
        LedgerError: it does not fit.

    Guarantees:
        1. `decode_decimal` gives back the very same float.
    """
    # What came from outside may be of any type and size: compared before `float`, which overflows at 1e309.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MAX_UINT128:
        units = Decimal(repr(float(value))).scaleb(DECIMALS)
        # Decimal's context rounds to 28 digits, a float's shortest form has 17: scaleb only moves the point.
        if units <= MAX_UINT128 and units == units.to_integral_value():
            return int(units)
    raise LedgerError(
        f"The {name} {value!r} cannot be recorded on the ledger.",
        f"Use a number from 0 to 3.4e8 with at most {DECIMALS} decimals.",
        MISFIT,
    )


def decode_decimal(units: int) -> float:
    """The float that `encode_decimal` was given."""
    return float(Decimal(units).scaleb(-DECIMALS))


def encode_event(event: PrivacyEvent) -> EncodedEvent:
    """A privacy event as the contract's struct.

    Raises:
        LedgerError: a value does not fit, or a name is unknown.
    """
    if event.mode not in MODES or event.unit not in UNITS or not _is_integer(event.steps, MAX_UINT32):
        raise LedgerError(
            f"The privacy event {event} cannot be recorded on the ledger.",
            f"Its mode is one of {', '.join(MODES)}, its unit one of {', '.join(UNITS)}, its steps fit 32 bits.",
            MISFIT,
        )
    return (
        MODES.index(event.mode),
        UNITS.index(event.unit),
        encode_decimal(event.sampling_rate, "sampling rate"),
        encode_decimal(event.noise_multiplier, "noise multiplier"),
        event.steps,
        encode_decimal(event.clip_norm, "clip norm"),
        encode_decimal(event.delta, "delta"),
    )


def decode_event(fields: EncodedEvent) -> PrivacyEvent:
    """The privacy event that `encode_event` was given.

    Raises:
        VerificationError: the mode or the unit is unknown.
    """
    mode, unit, sampling_rate, noise_multiplier, steps, clip_norm, delta = fields
    if mode >= len(MODES) or unit >= len(UNITS):
        raise VerificationError(
            f"The ledger holds a privacy event of mode {mode} and unit {unit}.", "Use the version that recorded it."
        )
    return PrivacyEvent(
        mode=MODES[mode],
        unit=UNITS[unit],
        sampling_rate=decode_decimal(sampling_rate),
        noise_multiplier=decode_decimal(noise_multiplier),
        steps=steps,
        clip_norm=decode_decimal(clip_norm),
        delta=decode_decimal(delta),
    )


def encode_commitment(commitment: Commitment) -> tuple[object, ...]:
    """A commitment as the contract's struct; chain id and contract are in the signature's domain.

    Raises:
        LedgerError: a value is of a type, length or size that the struct cannot carry; `reason` is "MalformedValue".
    """
    return (
        _integer(commitment.round_index, MAX_UINT32, "round"),
        check_address(commitment.hospital, "hospital"),
        _word(commitment.ledger_head, "ledger head"),
        _word(commitment.base_id, "base id"),
        _word(commitment.context_fingerprint, "context fingerprint"),
        _word(commitment.update_root, "update root"),
        _integer(commitment.update_bytes, MAX_UINT64, "number of bytes"),
        _word(commitment.shares_root, "shares root"),
        _integer(commitment.weight, MAX_UINT32, "weight"),
        encode_event(commitment.event),
    )


def encode_vote(vote: Vote) -> tuple[object, ...]:
    """A vote as the contract's struct; chain id and contract are in the signature's domain.

    Raises:
        LedgerError: a value is of a type, length or size that the struct cannot carry; `reason` is "MalformedValue".
    """
    if not isinstance(vote.accept, bool):
        raise _misfit("verdict", vote.accept, "True or False")
    return (
        _integer(vote.round_index, MAX_UINT32, "round"),
        check_address(vote.hospital, "hospital"),
        _word(vote.aggregate_hash, "aggregate hash"),
        vote.accept,
        _word(vote.candidate_digest, "candidate digest"),
        _word(vote.counts_hash, "counts hash"),
        _word(vote.evidence_hash, "evidence hash"),
    )


def check_address(value: Address, name: str) -> Address:
    """Return the address, if it is one: 0x, 40 hexadecimal digits, and upper and lower case as EIP-55 has them.

    Raises:
        LedgerError: it is something else, such as "x.eth", which web3 would look up; `reason` is "MalformedValue".
    """
    if not isinstance(value, str) or not is_checksum_address(value):
        raise _misfit(name, value, "an address of 0x and 40 hexadecimal digits with its checksum")
    return value


@functools.lru_cache(MOST_REMEMBERED)
def as_address(text: str) -> Address:
    """An address with EIP-55's upper and lower case, as everywhere here; the ABI's decoder gives lower case.

    Remembered: the case comes from a hash, and every roster and event that is read has the same few addresses.
    """
    return Address(to_checksum_address(text))


def _integer(value: int, most: int, name: str) -> int:
    """The number, if the contract's type can hold it."""
    if not _is_integer(value, most):
        raise _misfit(name, value, f"a whole number from 0 to {most}")
    return value


def _is_integer(value: int, most: int) -> bool:
    """Whether it is a whole number from 0 to `most`; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _word(value: bytes, name: str) -> bytes:
    """The bytes, if they are a word of 32; web3 would accept a string of digits as well."""
    if not isinstance(value, bytes) or len(value) != WORD_BYTES:
        raise _misfit(name, value, f"{WORD_BYTES} bytes")
    return value


def _misfit(name: str, value: object, wanted: str) -> LedgerError:
    """The error over a value that no contract call can carry; of the value only the beginning is shown."""
    shown = repr(value[:SHOWN_LENGTH] if isinstance(value, str | bytes) else value)[: 2 * SHOWN_LENGTH]
    return LedgerError(f"The {name} {shown} cannot be recorded on the ledger.", f"Use {wanted}.", MISFIT)


def encode_mask(indices: Iterable[int]) -> int:
    """Places on the roster as a mask with those bits set."""
    return sum({1 << index for index in indices})


def decode_mask(mask: int) -> tuple[int, ...]:
    """Places on the roster whose bits are set, in order."""
    return tuple(index for index in range(mask.bit_length()) if mask >> index & 1)


def encode_reason(reason: str) -> bytes:
    """A short name as the contract's word: ASCII, cut to 31 characters, padded with zeros."""
    printable = "".join(character if " " <= character <= "~" else "?" for character in reason)
    return (printable[:MAX_REASON_BYTES] or "Unspecified").encode().ljust(32, b"\0")


def decode_reason(word: bytes) -> str:
    """The name that `encode_reason` was given, as far as it fitted."""
    return word.rstrip(b"\0").decode("ascii", errors="replace")
