"""What a source of evidence holds about rounds' shared keys: who dealt, what was answered, what was released."""

import re
from typing import Protocol, TypeVar, runtime_checkable

from blockchain.audit.sources.claims import parse
from fedward.errors import EvidenceError
from fedward.folders.round_keys import Dealings
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose

MAX_KEY_FILE_BYTES = 64 * 1024 * 1024
KEY_FILE = re.compile(r"dealings/round-[0-9]{4,10}\.json|releases/round-[0-9]{4,10}-(updates|counts)\.json", re.ASCII)

_NUMBER = re.compile("[0-9]+", re.ASCII)
Format = TypeVar("Format")


@runtime_checkable
class WithRoundKeys(Protocol):
    """A source that holds files about rounds' shared keys; names are those of `KEY_FILE`."""

    def key_files(self) -> tuple[str, ...]:
        """Which there are, in order."""

    def key_file(self, name: str) -> bytes:
        """One of them; `EvidenceError` where it is missing, `VerificationError` where it cannot be one."""


class RoundKeys:
    """The files of a source, parsed; methods raise as the source does, and `VerificationError` for other content."""

    def __init__(self, source: WithRoundKeys) -> None:
        self._source = source
        self._there = frozenset(source.key_files())

    def rounds(self) -> tuple[int, ...]:
        """The rounds that there are files of, in order."""
        return tuple(sorted({int(_NUMBER.findall(name)[0]) for name in self._there}))

    def dealings(self, round_index: int) -> Dealings:
        """Who dealt in a round, and what hospitals answered about it."""
        return self._parsed(Dealings, f"dealings/round-{round_index:04d}.json")

    def releases(self, round_index: int, purpose: Purpose) -> tuple[SentRelease, ...] | None:
        """What hospitals released for one of a round's sums; None where there is no such file."""
        name = f"releases/round-{round_index:04d}-{purpose.name.lower()}.json"
        if name not in self._there:
            return None
        return self._parsed(tuple[SentRelease, ...], name)

    def _parsed(self, kind: type[Format], name: str) -> Format:
        if name not in self._there:
            raise EvidenceError(f"There is no {name}.", "Audit the run's own folder.")
        return parse(kind, self._source.key_file(name), name)
