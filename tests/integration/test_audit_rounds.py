"""The rounds' story, told from events, is what the contract itself says; a damaged history is refused."""

import dataclasses
import functools
from collections.abc import Iterator

import pytest
from audit_material import executed_blocks
from consortium import CANDIDATE, EVENT, SETTINGS_DIGEST, WEIGHTS, Chain, Consortium, running_chain
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.audit.checks.rounds import RoundStory, heads_by_height, late_joiners, readable_reason, tell_rounds
from blockchain.audit.history import ExecutedBlock, Log
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.connection import Connection
from blockchain.ledger.events import UpdateCommitted
from blockchain.ledger.reader import WITNESS_ROLE
from blockchain.ledger.records import RoundPhase
from fedward.errors import VerificationError

ONCE = (
    *("HospitalRegistered", "RoundOpened", "UpdateCommitted", "SubmissionsClosed", "VoteCast"),
    *("RoundAccepted", "RoundRejected", "RoundAborted"),
)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_chain() as made:
        yield made


@pytest.fixture(scope="module")
def history(chain: Chain) -> Iterator[tuple[Consortium, list[ExecutedBlock]]]:
    """Four hospitals: a round accepted with one excluded and a witness, one rejected, one aborted open, one running."""
    consortium = Consortium.found(chain, 4)
    consortium.send(chain.server, "grantRole", WITNESS_ROLE, chain.stranger.address)
    opening = consortium.open_round()
    consortium.submit()
    aggregate = bytes([7]) * 32
    exclusions = [(3, b"Wrong\x1b[2JLength".ljust(32, b"\0"))]
    consortium.send(chain.server, "closeSubmissions", opening.round_index, aggregate, 0b0111, exclusions)
    consortium.send(chain.stranger, "attest", opening.round_index, aggregate)
    consortium.vote(True, True, True, False)
    assert consortium.finalize() is RoundPhase.ACCEPTED
    consortium.to_voting()
    consortium.vote(False, False, False)
    assert consortium.finalize() is RoundPhase.REJECTED
    consortium.open_round()
    consortium.submit(2)
    consortium.ledger.abort_round(3, "quorum lost")
    consortium.ledger.register(chain.people[4].address, 7, bytes([5]) * 32)
    consortium.send(chain.people[0], "setContext", bytes([8]) * 32)
    consortium.open_round()
    yield consortium, executed_blocks(chain.node.url)
    consortium.close()


@pytest.fixture(scope="module")
def stories(history: tuple[Consortium, list[ExecutedBlock]]) -> list[RoundStory]:
    consortium, blocks = history
    return tell_rounds(blocks, consortium.ledger.contract)


def test_who_joined_after_the_last_round(history: tuple[Consortium, list[ExecutedBlock]]) -> None:
    consortium, blocks = history
    contract, fifth = consortium.ledger.contract, consortium.chain.people[4].address
    assert late_joiners(blocks, contract) == frozenset()
    before_round_4 = next(
        place for place, block in enumerate(blocks) if fifth in late_joiners(blocks[: place + 1], contract)
    )
    assert late_joiners(blocks[: before_round_4 + 1], contract) == {fifth}
    assert late_joiners(blocks[:before_round_4], contract) == frozenset()


def test_the_story_is_the_contracts(history: tuple[Consortium, list[ExecutedBlock]], stories: list[RoundStory]) -> None:
    ledger = history[0].ledger
    assert [story.round_index for story in stories] == [1, 2, 3, 4]
    for story in stories:
        record, opening = ledger.round(story.round_index), ledger.opening(story.round_index)
        assert story.settings_digest == SETTINGS_DIGEST
        assert story.outcome is record.phase
        assert (story.base_id, story.context_fingerprint) == (opening.base_id, opening.context_fingerprint)
        assert (story.roster, story.enrolled_total) == (opening.roster, opening.enrolled_total)
        assert story.submission_deadline == record.submission_deadline
        assert story.threshold == opening.threshold == record.threshold
        assert (story.aggregate_hash or bytes(32)) == record.aggregate_hash
        assert (story.included, story.included_weight) == (record.included, record.included_weight)
        assert (story.voting_deadline or 0) == record.voting_deadline
        assert len(story.updates) == record.submissions
        assert sum(vote.accept for vote in story.votes) == record.accepts
        assert sum(not vote.accept for vote in story.votes) == record.rejects
        assert len(story.witnesses) == record.witnesses


def test_who_did_what_and_when(history: tuple[Consortium, list[ExecutedBlock]], stories: list[RoundStory]) -> None:
    consortium, blocks = history
    addresses = [hospital.address for hospital in consortium.hospitals]
    first, second, third, fourth = stories
    times = {block.number: block.timestamp for block in blocks}
    assert list(first.updates) == addresses
    assert [update.hospital for update in first.included_updates] == addresses[:3]
    assert [first.is_included(address) for address in addresses] == [True, True, True, False]
    assert first.exclusions == {addresses[3]: "Wrong?[2JLength"}
    assert first.updates[addresses[1]].event == EVENT
    assert first.updates[addresses[1]].weight == WEIGHTS[1]
    assert [(word.witness, word.aggregate_hash) for word in first.witnesses] == [
        (consortium.chain.stranger.address, bytes([7]) * 32)
    ]
    assert [vote.candidate_digest for vote in first.votes] == [CANDIDATE] * 4
    assert [vote.counts_hash for vote in first.votes] == [bytes([n]) * 32 for n in range(4)]
    assert [story.candidate_digest for story in stories] == [CANDIDATE, None, None, None]
    committed = {update.hospital: update.shares_root for update in first.updates.values()}
    recorded = {event.hospital: event.shares_root for event in consortium.ledger.events(UpdateCommitted, 1)}
    assert committed == recorded
    assert len(set(committed.values())) == 4
    moments = [first.opened, *(u.at for u in first.updates.values()), first.closed, first.votes[0].at, first.ended]
    assert all(moment and times[moment.block] == moment.timestamp for moment in moments)
    assert [m.block for m in moments if m] == sorted(m.block for m in moments if m)
    assert second.abort_reason is None
    assert (third.abort_reason, third.closed, list(third.updates)) == ("quorum lost", None, [addresses[2]])
    assert (fourth.outcome, fourth.ended, len(fourth.roster)) == (RoundPhase.OPEN, None, 5)


