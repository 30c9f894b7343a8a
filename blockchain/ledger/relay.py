"""`Relay`: what hospitals signed goes to the contract many at a time, and nobody waits for a block in between."""

import time
from collections.abc import Callable

from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.ledger import Ledger
from fedward.errors import LedgerError

# Blocks are at least a second apart on the chain's clock: what comes within a second shares one.
GATHER_S = 1.0
# The chain's clock may be ahead of ours: near a deadline nothing is held back.
HURRY_S = 60.0

Outcome = Callable[[LedgerError | None], None]  # is told the contract's refusal, or None where the contract took it


class Relay:
    """Gathers the calls of one phase of a round, hands them to the node together, and tells how each ended.

    Whoever adds a call has had it tried: the contract would have taken it then. What the contract did take is known
    only from the block, since others may send, too. So nothing counts before its outcome was told.

    Args:
        ledger: Pays for the calls.
        deadline: Until when the contract takes them, in Unix seconds.

    Raises (all methods):
        LedgerError: the node cannot be reached, or takes no transactions of this account.
    """

    def __init__(self, ledger: Ledger, deadline: int) -> None:
        self._ledger = ledger
        self._deadline = deadline
        self._waiting: list[tuple[Call, Outcome]] = []
        self._since = 0.0
        self._flying: dict[Flight, Outcome] = {}

    def add(self, call: Call, outcome: Outcome) -> None:
        """Have a call sent, with the next ones; `outcome` is called from `go_on` or `finish`."""
        if not self._waiting:
            self._since = time.monotonic()
        self._waiting.append((call, outcome))

    def go_on(self) -> None:
        """Send what has waited for others long enough, and tell what is in blocks. To be called often; never waits."""
        hurried = time.time() > self._deadline - HURRY_S
        if self._waiting and (hurried or time.monotonic() - self._since >= GATHER_S):
            self._send()
        self._tell()

    def finish(self, last: Call | None = None) -> None:
        """Send what is left, wait until all is in blocks, and tell every outcome that was not told yet.

        Args:
            last: Sent behind all others, so that one block may hold it and them. It need not have been tried, and how
                it ended is told to nobody: that is to be read from the ledger.
        """
        if last:
            self._waiting.append((last, lambda _refusal: None))
        self._send()
        self._tell()
        if self._flying:
            self._ledger.await_landing(list(self._flying))
            self._tell()

    def _send(self) -> None:
        """Hand what waits to the node."""
        if self._waiting:
            flights = self._ledger.push([call for call, _ in self._waiting])
            outcomes = dict(self._waiting)
            self._flying |= {flight: outcomes[flight.call] for flight in flights}
            self._waiting = []

    def _tell(self) -> None:
        """Tell the outcomes of what is in blocks, in the order in which it was sent."""
        if not self._flying:
            return
        landed = self._ledger.landed(list(self._flying))
        for flight in [flight for flight in self._flying if flight in landed]:
            self._flying.pop(flight)(landed[flight])
