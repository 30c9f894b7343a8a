"""Finds what a text means on a run's ledger: a block, round, hash, address, hospital or ciphertext."""

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass

from commands.view.chain import Chain
from commands.view.telling import Names, headline

MOST = 200  # hits that are shown
_LEAST_DIGITS = 4  # of a hash


@dataclass(frozen=True)
class Hit:
    """Something that was found.

    Attributes:
        what: What it is.
        place: Where its page is, below the run's.
    """

    what: str
    place: str


def search(text: str, chain: Chain, names: Names) -> tuple[Hit, ...]:
    """Search a ledger.

    Args:
        text: What somebody typed: a number, a name, an address, or the beginning of a hash, with or without 0x.
        chain: The ledger.
        names: Who is who.

    Returns:
        At most `MOST` hits.
    """
    wanted = text.strip()
    hits = [*_numbers(wanted, chain), *_holders(wanted, chain, names), *_hashes(wanted, chain)]
    return tuple(dict.fromkeys(hits))[:MOST]


def _numbers(text: str, chain: Chain) -> Iterator[Hit]:
    if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        number = int(text)
        if number in chain.rounds():
            yield Hit(f"Round {number}", f"rounds/{number}")
        if chain.block(number):
            yield Hit(f"Block {number}", f"blocks/{number}")


def _holders(text: str, chain: Chain, names: Names) -> Iterator[Hit]:
    """What an account sent, and the events that name it."""
    address = names.address_of(text) or (text.lower() if re.fullmatch("0x[0-9a-fA-F]{40}", text) else None)
    if address is None:
        return
    for transaction in chain.transactions():
        if str(transaction.sender).lower() == address:
            yield Hit(f"Sent in block {transaction.block}", f"transactions/{transaction.transaction_hash.hex()}")
    for event in chain.events:
        named = (getattr(event, field.name) for field in dataclasses.fields(event))
        if any(isinstance(value, str) and value.lower() == address for value in named):
            yield Hit(headline(event), f"transactions/{event.transaction_hash.hex()}")


def _hashes(text: str, chain: Chain) -> Iterator[Hit]:
    digits = text.lower().removeprefix("0x")
    if len(digits) < _LEAST_DIGITS or not re.fullmatch("[0-9a-f]+", digits):
        return
    for block in chain.blocks:
        if block.block_hash.hex().startswith(digits):
            yield Hit(f"Block {block.number}, by its hash", f"blocks/{block.number}")
        for transaction in block.transactions:
            if transaction.transaction_hash.hex().startswith(digits):
                yield Hit(f"Transaction in block {block.number}", f"transactions/{transaction.transaction_hash.hex()}")
    for event in chain.events:
        for field in dataclasses.fields(event):
            value = getattr(event, field.name)
            if isinstance(value, bytes) and field.name != "transaction_hash" and value.hex().startswith(digits):
                name = field.name.replace("_", " ")
                yield Hit(f"{headline(event)}: its {name}", f"transactions/{event.transaction_hash.hex()}")
