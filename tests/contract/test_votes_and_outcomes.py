"""UpdateLedger from the aggregate to the outcome. Effect, event, exact refusal of each call."""

import dataclasses

import pytest
from consortium import CANDIDATE, RULES, WEIGHTS, Chain, Consortium, refused

from blockchain.ledger.encoding import encode_reason, encode_vote
from blockchain.ledger.fold import first_base_id, next_base_id
from blockchain.ledger.ledger import Ledger, RoundPhase
from blockchain.signing.signatures import Verdict, sign_vote
from fedward.types import Address

HASH = bytes([8]) * 32


@pytest.fixture
def voting(consortium: Consortium) -> Consortium:
    consortium.to_voting()
    return consortium


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
    chain: Chain, verdicts: tuple[bool, ...], over: bool
) -> None:
    """Whoever keeps back honest rejections so that the quorum is missed must still leave a majority that accepts."""
    founded = Consortium.found(chain, 5, dataclasses.replace(RULES, reject_quorum=5, min_votes=2))
    founded.to_voting()
    before = founded.ledger.base_id()
    founded.vote(*verdicts)
    if over:
        with refused("OutcomeStillOpen"):
            founded.finalize()
        founded.pass_deadline()
    assert founded.finalize() is RoundPhase.ABORTED
    assert founded.last("RoundAborted") == {"round": 1, "reason": encode_reason("NoMajority")}
    assert founded.ledger.base_id() == before
    founded.close()


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


def decide(votes: tuple[bool, ...], members: int, reject_quorum: int, min_votes: int, over: bool) -> RoundPhase | None:
    """The rule, in Python: what finalizing gives, or None where it is too early.

    Early means: every way in which the others might still vote gives the same outcome.
    """
    if over or len(votes) == members:
        if votes.count(False) >= reject_quorum:
            return RoundPhase.REJECTED
        carried = len(votes) >= min_votes and votes.count(True) > votes.count(False)
        return RoundPhase.ACCEPTED if carried else RoundPhase.ABORTED
    endings = {
        decide(votes + (False,) * rejects + (True,) * accepts, members, reject_quorum, min_votes, True)
        for rejects in range(members - len(votes) + 1)
        for accepts in range(members - len(votes) - rejects + 1)
    }
    return endings.pop() if len(endings) == 1 else None


@pytest.mark.parametrize("rules", [(0, 0), (1, 4), (4, 1), (2, 1)])
def test_the_outcome_follows_the_rule_and_is_never_early(chain: Chain, rules: tuple[int, int]) -> None:
    """After each vote, finalizing is refused exactly as long as votes to come could change the outcome."""
    founded = Consortium.found(chain, 4, dataclasses.replace(RULES, reject_quorum=rules[0], min_votes=rules[1]))
    resolved = tuple(quorum or 3 for quorum in rules)
    for verdicts in (
        (True, True, True, True),
        (False, True, False, True),
        (True, False, False, False),
        (False, True, True, True),
    ):
        founded.to_voting()
        for count in range(5):
            expected = decide(verdicts[:count], 4, *resolved, over=False)
            if expected is None:
                with refused("OutcomeStillOpen"):
                    founded.finalize()
                founded.ledger.cast_vote_for(founded.ballot(count, verdicts[count]))
            else:
                assert founded.finalize() is expected
                break
    founded.close()


@pytest.mark.parametrize(
    "verdicts", [(), (True,), (False,), (True, True), (True, False), (True, True, False), (True, True, False, False)]
)
def test_the_outcome_at_the_deadline_follows_the_rule(chain: Chain, verdicts: tuple[bool, ...]) -> None:
    founded = Consortium.found(chain, 4, dataclasses.replace(RULES, reject_quorum=2, min_votes=2))
    founded.to_voting()
    founded.vote(*verdicts)
    founded.pass_deadline()
    assert founded.finalize() is decide(verdicts, 4, 2, 2, over=True)
    founded.close()


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
