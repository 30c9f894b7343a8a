"""Finds what a text means on a run's ledger: a block, round, hash, address, hospital or ciphertext."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from commands.view.chain import Chain
from commands.view.telling import Names, headline

MOST = 200  # hits on a page
_LEAST_DIGITS, _MOST_DIGITS = 4, 512  # of a hash


@dataclass(frozen=True)
class Hit:
    """Something that was found.

    Attributes:
        what: What it is.
        place: Where its page is, below the run's.
    """

    what: str
    place: str


def search(text: str, chain: Chain, names: Names, skip: int = 0) -> tuple[tuple[Hit, ...], bool]:
    """Search a ledger.

    Args:
        text: What somebody typed: a number, a name, an address, or the beginning of a hash, with or without 0x.
        chain: The ledger.
        names: Who is who.
        skip: How many hits to leave out, at the beginning.

    Returns:
        At most `MOST` hits, and whether there are more.
    """
    wanted = text.strip()
    every = itertools.chain(_numbers(wanted, chain), _holders(wanted, chain, names), _hashes(wanted, chain))
    hits = tuple(itertools.islice(_once(every), skip, skip + MOST + 1))
    return hits[:MOST], len(hits) > MOST


def _once(hits: Iterator[Hit]) -> Iterator[Hit]:
    """Each hit the first time."""
    seen = set[Hit]()
    for hit in hits:
        if hit not in seen:
            seen.add(hit)
            yield hit


def _numbers(text: str, chain: Chain) -> Iterator[Hit]:
    if re.fullmatch("[0-9]{1,9}", text, re.ASCII):
        number = int(text)
        if chain.has_round(number):
            yield Hit(f"Round {number}", f"rounds/{number}")
        if chain.block(number):
            yield Hit(f"Block {number}", f"blocks/{number}")


def _holders(text: str, chain: Chain, names: Names) -> Iterator[Hit]:
    """What an account sent, and the events that name it."""
    address = names.address_of(text) or (text.lower() if re.fullmatch("0x[0-9a-fA-F]{40}", text) else None)
    if address is None:
        return
    for block, transaction_hash in chain.sent_by(address):
        yield Hit(f"Sent in block {block}", f"transactions/{transaction_hash.hex()}")
    for event in chain.events_that_name(address):
        yield Hit(headline(event), f"transactions/{event.transaction_hash.hex()}")


def _hashes(text: str, chain: Chain) -> Iterator[Hit]:
    digits = text.lower().removeprefix("0x")
    if not _LEAST_DIGITS <= len(digits) <= _MOST_DIGITS or not re.fullmatch("[0-9a-f]+", digits):
        return
    for number, transaction_hash in chain.hashes_from(digits):
        if transaction_hash is None:
            yield Hit(f"Block {number}, by its hash", f"blocks/{number}")
        else:
            yield Hit(f"Transaction in block {number}", f"transactions/{transaction_hash.hex()}")
    for event, name in chain.words_from(digits):
        yield Hit(f"{headline(event)}: its {name.replace('_', ' ')}", f"transactions/{event.transaction_hash.hex()}")
