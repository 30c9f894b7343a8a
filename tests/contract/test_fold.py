"""The second implementation of the ledger head: equal over a whole history, and no change goes unnoticed."""

from collections.abc import Callable, Iterator

import pytest
from consortium import Chain, Consortium, refused

from blockchain.ledger.fold import EMPTY_HEAD, first_base_id, fold, next_base_id
from blockchain.ledger.ledger import RoundPhase
from fedward.errors import VerificationError

Events = list[tuple[tuple[bytes, ...], bytes]]


@pytest.fixture(scope="module")
def history(chain: Chain) -> Iterator[Consortium]:
    """An accepted, a rejected and an aborted round, with every kind of event but role changes and key changes."""
    consortium = Consortium.found(chain)
    for verdicts in ((True, True, False), (False, False)):
        consortium.to_voting()
        consortium.vote(*verdicts)
        consortium.finalize()
    consortium.open_round()
    consortium.submit(0, 2)
    consortium.pass_deadline()
    consortium.ledger.close_submissions(3, bytes([5]) * 32, (0, 2), {})
    consortium.ledger.abort_round(3, "test")
    yield consortium
    consortium.close()


@pytest.mark.slow
def test_the_fold_of_all_events_is_the_ledger_head(history: Consortium) -> None:
    assert fold(history.ledger.raw_events()) == history.ledger.head().ledger_head


def test_each_event_carries_the_fold_of_those_before_it(history: Consortium) -> None:
    raw = list(history.ledger.raw_events())
    heads = [event.ledger_head for event in history.events()]
    assert len(set(heads)) == len(heads)
    ours = 0
    for count in range(1, len(raw) + 1):
        head = fold(raw[:count])
        ours += ours < len(heads) and head == heads[ours]
    assert ours == len(heads)
    middle = len(raw) // 2
    assert fold(raw[middle:], fold(raw[:middle])) == fold(raw)
    assert fold([]) == EMPTY_HEAD


def flip_data(events: Events, place: int) -> Events:
    topics, data = events[place]
    return [*events[:place], (topics, bytes([data[0] ^ 1]) + data[1:]), *events[place + 1 :]]


def flip_topic(events: Events, place: int) -> Events:
    topics, data = events[place]
    changed = (*topics[:-1], topics[-1][:-1] + bytes([topics[-1][-1] ^ 1]))
    return [*events[:place], (changed, data), *events[place + 1 :]]


@pytest.mark.parametrize(
    "tamper",
    [
        lambda events: events[1:],
        lambda events: [*events[:9], *events[10:]],
        lambda events: [*events[:9], events[10], events[9], *events[11:]],
        lambda events: [*events[:9], events[9], *events[9:]],
        lambda events: flip_data(events, len(events) - 1),
        lambda events: flip_topic(events, len(events) - 1),
        lambda events: [*events[:-1], (events[-1][0], events[-1][1][:-1])],
        lambda events: [*events[:-1], (events[-1][0], b"")],
        lambda events: [*events[:-1], (events[-1][0][:1], events[-1][1])],
    ],
    ids=["first-dropped", "dropped", "swapped", "doubled", "data", "topic", "cut", "empty", "without-topics"],
)
def test_a_tampered_history_is_refused(history: Consortium, tamper: Callable[[Events], Events]) -> None:
    with pytest.raises(VerificationError, match=r"Event \d+"):
        fold(tamper(list(history.ledger.raw_events())))


def test_base_ids_follow_the_accepted_rounds_only(history: Consortium) -> None:
    base = first_base_id(history.ledger.initial_model_digest(), history.ledger.settings_digest())
    for index in range(1, history.ledger.latest_round() + 1):
        record = history.ledger.round(index)
        assert record.base_id == base == history.ledger.opening(index).base_id
        if record.phase is RoundPhase.ACCEPTED:
            base = next_base_id(base, record)
    assert history.ledger.base_id() == base
    with refused("RoundAlreadyFinal"):
        history.ledger.abort_round(1, "test")
