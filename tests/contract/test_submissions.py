"""UpdateLedger from a round's opening to its aggregate. Effect, event, exact refusal of each call."""

import dataclasses
import secrets
from collections.abc import Iterator
from typing import Any

import pytest
from consortium import (
    CHAIN_ID,
    EVENT,
    FINGERPRINT,
    RULES,
    WEIGHTS,
    Chain,
    Consortium,
    Foundings,
    refused,
    running_chain,
)
from eth_utils.crypto import keccak

from blockchain.ledger.encoding import encode_commitment, encode_event, encode_reason
from blockchain.ledger.ledger import RoundPhase
from blockchain.ledger.records import RosterEntry
from blockchain.signing.signatures import sign_commitment
from fedward.errors import LedgerError

AGGREGATOR = keccak(text="AGGREGATOR_ROLE")
HASH = bytes([8]) * 32

pytestmark = pytest.mark.slow


@pytest.fixture
def opened(foundings: Foundings) -> Iterator[Consortium]:
    with foundings.consortium(then=Consortium.open_round) as founded:
        yield founded


# ---- openRound ----------------------------------------------------------------------------------------------------


def test_open_round(consortium: Consortium) -> None:
    opening = consortium.open_round()
    assert opening == consortium.ledger.opening(1)
    assert opening.round_index == consortium.ledger.latest_round() == 1
    assert opening.ledger_head == consortium.ledger.head().ledger_head
    assert opening.base_id == consortium.ledger.base_id()
    assert opening.context_fingerprint == FINGERPRINT
    assert opening.roster == tuple(
        RosterEntry(index, hospital.address, WEIGHTS[index]) for index, hospital in enumerate(consortium.hospitals)
    )
    assert opening.enrolled_total == sum(WEIGHTS[:3])
    record = consortium.ledger.round(1)
    assert record.phase is RoundPhase.OPEN
    assert (record.reject_quorum, record.min_votes) == (2, 2)  # more than half of three
    assert record.threshold == opening.threshold == 3  # more than two thirds of three
    assert consortium.last("RoundOpened") == {
        "round": 1,
        "baseId": opening.base_id,
        "contextFingerprint": FINGERPRINT,
        "rosterMask": 0b111,
        "enrolledTotal": sum(WEIGHTS[:3]),
        "submissionDeadline": opening.submission_deadline,
        "rejectQuorum": 2,
        "minVotes": 2,
        "threshold": 3,
    }


def test_open_round_counts_its_deadline_from_its_block(consortium: Consortium) -> None:
    opening = consortium.open_round()
    assert 600 - 60 < opening.submission_deadline - consortium.chain.clock() <= 600 + 600


@pytest.mark.parametrize(("size", "quorum"), [(2, 2), (3, 2), (4, 3), (5, 3)])
def test_a_quorum_of_0_is_more_than_half_of_the_roster(chain: Chain, size: int, quorum: int) -> None:
    founded = Consortium.found(chain, size=size)
    founded.open_round()
    record = founded.ledger.round(1)
    assert (record.reject_quorum, record.min_votes) == (quorum, quorum)
    founded.close()


@pytest.mark.parametrize(("size", "threshold"), [(2, 2), (3, 3), (4, 3), (5, 4)])
def test_a_threshold_of_0_is_more_than_two_thirds_of_the_roster(chain: Chain, size: int, threshold: int) -> None:
    founded = Consortium.found(chain, size=size)
    assert founded.open_round().threshold == founded.ledger.round(1).threshold == threshold
    founded.close()


def test_a_threshold_of_the_rules_holds_whatever_the_roster(chain: Chain) -> None:
    founded = Consortium.found(chain, size=5, rules=dataclasses.replace(RULES, release_threshold=2))
    assert founded.open_round().threshold == 2
    assert founded.last("RoundOpened")["threshold"] == 2
    founded.ledger.abort_round(1, "test")
    founded.ledger.revoke(founded.hospitals[4].address)
    founded.send(founded.hospitals[0], "setContext", HASH)
    assert founded.open_round().threshold == 2
    founded.close()


