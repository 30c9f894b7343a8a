"""UpdateLedger from the aggregate to the outcome. Effect, event, exact refusal of each call."""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator

import pytest
from consortium import CANDIDATE, RULES, WEIGHTS, Chain, Consortium, Foundings, refused

from blockchain.ledger.encoding import encode_reason, encode_vote
from blockchain.ledger.fold import first_base_id, next_base_id
from blockchain.ledger.ledger import Ledger, RoundPhase
from blockchain.signing.signatures import Verdict, sign_vote
from fedward.types import Address

pytestmark = pytest.mark.slow

HASH = bytes([8]) * 32
OTHER, THIRD = bytes([5]) * 32, bytes([6]) * 32  # candidates


@pytest.fixture
def voting(foundings: Foundings) -> Iterator[Consortium]:
    with foundings.consortium(then=Consortium.to_voting) as founded:
        yield founded


@pytest.fixture
def five_voting(foundings: Foundings) -> Iterator[Consortium]:
    """Five hospitals, all of which must reject for a rejection; two votes are enough."""
    rules = dataclasses.replace(RULES, reject_quorum=5, min_votes=2)
    with foundings.consortium(5, rules, Consortium.to_voting) as founded:
        yield founded


# ---- castVote, castVoteFor ----------------------------------------------------------------------------------------


def test_cast_vote_for(voting: Consortium) -> None:
    voting.vote(True, False)
    assert voting.last("VoteCast") == {
        "round": 1,
        "hospital": voting.hospitals[1].address.lower(),
        "accept": False,
        "candidateDigest": CANDIDATE,
        "countsHash": bytes([1]) * 32,
        "evidenceHash": bytes([9]) * 32,
    }
    record = voting.ledger.round(1)
    assert (record.accepts, record.rejects) == (1, 1)
    assert voting.ledger.vote_count() == 2


def test_vote_directly(voting: Consortium) -> None:
    vote = voting.ballot(0, True).vote
    with refused("WrongSigner", voting.hospitals[0].address.lower(), voting.hospitals[1].address.lower()):
        voting.send(voting.hospitals[1], "castVote", encode_vote(vote))
    voting.send(voting.hospitals[0], "castVote", encode_vote(vote))
    assert voting.ledger.round(1).accepts == 1


def test_a_hospital_that_did_not_submit_votes_too(consortium: Consortium) -> None:
    consortium.open_round()
    consortium.submit(0, 1)
    consortium.pass_deadline()
    consortium.close_submissions((0, 1))
    consortium.vote(True, True, True)
    assert consortium.ledger.round(1).accepts == 3


def test_vote_refusals(voting: Consortium) -> None:
    ledger, stranger, hospital = voting.ledger, voting.chain.stranger, voting.hospitals[0]
    with refused("WrongAggregate", ledger.round(1).aggregate_hash, HASH):
        ledger.cast_vote_for(voting.ballot(0, True, aggregate_hash=HASH))
    with refused("RoundNotVoting", "round 2, phase 0"):
        ledger.cast_vote_for(voting.ballot(0, True, round_index=2))
    stranger_vote = dataclasses.replace(voting.ballot(0, True).vote, hospital=stranger.address)
    signed = sign_vote(Verdict(True, HASH, HASH, HASH), ledger.round(1), ledger, stranger)
    with refused("NotOnRoster", stranger.address.lower()):
        ledger.cast_vote_for(signed)
    with refused("WrongSigner", stranger.address.lower()):
        ledger.cast_vote_for(dataclasses.replace(voting.ballot(0, True), vote=stranger_vote))
    accepted = voting.ballot(0, True)
    turned = dataclasses.replace(accepted, vote=dataclasses.replace(accepted.vote, accept=False))
    with refused("WrongSigner", hospital.address.lower()):
        ledger.cast_vote_for(turned)
    voting.vote(True)
    for again in (True, False):
        with refused("AlreadyVoted", "round 1", hospital.address.lower()):
            ledger.cast_vote_for(voting.ballot(0, again))


