"""UpdateLedger's witnesses: who may attest, when, to what, and what a round waits for. Exact refusal of each call."""

import dataclasses
from collections.abc import Iterator, Sequence

import pytest
from consortium import RULES, Chain, Consortium, Foundings, refused
from eth_utils.crypto import keccak
from web3.types import LogReceipt

from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.ledger.encoding import encode_reason
from blockchain.ledger.ledger import RoundPhase

pytestmark = pytest.mark.slow

WITNESS = keccak(text="WITNESS_ROLE")
OTHER_HASH = bytes([8]) * 32
REQUIRED = dataclasses.replace(RULES, witness_required=True)


@pytest.fixture
def required(foundings: Foundings) -> Iterator[Consortium]:
    """A ledger that requires a witness, and has one: the founder."""
    with foundings.consortium(rules=REQUIRED, then=admit_founder) as founded:
        yield founded


def admit_founder(consortium: Consortium) -> None:
    consortium.ledger.admit_witness(consortium.chain.founder.address)


@pytest.fixture
def witness(chain: Chain) -> Identity:
    return chain.founder


# ---- attest -------------------------------------------------------------------------------------------------------


def test_attest(required: Consortium, witness: Identity) -> None:
    aggregate = required.to_voting()
    assert required.ledger.attestations(1) == ()
    required.send(witness, "attest", 1, aggregate)
    assert required.last("RoundWitnessed") == {
        "round": 1,
        "witness": witness.address.lower(),
        "aggregateHash": aggregate,
    }
    assert required.ledger.attestations(1) == (witness.address,)
    assert required.ledger.round(1).phase is RoundPhase.VOTING


@pytest.mark.parametrize("phase", ["none", "open", "accepted", "rejected", "aborted"])
def test_no_attestation_outside_of_voting(required: Consortium, witness: Identity, phase: str) -> None:
    aggregate = OTHER_HASH
    if phase in ("open", "aborted"):
        required.open_round()
    if phase == "aborted":
        required.ledger.abort_round(1, "test")
    if phase in ("accepted", "rejected"):
        aggregate = required.to_voting()
        required.vote(*[phase == "accepted"] * 3)
        if phase == "accepted":
            required.send(witness, "attest", 1, aggregate)
        required.finalize()
    number = ["none", "open", "voting", "accepted", "rejected", "aborted"].index(phase)
    before = required.ledger.attestations(1)
    with refused("RoundNotVoting", f"round 1, phase {number}"):
        required.send(witness, "attest", 1, aggregate)
    assert required.ledger.attestations(1) == before


def test_attest_refusals(required: Consortium, witness: Identity) -> None:
    aggregate = required.to_voting()
    with refused("WrongAggregate", aggregate, OTHER_HASH):
        required.send(witness, "attest", 1, OTHER_HASH)
    for somebody in (required.chain.stranger, required.chain.server, required.hospitals[0]):
        with refused("AccessControlUnauthorizedAccount", somebody.address.lower(), WITNESS):
            required.send(somebody, "attest", 1, aggregate)
    required.send(witness, "attest", 1, aggregate)
    with refused("AlreadyWitnessed", "round 1", witness.address.lower()):
        required.send(witness, "attest", 1, aggregate)
    assert required.ledger.attestations(1) == (witness.address,)


def test_attestations_end_with_the_voting_deadline(required: Consortium, witness: Identity) -> None:
    aggregate = required.to_voting()
    deadline = required.ledger.round(1).voting_deadline
    required.pass_deadline()
    with refused("VotingDeadlinePassed", f"round 1, deadline {deadline}"):
        required.send(witness, "attest", 1, aggregate)


def test_an_attestation_counts_for_its_round_only(required: Consortium, witness: Identity) -> None:
    first = required.to_voting()
    required.send(witness, "attest", 1, first)
    required.vote(True, True, True)
    assert required.finalize() is RoundPhase.ACCEPTED
    second = required.to_voting()
    with refused("WrongAggregate", second, first):
        required.send(witness, "attest", 2, first)
    required.vote(True, True, True)
    with refused("WitnessMissing", "round 2"):
        required.finalize()
    required.send(witness, "attest", 2, second)
    assert required.finalize() is RoundPhase.ACCEPTED


