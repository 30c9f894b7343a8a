"""A node that lies to one hospital, a server that asks for more than its due: every honest hospital refuses.

All tests share one consortium of four hospitals, of which three open a sum. Each leads rounds of its own in it.
"""

import copy
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cheats import cheating, releasing_a_wrong_sum
from eth_utils.crypto import keccak
from expected_replies import failure_in
from federation import Federation, founded, untouched
from flwr.app import ConfigRecord, Message, MessageType
from lying_proxy import lying_proxy

import server
from blockchain.closed_sums import check_opening
from blockchain.key_sharing import forget_rounds
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.events import UpdateCommitted, VoteCast
from blockchain.ledger.records import RoundOpening, RoundPhase
from fedward import settings as setting
from fedward.errors import QuorumError, VerificationError
from fedward.folders.hospital import HospitalFolder
from fedward.folders.round_log import RoundLog
from fedward.folders.whereabouts import NodeAddress
from fedward.messages import wire
from fedward.messages.key_sharing import ANSWERS, RELEASE
from fedward.sharing.signed import SentSum
from fedward.sharing.terms import Purpose
from fedward.types import Address, HospitalId, NodeId, VerifiedUpdate

NODES = (1, 2, 3, 4)
THRESHOLD = 3
LIED_TO = 4  # the hospital whose node lies


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    more = (("data.hospitals", len(NODES)), ("ledger.release-threshold", 0), ("metrics.encrypted", True))
    with founded(tmp_path_factory.mktemp("run") / "run", *more) as made:
        yield made


@pytest.fixture
def federation(consortium: Federation) -> Iterator[Federation]:
    """The consortium as each test finds it: nobody lies."""
    yield consortium
    consortium.grid.tamper = untouched
    hospital(consortium, LIED_TO).save_ledger_node(NodeAddress(consortium.node.url))
    if consortium.ledger.round(latest(consortium)).phase in (RoundPhase.OPEN, RoundPhase.VOTING):
        consortium.server().ledger.abort_round(latest(consortium), "a test failed")


def hospital(federation: Federation, node: int) -> HospitalFolder:
    return federation.folder.hospital(HospitalId(f"hospital-{node}"))


def latest(federation: Federation) -> int:
    return federation.ledger.head_and_round()[1]


class Lie:
    """One number of a round that the node tells one hospital differently, while `told`."""

    def __init__(self, field: str, value: int) -> None:
        described = next(entry for entry in load_artifact().abi if entry.get("name") == "roundOf")
        place = [part["name"] for part in described["outputs"][0]["components"]].index(field)
        self.told, self.times = True, 0
        self._where, self._value = slice(32 * place, 32 * place + 32), value.to_bytes(32, "big")
        self._call = "0x" + keccak(text="roundOf(uint32)")[:4].hex()

    def __call__(self, method: str, params: list[Any], result: Any) -> Any:
        if not self.told or method != "eth_call":
            return result
        if not str(params[0].get("data") or params[0].get("input")).startswith(self._call):
            return result
        words = bytearray.fromhex(result[2:])
        words[self._where] = self._value
        self.times += 1
        return "0x" + words.hex()


@contextmanager
def lying(federation: Federation, lie: Lie) -> Iterator[None]:
    """While this lasts, one hospital reads the ledger through a node that lies."""
    with lying_proxy(federation.node.url, lie) as url:
        hospital(federation, LIED_TO).save_ledger_node(NodeAddress(url))
        yield
    hospital(federation, LIED_TO).save_ledger_node(NodeAddress(federation.node.url))
    assert lie.times, "the hospital has asked for the number that is lied about"


@contextmanager
def telling(federation: Federation, lie: Lie, when: Callable[[Message], bool]) -> Iterator[None]:
    """While this lasts, one hospital's node lies while that hospital answers such a request, and not otherwise."""
    deliver = federation.grid.deliver

    def deliver_and_lie(node: NodeId, request: Message) -> Message | None:
        lie.told = node == LIED_TO and when(request)
        try:
            return deliver(node, request)
        finally:
            lie.told = False

    with lying(federation, lie), mock.patch.object(federation.grid, "deliver", deliver_and_lie):
        yield


@contextmanager
def asking_first(federation: Federation, ask: Callable[[NodeId, Message], None]) -> Iterator[None]:
    """While this lasts, `ask` sees each request before its hospital gets it, and may ask the hospital other things."""
    deliver = federation.grid.deliver

    def twice(node: NodeId, request: Message) -> Message | None:
        ask(node, request)
        return deliver(node, request)

    with mock.patch.object(federation.grid, "deliver", twice):
        yield


