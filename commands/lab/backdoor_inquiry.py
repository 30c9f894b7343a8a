"""The consortium's rules of who is left out, named and suspended, for the rounds of the lab, which have no ledger."""

from collections.abc import Collection, Mapping

from blockchain.attribution import Lot, PastRound, Standing, after
from blockchain.leading.leaving_out import attribution_rules
from blockchain.ledger.records import RoundPhase
from fedward.settings import Settings
from fedward.types import Address

_NOWHERE = Address(f"0x{0:040x}")  # in place of a contract's address, which enters the lot


class LedgerInquiry:
    """Follows rounds as `blockchain.attribution` does; see `fedward.labs.backdoor.inquiry.Inquiry`.

    Args:
        settings: Have the rules.
    """

    def __init__(self, settings: Settings) -> None:
        self._rules, self._lot = attribution_rules(settings), Lot(settings.ledger.chain_id, _NOWHERE)
        self._standing = Standing()

    @property
    def named(self) -> tuple[int, ...]:
        """Who was named so far."""
        return tuple(each.place for each in self._standing.named)

    def suspended(self, round_index: int) -> frozenset[int]:
        """Who is suspended in a round."""
        return frozenset(self._standing.suspended(round_index))

    def drawn(self, round_index: int, committed: Mapping[int, bytes]) -> int | None:
        """Who is left out by lot."""
        return self._lot.drawn(self._standing, round_index, committed)

    def ended(
        self, round_index: int, accepted: bool, included: Collection[int], committed: Mapping[int, bytes]
    ) -> None:
        """Take note of how a round ended."""
        phase = RoundPhase.ACCEPTED if accepted else RoundPhase.REJECTED
        past = PastRound(round_index, phase, frozenset(included), committed)
        self._standing = after(self._standing, past, self._rules, self._lot)