def test_open_round_refusals(chain: Chain, consortium: Consortium) -> None:
    with refused("AccessControlUnauthorizedAccount", AGGREGATOR):
        consortium.send(consortium.hospitals[0], "openRound")
    consortium.open_round()
    with refused("RoundInProgress", "round 1"):
        consortium.ledger.open_round()
    without_context = Consortium.found(chain, context=False)
    with refused("ContextNotSet", "keyEpoch 1"):
        without_context.open_round()
    without_context.close()


@pytest.mark.parametrize(
    ("change", "name", "fields"),
    [
        ({"min_included": 4}, "RosterTooSmall", "active 3, required 4"),
        ({"reject_quorum": 4}, "QuorumAboveRoster", "quorum 4, active 3"),
        ({"min_votes": 5}, "QuorumAboveRoster", "quorum 5, active 3"),
        ({"release_threshold": 4}, "QuorumAboveRoster", "quorum 4, active 3"),
    ],
)
def test_open_round_refuses_what_the_roster_cannot_meet(
    chain: Chain, change: dict[str, int], name: str, fields: str
) -> None:
    founded = Consortium.found(chain, rules=dataclasses.replace(RULES, **change))
    with refused(name, fields):
        founded.open_round()
    assert founded.ledger.latest_round() == 0
    founded.close()


# ---- submitUpdate, submitUpdateFor --------------------------------------------------------------------------------


def test_submit_for(opened: Consortium) -> None:
    signed = opened.signed(1)
    opened.ledger.submit_for(signed)
    assert opened.last("UpdateCommitted") == {
        "round": 1,
        "hospital": opened.hospitals[1].address.lower(),
        "updateRoot": signed.commitment.update_root,
        "updateBytes": 800_000,
        "sharesRoot": signed.commitment.shares_root,
        "weight": WEIGHTS[1],
        "privacy": encode_event(EVENT),
    }
    assert opened.ledger.round(1).submissions == opened.ledger.submission_count() == 1
    assert opened.ledger.privacy_events(opened.hospitals[1].address) == {1: EVENT}
    assert opened.ledger.privacy_events(opened.hospitals[0].address) == {}


def test_submit_directly(opened: Consortium) -> None:
    opened.send(opened.hospitals[2], "submitUpdate", encode_commitment(opened.commitment(2)))
    assert opened.last("UpdateCommitted")["hospital"] == opened.hospitals[2].address.lower()
    with refused("WrongSigner", opened.hospitals[1].address.lower(), opened.hospitals[0].address.lower()):
        opened.send(opened.hospitals[0], "submitUpdate", encode_commitment(opened.commitment(1)))


def test_a_submission_costs_at_most_150_000_gas(opened: Consortium) -> None:
    for index in range(3):
        signed = opened.signed(index)
        gas = opened.send(
            opened.chain.stranger, "submitUpdateFor", encode_commitment(signed.commitment), signed.signature
        )
        assert gas <= 150_000


@pytest.mark.parametrize(
    ("change", "name", "given"),
    [
        ({"ledger_head": HASH}, "WrongLedgerHead", HASH),
        ({"base_id": HASH}, "WrongBase", HASH),
        ({"context_fingerprint": HASH}, "WrongContext", HASH),
        ({"weight": 999}, "WrongWeight", "expected 100, given 999"),
        ({"update_root": bytes(32)}, "ZeroValue", "updateRoot"),
        ({"update_bytes": 0}, "ZeroValue", "updateBytes"),
        ({"shares_root": bytes(32)}, "ZeroValue", "sharesRoot"),
        ({"round_index": 2}, "RoundNotOpen", "round 2, phase 0"),
    ],
)
def test_a_signed_commitment_to_something_else_is_refused(
    opened: Consortium, change: dict[str, Any], name: str, given: object
) -> None:
    with refused(name, given):
        opened.ledger.submit_for(opened.signed(0, **change))
    assert opened.ledger.round(1).submissions == 0