def test_the_total_weight_and_the_threshold_follow_from_roster_and_settings(federation: Federation) -> None:
    federation.lead_round()
    opening, settings = federation.ledger.opening(latest(federation)), federation.settings
    check_opening(opening, settings)
    check_opening(dataclasses.replace(opening, threshold=2), setting.replace(settings, "ledger.release-threshold", 2))
    for wrong in (
        dataclasses.replace(opening, enrolled_total=opening.enrolled_total + 1),
        dataclasses.replace(opening, threshold=THRESHOLD - 1),
        dataclasses.replace(opening, threshold=THRESHOLD + 1),
    ):
        with pytest.raises(VerificationError, match="its roster and the settings make that"):
            check_opening(wrong, settings)


@pytest.mark.parametrize(("field", "value"), [("enrolledTotal", 2**40 - 1), ("threshold", 2)])
def test_under_a_false_opening_nothing_is_trained_encrypted_or_dealt(
    federation: Federation, field: str, value: int
) -> None:
    """A great total makes the others' updates vanish in the sum; a small threshold lets two hospitals open one."""
    folder = hospital(federation, LIED_TO)
    with lying(federation, Lie(field, value)):
        metrics = federation.lead_round()
    opening, record = federation.ledger.opening_and_round(latest(federation))
    said = {"enrolledTotal": opening.enrolled_total, "threshold": opening.threshold}
    told = said | {field: value}
    sentence = (
        f"The node says that round {opening.round_index} has a total weight of {told['enrolledTotal']} and a "
        f"threshold of {told['threshold']}; its roster and the settings make that {said['enrolledTotal']} and "
        f"{said['threshold']}. Do not take part; point this hospital at another node of the ledger."
    )
    assert set(metrics["failures"]) == {sentence}  # type: ignore[call-overload]
    assert (metrics["phase"], metrics["submitted"], record.included) == ("accepted", 3, (0, 1, 2))
    assert folder.load_submission(opening.round_index) is None
    assert not (folder.path / "sharing" / f"round-{opening.round_index:04d}").exists()


@pytest.mark.parametrize("kind", [MessageType.TRAIN, MessageType.EVALUATE])
def test_a_false_weight_of_an_aggregate_is_refused_and_leaves_nothing_behind(federation: Federation, kind: str) -> None:
    """Of the round before, when a hospital brings its model up to date; of this one, when it makes the candidate."""
    federation.lead_round()
    with telling(federation, Lie("includedWeight", 1), lambda request: request.metadata.message_type == kind):
        metrics = federation.lead_round()
    (failure,) = metrics["failures"][:1]  # type: ignore[index]
    assert "has weight 1, which its hospitals' weights do not add up to. Do not take part;" in failure
    assert metrics["phase"] == "accepted"
    assert metrics["submitted"] == (3 if kind == MessageType.TRAIN else 4)
    if kind == MessageType.EVALUATE:
        assert (metrics["accepts"], metrics["rejects"]) == (3, 0)
    metrics = federation.lead_round()
    assert (metrics["accepts"], metrics["failures"]) == (4, []), "told the truth, it takes part again"


def test_a_set_of_fewer_than_the_threshold_is_released_by_nobody(federation: Federation) -> None:
    """Else two colluders, whose updates they know, would read the third's out of a sum of three."""
    fitting = server.fitting_dealings

    def two_of(leading: Any, opening: RoundOpening, updates: Sequence[VerifiedUpdate], log: RoundLog) -> Any:
        standing, holders = fitting(leading, opening, updates, log)
        return [update for update in standing if update.roster_index in (0, 2)], holders

    assert federation.settings.ledger.min_included == 2
    with (
        mock.patch.object(server, "fitting_dealings", two_of),
        mock.patch.object(server, "least_included", lambda _opening, settings: settings.ledger.min_included),
        pytest.raises(QuorumError, match="0 of 4 hospitals released"),
    ):
        federation.lead_round()
    index = latest(federation)
    record = federation.ledger.round(index)
    assert (record.phase, record.included) == (RoundPhase.ABORTED, (0, 2))
    reasons = [entry["reason"] for entry in progress(federation, index) if entry["event"] == "unanswered"]
    wanted = f"The updates of round {index} are of 2 hospitals, fewer than the {THRESHOLD} that are needed."
    assert [reason.startswith(wanted) for reason in reasons] == [True] * 4
    for node in NODES:
        assert hospital(federation, node).sharing.released_for(index, Purpose.UPDATES) is None


def progress(federation: Federation, index: int) -> list[dict[str, Any]]:
    told = [json.loads(line) for line in federation.folder.server.progress.read_text().splitlines()]
    return [entry for entry in told if entry.get("round") == index]


