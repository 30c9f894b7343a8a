"""Security reports: a hospital signs what was measured of a run, so that a page shown later is known to be that one."""

from dataclasses import dataclass

from eth_account.messages import SignableMessage, encode_typed_data

from blockchain.identity import Identity
from blockchain.ledger.json_fields import Account
from blockchain.signing.signatures import domain, members, recover
from fedward.types import Address, Signature, Whole, Word

_REPORT_FIELDS = {
    "hospital": "address",
    "ledgerHead": "bytes32",
    "modelDigest": "bytes32",
    "reportHash": "bytes32",
    "pageHash": "bytes32",
}


@dataclass(frozen=True)
class SecurityReport:
    """A report that a hospital stands for.

    Attributes:
        chain_id, contract: The run's ledger.
        hospital: Who signs.
        ledger_head: 32 bytes; where the ledger ended.
        model_digest: 32 bytes; of the weights of the run's model.
        report_hash: 32 bytes; SHA-256 of the report's JSON as it lies there.
        page_hash: 32 bytes; SHA-256 of its page.
    """

    chain_id: Whole
    contract: Account
    hospital: Account
    ledger_head: Word
    model_digest: Word
    report_hash: Word
    page_hash: Word


@dataclass(frozen=True)
class SignedReport:
    """A report with its signature: 65 bytes r, s, v."""

    report: SecurityReport
    signature: Signature


def sign_report(report: SecurityReport, identity: Identity) -> SignedReport:
    """Sign a report as it stands."""
    return SignedReport(report, identity.sign_message(report_message(report)))


def recover_report_signer(signed: SignedReport) -> Address | None:
    """Who signed a report; None where the signature is malformed."""
    return recover(report_message(signed.report), signed.signature)


def report_message(report: SecurityReport) -> SignableMessage:
    """The typed data (EIP-712) of a report; the domain is the ledger's own."""
    content = {
        "hospital": report.hospital,
        "ledgerHead": report.ledger_head,
        "modelDigest": report.model_digest,
        "reportHash": report.report_hash,
        "pageHash": report.page_hash,
    }
    types = {"SecurityReport": members(_REPORT_FIELDS)}
    return encode_typed_data(domain(report.chain_id, report.contract), types, content)