@pytest.mark.parametrize(("mode", "unit"), [(3, 0), (0, 4), (255, 255)])
def test_an_unknown_privacy_code_is_refused(opened: Consortium, mode: int, unit: int) -> None:
    fields = list(encode_commitment(opened.commitment(0)))
    fields[-1] = (mode, unit, *encode_event(EVENT)[2:])
    with refused("UnknownPrivacyCode", f"mode {mode}, unit {unit}"):
        opened.send(opened.hospitals[0], "submitUpdate", tuple(fields))


def test_a_second_submission_is_refused(opened: Consortium) -> None:
    first = opened.signed(0)
    opened.ledger.submit_for(first)
    for again in (first, opened.signed(0)):
        with refused("AlreadySubmitted", "round 1", opened.hospitals[0].address.lower()):
            opened.ledger.submit_for(again)
    assert opened.ledger.submission_count() == 1


def test_an_update_of_another_hospital_or_round_cannot_be_sent_again(opened: Consortium) -> None:
    first = opened.signed(0)
    opened.ledger.submit_for(first)
    with refused("HashAlreadyUsed", first.commitment.update_root, "round 1"):
        opened.ledger.submit_for(opened.signed(1, update_root=first.commitment.update_root))
    opened.ledger.abort_round(1, "test")
    opened.open_round()
    with refused("HashAlreadyUsed", "round 1"):
        opened.ledger.submit_for(opened.signed(0, update_root=first.commitment.update_root))


def test_a_root_taken_by_another_hospital_costs_the_taker_its_place_and_its_maker_nothing(opened: Consortium) -> None:
    """What a front-runner in a public mempool can do: take one root, with its own only submission, on record."""
    maker = opened.signed(0)
    opened.ledger.submit_for(opened.signed(1, update_root=maker.commitment.update_root))
    assert opened.last("UpdateCommitted")["hospital"] == opened.hospitals[1].address.lower()
    with refused("HashAlreadyUsed", maker.commitment.update_root, "round 1"):
        opened.ledger.submit_for(maker)
    again = opened.signed(0)  # the same update, encrypted once more
    with refused("AlreadySubmitted", opened.hospitals[1].address.lower()):
        opened.ledger.submit_for(opened.signed(1, update_root=again.commitment.update_root))
    opened.ledger.submit_for(again)
    assert opened.ledger.round(1).submissions == 2


def test_a_stranger_is_refused_under_its_own_and_under_another_name(opened: Consortium) -> None:
    stranger, hospital = opened.chain.stranger, opened.hospitals[0]
    own = sign_commitment(opened.commitment(0, hospital=stranger.address), stranger)
    with refused("NotOnRoster", stranger.address.lower()):
        opened.ledger.submit_for(own)
    forged = sign_commitment(opened.commitment(0), stranger)
    with refused("WrongSigner", hospital.address.lower(), stranger.address.lower()):
        opened.ledger.submit_for(forged)


@pytest.mark.parametrize("signature", [b"", b"\x01" * 64, b"\x00" * 65, b"\xff" * 65, b"\x01" * 66])
def test_what_is_no_signature_is_refused(opened: Consortium, signature: bytes) -> None:
    with refused("WrongSigner"):
        opened.ledger.submit_for(dataclasses.replace(opened.signed(0), signature=signature))


def test_the_other_half_of_a_malleable_signature_is_refused(opened: Consortium) -> None:
    signed = opened.signed(0)
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    s = order - int.from_bytes(signed.signature[32:64], "big")
    flipped = signed.signature[:32] + s.to_bytes(32, "big") + bytes([55 - signed.signature[64]])
    with refused("WrongSigner", "0x" + "00" * 20):
        opened.ledger.submit_for(dataclasses.replace(signed, signature=flipped))


@pytest.mark.parametrize(
    "change",
    [
        {"update_bytes": 1},
        {"update_root": HASH},
        {"shares_root": HASH},
        {"event": dataclasses.replace(EVENT, noise_multiplier=0.1)},
    ],
)
def test_a_field_changed_after_signing_is_refused(opened: Consortium, change: dict[str, Any]) -> None:
    signed = opened.signed(0)
    with refused("WrongSigner", opened.hospitals[0].address.lower()):
        opened.ledger.submit_for(
            dataclasses.replace(signed, commitment=dataclasses.replace(signed.commitment, **change))
        )


