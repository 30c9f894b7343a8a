"""A server whose own node lies to hospitals: it gets no release for less than the sum, whatever the node tells."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_utils.crypto import keccak
from expected_replies import failure_in
from federation import Federation
from flwr.app import Message
from lying_proxy import lying_proxy
from shared_runs import SharedRuns

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.events import UpdateCommitted
from fedward.ciphertexts.sealing import seal
from fedward.errors import QuorumError
from fedward.files import sha256
from fedward.folders.whereabouts import NodeAddress
from fedward.messages.key_sharing import ANSWERS, RELEASE
from fedward.sharing.sealed_shares import shares_root
from fedward.sharing.sizes import share_width
from fedward.sharing.terms import ShareTerms
from fedward.types import HospitalId, NodeId

HOSPITALS, VICTIM, WORD = 4, 1, 32
ROUND_OF = "0x" + keccak(text="roundOf(uint32)")[:4].hex()


class LyingNode:
    """What the node tells hospitals in place of the truth; nothing else than the truth while nothing is set.

    Attributes:
        fields: Of a round, by their names in the contract.
        roots: Of shares, by the one that is on the ledger: both hexadecimal.
    """

    def __init__(self) -> None:
        self.fields: dict[str, int] = {}
        self.roots: dict[str, str] = {}

    def __call__(self, method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_call" and params[0]["data"].startswith(ROUND_OF):
            shape = next(entry for entry in load_artifact().abi if entry.get("name") == "roundOf")
            names = [part["name"] for part in shape["outputs"][0]["components"]]
            words = bytearray.fromhex(result[2:])
            for name, told in self.fields.items():
                place = WORD * names.index(name)
                words[place : place + WORD] = told.to_bytes(WORD, "big")
            return "0x" + words.hex()
        if method == "eth_getLogs":
            for log in result:
                for true, false in self.roots.items():
                    log["data"] = log["data"].replace(true, false)
        return result


@contextmanager
def lied_to(federation: Federation) -> Iterator[LyingNode]:
    """Let the hospitals ask a node that lies; the server sees the ledger as it is."""
    node = LyingNode()
    with lying_proxy(federation.node.url, node) as url:
        for number in range(1, HOSPITALS + 1):
            federation.folder.hospital(HospitalId(f"hospital-{number}")).save_ledger_node(NodeAddress(url))
        yield node


@pytest.fixture
def federation(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    more = (("data.hospitals", HOSPITALS), ("ledger.release-threshold", 0), ("ledger.min-included", 2))
    with shared_runs.federation(tmp_path / "run", *more) as made:
        yield made


def refusals(federation: Federation, node: LyingNode, kind: str, lie: Callable[[NodeId, Message], bool]) -> list[str]:
    """Lead a round in which hospitals are lied to while they answer messages of a kind; why each of these refused.

    Args:
        federation: With no round yet.
        node: What hospitals ask; it tells the truth again after each reply.
        kind: Flower's message type.
        lie: Changes what the node tells, or the message; says whether it lied to this hospital.
    """
    deliver, found = federation.grid.deliver, list[str]()

    def lied(to: NodeId, request: Message) -> Message | None:
        if request.metadata.message_type != kind or not lie(to, request):
            return deliver(to, request)
        reply = deliver(to, request)
        node.fields.clear()
        node.roots.clear()
        assert reply
        found.append(failure_in(reply).what)
        return reply

    federation.grid.deliver = lied  # type: ignore[method-assign]
    with pytest.raises(QuorumError):
        federation.lead_round()
    return found


def test_places_that_nobody_has_do_not_make_a_set_larger(federation: Federation) -> None:
    """The victim alone, with as many places beside it as are needed: its share is all that hospitals would give."""
    with lied_to(federation) as node:

        def include_nobody(_to: NodeId, _request: Message) -> bool:
            node.fields["includedMask"] = 1 << (VICTIM - 1) | 0b111 << 101
            return True

        told = refusals(federation, node, RELEASE, include_nobody)
    assert len(told) == HOSPITALS
    assert all("not on its roster" in why for why in told), told


def test_shares_that_the_server_dealt_in_others_names_are_refused(federation: Federation) -> None:
    """Were all keys but the victim's known to be zeros, the key of the sum would be the victim's."""
    ledger = federation.ledger
    cards = federation.folder.hospital(HospitalId("hospital-4")).sealing_keys()  # as the server's board has them
    with lied_to(federation) as node:

        def deal_zeros(to: NodeId, request: Message) -> bool:
            opening = ledger.opening(1)
            holder = opening.roster[to - 1].address
            committed = {event.hospital: event.shares_root for event in ledger.events(UpdateCommitted, 1)}
            dealings = request.content["dealings"]
            hashes, sealed = list(dealings["hashes"]), list(dealings["shares"])  # type: ignore[arg-type]
            for at, dealer in enumerate(dealings["dealers"]):  # type: ignore[arg-type]
                if dealer == VICTIM - 1:
                    continue
                address = opening.roster[int(dealer)].address
                terms = ShareTerms(ledger.chain_id, ledger.contract, 1, opening.ledger_head, address, holder)
                sealed[at] = seal(bytes(8 * share_width(1)), cards[holder], terms.to_bytes())
                each = [sha256(b"of nobody")] * HOSPITALS
                each[to - 1] = sha256(sealed[at])
                hashes[at] = b"".join(each)
                node.roots[committed[address].hex()] = shares_root(each).hex()
            dealings["hashes"], dealings["shares"] = hashes, sealed
            return True

        told = refusals(federation, node, ANSWERS, deal_zeros)
    assert len(told) == HOSPITALS
    assert all("has not signed a commitment to these shares" in why for why in told), told


def test_who_is_told_of_another_model_answers_nobody_who_starts_from_the_true_one(federation: Federation) -> None:
    """Others' updates could be nothing but zeros: of a model of the server's making in which nothing can be learned."""
    with lied_to(federation) as node:

        def tell_of_another_base(to: NodeId, _request: Message) -> bool:
            if to != VICTIM:
                node.fields["baseId"] = 1
            return to != VICTIM

        told = refusals(federation, node, ANSWERS, tell_of_another_base)
    assert len(told) == HOSPITALS - 1
    assert all("has not signed a commitment to these shares" in why for why in told), told
