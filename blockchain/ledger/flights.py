"""Transactions of our own on their way to a block: prepared calls, and calls that were signed and sent."""

from dataclasses import dataclass

from web3.types import TxParams

from blockchain.ledger.outbox import SentTransaction


@dataclass(frozen=True, eq=False)
class Call:
    """A transaction to come. The contract took it in a trial run after the last block.

    Attributes:
        fields: Sender, receiver and data.
        gas: What it may use.
        what: What it does, for messages.
    """

    fields: TxParams
    gas: int
    what: str


@dataclass(frozen=True, eq=False)
class Flight:
    """A call that was signed and handed to the node."""

    call: Call
    transaction: SentTransaction