def test_a_signature_for_another_contract_is_refused(opened: Consortium) -> None:
    other = Consortium.found(opened.chain)
    other.open_round()
    meant_for_other = opened.signed(0, contract=other.ledger.contract)
    with refused("WrongSigner", opened.hospitals[0].address.lower()):
        opened.ledger.submit_for(meant_for_other)
    with refused("WrongLedgerHead"):  # same hospital, same round number, signed for the right contract's wrong head
        other.ledger.submit_for(opened.signed(0, contract=other.ledger.contract))
    other.close()


def test_a_signature_for_another_chain_is_refused(opened: Consortium) -> None:
    with refused("WrongSigner", opened.hospitals[0].address.lower()):
        opened.ledger.submit_for(opened.signed(0, chain_id=CHAIN_ID + 1))


def test_a_commitment_of_one_round_does_not_work_in_the_next(opened: Consortium) -> None:
    kept = opened.signed(0)
    opened.ledger.abort_round(1, "test")
    opened.open_round()
    with refused("RoundNotOpen", "round 1, phase 5"):
        opened.ledger.submit_for(kept)
    with refused("WrongSigner"):
        opened.ledger.submit_for(
            dataclasses.replace(kept, commitment=dataclasses.replace(kept.commitment, round_index=2))
        )


def test_a_commitment_of_a_fork_does_not_work_here(consortium: Consortium) -> None:
    """Same contract, address, chain id and hospitals, but another history: only the ledger head tells them apart."""
    chain = consortium.chain
    with running_chain(chain) as fork:
        ours = Consortium.found(dataclasses.replace(chain, server=chain.founder))
        theirs = Consortium.found(dataclasses.replace(fork, server=fork.founder))
        assert ours.ledger.contract == theirs.ledger.contract
        theirs.ledger.admit_witness(chain.stranger.address)
        ours.open_round()
        theirs.open_round()
        with refused("WrongLedgerHead"):
            ours.ledger.submit_for(theirs.signed(0))
        ours.close()
        theirs.close()


def test_submissions_end_with_the_deadline(opened: Consortium) -> None:
    deadline = opened.opening.submission_deadline if opened.opening else 0
    opened.pass_deadline()
    with refused("SubmissionDeadlinePassed", f"round 1, deadline {deadline}"):
        opened.ledger.submit_for(opened.signed(0))


def test_no_submission_once_voting(consortium: Consortium) -> None:
    consortium.open_round()
    consortium.submit(0, 1)
    consortium.pass_deadline()
    consortium.close_submissions((0, 1))
    with refused("RoundNotOpen", "round 1, phase 2"):
        consortium.ledger.submit_for(consortium.signed(2))


# ---- closeSubmissions ---------------------------------------------------------------------------------------------


def test_close_submissions_when_all_have_submitted(opened: Consortium) -> None:
    opened.submit()
    opened.ledger.close_submissions(
        1, HASH, (0, 2), {opened.hospitals[1].address: "ChunkMismatch", opened.hospitals[0].address: "ignored"}
    )
    record = opened.ledger.round(1)
    assert record.phase is RoundPhase.VOTING
    assert record.aggregate_hash == HASH
    assert record.included == (0, 2)
    assert record.included_weight == WEIGHTS[0] + WEIGHTS[2]
    assert opened.ledger.exclusions(1) == {1: "ChunkMismatch"}
    assert opened.last("SubmissionsClosed") == {
        "round": 1,
        "aggregateHash": HASH,
        "includedMask": 0b101,
        "includedWeight": WEIGHTS[0] + WEIGHTS[2],
        "exclusions": ((1, encode_reason("ChunkMismatch")),),
        "votingDeadline": record.voting_deadline,
    }