@pytest.mark.parametrize("name", ["nonsense", "x.eth", "", "0x12"])
def test_a_vote_or_commitment_of_nobody_is_refused(consortium: Consortium, name: str) -> None:
    """A name that is no address is the sender's fault: an error with a reason, without any look-up on the chain."""
    consortium.open_round()
    signed, nobody = consortium.signed(0), Address(name)
    with refused("MalformedValue"):
        consortium.ledger.submit_for(
            dataclasses.replace(signed, commitment=dataclasses.replace(signed.commitment, hospital=nobody))
        )
    consortium.submit()
    consortium.close_submissions()
    ballot = consortium.ballot(0, True)
    with refused("MalformedValue"):
        consortium.ledger.cast_vote_for(
            dataclasses.replace(ballot, vote=dataclasses.replace(ballot.vote, hospital=nobody))
        )
    for call in (lambda: consortium.ledger.register(nobody, 1, HASH), lambda: consortium.ledger.revoke(nobody)):
        with refused("MalformedValue"):
            call()


@pytest.mark.parametrize("name", ["nonsense", "x.eth", "0x12"])
def test_no_ledger_is_attached_at_what_is_no_address(chain: Chain, name: str) -> None:
    with refused("MalformedValue"):
        Ledger.attach(chain.node.url, Address(name))


def test_votes_end_with_the_deadline(voting: Consortium) -> None:
    deadline = voting.ledger.round(1).voting_deadline
    voting.chain.clock.ahead_s += deadline + 1 - voting.chain.clock()  # the deadline for updates is later than that
    with refused("VotingDeadlinePassed", f"round 1, deadline {deadline}"):
        voting.vote(True)


def test_no_vote_before_submissions_are_closed(consortium: Consortium) -> None:
    consortium.open_round()
    with refused("RoundNotVoting", "round 1, phase 1"):
        consortium.vote(True)


# ---- finalizeRound ------------------------------------------------------------------------------------------------


def test_an_accepted_round_extends_the_base(voting: Consortium) -> None:
    before = voting.ledger.base_id()
    voting.vote(True, True, True)
    assert voting.finalize() is RoundPhase.ACCEPTED
    record, after = voting.ledger.round(1), voting.ledger.base_id()
    assert before == first_base_id(voting.ledger.initial_model_digest(), voting.ledger.settings_digest())
    assert after == next_base_id(before, record) != before
    assert record.included_weight == record.enrolled_total == sum(WEIGHTS[:3])
    assert voting.last("RoundAccepted") == {
        "round": 1,
        "accepts": 3,
        "rejects": 0,
        "candidateDigest": CANDIDATE,
        "baseId": after,
    }
    assert voting.open_round().base_id == after


def test_a_rejected_round_leaves_the_base(voting: Consortium) -> None:
    before = voting.ledger.base_id()
    voting.vote(False, False)
    assert voting.finalize() is RoundPhase.REJECTED  # at once: the reject quorum is reached
    assert voting.ledger.base_id() == before
    assert voting.last("RoundRejected") == {"round": 1, "accepts": 0, "rejects": 2}
    assert voting.open_round().round_index == 2


def test_a_round_without_enough_votes_is_aborted_at_the_deadline(voting: Consortium) -> None:
    voting.vote(True)
    with refused("OutcomeStillOpen", "round 1"):
        voting.finalize()
    voting.pass_deadline()
    assert voting.finalize() is RoundPhase.ABORTED
    assert voting.last("RoundAborted") == {"round": 1, "reason": encode_reason("TooFewVotes")}


@pytest.mark.parametrize(
    ("verdicts", "over"),
    [
        ((True, False), True),  # a tie
        ((False, True, False), True),  # more rejects, yet fewer than the quorum
        ((False, False, True, False), False),  # no vote to come could bring a majority or the quorum: at once
    ],
)
def test_a_round_without_more_accepts_than_rejects_is_aborted(
    five_voting: Consortium, verdicts: tuple[bool, ...], over: bool
) -> None:
    """Whoever keeps back honest rejections so that the quorum is missed must still leave a majority that accepts."""
    before = five_voting.ledger.base_id()
    five_voting.vote(*verdicts)
    if over:
        with refused("OutcomeStillOpen"):
            five_voting.finalize()
        five_voting.pass_deadline()
    assert five_voting.finalize() is RoundPhase.ABORTED
    assert five_voting.last("RoundAborted") == {"round": 1, "reason": encode_reason("NoMajority")}
    assert five_voting.ledger.base_id() == before


