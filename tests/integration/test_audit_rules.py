"""An honest history keeps the rules; whatever is changed in it is named, with its step, round and both sides."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest
from audit_material import claims, executed_blocks, lines, only
from consortium import CANDIDATE, CHAIN_ID, RULES, Chain, Consortium, running_chain
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.audit.checks.agreed import check_agreed
from blockchain.audit.checks.round_tally import RoundTally, majority
from blockchain.audit.checks.rules import check_events, check_rules
from blockchain.audit.history import ExecutedBlock, ExecutedTransaction, Log
from blockchain.audit.report import Report, Status, Step
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.calls import decode_call
from blockchain.ledger.reader import WITNESS_ROLE
from blockchain.ledger.records import RoundPhase
from blockchain.twin.rounds import LedgerModel
from fedward.errors import VerificationError
from fedward.types import Address, HospitalId

OTHER = bytes([5]) * 32  # a candidate
SHAPES = load_artifact().events()
SELECTORS = {name: selector for selector, (name, _) in load_artifact().signatures("function").items()}
KINDS = dict(load_artifact().signatures("function").values())


@dataclasses.dataclass
class History:
    """A history, and everything that its audit is told."""

    blocks: list[ExecutedBlock]
    contract: Address
    head: bytes
    names: dict[Address, HospitalId]

    def judge(self) -> tuple[Report, LedgerModel | None]:
        report = Report()
        check_events(self.blocks, self.contract, self.head, report)
        return report, check_rules(self.blocks, self.contract, CHAIN_ID, report, self.names)

    def calls(self, function: str, round_index: int) -> list[ExecutedTransaction]:
        """Transactions to a function, about a round."""
        found = []
        for block in self.blocks:
            for transaction in block.transactions:
                if transaction.to != self.contract or transaction.data[:4] != SELECTORS[function]:
                    continue
                first = decode_call(transaction.data)[1][0]
                if (first[0] if isinstance(first, tuple) else first) == round_index:
                    found.append(transaction)
        return found

    def altered(self, target: ExecutedTransaction, *replacements: ExecutedTransaction) -> "History":
        """The same history with one transaction replaced by others."""
        blocks = []
        for block in self.blocks:
            transactions: list[ExecutedTransaction] = []
            for transaction in block.transactions:
                transactions += replacements if transaction == target else [transaction]
            blocks.append(dataclasses.replace(block, transactions=tuple(transactions)))
        return dataclasses.replace(self, blocks=blocks)


@pytest.fixture(scope="module")
def chain() -> Iterator[Chain]:
    with running_chain() as made:
        yield made


@pytest.fixture(scope="module")
def consortium(chain: Chain) -> Iterator[Consortium]:
    """Four hospitals; rounds accepted with an exclusion, rejected, aborted, and running; direct and relayed calls."""
    founded = Consortium.found(chain, 4, dataclasses.replace(RULES, witness_required=True))
    founded.send(chain.server, "grantRole", WITNESS_ROLE, chain.stranger.address)
    opening = founded.open_round()
    founded.submit()
    aggregate = bytes([7]) * 32
    founded.send(
        chain.server,
        "closeSubmissions",
        opening.round_index,
        aggregate,
        0b0111,
        [(3, b"Wrong\x1b[2JLength".ljust(32, b"\0"))],
    )
    founded.send(chain.stranger, "attest", opening.round_index, aggregate)
    founded.vote(True, True, True, OTHER)
    phase, founded.opening = founded.ledger.finalize_and_open(1)
    assert phase is RoundPhase.ACCEPTED
    founded.submit()
    founded.close_submissions()
    founded.vote(False, False, False)
    assert founded.finalize() is RoundPhase.REJECTED
    founded.open_round()
    founded.submit(2)
    founded.ledger.abort_round(3, "quorum lost")
    founded.send(founded.hospitals[1], "rotateKey", bytes([8]) * 32)
    opening = founded.open_round()
    commitment = founded.commitment(0)
    founded.ledger.submit_for(founded.signed(1))
    struct = (4, commitment.hospital, commitment.ledger_head, commitment.base_id, commitment.context_fingerprint)
    privacy = (1, 1, 10**30, 11 * 10**29, 1, 5 * 10**29, 10**25)
    founded.send(
        founded.hospitals[0],
        "submitUpdate",
        (*struct, commitment.update_root, 800_000, commitment.shares_root, commitment.weight, privacy),
    )
    yield founded
    founded.close()


@pytest.fixture(scope="module")
def history(chain: Chain, consortium: Consortium) -> History:
    names = {hospital.address: HospitalId(f"hospital-{i}") for i, hospital in enumerate(consortium.hospitals, start=1)}
    head = consortium.ledger.head().ledger_head
    return History(executed_blocks(chain.node.url), consortium.ledger.contract, head, names)


def event(name: str, **values: Any) -> Log:
    """An event as the contract would emit it, with a head of nobody's."""
    shape = next(shape for shape in SHAPES.values() if shape.name == name)
    values = {**values, "ledgerHead": bytes([5]) * 32}
    topics = (shape.selector, *(encode([kind], [values[field]]) for field, kind, indexed in shape.fields if indexed))
    data = [(kind, values[field]) for field, kind, indexed in shape.fields if not indexed]
    return Log(b"", topics, encode([kind for kind, _ in data], [value for _, value in data]))


