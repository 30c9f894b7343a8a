"""Hospitals that cheat about a round's shared keys, for tests: what each does in place of the honest act.

Each function returns a replacement for a function that `client` or `key_sharing` calls. `cheating` puts it in place
while a given node answers, and nowhere else.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import numpy as np
from federation import LocalGrid
from flwr.app import Message

import client
from blockchain import key_sharing
from blockchain.key_sharing import Dealing
from fedward.sharing.answer_sheets import AnswerSheet
from fedward.sharing.modular import MODULUS, add
from fedward.sharing.sealed_shares import seal_shares
from fedward.sharing.signed import SentAnswers, SentRelease
from fedward.types import NodeId

Replaced = Mapping[str, Any]  # by the name under which `client`, else `key_sharing`, knows the function


def dealing_wrong_shares(*holders: int) -> Replaced:
    """Deals these holders (positions on the roster, from 0) shares of another key, sealed and committed to as usual."""

    def deal(folder: Any, ledger: Any, opening: Any, identity: Any, encrypted_counts: bool) -> Dealing:
        dealing = key_sharing.deal_keys(folder, ledger, opening, identity, encrypted_counts)
        shares = dealing.shares.copy()
        for holder in holders:
            shares[holder] = add(shares[holder], np.ones_like(shares[holder]))
        terms = [key_sharing._share_terms(ledger, opening, identity.address, entry.address) for entry in opening.roster]
        known = folder.sealing_keys()
        sealed = seal_shares(shares, [known[entry.address] for entry in opening.roster], terms)
        # It keeps the right ones, and states what an honest dealer would.
        return dataclasses.replace(dealing, sealed=sealed)

    return {"deal_keys": deal}


def releasing_a_wrong_sum() -> Replaced:
    """Releases, signed and encrypted as it must be, something else than the sum of its shares."""

    def release(*arguments: Any) -> SentRelease:
        with mock.patch.object(
            key_sharing, "add", lambda left, right: (left + right + np.uint64(1)) % np.uint64(MODULUS)
        ):
            return key_sharing.release_sum(*arguments)

    return {"release_sum": release}


def lying_about_shares(*dealers: int) -> Replaced:
    """Answers about these dealers (numbers from 1) as if it had got other shares."""

    def answer(folder: Any, ledger: Any, opening: Any, identity: Any, dealt: Any, width: int) -> SentAnswers:

        def lie(said: Any, statement: Any = ()) -> Any:
            for dealer in dealers:
                said[dealer] = tuple((number + 1) % MODULUS for number in said[dealer])
            return AnswerSheet(said, statement)

        with mock.patch.object(key_sharing, "AnswerSheet", lie):
            return key_sharing.answer_dealings(folder, ledger, opening, identity, dealt, width)

    return {"answer_dealings": answer}


@contextmanager
def cheating(grid: LocalGrid, cheats: Mapping[int, Replaced]) -> Iterator[None]:
    """While this lasts, each of these nodes answers with its functions replaced."""
    deliver: Callable[[NodeId, Message], Message | None] = grid.deliver

    def with_cheats(node: NodeId, request: Message) -> Message | None:
        with ExitStack() as stack:
            for name, function in cheats.get(node, {}).items():
                module = client if hasattr(client, name) else key_sharing
                stack.enter_context(mock.patch.object(module, name, function))
            return deliver(node, request)

    with mock.patch.object(grid, "deliver", with_cheats):
        yield
