"""A server whose own node lies to hospitals: it gets no release for less than the sum, whatever the node tells."""

import copy
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from expected_replies import failure_in
from federation import Federation
from flwr.app import ConfigRecord, Error, Message, MessageType
from lying_proxy import lying_proxy
from shared_runs import SharedRuns

import client
import server
from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.events import UpdateCommitted
from blockchain.ledger.fold import next_base_id
from blockchain.ledger.records import RoundPhase
from blockchain.signing.releases import sign_release
from encryption import _to_residues
from fedward.ciphertexts.packing import pack, round_plan
from fedward.ciphertexts.public_polynomials import public_polynomial, round_seed
from fedward.ciphertexts.sealing import seal
from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.errors import QuorumError, VerificationError
from fedward.files import sha256
from fedward.folders.hospital import model_bytes
from fedward.folders.whereabouts import NodeAddress
from fedward.messages import wire
from fedward.messages.key_sharing import ANSWERS, RELEASE
from fedward.messages.signed import write_signed
from fedward.sharing.answer_sheets import AnswerSheet
from fedward.sharing.modular import MODULUS, multiply, subtract
from fedward.sharing.sealed_releases import ChannelKey, decrypt_release, encrypt_release
from fedward.sharing.sealed_shares import shares_root
from fedward.sharing.shamir import weights_at
from fedward.sharing.signed import SentRelease
from fedward.sharing.sizes import share_width
from fedward.sharing.terms import Purpose, ReleaseTerms, ShareTerms
from fedward.types import HospitalId, NodeId

HOSPITALS, VICTIM, WORD = 4, 1, 32
SETTINGS = (("data.hospitals", HOSPITALS), ("ledger.release-threshold", 0), ("ledger.min-included", 2))
ROUND_OF, ROSTER = ("0x" + keccak(text=view)[:4].hex() for view in ("roundOf(uint32)", "roster()"))
MEMBERS = "(address,uint256,bool)[]"


class LyingNode:
    """What the node tells hospitals in place of the truth; nothing else than the truth while nothing is set.

    Attributes:
        fields: Of all rounds, by their names in the contract.
        of_rounds: The same of single rounds.
        roots: Words in events, such as roots of shares, by those that are on the ledger: all hexadecimal.
        moved: Whether everybody's place on the roster is one later than it is.
    """

    def __init__(self) -> None:
        self.tell_the_truth()

    def tell_the_truth(self) -> None:
        """Set nothing any more."""
        self.fields: dict[str, int] = {}
        self.of_rounds: dict[int, dict[str, int]] = {}
        self.roots: dict[str, str] = {}
        self.moved = False

    def __call__(self, method: str, params: list[Any], result: Any) -> Any:
        if self.moved and method == "eth_call" and params[0]["data"].startswith(ROSTER):
            (members,) = decode([MEMBERS], bytes.fromhex(result[2:]))
            return "0x" + encode([MEMBERS], [[(f"0x{1:040x}", 1, False), *members]]).hex()
        if method == "eth_call" and params[0]["data"].startswith(ROUND_OF):
            shape = next(entry for entry in load_artifact().abi if entry.get("name") == "roundOf")
            names = [part["name"] for part in shape["outputs"][0]["components"]]
            words = bytearray.fromhex(result[2:])
            of_round = self.of_rounds.get(int(params[0]["data"][len(ROUND_OF) :], 16), {})
            for name, told in (self.fields | of_round).items():
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
    with shared_runs.federation(tmp_path / "run", *SETTINGS) as made:
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
        node.tell_the_truth()
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


def test_no_two_challenges_are_answered_about_one_dealing(federation: Federation) -> None:
    """A dealer's statement under one challenge and holders' answers under another tell linear equations of its key."""
    sheets, deliver = dict[int, AnswerSheet](), federation.grid.deliver
    with lied_to(federation) as node:

        def under_another_head(to: NodeId, request: Message) -> Message | None:
            if to == VICTIM and request.metadata.message_type == ANSWERS:
                false = sha256(b"a head that never was")
                node.roots[request.content["dealings"]["ledger-head"].hex()] = false.hex()  # type: ignore[union-attr]
                request.content["dealings"]["ledger-head"] = false
            reply = deliver(to, request)
            node.tell_the_truth()
            if reply and "answers" in reply.content:
                sheets[to] = AnswerSheet.from_bytes(reply.content["answers"]["content"])  # type: ignore[arg-type]
            return reply

        federation.grid.deliver = under_another_head  # type: ignore[method-assign]
        federation.lead_round()
    assert len(sheets[VICTIM].statement) == HOSPITALS
    for to in set(sheets) - {VICTIM}:
        assert sheets[to].answers[VICTIM] == sheets[VICTIM].statement[to - 1]
        assert sheets[VICTIM].answers[to] == sheets[to].statement[VICTIM - 1]