def with_event(transaction: ExecutedTransaction, name: str, **changes: Any) -> ExecutedTransaction:
    """The transaction with its one event replaced, or with some of that event's fields."""
    (log,) = transaction.logs
    old = SHAPES[log.topics[0]].decode(log.topics, log.data)
    new = dataclasses.replace(event(name, **{**old, **changes}), address=log.address)
    return dataclasses.replace(transaction, logs=(new,))


def test_an_honest_history_keeps_the_rules(history: History, consortium: Consortium) -> None:
    report, model = history.judge()
    assert report.exit_code == 0
    assert model is not None
    assert model.head == history.head
    assert model.base_id == consortium.ledger.base_id()
    assert [model.round(number).phase for number in model.rounds] == [3, 4, 5, 1]
    rules = lines(report, Step.RULES, Status.OK)
    assert [line.round_index for line in rules] == [None, 1, 2, 3, 4]
    assert "4 of 4 hospitals submitted" in rules[1].evidence
    assert "3 are in the aggregate, with weight 400 of 800" in rules[1].evidence
    assert "4 accepting and 0 rejecting votes, all in time" in rules[1].evidence
    assert "1 witnesses attested; accepted." in rules[1].evidence
    assert rules[2].evidence.endswith("rejected.")
    assert rules[3].evidence.endswith("aborted (quorum lost).")
    assert "still open" in rules[4].evidence
    assert [line.checks for line in lines(report, Step.SIGNATURES, Status.OK)] == [8, 7, 1, 2]
    assert "1 by EIP-712 signature, 1 by its own transaction" in lines(report, Step.SIGNATURES, Status.OK)[-1].evidence
    assert history.head[:8].hex() in only(report, Step.EVENTS, Status.OK).evidence


def test_what_was_not_added_and_who_saw_another_candidate_is_told(history: History) -> None:
    report, _ = history.judge()
    excluded, digests, given_up = lines(report, Step.RULES, Status.NOTE)
    assert (excluded.round_index, excluded.hospital) == (1, "hospital-4")
    assert "Wrong?[2JLength" in excluded.evidence
    assert digests.round_index == 1
    assert "different candidate digests: hospital-1 0x0404" in digests.evidence
    assert "hospital-4 0x0505" in digests.evidence
    assert given_up.round_index == 3
    assert "hospital-3" in given_up.evidence


def fails(altered: History, round_index: int, *parts: str) -> None:
    """Exactly one line of step 8 says FAIL, for this round, and no line says that the round is well."""
    report, model = altered.judge()
    line = only(report, Step.RULES, Status.FAIL)
    assert line.round_index == round_index
    for part in parts:
        assert part in line.evidence
    assert not [ok for ok in lines(report, Step.RULES, Status.OK) if ok.round_index == round_index]
    assert not lines(report, Step.SIGNATURES, Status.FAIL)
    assert model is None


def test_a_vote_counted_twice(history: History) -> None:
    vote = history.calls("castVoteFor", 1)[0]
    fails(history.altered(vote, vote, vote), 1, "the contract recorded VoteCast", "the refusal AlreadyVoted(1, ")


def test_a_vote_dropped(history: History) -> None:
    vote = history.calls("castVoteFor", 2)[0]
    fails(history.altered(vote), 2, "ledgerHead", "VoteCast")