@dataclasses.dataclass
class Asked:
    """What hospitals said to questions that a server must not ask, each put right before the proper one.

    Attributes:
        index: The round.
        refusals: By the question's type, why each hospital refused.
        voted: Whether there was a vote on its disk after it was asked to judge without releases.
        sealed: Every sealed share that passed.
        checkpoints: At each release of updates, the height that the hospital had signed.
    """

    index: int
    refusals: dict[str, list[str]]
    voted: list[bool]
    sealed: set[bytes]
    checkpoints: list[int]


@pytest.fixture(scope="module")
def asked(consortium: Federation) -> Asked:
    """An accepted round in which each hospital is first asked the wrong thing."""
    index = latest(consortium) + 1
    found = Asked(index, {ANSWERS: [], RELEASE: [], MessageType.EVALUATE: []}, [], set(), [])
    deliver = consortium.grid.deliver

    def ask(node: NodeId, request: Message) -> None:
        kind = request.metadata.message_type
        if kind == ANSWERS:
            found.sealed.update(request.content["dealings"]["shares"])  # type: ignore[arg-type]
        false = made_wrong(consortium, index, request)
        if false is None:
            return
        reply = deliver(node, false)
        assert reply is not None
        found.refusals[kind].append(failure_in(reply).what)
        if kind == MessageType.EVALUATE:
            found.voted.append(hospital(consortium, node).sharing.vote(index) is not None)

    def note(node: int, reply: Message) -> Message:
        if "release" in reply.content and consortium.ledger.round(index).phase is RoundPhase.VOTING:
            last = json.loads(hospital(consortium, node).checkpoints()[-1])
            found.checkpoints.append(last["checkpoint"]["height"])
            assert last["checkpoint"]["height"] == consortium.ledger.head().height
        return reply

    consortium.grid.tamper = note
    with asking_first(consortium, ask):
        metrics = consortium.lead_round()
    consortium.grid.tamper = untouched
    assert (metrics["phase"], metrics["accepts"], metrics["failures"]) == ("accepted", 4, [])
    return found


def made_wrong(federation: Federation, index: int, request: Message) -> Message | None:
    """An earlier challenge, counts of fewer hospitals than voted, or an aggregate without releases."""
    false, kind = copy.deepcopy(request), request.metadata.message_type
    if kind == ANSWERS:
        committed = list(federation.ledger.events(UpdateCommitted, index))
        last = next(e.index for e in federation.ledger.opening(index).roster if e.address == committed[-1].hospital)
        values = false.content["dealings"]
        place = list(values["dealers"]).index(last)  # type: ignore[call-overload]
        for name in (
            "dealers",
            "hashes",
            "shares",
            "commitments",
        ):  # what was dealt after the earlier head is not asked about
            values[name] = [each for at, each in enumerate(values[name]) if at != place]  # type: ignore[arg-type]
        values["ledger-head"] = committed[-2].ledger_head
        return false
    if kind == RELEASE and request.content["sum"]["purpose"] == int(Purpose.COUNTS):
        values = false.content["sum"]
        values["included"], values["sum-hash"] = list(values["included"])[:-1], bytes(32)  # type: ignore[call-overload]
        assert len(values["included"]) == THRESHOLD  # type: ignore[arg-type]
        return false
    if kind == MessageType.EVALUATE:
        false.content[f"{wire.RELEASES}{index}"] = ConfigRecord({"signed": [], "content": []})
        return false
    return None


def test_an_earlier_head_is_no_challenge(asked: Asked) -> None:
    sentence = f"The challenge of round {asked.index} is not from where its ledger stands."
    assert asked.refusals[ANSWERS] == [sentence] * 4


def test_counts_of_a_chosen_subset_are_released_by_nobody(federation: Federation, asked: Asked) -> None:
    assert len(asked.refusals[RELEASE]) == 4
    for why in asked.refusals[RELEASE]:
        assert "of other hospitals than those in the aggregate whose votes name counts" in why
    assert len(federation.folder.server.round_keys.load_releases(asked.index, Purpose.COUNTS)) == 4, "of the true set"


def test_without_releases_there_is_no_vote_and_with_them_one(federation: Federation, asked: Asked) -> None:
    sentence = f"0 usable releases came with the updates of round {asked.index}, {THRESHOLD} are needed."
    assert asked.refusals[MessageType.EVALUATE] == [sentence] * 4
    assert asked.voted == [False] * 4
    votes = [(event.hospital, event.accept) for event in federation.ledger.events(VoteCast, asked.index)]
    assert sorted(votes) == sorted((entry.address, True) for entry in federation.ledger.opening(asked.index).roster)