def test_two_witnesses_attest_each_for_itself(required: Consortium, witness: Identity) -> None:
    second = required.chain.stranger
    required.ledger.admit_witness(second.address)
    assert required.ledger.witnesses() == (witness.address, second.address)
    aggregate = required.to_voting()
    required.send(second, "attest", 1, aggregate)
    required.send(witness, "attest", 1, aggregate)
    assert required.ledger.attestations(1) == (second.address, witness.address)
    for again in (witness, second):
        with refused("AlreadyWitnessed", "round 1", again.address.lower()):
            required.send(again, "attest", 1, aggregate)
    required.vote(True, True, True)
    assert required.finalize() is RoundPhase.ACCEPTED


# ---- finalizeRound ------------------------------------------------------------------------------------------------


def test_a_round_that_the_votes_carry_waits_for_its_witness(required: Consortium, witness: Identity) -> None:
    aggregate = required.to_voting()
    required.vote(True, True, True)
    deadline = required.ledger.round(1).voting_deadline
    head = required.ledger.head().ledger_head
    with refused("WitnessMissing", f"round 1, deadline {deadline}"):
        required.finalize()
    assert (required.ledger.round(1).phase, required.ledger.head().ledger_head) == (RoundPhase.VOTING, head)
    required.send(witness, "attest", 1, aggregate)
    assert required.finalize() is RoundPhase.ACCEPTED
    required.last("RoundAccepted")


def test_an_attestation_does_not_replace_votes(required: Consortium, witness: Identity) -> None:
    required.send(witness, "attest", 1, required.to_voting())
    required.vote(True)
    with refused("OutcomeStillOpen", "round 1"):
        required.finalize()
    required.pass_deadline()
    assert required.finalize() is RoundPhase.ABORTED
    assert required.last("RoundAborted") == {"round": 1, "reason": encode_reason("TooFewVotes")}


def test_without_its_witness_a_round_is_aborted_at_the_deadline(required: Consortium) -> None:
    before = required.ledger.base_id()
    required.to_voting()
    required.vote(True, True, True)
    required.pass_deadline()
    assert required.finalize() is RoundPhase.ABORTED
    assert required.last("RoundAborted") == {"round": 1, "reason": encode_reason("NotWitnessed")}
    assert required.ledger.base_id() == before
    assert required.open_round().base_id == before


def test_an_attestation_in_time_serves_after_the_deadline(required: Consortium, witness: Identity) -> None:
    required.send(witness, "attest", 1, required.to_voting())
    required.vote(True, True)
    required.pass_deadline()
    assert required.finalize() is RoundPhase.ACCEPTED


def test_a_rejection_needs_no_witness(required: Consortium) -> None:
    required.to_voting()
    required.vote(False, False)
    assert required.finalize() is RoundPhase.REJECTED
    assert required.last("RoundRejected") == {"round": 1, "accepts": 0, "rejects": 2}


def test_a_witness_cannot_carry_a_rejected_round(required: Consortium, witness: Identity) -> None:
    required.send(witness, "attest", 1, required.to_voting())
    required.vote(False, False)
    assert required.finalize() is RoundPhase.REJECTED


@pytest.mark.parametrize(("verdicts", "reason"), [((), "TooFewVotes"), ((True, False), "NoMajority")])
def test_what_the_votes_do_not_carry_is_not_laid_on_the_witness(
    chain: Chain, verdicts: tuple[bool, ...], reason: str
) -> None:
    founded = Consortium.found(chain, rules=dataclasses.replace(REQUIRED, reject_quorum=3, min_votes=2))
    founded.to_voting()
    founded.vote(*verdicts)
    founded.pass_deadline()
    assert founded.finalize() is RoundPhase.ABORTED
    assert founded.last("RoundAborted") == {"round": 1, "reason": encode_reason(reason)}
    founded.close()


@pytest.mark.parametrize("attested", [True, False])
def test_without_the_rule_an_attestation_is_recorded_but_not_needed(
    consortium: Consortium, witness: Identity, attested: bool
) -> None:
    consortium.ledger.admit_witness(witness.address)
    aggregate = consortium.to_voting()
    if attested:
        consortium.send(witness, "attest", 1, aggregate)
    assert consortium.ledger.attestations(1) == ((witness.address,) if attested else ())
    consortium.vote(True, True, True)
    assert consortium.finalize() is RoundPhase.ACCEPTED


# ---- the role -----------------------------------------------------------------------------------------------------


def test_a_new_ledger_has_no_witness(consortium: Consortium) -> None:
    assert consortium.ledger.witnesses() == ()