def test_a_late_submission_accepted(history: History) -> None:
    update = history.calls("submitUpdateFor", 2)[1]
    late = dataclasses.replace(update, timestamp=update.timestamp + 601)
    fails(history.altered(update, late), 2, "recorded UpdateCommitted", "SubmissionDeadlinePassed")


def test_a_wrong_included_weight(history: History) -> None:
    close = history.calls("closeSubmissions", 1)[0]
    wrong = with_event(close, "SubmissionsClosed", includedWeight=800)
    fails(history.altered(close, wrong), 1, "recorded SubmissionsClosed with includedWeight 800", "includedWeight 400")


def test_an_outcome_against_the_votes(history: History) -> None:
    end = history.calls("finalizeRound", 2)[0]
    wrong = with_event(end, "RoundAccepted", candidateDigest=OTHER, baseId=bytes(32))
    fails(history.altered(end, wrong), 2, "recorded RoundAccepted, the rules give RoundRejected")


def test_an_opening_that_the_call_did_not_make(history: History) -> None:
    """Ending a round and opening the next are one call with two events: neither may be missing or of another round."""
    both = history.calls("finalizeAndOpen", 1)[0]
    fails(history.altered(both, dataclasses.replace(both, logs=both.logs[:1])), 1, "recorded RoundAccepted, the rules")
    fails(history.altered(both, dataclasses.replace(both, logs=both.logs[::-1])), 1, "recorded RoundOpened, RoundAcc")
    early = history.calls("castVoteFor", 1)[1]
    fails(history.altered(both).altered(early, both, early), 1, "recorded RoundAccepted, RoundOpened", "OutcomeStill")


def test_a_round_that_only_its_opening_knows_is_told(history: History) -> None:
    both = history.calls("finalizeAndOpen", 1)[0]
    ended = dataclasses.replace(history, blocks=[block for block in history.blocks if block.number <= both.block])
    report = Report()
    assert check_rules(ended.blocks, ended.contract, CHAIN_ID, report, ended.names)
    last = lines(report, Step.RULES, Status.OK)[-1]
    assert (last.round_index, last.checks) == (2, 1)
    assert "0 of 4 hospitals submitted" in last.evidence
    assert "still open" in last.evidence


def test_an_acceptance_of_another_candidate(history: History) -> None:
    both = history.calls("finalizeAndOpen", 1)[0]
    (accepted, opened), shape = both.logs, SHAPES[both.logs[0].topics[0]]
    values = {**shape.decode(accepted.topics, accepted.data), "candidateDigest": OTHER}
    wrong = dataclasses.replace(event("RoundAccepted", **values), address=accepted.address)
    altered = history.altered(both, dataclasses.replace(both, logs=(wrong, opened)))
    fails(altered, 1, "recorded RoundAccepted with candidateDigest 0x0505", "candidateDigest 0x0404")


@pytest.mark.parametrize("accepted_as", [CANDIDATE, OTHER, bytes(32)])
@pytest.mark.parametrize(
    ("digests", "rejects", "carried"),
    [
        ((CANDIDATE, CANDIDATE, OTHER), 0, CANDIDATE),
        ((OTHER, CANDIDATE, CANDIDATE), 0, CANDIDATE),
        ((CANDIDATE, CANDIDATE), 1, CANDIDATE),
        ((CANDIDATE, CANDIDATE), 2, None),
        ((CANDIDATE, OTHER), 0, None),
        ((CANDIDATE, CANDIDATE, OTHER), 1, None),
        ((CANDIDATE, OTHER, bytes([6]) * 32), 0, None),
        ((), 0, None),
    ],
)
def test_an_accepted_round_without_its_majority_fails(
    history: History, digests: tuple[bytes, ...], rejects: int, carried: bytes | None, accepted_as: bytes
) -> None:
    """Counted from the votes alone, whatever the contract, or its twin, kept of them."""
    assert majority(digests, rejects) == carried
    _, model = history.judge()
    assert model
    model.rounds[1] = model.rounds[1]._replace(candidate_digest=accepted_as)
    tally = RoundTally(1, digests={str(place): digest for place, digest in enumerate(digests)}, rejects=rejects)
    report = Report()
    tally.report(model, report, str)
    failed = lines(report, Step.RULES, Status.FAIL)
    assert bool(failed) is (carried != accepted_as)
    assert all("its votes carry" in line.evidence for line in failed)