def test_close_submissions_waits_for_all_or_the_deadline(opened: Consortium) -> None:
    opened.submit(0, 1)
    with refused("SubmissionsStillOpen", "round 1"):
        opened.close_submissions((0, 1))
    opened.pass_deadline()
    opened.close_submissions((0, 1))
    assert opened.ledger.round(1).phase is RoundPhase.VOTING


def test_close_submissions_refusals(opened: Consortium) -> None:
    server, ledger = opened.chain.server, opened.ledger
    with refused("RoundNotOpen", "round 7, phase 0"):
        opened.send(server, "closeSubmissions", 7, HASH, 0b11, [])
    opened.submit(0, 1)
    opened.pass_deadline()
    with refused("AccessControlUnauthorizedAccount", AGGREGATOR):
        opened.send(opened.hospitals[0], "closeSubmissions", 1, HASH, 0b11, [])
    with refused("IncludedNotSubmitted", "includedMask 7, submittedMask 3"):
        ledger.close_submissions(1, HASH, (0, 1, 2), {})
    with refused("TooFewIncluded", "included 1, required 2"):
        ledger.close_submissions(1, HASH, (1,), {})
    with refused("ZeroValue", "aggregateHash"):
        ledger.close_submissions(1, bytes(32), (0, 1), {})
    assert ledger.round(1).phase is RoundPhase.OPEN


def test_every_excluded_submission_is_named_once_with_a_reason(opened: Consortium) -> None:
    opened.submit()
    server, reason = opened.chain.server, encode_reason("Late")
    for exclusions in ([(2, bytes(32))], [(2, reason), (2, reason)], [(0, reason)], [(200, reason)], [(5, reason)]):
        with refused("InvalidExclusion", f"index {exclusions[-1][0]}"):
            opened.send(server, "closeSubmissions", 1, HASH, 0b011, exclusions)
    with refused("ExclusionsMissing", "expectedMask 4, namedMask 0"):
        opened.send(server, "closeSubmissions", 1, HASH, 0b011, [])
    opened.send(server, "closeSubmissions", 1, HASH, 0b011, [(2, reason)])


def test_an_aggregate_is_recorded_once(consortium: Consortium) -> None:
    aggregate = consortium.to_voting()
    consortium.ledger.abort_round(1, "test")
    consortium.open_round()
    consortium.submit()
    with refused("HashAlreadyUsed", aggregate, "round 1"):
        consortium.ledger.close_submissions(2, aggregate, (0, 1, 2), {})


@pytest.mark.parametrize("in_round", [1, 2])
def test_one_hospitals_update_is_never_recorded_as_the_aggregate(consortium: Consortium, in_round: int) -> None:
    """Else a server could have everybody decrypt a single hospital's update, of this round or of an earlier one."""
    consortium.open_round()
    victim = consortium.signed(0)
    consortium.ledger.submit_for(victim)
    if in_round == 2:
        consortium.ledger.abort_round(1, "test")
        consortium.open_round()
        consortium.submit(0)
    consortium.submit(1, 2)
    with refused("HashAlreadyUsed", victim.commitment.update_root, "round 1"):
        consortium.ledger.close_submissions(in_round, victim.commitment.update_root, (0, 1, 2), {})
    assert consortium.ledger.round(in_round).phase is RoundPhase.OPEN
    consortium.close_submissions()


def test_an_aggregate_is_never_recorded_as_an_update(consortium: Consortium) -> None:
    aggregate = consortium.to_voting()
    consortium.ledger.abort_round(1, "test")
    consortium.open_round()
    with refused("HashAlreadyUsed", aggregate, "round 1"):
        consortium.ledger.submit_for(consortium.signed(0, update_root=aggregate))


def test_closing_twice_is_refused(consortium: Consortium) -> None:
    consortium.to_voting()
    with refused("RoundNotOpen", "round 1, phase 2"):
        consortium.ledger.close_submissions(1, secrets.token_bytes(32), (0, 1), {})


def test_a_round_that_never_was_has_no_record(consortium: Consortium) -> None:
    for ask in (consortium.ledger.round, consortium.ledger.opening):
        with pytest.raises(LedgerError, match="Round 3 has not been opened"):
            ask(3)
