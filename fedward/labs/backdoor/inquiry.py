"""Who is left out of the lab's rounds: the consortium's own rules, behind a Protocol.

The rules are in `blockchain.attribution`, above this package: `commands.lab.backdoor_inquiry` hands them in.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Protocol

from fedward.settings import Settings


class Inquiry(Protocol):
    """What follows from the rounds so far; hospitals are told by their index."""

    @property
    def named(self) -> tuple[int, ...]:
        """Who was named and suspended so far, oldest first."""
        ...

    def suspended(self, round_index: int) -> frozenset[int]:
        """Who is suspended in a round."""
        ...

    def drawn(self, round_index: int, committed: Mapping[int, bytes]) -> int | None:
        """Who is left out of a round by lot, once all have committed to an update (a hash of each); None: nobody."""
        ...

    def ended(
        self, round_index: int, accepted: bool, included: Collection[int], committed: Mapping[int, bytes]
    ) -> None:
        """Take note of how a round ended, and whose updates were in it."""
        ...


NewInquiry = Callable[[Settings], Inquiry]