def test_an_outcome_too_early(history: History) -> None:
    last = history.calls("castVoteFor", 2)[-1]
    end = history.calls("finalizeRound", 2)[0]
    fails(history.altered(end).altered(last, end, last), 2, "recorded RoundRejected", "OutcomeStillOpen")


def test_an_acceptance_without_the_witness(history: History) -> None:
    attestation = history.calls("attest", 1)[0]
    # Its event extended the head: the votes after it show that it is gone.
    fails(history.altered(attestation), 1, "VoteCast with ledgerHead")


def test_a_call_by_somebody_without_the_role(history: History, chain: Chain) -> None:
    close = history.calls("closeSubmissions", 2)[0]
    other = dataclasses.replace(close, sender=chain.stranger.address)
    fails(history.altered(close, other), 2, "AccessControlUnauthorizedAccount")


def test_a_success_without_its_event(history: History) -> None:
    vote = history.calls("castVoteFor", 1)[3]
    fails(history.altered(vote, dataclasses.replace(vote, logs=())), 1, "recorded nothing, the rules give VoteCast")


def test_a_malformed_event(history: History) -> None:
    vote = history.calls("castVoteFor", 1)[3]
    broken = dataclasses.replace(vote, logs=(dataclasses.replace(vote.logs[0], data=b"\x01"),))
    fails(history.altered(vote, broken), 1, "malformed", "VoteCast")
    assert lines(history.altered(vote, broken).judge()[0], Step.EVENTS, Status.FAIL)


@pytest.mark.parametrize("function", ["submitUpdateFor", "castVoteFor"])
def test_a_forged_signature(history: History, function: str) -> None:
    good = history.calls(function, 2)[1]
    struct, signature = decode_call(good.data)[1]
    for other in (decode_call(history.calls(function, 2)[2].data)[1][1], bytes(65), b"", signature[:-1] + b"\x00"):
        data = SELECTORS[function] + encode(KINDS[function], [struct, other])
        report, model = history.altered(good, dataclasses.replace(good, data=data)).judge()
        line = only(report, Step.SIGNATURES, Status.FAIL)
        assert (line.round_index, line.hospital) == (2, "hospital-2")
        assert "signed by" in line.evidence or "without any valid signature" in line.evidence
        assert model is not None  # all else is judged as if it were signed
        assert not lines(report, Step.RULES, Status.FAIL)
        assert [ok.round_index for ok in lines(report, Step.SIGNATURES, Status.OK)] == [1, 3, 4]


def test_a_direct_commitment_of_somebody_else(history: History, chain: Chain) -> None:
    good = history.calls("submitUpdate", 4)[0]
    report, _ = history.altered(good, dataclasses.replace(good, sender=chain.stranger.address)).judge()
    line = only(report, Step.SIGNATURES, Status.FAIL)
    assert (line.round_index, line.hospital) == (4, "hospital-1")
    assert f"signed by {chain.stranger.address}" in line.evidence


def test_a_call_through_another_contract_cannot_be_judged(history: History, chain: Chain) -> None:
    vote = history.calls("castVoteFor", 2)[0]
    report, model = history.altered(vote, dataclasses.replace(vote, to=chain.stranger.address)).judge()
    assert "cannot be judged" in only(report, Step.RULES, Status.MISSING).evidence
    assert report.exit_code == 8
    assert model is None


def test_reverted_calls(history: History) -> None:
    """A replay that was refused counts as a check; one that the rules would have taken is told, and decides nothing."""
    vote = history.calls("castVoteFor", 2)[0]
    reverted = dataclasses.replace(vote, succeeded=False, logs=())
    honest, _ = history.judge()
    for replacements, notes, checks in (((vote, reverted), 0, 1), ((reverted, vote), 1, 0)):
        report, model = history.altered(vote, *replacements).judge()
        assert report.exit_code == 0
        assert model is not None
        told = [line for line in lines(report, Step.RULES, Status.NOTE) if "reverted" in line.evidence]
        assert len(told) == notes
        assert report.checks_run == honest.checks_run + checks


def test_without_the_deployment_nothing_is_judged(history: History) -> None:
    later = dataclasses.replace(history, blocks=[])
    report, model = later.judge()
    assert "deployment" in only(report, Step.RULES, Status.MISSING).evidence
    assert model is None
    creation = next(
        transaction
        for block in history.blocks
        for transaction in block.transactions
        if transaction.created == history.contract
    )
    report, _ = history.altered(creation).judge()
    assert "there is no contract yet" in only(report, Step.RULES, Status.FAIL).evidence
    other = dataclasses.replace(creation, data=creation.data[:-32] + bytes(31) + b"\0")  # no witness required
    report, _ = history.altered(creation, other).judge()
    assert "rules" in only(report, Step.RULES, Status.FAIL).evidence
    report, _ = history.altered(creation, dataclasses.replace(creation, data=b"\x60\x00")).judge()
    assert "other bytecode" in only(report, Step.RULES, Status.FAIL).evidence


