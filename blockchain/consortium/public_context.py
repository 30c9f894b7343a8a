"""The public half of the key in force, as the server takes it from what the dealer left."""

from blockchain.ledger.reader import LedgerReader
from encryption import PublicContext
from fedward.errors import EvidenceError, VerificationError
from fedward.files import write_atomic
from fedward.folders.run import RunFolder


def take_public_context(run: RunFolder, ledger: LedgerReader) -> PublicContext:
    """The public context that the ledger names: the server's own copy, or else a new one from the board.

    Raises:
        EvidenceError: no key is on the ledger yet, or its public context was not left.
        VerificationError: what was left is another's.
        EncryptionError: what was left is none.
        LedgerError: the node cannot be reached.
    """
    context = ledger.key_context()
    if not any(context.fingerprint):
        raise EvidenceError(
            f"The ledger names no key for epoch {context.epoch} yet.", "Wait for the dealer to make it, then retry."
        )
    if run.public_context.exists():
        own = PublicContext.from_bytes(run.public_context.read_bytes())
        if own.fingerprint == context.fingerprint:
            return own
    public = PublicContext.from_bytes(run.keys.load_public_context(context.epoch))
    if public.fingerprint != context.fingerprint:
        raise VerificationError(
            f"The public context of epoch {context.epoch} is {public.fingerprint.hex()}, the ledger names "
            f"{context.fingerprint.hex()}.",
            "Ask the dealer for the public context that it named.",
        )
    write_atomic(run.public_context, public.to_bytes())
    return public
