"""`main.py lab report`: audits a run, joins labs' results, writes page and JSON, signs; or verifies such a folder."""

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from commands import console
from commands.audit.examination import audited
from commands.audit.trust_source import TrustSource
from commands.lab.report.files import JSON, PAGE, check_report, keep_report
from commands.lab.report.findings import Known, areas_of
from commands.lab.report.page import render_report, report_of
from commands.lab.report.results import LabResult, read_result
from commands.lab.report.run_facts import facts_of
from commands.own_hospital import hospital_at
from fedward.errors import UsageError
from fedward.files import resolved


def make_report(
    run: Path, results: Sequence[Path], trust: Sequence[Path], out: Path, sign: Path | None, as_json: bool
) -> int:
    """Make the report of a run.

    Args:
        run: The run's folder.
        results: Folders of labs.
        trust: Trust files that were handed in; none: the run's own.
        out: The report's folder.
        sign: The hospital that signs; None: nobody.
        as_json: Print the report's JSON rather than what remains.

    Returns:
        The audit's exit code: 0 verified, 7 something contradicts, 8 evidence is missing.

    Raises:
        FedwardError: the run or a lab's folder cannot be read, or the hospital has no keys.
    """
    if resolved(out).is_relative_to(resolved(run)):
        raise UsageError(f"{out} lies in the run, which is evidence.", "Give --out another folder.")
    facts, found = facts_of(run), defaultdict[str, list[LabResult]](list)
    for folder in results:
        result = read_result(folder)
        found[result.lab].append(result)
    identity = Identity.load(hospital_at(sign).identity) if sign else None
    vouched = TrustFile.load_all(trust) if trust else None
    known = Known(run, facts, audited(run, vouched), dict(found))
    areas = areas_of(known)
    report = report_of(known, areas, TrustSource.of(tuple(trust), run))
    page = render_report(report, f"by {identity.address}, in signature.json beside this page" if identity else "")
    content = json.dumps(report, indent=1, allow_nan=False).encode()
    keep_report(out, page.encode(), content, facts, identity)
    if as_json:
        console.data(report)
    else:
        for risk in report["risks"]:
            console.out.print(f"- {risk}", markup=False, soft_wrap=True)
    console.note(f"Page: {out / PAGE}; the same as JSON: {out / JSON}.")
    return known.audit.report.exit_code


def verify_report(folder: Path, run: Path | None, as_json: bool) -> None:
    """Check a signed report, and tell who signed it, of which model.

    Args:
        folder: The report's.
        run: The run, to name the signer by the run's own list and compare model and ledger; None: not.
        as_json: Print JSON.

    Raises:
        VerificationError: the signature is not by whom it names, or something is not what was signed.
        EvidenceError: a file is missing.
        UsageError: the report is of another run.
    """
    told, signer = check_report(folder), "an address that no run was named to look up"
    if run is not None:
        facts = facts_of(run)
        ours = facts.ledger.chain_id, facts.ledger.contract, facts.ledger.head, facts.model.weights_sha256
        if ours != (told.chain_id, told.contract, told.ledger_head, told.model_digest):
            raise UsageError(f"{folder} is the report of another run than {run}.", "Name the run that it is of.")
        names = audited(run, None).names
        if told.hospital not in names:
            raise UsageError(f"{told.hospital} is no hospital of {run}.", "Trust one that a hospital signed.")
        signer = names[told.hospital]
    shown = {"signed_by": told.hospital, "who": signer, "model_digest": told.model_digest.hex()}
    if as_json:
        console.data(shown)
    else:
        console.out.print(
            f"Signed by {told.hospital} ({signer}), of the model 0x{told.model_digest.hex()}.",
            markup=False,
            soft_wrap=True,
        )