def test_anybody_may_finalize(voting: Consortium) -> None:
    voting.vote(True, True, True)
    voting.send(voting.chain.stranger, "finalizeRound", 1)
    assert voting.ledger.round(1).phase is RoundPhase.ACCEPTED


@pytest.mark.parametrize("phase", ["none", "open", "final"])
def test_finalize_refusals(consortium: Consortium, phase: str) -> None:
    number = {"none": 0, "open": 1, "final": 5}[phase]
    if phase != "none":
        consortium.open_round()
    if phase == "final":
        consortium.ledger.abort_round(1, "test")
    with refused("RoundNotVoting", f"round 1, phase {number}"):
        consortium.ledger.finalize_round(1)


Choice = bool | bytes  # a vote against, for the one candidate, or for another


def carried(votes: tuple[Choice, ...]) -> bytes | None:
    """The candidate that more than half of these votes accept."""
    named = Counter(CANDIDATE if vote is True else vote for vote in votes if vote)
    return next((digest for digest, count in named.items() if 2 * count > len(votes)), None)  # type: ignore[return-value]


def decide(
    votes: tuple[Choice, ...], members: int, reject_quorum: int, min_votes: int, over: bool
) -> RoundPhase | None:
    """The rule, in Python: what finalizing gives, or None where it is too early.

    Early means: every way in which the others might still vote, for whichever candidate, gives the same outcome.
    """
    if over:
        if votes.count(False) >= reject_quorum:
            return RoundPhase.REJECTED
        return RoundPhase.ACCEPTED if len(votes) >= min_votes and carried(votes) else RoundPhase.ABORTED
    choices = {False, True, bytes([90]) * 32, *votes}
    endings = {
        decide(votes + more, members, reject_quorum, min_votes, over=True)
        for count in range(members - len(votes) + 1)
        for more in itertools.product(choices, repeat=count)
    }
    return endings.pop() if len(endings) == 1 else None


@pytest.mark.parametrize("rules", [(0, 0), (1, 4), (4, 1), (2, 1)])
def test_the_outcome_follows_the_rule_and_is_never_early(foundings: Foundings, rules: tuple[int, int]) -> None:
    """After each vote, finalizing is refused exactly as long as votes to come could change the outcome."""
    quorums = dataclasses.replace(RULES, reject_quorum=rules[0], min_votes=rules[1])
    resolved = tuple(quorum or 3 for quorum in rules)
    histories: list[tuple[Choice, ...]] = [
        (True, True, True, True),
        (False, True, False, True),
        (True, False, False, False),
        (False, True, True, True),
        (True, OTHER, True, True),
        (OTHER, True, THIRD, True),
        (True, True, OTHER, OTHER),
        (OTHER, False, True, True),
    ]
    for verdicts in histories:
        with foundings.consortium(4, quorums, Consortium.to_voting) as voting:
            for count in range(5):
                expected = decide(verdicts[:count], 4, *resolved, over=False)
                if expected is None:
                    with refused("OutcomeStillOpen"):
                        voting.finalize()
                    voting.vote(*verdicts[count : count + 1], first=count)
                else:
                    assert voting.finalize() is expected
                    break


@pytest.mark.parametrize(
    "verdicts",
    [
        (),
        (True,),
        (False,),
        (True, True),
        (True, False),
        (True, True, False),
        (True, True, False, False),
        (True, OTHER),
        (OTHER, True, True),
        (True, True, OTHER, False),
        (True, True, OTHER, OTHER),
    ],
)
def test_the_outcome_at_the_deadline_follows_the_rule(foundings: Foundings, verdicts: tuple[Choice, ...]) -> None:
    rules = dataclasses.replace(RULES, reject_quorum=2, min_votes=2)
    with foundings.consortium(4, rules, Consortium.to_voting) as voting:
        voting.vote(*verdicts)
        voting.pass_deadline()
        assert voting.finalize() is decide(verdicts, 4, 2, 2, over=True)


