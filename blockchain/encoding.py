"""Fedward's values in the integers and words that the contract takes, and back, without loss."""

from collections.abc import Iterable
from decimal import Decimal

from fedward.errors import LedgerError, VerificationError
from fedward.types import Commitment, PrivacyEvent, Vote

DECIMALS = 30  # the contract's decimal numbers are in units of 1e-30
MAX_UINT128 = 2**128 - 1
MAX_UINT32 = 2**32 - 1
MODES = ("none", "update", "sample")
UNITS = ("none", "hospital", "patient", "image")
MAX_REASON_BYTES = 31
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
    number = Decimal(repr(float(value)))
    if number.is_finite() and number >= 0:
        units = number.scaleb(DECIMALS)
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
    if event.mode not in MODES or event.unit not in UNITS or not 0 <= event.steps <= MAX_UINT32:
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
        VerificationError: the mode or unit is none that is known.
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
    """A commitment as the contract's struct; chain id and contract are in the signature's domain."""
    return (
        commitment.round_index,
        commitment.hospital,
        commitment.ledger_head,
        commitment.base_id,
        commitment.context_fingerprint,
        commitment.update_root,
        commitment.update_bytes,
        commitment.weight,
        encode_event(commitment.event),
    )


def encode_vote(vote: Vote) -> tuple[object, ...]:
    """A vote as the contract's struct; chain id and contract are in the signature's domain."""
    return (
        vote.round_index,
        vote.hospital,
        vote.aggregate_hash,
        vote.accept,
        vote.candidate_digest,
        vote.evidence_hash,
    )


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
