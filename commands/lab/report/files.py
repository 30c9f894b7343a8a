"""The report's folder: the page, the JSON, and what a hospital signs of both."""

from pathlib import Path

from blockchain.identity import Identity
from blockchain.signing.reports import SecurityReport, SignedReport, recover_report_signer, sign_report
from commands.lab.report.run_facts import RunFacts
from fedward.errors import EvidenceError, VerificationError
from fedward.files import make_folder, read_file, sha256, write_atomic
from fedward.messages.signed import MAX_BYTES, read_signed, write_signed
from fedward.types import Address

PAGE, JSON, SIGNATURE = "report.html", "report.json", "signature.json"
_MOST_BYTES = 64 * 1024 * 1024
_REMEDY = "Ask for the folder as it was signed."


def keep_report(folder: Path, page: bytes, content: bytes, facts: RunFacts, identity: Identity | None) -> None:
    """Write page and JSON, and last the signature; one of an earlier report is taken away first.

    Args:
        folder: Where to.
        page: HTML.
        content: The report's JSON.
        facts: Of the run, for what is signed.
        identity: Who signs; None: nobody.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.
    """
    make_folder(folder)
    (folder / SIGNATURE).unlink(missing_ok=True)
    write_atomic(folder / PAGE, page)
    write_atomic(folder / JSON, content)
    if identity is not None:
        ledger = facts.ledger
        told = SecurityReport(
            ledger.chain_id,
            ledger.contract,
            identity.address,
            ledger.head,
            facts.model.weights_sha256,
            sha256(content),
            sha256(page),
        )
        write_atomic(folder / SIGNATURE, write_signed(sign_report(told, identity)))


def check_report(folder: Path) -> SecurityReport:
    """What a hospital signed of a folder, after everything in it was compared.

    Raises:
        EvidenceError: a file is missing.
        VerificationError: the signature is malformed or another's, or page or JSON are not those that were signed.
    """
    if not (folder / SIGNATURE).exists():
        raise EvidenceError(f"{folder} has no signature of a report.", "Ask for one that a hospital signed.")
    content = read_file(folder / SIGNATURE, MAX_BYTES, "The report's signature", _REMEDY)
    signed = read_signed(SignedReport, content, "The report's signature", VerificationError, _REMEDY)
    signer, told = recover_report_signer(signed), signed.report
    if signer is None or signer != Address(told.hospital):
        raise VerificationError(f"The report is not signed by {told.hospital}, whom it names.", _REMEDY)
    for name, wanted in ((JSON, told.report_hash), (PAGE, told.page_hash)):
        if sha256(read_file(folder / name, _MOST_BYTES, "The report", _REMEDY)) != wanted:
            raise VerificationError(f"{folder / name} is not what {told.hospital} signed.", _REMEDY)
    return told