def test_who_is_told_other_places_is_not_blamed_and_notices(federation: Federation, monkeypatch: Any) -> None:
    """The same mask of places, and another set: a release for it would look like one that its hospital made wrong."""
    lied, deliver = 2, federation.grid.deliver
    monkeypatch.setattr(server, "leave_out", lambda _server, _opening, updates, _log: updates[1:])
    with lied_to(federation) as node:

        def one_place_later(to: NodeId, request: Message) -> Message | None:
            if to == lied and request.metadata.message_type == RELEASE:
                node.fields |= {"rosterMask": 0b11110, "submittedMask": 0b11110}
                node.moved = True
            reply = deliver(to, request)
            node.tell_the_truth()
            return reply

        federation.grid.deliver = one_place_later  # type: ignore[method-assign]
        metrics = federation.lead_round()
    assert federation.ledger.round(1).included == (1, 2, 3)
    assert metrics["rejections"] == [], metrics
    assert any("now says another set or sum of round 1" in why for why in metrics["failures"]), metrics


def second_release(federation: Federation, round_index: int, places: Sequence[int]) -> list[SentRelease]:
    """What so many hospitals released, the last one anew: so that the first ciphertext opens to the sum and ones."""
    cheat = federation.folder.hospital(HospitalId(f"hospital-{places[-1] + 1}"))
    opening = federation.ledger.opening(round_index)
    plan = round_plan(len(federation.initial), HOSPITALS, federation.settings)
    kept = federation.folder.server.round_keys.load_releases(round_index, Purpose.UPDATES)
    sent = {release.signed.release.hospital: release for release in kept}
    *honest, own = (sent[opening.roster[place].address] for place in places)
    said, channel = own.signed.release, ChannelKey(cheat.load_channel_key(opening.context_fingerprint))
    place = (said.chain_id, said.contract, round_index)
    mask = int.from_bytes(said.included_mask, "big")
    terms = ReleaseTerms(*place, said.hospital, Purpose.UPDATES, said.ledger_head, mask, said.sum_hash)
    public = public_polynomial(round_seed(*place, opening.ledger_head, Purpose.UPDATES.name), 0)
    weight = weights_at([each + 1 for each in places], 0)[-1]
    inverses = np.array([pow(int(value) * weight, -1, MODULUS) for value in public], np.uint64)
    ones = _to_residues(pack(np.ones(len(federation.initial), np.int64), plan)[None])[0]
    released = decrypt_release(own.content, terms, channel, RING_DEGREE)
    content = encrypt_release(subtract(released, multiply(ones, inverses)), terms, channel)
    return [*honest, SentRelease(sign_release(terms, content, Identity.load(cheat.identity)), content)]


def test_who_was_away_comes_to_no_other_model(tmp_path: Path, shared_runs: SharedRuns) -> None:
    """By what a hospital released twice, what a node tells of votes, or what it got first: a base id tells no weights.

    The model has few parameters. Who is away is not asked to vote, and opens the sum in later rounds only.
    """
    away, places = 3, (0, 1, 3)
    with shared_runs.federation(tmp_path / "run", *SETTINGS, ("model.name", "scatter")) as federation:
        deliver, folder = federation.grid.deliver, federation.folder.hospital(HospitalId(f"hospital-{away}"))
        told, name = list[str](), f"{wire.RELEASES}1"

        def deceive(to: NodeId, request: Message) -> Message | None:
            if to == away and request.metadata.message_type == MessageType.EVALUATE:
                return Message(Error(3, "it was not asked"), reply_to=request)
            if to != away or name not in request.content:
                return deliver(to, request)
            false, sent = copy.deepcopy(request), second_release(federation, 1, places)
            signed = [write_signed(release.signed) for release in sent]
            false.content[name] = ConfigRecord({"signed": signed, "content": [each.content for each in sent]})
            replies = [deliver(to, false)]
            node.fields["candidateDigest"] = 1
            replies.append(deliver(to, request))
            node.tell_the_truth()
            folder.save_model(dataclasses.replace(before, weights=before.weights + 1))
            replies.append(deliver(to, request))
            told.extend(failure_in(reply).what for reply in replies if reply)
            return replies[-1]

        federation.grid.deliver = deceive  # type: ignore[method-assign]
        before = folder.load_model()
        with lied_to(federation) as node:
            federation.lead_round()
            federation.lead_round()
        assert len(told) == 3
        assert "make a key that opens the sum" in told[0]
        assert "of 3 votes that hospitals on the roster signed, 0 are for its candidate" in told[1]
        assert "is not the model that was voted for" in told[2]
        assert folder.load_model().base_id == before.base_id


def test_a_rejected_round_that_a_node_calls_accepted_moves_no_model(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server could put numbers of its own into any sum: what stands against them is that hospitals reject them."""
    folder = federation.folder.hospital(HospitalId(f"hospital-{VICTIM}"))
    with monkeypatch.context() as patched:
        patched.setattr(client, "accepts", lambda _found: False)
        assert federation.lead_round()["phase"] == "rejected"
    record, before, candidate = federation.ledger.round(1), folder.load_model(), folder.load_candidate()
    assert candidate
    digest = sha256(model_bytes(candidate))
    with lied_to(federation) as node:

        def call_it_accepted(_to: NodeId, _request: Message) -> bool:
            accepted = {"phase": RoundPhase.ACCEPTED.value, "candidateDigest": int.from_bytes(digest, "big")}
            base = int.from_bytes(next_base_id(record.base_id, record), "big")
            node.of_rounds = {1: accepted, 2: {"baseId": base}}
            return True

        with pytest.raises(VerificationError, match="The node says that round 1 was accepted; of 4 votes"):
            refusals(federation, node, MessageType.TRAIN, call_it_accepted)
    assert folder.load_model().base_id == before.base_id
