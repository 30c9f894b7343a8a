"""Values of the ledger as people read them: hospitals by name, reasons as words, hashes in hexadecimal, times."""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from blockchain.ledger.encoding import decode_event
from blockchain.ledger.events import LedgerEvent, RoundEvent, SubmissionsClosed
from commands.view.shelf import Run

_COMMON = {"ledger_head", "block", "transaction_hash", "round_index"}  # told beside every event
_WORD = re.compile(rb"[A-Za-z][A-Za-z0-9 ]*\0*")


@dataclass(frozen=True)
class Told:
    """A field of an event.

    Attributes:
        name: Its name, in words.
        text: Its value.
        found: What to search for to find where else it stands; empty where that means nothing.
    """

    name: str
    text: str
    found: str = ""


class Names:
    """Who is behind an address.

    Args:
        run: Whose hospitals and witnesses have names.
    """

    def __init__(self, run: Run) -> None:
        record = run.record
        self._names: dict[str, str] = {str(member.address).lower(): str(member.hospital) for member in record.roster}
        self._places = [str(member.hospital) for member in record.roster]
        self._names |= {str(each).lower(): f"witness {place}" for place, each in enumerate(record.witnesses, 1)}
        self._names[str(record.contract).lower()] = "the ledger"

    def of(self, address: str | None) -> str:
        """A name, or the address itself where nobody in the run has it."""
        return "" if address is None else self._names.get(str(address).lower(), str(address))

    def address_of(self, name: str) -> str | None:
        """The address of who is called so; None where nobody is."""
        return next((address for address, each in self._names.items() if each.lower() == name.lower()), None)

    def mask(self, mask: int) -> str:
        """The hospitals at the places of a roster that a mask has set."""
        bits = [place for place in range(mask.bit_length()) if mask >> place & 1]
        return ", ".join(self._places[bit] if bit < len(self._places) else f"place {bit}" for bit in bits) or "none"

    def place(self, place: int) -> str:
        """The hospital at a place of the roster."""
        return self._places[place] if place < len(self._places) else f"place {place}"


def fields_of(event: LedgerEvent, names: Names) -> tuple[Told, ...]:
    """The fields of an event that are its own, in the contract's order."""
    return tuple(
        _told(field.name, getattr(event, field.name), names)
        for field in dataclasses.fields(event)
        if field.name not in _COMMON
    )


def headline(event: LedgerEvent) -> str:
    """An event in a phrase: its name, in words, and its round."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", event.name).capitalize()
    return f"{words}, round {event.round_index}" if isinstance(event, RoundEvent) else words


def _told(name: str, value: Any, names: Names) -> Told:
    words = name.replace("_", " ")
    if isinstance(value, bytes):
        return Told(words, text_of(value), value.hex() if not _is_word(value) else "")
    if name in ("hospital", "account", "witness", "ledger", "dealer") or (
        isinstance(value, str) and re.fullmatch("0x[0-9a-fA-F]{40}", value)
    ):
        return Told(words, f"{names.of(value)} ({value})" if names.of(value) != value else str(value), str(value))
    if name.endswith("_mask"):
        return Told(words.removesuffix(" mask"), names.mask(value))
    if name.endswith("_deadline"):
        return Told(words, time_of(value))
    if name == "exclusions":
        return Told(words, ", ".join(f"{names.place(place)}: {text_of(reason)}" for place, reason in value) or "none")
    if name == "privacy":
        return Told(words, _in_line(dataclasses.asdict(decode_event(value))))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return Told(words, _in_line(dataclasses.asdict(value)))
    return Told(
        words,
        "yes" if value is True else "no" if value is False else f"{value:,}" if isinstance(value, int) else str(value),
    )


def _in_line(fields: Mapping[str, Any]) -> str:
    return ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in fields.items())


def text_of(value: bytes) -> str:
    """Bytes as the word that they spell, or in hexadecimal."""
    return value.rstrip(b"\0").decode("ascii") if _is_word(value) else "0x" + value.hex()


def _is_word(value: bytes) -> bool:
    return bool(_WORD.fullmatch(value))


def time_of(unix_s: int) -> str:
    """A time of the ledger, in this machine's time zone and in UTC."""
    try:
        moment = datetime.fromtimestamp(unix_s, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{unix_s} s after 1970"
    return f"{moment.astimezone():%Y-%m-%d %H:%M:%S %Z} ({moment:%H:%M:%S} UTC)"


def left_out(events: tuple[RoundEvent, ...], names: Names) -> tuple[tuple[str, str], ...]:
    """Who was left out of a round's aggregate, and why."""
    closed = next((event for event in events if isinstance(event, SubmissionsClosed)), None)
    return tuple((names.place(place), text_of(reason)) for place, reason in closed.exclusions) if closed else ()