def test_who_releases_signs_where_the_ledger_stands(asked: Asked) -> None:
    assert len(asked.checkpoints) == 4


def test_after_a_round_no_sealed_share_is_on_any_disk(federation: Federation, asked: Asked) -> None:
    assert len(asked.sealed) == 16
    for node in NODES:
        kept = hospital(federation, node).load_submission(asked.index)
        assert kept is None or not kept.sealed_shares  # None: another test's round came since
    assert not found_below(federation.folder.path, asked.sealed)


def found_below(path: Path, secrets: set[bytes]) -> set[Path]:
    """The files that hold any of these."""
    files = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}
    return {file for file, content in files.items() if any(secret in content for secret in secrets)}


def test_sealed_shares_of_a_round_that_broke_off_go_at_the_end_of_the_run(federation: Federation) -> None:
    def nothing_fits(*_arguments: object) -> Any:
        raise QuorumError("Nobody answered.", "Try again.")

    with mock.patch.object(server, "fitting_dealings", nothing_fits), pytest.raises(QuorumError):
        federation.lead_round()
    folder, index = hospital(federation, 1), latest(federation)
    kept = folder.load_submission(index)
    assert kept is not None
    assert found_below(folder.path, set(kept.sealed_shares))
    forget_rounds(folder)
    assert not found_below(folder.path, set(kept.sealed_shares))
    assert folder.sharing.unforgotten() == ()


def test_a_second_different_vote_is_refused_and_the_first_stands(federation: Federation) -> None:
    """A server and hospital 2, whose release is wrong: with just enough releases no sum opens, with all it does.

    Whoever signed both votes would have let the server choose.
    """
    second: list[str] = []
    evidence: list[bytes] = []

    def few_first(node: NodeId, request: Message) -> None:
        if request.metadata.message_type != MessageType.EVALUATE or node != LIED_TO:
            return
        whole = federation.folder.server.load_sum(latest(federation))
        by_two = Address(address(federation, 2))
        sent = sorted(whole.releases, key=lambda each: each.signed.release.hospital != by_two)[:THRESHOLD]
        few = copy.deepcopy(request)
        records = wire.round_records(latest(federation), {latest(federation): SentSum(whole.chunks, tuple(sent))})
        for name, record in records.items():
            few.content[name] = record
        reply = deliver(node, few)
        assert reply is not None
        assert "vote" in reply.content
        evidence.append(report(federation))

    def note(node: int, reply: Message) -> Message:
        if node == LIED_TO and evidence and "failure" in reply.content:
            second.append(failure_in(reply).what)
        return reply

    deliver = federation.grid.deliver
    federation.grid.tamper = note
    with asking_first(federation, few_first), cheating(federation.grid, {2: releasing_a_wrong_sum()}):
        metrics = federation.lead_round()
    index = latest(federation)
    assert second == [f"This hospital has voted otherwise on round {index} before."]
    assert (metrics["accepts"], metrics["rejects"]) == (3, 0)
    assert report(federation) == evidence[0], "the evidence of the vote that it signed"
    assert b'"accept":false' in (hospital(federation, LIED_TO).sharing.vote(index) or b"")


def report(federation: Federation) -> bytes:
    return hospital(federation, LIED_TO).load_report(latest(federation)) or b""


def address(federation: Federation, node: int) -> str:
    return federation.ledger.opening(latest(federation)).roster[node - 1].address


def test_who_released_for_a_forked_set_does_not_judge_the_true_one(federation: Federation) -> None:
    def of_updates(request: Message) -> bool:
        if request.metadata.message_type != RELEASE:
            return False
        return request.content["sum"]["purpose"] == int(Purpose.UPDATES)

    with telling(federation, Lie("includedMask", 0b1011), of_updates):
        metrics = federation.lead_round()
    index = latest(federation)
    released = hospital(federation, LIED_TO).sharing.released_for(index, Purpose.UPDATES)
    assert released is not None
    assert released[0] == 0b1011
    (failure,) = metrics["failures"]  # type: ignore[misc]
    assert failure == (
        f"The ledger now says another set or sum of round {index} than when this hospital released its part of the "
        "key. Do not take part; compare this hospital's checkpoints with the others'."
    )
    assert (metrics["phase"], metrics["accepts"]) == ("accepted", 3)
    assert federation.ledger.round(index).included == (0, 1, 2, 3)
    # Nor does it take part again, whatever became of that round, until somebody has looked into it.
    metrics = federation.lead_round()
    assert set(metrics["failures"]) == {failure}  # type: ignore[call-overload]
    assert metrics["phase"] == "accepted"
    assert federation.ledger.round(index + 1).submissions == 3