def test_heads_by_height_are_those_of_the_contract(history: tuple[Consortium, list[ExecutedBlock]]) -> None:
    consortium, blocks = history
    heads = heads_by_height(blocks, consortium.ledger.contract)
    connection = Connection(consortium.chain.node.url, consortium.ledger.contract)
    assert list(heads) == [block.number for block in blocks]
    deployed = min(height for height, head in heads.items() if head != bytes(32))
    assert deployed > 0
    for height in range(deployed, len(blocks) + 1):
        assert heads[height] == bytes(connection.call("ledgerHead", block=height))
    connection.close()


def test_another_contract_has_no_rounds(history: tuple[Consortium, list[ExecutedBlock]]) -> None:
    consortium, blocks = history
    stranger = consortium.chain.stranger.address
    assert tell_rounds(blocks, stranger) == []
    assert set(heads_by_height(blocks, stranger).values()) == {bytes(32)}


# ---- damaged histories ----------------------------------------------------------------------------------------------


def with_logs(blocks: list[ExecutedBlock], logs: list[Log]) -> list[ExecutedBlock]:
    """One block with all these events."""
    block = next(block for block in blocks if block.transactions)
    transaction = dataclasses.replace(block.transactions[0], logs=tuple(logs))
    return [dataclasses.replace(block, transactions=(transaction,))]


def logs_of(blocks: list[ExecutedBlock]) -> list[Log]:
    return [log for block in blocks for transaction in block.transactions for log in transaction.logs]


def test_every_event_counts_once_and_in_its_place(history: tuple[Consortium, list[ExecutedBlock]]) -> None:
    consortium, blocks = history
    tell = functools.partial(tell_rounds, contract=consortium.ledger.contract)
    logs = logs_of(blocks)
    assert len(tell(with_logs(blocks, logs))) == 4
    own = [k for k, log in enumerate(logs) if is_told_once(log)]
    assert len(own) == 5 + 4 + (4 + 4 + 1) + 2 + (4 + 3) + 3  # in the order of `ONCE`
    for k in own:
        with pytest.raises(VerificationError):
            tell(with_logs(blocks, [*logs[: k + 1], logs[k], *logs[k + 1 :]]))


def is_told_once(log: Log) -> bool:
    """Whether an event is one that a story is told from, and that no ledger has twice."""
    shape = load_artifact().events().get(log.topics[0])
    return shape is not None and shape.name in ONCE


DAMAGES = st.tuples(
    st.sampled_from(["drop", "move", "cut", "byte", "topics", "junk"]),
    st.integers(0, 10_000),
    st.integers(0, 400),
    st.binary(max_size=400),
)


def damage(logs: list[Log], kind: str, place: int, where: int, junk: bytes) -> None:
    """Change a history in one way."""
    place %= len(logs)
    log = logs[place]
    if kind == "drop":
        del logs[place]
    elif kind == "move":
        logs.insert(where % len(logs), logs.pop(place))
    elif kind == "cut":
        logs[place] = dataclasses.replace(log, data=log.data[:where])
    elif kind == "byte":
        logs[place] = dataclasses.replace(log, data=log.data[:where] + junk[:1] + log.data[where + 1 :])
    elif kind == "topics":
        logs[place] = dataclasses.replace(log, topics=log.topics[: where % 4])
    else:
        logs[place] = dataclasses.replace(log, data=junk)


@settings(max_examples=150, deadline=None)
@given(damages=st.lists(DAMAGES, min_size=1, max_size=3))
def test_a_damaged_history_is_refused_and_nothing_else(
    history: tuple[Consortium, list[ExecutedBlock]], damages: list[tuple[str, int, int, bytes]]
) -> None:
    consortium, blocks = history
    logs = logs_of(blocks)
    for each in damages:
        damage(logs, *each)
    damaged = with_logs(blocks, logs)
    try:
        told = tell_rounds(damaged, consortium.ledger.contract)
    except VerificationError:
        pass
    else:
        for story in told:  # what is told is at least whole in itself
            assert len(story.included_updates) == len(story.included)
    try:
        heads = heads_by_height(damaged, consortium.ledger.contract)
    except VerificationError:
        pass
    else:
        assert all(len(head) == 32 for head in heads.values())


@settings(max_examples=100, deadline=None)
@given(word=st.binary(min_size=32, max_size=32))
def test_any_reason_can_be_shown(word: bytes) -> None:
    assert all(" " <= character <= "~" for character in readable_reason(word))
