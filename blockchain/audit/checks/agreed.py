"""Part of step 8: the contract's rules for a round are those that the settings on the ledger call for."""

from collections.abc import Sequence

from blockchain.audit.history import ExecutedBlock, ledger_events
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Claims
from blockchain.ledger.events import LedgerCreated
from fedward.types import Address


def check_agreed(blocks: Sequence[ExecutedBlock], contract: Address, claims: Claims, report: Report) -> None:
    """Compare quorums, release threshold, durations and the need of a witness with what hospitals agreed on.

    Whether these settings are those whose digest is on the ledger is for step 12 to say.

    Args:
        blocks: The whole history; the first event of the contract has its rules.
        contract: The ledger.
        claims: What the run says: its settings.
        report: Takes lines of the step `RULES`.

    Raises:
        VerificationError: an event is malformed.
    """
    created = next((event for event in ledger_events(blocks, contract) if isinstance(event, LedgerCreated)), None)
    if created is None:
        return  # the steps before say that it is missing
    if claims.settings is None:
        report.missing(Step.RULES, "The settings are not here, so which rules the hospitals agreed on is not known.")
        return
    rules = created.rules
    recorded = {
        "chain-id": created.chain_id,
        "min-included": rules.min_included,
        "reject-quorum": rules.reject_quorum,
        "min-votes": rules.min_votes,
        "release-threshold": rules.release_threshold,
        "submission-timeout-s": rules.submission_duration_s,
        "voting-timeout-s": rules.voting_duration_s,
        "witness-required": rules.witness_required,
    }
    # By their names and not as this version's settings: those of another version may have had other bounds.
    agreed = claims.settings.get("ledger", {})
    differing = [
        f"{name} {agreed.get(name, 'unset')} where the contract has {value}"
        for name, value in recorded.items()
        if agreed.get(name) != value or isinstance(agreed.get(name), bool) is not isinstance(value, bool)
    ]
    if differing:
        text = f"The contract's rules are not those of the settings, which have ledger {', '.join(differing)}."
        report.fail(Step.RULES, text, checks=len(recorded))
    else:
        text = "Quorums, release threshold, durations and the need of a witness are what the settings call for."
        report.ok(Step.RULES, text, checks=len(recorded))
