"""A hospital whose budget is spent leaves in order: nobody waits for it, and it keeps its vote and its model."""

import json
from pathlib import Path
from unittest import mock

from command_line import run_here
from federation import PRIVATE_SCATTER, Federation, founded
from flwr.app import Message
from shared_runs import SharedRuns
from signed_structs import member_of, tamper

from blockchain.consortium.remembering import gather_trust, remember
from blockchain.identity import Identity
from blockchain.ledger.encoding import decode_reason
from blockchain.ledger.events import SubmissionsClosed
from blockchain.signing.abstention import _NO_SHARES, _NO_UPDATE, _root
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.settings import load
from fedward.tables import Scalar
from fedward.types import HospitalId

ROOT = Path(__file__).resolve().parents[2]
EVENT = expected_event(load(None, *PRIVATE_SCATTER).privacy)
TWO_ROUNDS = epsilon([EVENT] * 2)
assert TWO_ROUNDS
BUDGET: tuple[str, Scalar] = ("privacy.budget", TWO_ROUNDS)


def spend(federation: Federation, number: int, releases: int) -> PrivacyLedger:
    """Charge a hospital for releases of its own, say of an earlier attempt at the round."""
    record = PrivacyLedger(federation.folder.hospital(HospitalId(f"hospital-{number}")).privacy_record)
    for _ in range(releases):
        record.charge(1, EVENT)
    return record


def test_nobody_waits_for_a_hospital_without_budget_and_the_audit_understands_it(tmp_path: Path) -> None:
    path = tmp_path / "run"
    with founded(path, *PRIVATE_SCATTER, BUDGET) as federation:
        spent = spend(federation, 1, 2)
        with mock.patch("server.wait_until") as waited:
            rounds = [federation.lead_round() for _ in range(2)]
        assert not waited.called
        ledger = federation.ledger
        for index, metrics in enumerate(rounds, start=1):
            assert (metrics["phase"], metrics["submitted"], metrics["accepts"]) == ("accepted", 2, 3)
            assert [rejection["reason"] for rejection in metrics["rejections"]] == ["Abstained"]  # type: ignore[attr-defined]
            assert "beyond the budget" in str(metrics["failures"])
            record = ledger.round(index)
            assert (record.submissions, record.included) == (3, (1, 2))
            (closed,) = ledger.events(SubmissionsClosed, index)
            ((place, reason),) = closed.exclusions
            assert (place, decode_reason(reason)) == (0, "Abstained")
        assert len(spent.spent()) == 2, "what was not given is not charged"
        roster = federation.folder.server.load_record().roster
        members = [(member, federation.folder.hospital(member.hospital)) for member in roster]
        candidates = [folder.load_candidate() for _, folder in members]
        assert len({candidate.weights.tobytes() for candidate in candidates if candidate}) == 1
        assert all(candidates)
        for _, folder in members:
            remember(folder, ledger, Identity.load(folder.identity))
        gather_trust(members).save(federation.folder.trust)
    done = run_here("audit", path, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    steps = json.loads(done.stdout)["steps"]
    told = [step["evidence"] for step in steps if step["hospital"] == "hospital-1"]
    assert any("was committed but not added (Abstained)" in text for text in told)
    assert not any("without differential privacy" in text or "declares" in text for text in told)


def test_a_forged_abstention_leaves_the_hospital_its_place(tmp_path: Path, shared_runs: SharedRuns) -> None:
    """Somebody else cannot take a hospital out of a round: the contract asks for its signature."""
    with shared_runs.federation(tmp_path / "run", *PRIVATE_SCATTER, BUDGET) as federation:
        spend(federation, 1, 2)
        mine = federation.folder.server.load_record().roster[1].address

        def forging(node: int, reply: Message) -> Message:
            if node == 1 and "failure" in reply.content:
                head = bytes.fromhex(member_of(reply, "commitment", "ledger_head"))
                roots = {
                    "update_root": _root(_NO_UPDATE, mine, head),
                    "shares_root": _root(_NO_SHARES, mine, head),
                }
                weight = federation.folder.server.load_record().roster[1].weight
                tamper(reply, "commitment", hospital=mine, weight=weight, **roots)
            return reply

        federation.grid.tamper = forging
        metrics = federation.lead_round()
        assert metrics["submitted"] == 2, "hospital 2's own update counts"
        assert [rejection["reason"] for rejection in metrics["rejections"]] == ["WrongSigner"]  # type: ignore[attr-defined]
        assert federation.ledger.round(1).included == (1, 2)


def test_an_abstention_with_missing_parts_is_a_failure_and_no_more(tmp_path: Path, shared_runs: SharedRuns) -> None:
    with shared_runs.federation(tmp_path / "run", *PRIVATE_SCATTER, BUDGET) as federation:
        spend(federation, 1, 2)

        def cutting(node: int, reply: Message) -> Message:
            if node == 1 and "failure" in reply.content:
                tamper(reply, "commitment", signature=b"")
            return reply

        federation.grid.tamper = cutting
        metrics = federation.lead_round()
        assert (metrics["phase"], metrics["submitted"], metrics["rejections"]) == ("accepted", 2, [])
        assert federation.ledger.round(1).submissions == 2
