"""The registrar's acts on the ledger, with the server's account: deploy the contract, put hospitals on the roster."""

import dataclasses

from blockchain.consortium.sealed_keys import read_card
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from fedward.errors import VerificationError
from fedward.folders.key_board import KeyBoard
from fedward.folders.server import ServerFolder
from fedward.settings import Settings
from fedward.types import Member


def deploy_ledger(folder: ServerFolder, settings: Settings, model_digest: bytes, rpc_url: str) -> Ledger:
    """Begin a study: deploy the contract with these settings and the digest of this initial model.

    Args:
        folder: The server's own, with its account.
        settings: Their digest, and the rules of the rounds, go on the ledger.
        model_digest: 32 bytes; of the initial weights (`weights_digest`).
        rpc_url: Where the server's node of the chain listens.

    Raises:
        LedgerError: the node cannot be reached, or serves another chain than the settings name.
        UsageError: the account's keys are missing or damaged.
    """
    account, outbox = Identity.load(folder.identity), folder.transactions
    return Ledger.deploy(rpc_url, account, settings.ledger, settings.digest(), model_digest, outbox=outbox)


def register(ledger: Ledger, board: KeyBoard, newcomer: Member, *, dealer: bool = False) -> None:
    """Put a hospital on the roster, with the sealing key that it signed itself; between rounds, or before the first.

    Args:
        ledger: Attached with the registrar's account.
        board: Where the hospital left its card.
        newcomer: Name, address and weight, as agreed outside of any message.
        dealer: Whether it deals the consortium's keys.

    Raises:
        EvidenceError: there is no card.
        VerificationError: the card is not signed by the hospital, or the roster has the hospital with another weight or
            sealing key.
        LedgerError: the node cannot be reached, or the contract refused: a round runs, the roster is full, or the
            hospital was revoked.
    """
    key = read_card(board.load_card(newcomer.address), ledger.chain_id, ledger.contract, newcomer.address)
    enrolled = {entry.address: entry.weight for entry in ledger.roster()}
    if newcomer.address not in enrolled:
        ledger.register(newcomer.address, newcomer.weight, key, dealer=dealer)
    elif (enrolled[newcomer.address], ledger.sealing_keys()[newcomer.address]) != (newcomer.weight, key):
        raise VerificationError(
            f"{newcomer.address} is on the roster with another weight or sealing key than agreed.",
            "Ask the consortium; a hospital on the roster can only be revoked.",
        )


def enroll(folder: ServerFolder, ledger: Ledger, newcomer: Member, *, dealer: bool = False) -> None:
    """Take a hospital into a study, also one whose rounds are under way: on the roster, and into `run.json`.

    Args:
        folder: The server's own; the newcomer's card lies on its board.
        ledger: Attached with the registrar's account.
        newcomer: As for `register`.
        dealer: As for `register`.

    Raises:
        EvidenceError: there is no card, or `run.json` is damaged.
        VerificationError: another hospital has the newcomer's name, or as `register`.
        LedgerError: as `register`.
    """
    record = folder.load_record()
    known = [member for member in record.roster if newcomer.hospital == member.hospital]
    if known and known != [newcomer]:
        raise VerificationError(
            f"There is a {newcomer.hospital} already: {known[0].address} with {known[0].weight} examples.",
            "Give the newcomer a name of its own.",
        )
    register(ledger, folder.keys, newcomer, dealer=dealer)
    if not known:
        folder.save_record(dataclasses.replace(record, roster=(*record.roster, newcomer)))