def test_a_head_in_storage_that_the_events_do_not_give(history: History) -> None:
    report, _ = dataclasses.replace(history, head=bytes([1]) * 32).judge()
    line = only(report, Step.EVENTS, Status.FAIL)
    assert "0x0101" in line.evidence
    assert history.head[:8].hex() in line.evidence
    report = Report()
    check_events(history.blocks, history.contract, None, report)
    assert "is not there" in only(report, Step.EVENTS, Status.MISSING).evidence
    vote = history.calls("castVoteFor", 2)[0]
    report, _ = history.altered(vote).judge()
    assert "does not follow" in only(report, Step.EVENTS, Status.FAIL).evidence


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_whatever_the_calldata_is_nothing_is_raised(history: History, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["closeSubmissions", "castVoteFor", "submitUpdateFor", "finalizeRound"]))
    target = history.calls(name, 2)[0]
    words = st.sampled_from([bytes(32), b"\xff" * 32, bytes(31) + b"\x20", bytes(24) + b"\x7f" + b"\xff" * 7])
    places = data.draw(st.lists(st.tuples(st.integers(0, len(target.data) // 32), words), max_size=3))
    changed = bytearray(target.data)
    for place, word in places:
        changed[4 + 32 * place : 36 + 32 * place] = word
    changed = changed[: data.draw(st.integers(0, len(changed)))] if data.draw(st.booleans()) else changed
    succeeded = data.draw(st.booleans())
    logs = target.logs if succeeded else ()
    other = dataclasses.replace(target, data=bytes(changed), succeeded=succeeded, logs=logs)
    report, _ = history.altered(target, other).judge()
    if bytes(changed) != target.data and not succeeded:
        assert report.exit_code == 7  # what followed on it is there


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.sampled_from(sorted(SELECTORS.values())))
def test_any_bytes_decode_or_are_refused(tail: bytes, selector: bytes) -> None:
    for data in (tail, selector + tail, selector + b"\xff" * len(tail)):
        try:
            name, arguments = decode_call(data)
        except VerificationError:
            continue
        assert len(arguments) == len(KINDS[name])


# ---- the rules themselves -------------------------------------------------------------------------------------------


AGREED: dict[str, bool | int | float | str] = {
    "chain-id": CHAIN_ID,
    "min-included": RULES.min_included,
    "reject-quorum": RULES.reject_quorum,
    "min-votes": RULES.min_votes,
    "release-threshold": RULES.release_threshold,
    "submission-timeout-s": RULES.submission_timeout_s,
    "voting-timeout-s": RULES.voting_timeout_s,
    "witness-required": True,
}


def rules_compared(history: History, agreed: dict[str, bool | int | float | str]) -> Report:
    report = Report()
    check_agreed(history.blocks, history.contract, claims(settings={"ledger": agreed}), report)
    return report


def test_the_agreed_rules_hold(history: History) -> None:
    assert only(rules_compared(history, AGREED), Step.RULES, Status.OK).checks == len(AGREED)


@pytest.mark.parametrize("name", AGREED)
@pytest.mark.parametrize("how", ["another", "none", "another type"])
def test_a_contract_with_other_rules_than_the_hospitals_agreed_on_is_found(
    history: History, name: str, how: str
) -> None:
    value = AGREED[name]
    changed = {"another": not value if isinstance(value, bool) else value + 1, "another type": str(value)}  # type: ignore[operator]
    agreed = {key: changed.get(how, each) if key == name else each for key, each in AGREED.items()}
    if how == "none":
        del agreed[name]
    line = only(rules_compared(history, agreed), Step.RULES, Status.FAIL)
    assert f"{name} {agreed.get(name, 'unset')} where the contract has {value}" in line.evidence


def test_without_settings_what_was_agreed_is_missing(history: History) -> None:
    report = Report()
    check_agreed(history.blocks, history.contract, claims(), report)
    assert only(report, Step.RULES, Status.MISSING)