# ---- the tally by candidate ---------------------------------------------------------------------------------------


def test_three_accepting_votes_for_three_candidates_are_no_agreement(voting: Consortium) -> None:
    before = voting.ledger.base_id()
    voting.vote(True, OTHER, THIRD)
    record = voting.ledger.round(1)
    assert (record.accepts, record.rejects, record.agreeing) == (3, 0, 1)
    assert voting.finalize() is RoundPhase.ABORTED
    assert voting.last("RoundAborted") == {"round": 1, "reason": encode_reason("DigestsDiffer")}
    assert voting.ledger.base_id() == before


def test_the_candidate_of_more_than_half_is_told_whoever_voted_first(voting: Consortium) -> None:
    tallies = []
    for index, choice in enumerate((OTHER, True, True)):
        voting.vote(choice, first=index)
        record = voting.ledger.round(1)
        tallies.append((record.agreeing, record.candidate_digest))
    assert tallies == [(1, OTHER), (1, OTHER), (2, CANDIDATE)]
    assert voting.finalize() is RoundPhase.ACCEPTED
    accepted = voting.last("RoundAccepted")
    assert (accepted["accepts"], accepted["rejects"], accepted["candidateDigest"]) == (3, 0, CANDIDATE)


def test_no_candidate_stands_before_an_accepting_vote(voting: Consortium) -> None:
    voting.vote(False)
    record = voting.ledger.round(1)
    assert (record.agreeing, record.candidate_digest) == (0, bytes(32))


def test_a_candidate_of_an_earlier_round_brings_no_votes_along(voting: Consortium) -> None:
    voting.vote(True, True, True)
    voting.finalize()
    voting.to_voting()
    voting.vote(True)
    assert voting.ledger.round(2).agreeing == 1


@pytest.mark.parametrize(
    ("verdicts", "reason"),
    [
        ((True,), "TooFewVotes"),
        ((True, False), "NoMajority"),
        ((True, OTHER), "DigestsDiffer"),
        ((True, True, OTHER, False), "DigestsDiffer"),
        ((True, OTHER, False, False), "NoMajority"),
    ],
)
def test_an_abort_tells_the_first_thing_that_was_wanting(
    five_voting: Consortium, verdicts: tuple[Choice, ...], reason: str
) -> None:
    five_voting.vote(*verdicts)
    five_voting.pass_deadline()
    assert five_voting.finalize() is RoundPhase.ABORTED
    assert five_voting.last("RoundAborted") == {"round": 1, "reason": encode_reason(reason)}


# ---- finalizeAndOpen ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verdicts", "outcome"), [((True, True, True), "RoundAccepted"), ((False,) * 3, "RoundRejected")]
)
def test_one_transaction_ends_a_round_and_opens_the_next(
    voting: Consortium, verdicts: tuple[bool, ...], outcome: str
) -> None:
    voting.vote(*verdicts)
    phase, opening = voting.ledger.finalize_and_open(1)
    ended, opened = voting.events()[-2:]
    assert (ended.name, opened.name) == (outcome, "RoundOpened")
    assert ended.transaction_hash == opened.transaction_hash
    assert phase is voting.ledger.round(1).phase
    assert opening is not None
    assert opening == voting.ledger.opening(2)
    assert opening.base_id == voting.ledger.base_id()
    assert opening.ledger_head == voting.ledger.head().ledger_head
    assert voting.ledger.latest_round() == 2


def test_after_an_aborted_round_none_is_opened(voting: Consortium) -> None:
    voting.vote(True, OTHER, THIRD)
    assert voting.ledger.finalize_and_open(1) == (RoundPhase.ABORTED, None)
    assert voting.ledger.latest_round() == 1
    assert voting.last("RoundAborted")["reason"] == encode_reason("DigestsDiffer")


