"""What a source holds about rounds beside the updates: who dealt, answered and released what, and validation counts."""

import re
from contextlib import suppress
from typing import Protocol, TypeVar, runtime_checkable

from blockchain.audit.sources.claims import parse
from fedward.errors import EvidenceError, FedwardError
from fedward.folders.round_counts import RoundCounts
from fedward.folders.round_keys import Dealings
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose

MAX_KEY_FILE_BYTES = 64 * 1024 * 1024
KEY_FILE = re.compile(
    r"(dealings|counts)/round-[0-9]{4,10}\.json|releases/round-[0-9]{4,10}-(updates|counts)\.json", re.ASCII
)

_NUMBER = re.compile("[0-9]+", re.ASCII)
Format = TypeVar("Format")


@runtime_checkable
class WithRoundKeys(Protocol):
    """A source that holds files about rounds' shared keys and validation counts; names are those of `KEY_FILE`."""

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

    def counts(self, round_index: int) -> RoundCounts | None:
        """What the server kept of a round's validation counts; None where there is no such file."""
        name = f"counts/round-{round_index:04d}.json"
        return self._parsed(RoundCounts, name) if name in self._there else None

    def counted_ciphertexts(self) -> set[str]:
        """The names of all ciphertexts of validation counts; those of files that cannot be read are left out."""
        names = set[str]()
        for index in self.rounds():
            with suppress(FedwardError):
                kept = self.counts(index)
                names |= kept.ciphertexts() if kept else set()
        return names

    def _parsed(self, kind: type[Format], name: str) -> Format:
        if name not in self._there:
            raise EvidenceError(f"There is no {name}.", "Audit the run's own folder.")
        return parse(kind, self._source.key_file(name), name)