def test_only_changes_of_witnesses_are_read_to_know_them(
    required: Consortium, witness: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    required.to_voting()
    required.ledger.abort_round(1, "test")
    read = []
    logs = Connection.logs

    def counted(connection: Connection, topics: Sequence[Sequence[bytes]] = ()) -> Iterator[LogReceipt]:
        for log in logs(connection, topics):
            read.append(log)
            yield log

    monkeypatch.setattr(Connection, "logs", counted)
    assert required.ledger.witnesses() == (witness.address,)
    assert [bytes(log["topics"][1]) for log in read] == [WITNESS]


def test_witnesses_come_and_go_between_rounds(consortium: Consortium, witness: Identity) -> None:
    ledger, server, second = consortium.ledger, consortium.chain.server, consortium.chain.stranger
    ledger.admit_witness(witness.address)
    assert consortium.last("RoleAssigned") == {"role": WITNESS, "account": witness.address.lower()}
    ledger.admit_witness(second.address)
    assert ledger.witnesses() == (witness.address, second.address)
    consortium.send(server, "revokeRole", WITNESS, witness.address)
    assert consortium.last("RoleRemoved") == {"role": WITNESS, "account": witness.address.lower()}
    assert ledger.witnesses() == (second.address,)
    consortium.send(second, "renounceRole", WITNESS, second.address)
    assert consortium.last("RoleRemoved") == {"role": WITNESS, "account": second.address.lower()}
    assert ledger.witnesses() == ()
    ledger.admit_witness(witness.address)
    assert ledger.witnesses() == (witness.address,)


def test_a_witness_whose_role_was_taken_attests_no_more(required: Consortium, witness: Identity) -> None:
    required.send(required.chain.server, "revokeRole", WITNESS, witness.address)
    aggregate = required.to_voting()
    with refused("AccessControlUnauthorizedAccount", witness.address.lower(), WITNESS):
        required.send(witness, "attest", 1, aggregate)


@pytest.mark.parametrize("phase", [RoundPhase.OPEN, RoundPhase.VOTING])
def test_witnesses_stand_still_while_a_round_runs(required: Consortium, witness: Identity, phase: RoundPhase) -> None:
    server, stranger = required.chain.server, required.chain.stranger
    if phase is RoundPhase.OPEN:
        required.open_round()
    else:
        required.to_voting()
    for somebody, function, account in (
        (server, "grantRole", stranger),
        (server, "grantRole", witness),  # who has it already
        (server, "revokeRole", witness),
        (server, "revokeRole", stranger),  # who never had it
        (witness, "renounceRole", witness),
    ):
        with refused("RoundInProgress", "round 1"):
            required.send(somebody, function, WITNESS, account.address)
    assert required.ledger.witnesses() == (witness.address,)
    required.ledger.abort_round(1, "test")
    required.send(witness, "renounceRole", WITNESS, witness.address)
    assert required.ledger.witnesses() == ()


@pytest.mark.parametrize("function", ["grantRole", "revokeRole"])
def test_only_the_admin_names_witnesses(required: Consortium, witness: Identity, function: str) -> None:
    for somebody in (required.chain.stranger, witness):
        with refused("AccessControlUnauthorizedAccount", somebody.address.lower()):
            required.send(somebody, function, WITNESS, witness.address)
    with refused("AccessControlBadConfirmation"):
        required.send(required.chain.server, "renounceRole", WITNESS, witness.address)
    assert required.ledger.witnesses() == (witness.address,)


def test_a_compromised_aggregator_is_stopped_in_a_round(required: Consortium) -> None:
    """Only witnesses stand still: the aggregator's role can be taken at any time, or it could keep rounds running."""
    aggregator = keccak(text="AGGREGATOR_ROLE")
    stranger, server = required.chain.stranger, required.chain.server
    required.send(server, "grantRole", aggregator, stranger.address)
    required.send(stranger, "openRound")
    required.send(server, "revokeRole", aggregator, stranger.address)
    with refused("AccessControlUnauthorizedAccount", stranger.address.lower(), aggregator):
        required.send(stranger, "closeSubmissions", 1, OTHER_HASH, 3, [])
    required.send(server, "abortRound", 1, encode_reason("test"))
    with refused("AccessControlUnauthorizedAccount", stranger.address.lower(), aggregator):
        required.send(stranger, "openRound")