@pytest.mark.parametrize(
    ("verdicts", "phase", "latest"),
    [
        ((True,) * 3, RoundPhase.ACCEPTED, 2),
        ((False,) * 3, RoundPhase.REJECTED, 2),
        ((True, OTHER, THIRD), RoundPhase.ABORTED, 1),
    ],
)
def test_where_somebody_was_first_to_finalize_only_the_next_round_is_opened(
    voting: Consortium, verdicts: tuple[Choice, ...], phase: RoundPhase, latest: int
) -> None:
    voting.vote(*verdicts)
    voting.send(voting.chain.stranger, "finalizeRound", 1)
    found, opening = voting.ledger.finalize_and_open(1)
    assert (found, opening.round_index if opening else 1) == (phase, latest)
    assert voting.ledger.latest_round() == latest


def test_asked_again_after_a_lost_answer_the_round_that_was_opened_is_told(voting: Consortium) -> None:
    voting.vote(True, True, True)
    first = voting.ledger.finalize_and_open(1)
    count = len(voting.events())
    assert voting.ledger.finalize_and_open(1) == first
    assert len(voting.events()) == count


def test_finalize_and_open_refusals(chain: Chain, consortium: Consortium) -> None:
    """Nothing is recorded of a call that may not end the round, and only the aggregator opens rounds."""
    consortium.open_round()
    with refused("RoundNotVoting", "round 1, phase 1"):
        consortium.send(chain.server, "finalizeAndOpen", 1)
    consortium.submit()
    consortium.close_submissions()
    with refused("OutcomeStillOpen", "round 1"):
        consortium.ledger.finalize_and_open(1)
    consortium.vote(True, True, True)
    with refused("AccessControlUnauthorizedAccount", consortium.hospitals[0].address.lower()):
        consortium.send(consortium.hospitals[0], "finalizeAndOpen", 1)
    assert consortium.ledger.round(1).phase is RoundPhase.VOTING
    witnessed = Consortium.found(chain, rules=dataclasses.replace(RULES, witness_required=True))
    witnessed.to_voting()
    witnessed.vote(True, True, True)
    with refused("WitnessMissing", "round 1"):
        witnessed.ledger.finalize_and_open(1)
    assert witnessed.ledger.latest_round() == 1
    witnessed.close()


# ---- abortRound ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", [RoundPhase.OPEN, RoundPhase.VOTING])
def test_abort_round(consortium: Consortium, phase: RoundPhase) -> None:
    consortium.open_round()
    if phase is RoundPhase.VOTING:
        consortium.submit()
        consortium.close_submissions()
    before = consortium.ledger.base_id()
    consortium.ledger.abort_round(1, "a reason that is far longer than one word of the ledger")
    assert consortium.last("RoundAborted") == {"round": 1, "reason": encode_reason("a reason that is far longer tha")}
    assert consortium.ledger.round(1).phase is RoundPhase.ABORTED
    assert consortium.ledger.base_id() == before


def test_abort_refusals(consortium: Consortium) -> None:
    with refused("RoundAlreadyFinal", "round 1, phase 0"):
        consortium.ledger.abort_round(1, "x")
    consortium.open_round()
    with refused("AccessControlUnauthorizedAccount", consortium.hospitals[0].address.lower()):
        consortium.send(consortium.hospitals[0], "abortRound", 1, HASH)
    with refused("ZeroValue", "reason"):
        consortium.send(consortium.chain.server, "abortRound", 1, bytes(32))
    consortium.ledger.abort_round(1, "x")
    with refused("RoundAlreadyFinal", "round 1, phase 5"):
        consortium.ledger.abort_round(1, "x")


def test_a_final_round_stays_final(voting: Consortium) -> None:
    voting.vote(True, True, True)
    voting.finalize()
    kept = voting.ledger.round(1)
    with refused("RoundAlreadyFinal", "round 1, phase 3"):
        voting.ledger.abort_round(1, "x")
    with refused("RoundNotVoting", "round 1, phase 3"):
        voting.finalize()
    with refused("RoundNotVoting", "round 1, phase 3"):
        voting.vote(False)
    assert voting.ledger.round(1) == kept


def test_rounds_are_numbered_without_gap(consortium: Consortium) -> None:
    for number in range(1, 5):
        assert consortium.open_round().round_index == number
        consortium.ledger.abort_round(number, "test")
    assert consortium.ledger.latest_round() == 4
