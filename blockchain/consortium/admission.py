"""How a consortium whose rounds are under way takes in another hospital.

1. The newcomer makes its folder and keys, writes down what was agreed on, and leaves its card (`apply_to_join`).
2. The registrar puts it on the roster, with the sealing key of its own card (`enroll`). The contract starts a new key
   epoch: no round opens until the dealer has named a key, and the newcomer never gets an old one.
3. Every hospital agrees to the new roster, the dealer deals, and all take the key
   (`blockchain.consortium.key_exchange`).
4. A hospital seals the model in force to the newcomer (`hand_over_model`), which takes it (`take_model`) only if it is
   the one that the last accepted round was voted for with. It needs no old key for that, and no word of the sender's.

Steps 3 and 4 also help a hospital that lost its old keys and has to catch up. Every function works on one hospital's
own folder, or on the registrar's, and is harmless when repeated.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterable

import numpy as np
from eth_utils.address import to_canonical_address

from blockchain.consortium.key_exchange import check_ledger, leave_card, sealing_keys
from blockchain.consortium.sealed_keys import read_card
from blockchain.identity import Identity
from blockchain.ledger.encoding import WORD_BYTES
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.reader import LedgerReader
from blockchain.ledger.records import RoundPhase
from fedward.ciphertexts.sealing import OVERHEAD_BYTES, seal, unseal
from fedward.errors import EncryptionError, LedgerError, VerificationError
from fedward.files import sha256
from fedward.folders.hospital import HospitalFolder, Membership, model_bytes, roster_digest
from fedward.folders.key_board import KeyBoard
from fedward.folders.server import ServerFolder
from fedward.learning.server_step import MOST_MOMENTS
from fedward.types import Address, GlobalModel, Member

_MAGIC = b"fedward sealed model 1\n"
_WEIGHT_BYTES = 4  # of a float32


def apply_to_join(
    folder: HospitalFolder, board: KeyBoard, agreed: Membership, members: Iterable[tuple[Address, int]]
) -> Address:
    """As a newcomer with a new folder: make keys, write down what was agreed on, and leave the card.

    Args:
        folder: Its own; `HospitalFolder.create` made it.
        board: Where cards lie.
        agreed: What it joins, as agreed outside of any message; the roster digest in it does not matter.
        members: Addresses and weights of the others in the ledger's order; the newcomer comes last.

    Returns:
        The address that the registrar is to enroll.
    """
    known = folder.identity.exists()
    identity = Identity.load(folder.identity) if known else Identity.create(folder.identity)
    everybody = [*members, (identity.address, agreed.weight)]
    folder.join(dataclasses.replace(agreed, roster_digest=roster_digest(everybody)))
    leave_card(folder, board)
    return identity.address


def enroll(folder: ServerFolder, ledger: Ledger, newcomer: Member) -> None:
    """As the registrar, between rounds: put a hospital on the roster, with the sealing key that it signed itself.

    Args:
        folder: The registrar's own; the newcomer's card lies on its board, and `run.json` gets to name it.
        ledger: Attached with the registrar's account.
        newcomer: Name, address and weight, as agreed outside of any message.

    Raises:
        EvidenceError: there is no card, or `run.json` is damaged.
        VerificationError: the card is not the hospital's, its name is taken, or it is on the roster otherwise.
        LedgerError: the node cannot be reached, or the contract refused: a round runs, the roster is full, or the
            hospital was revoked.
    """
    record = folder.load_record()
    known = [member for member in record.roster if newcomer.hospital == member.hospital]
    if known and known != [newcomer]:
        raise VerificationError(
            f"There is a {newcomer.hospital} already: {known[0].address} with {known[0].weight} examples.",
            "Give the newcomer a name of its own.",
        )
    key = read_card(folder.keys.load_card(newcomer.address), ledger.chain_id, ledger.contract, newcomer.address)
    enrolled = {entry.address: entry.weight for entry in ledger.roster()}
    if newcomer.address not in enrolled:
        ledger.register(newcomer.address, newcomer.weight, key)
    elif (enrolled[newcomer.address], ledger.sealing_keys()[newcomer.address]) != (newcomer.weight, key):
        raise VerificationError(
            f"{newcomer.address} is on the roster with another weight or sealing key than agreed.",
            "Ask the consortium; a hospital on the roster can only be revoked.",
        )
    if not known:
        folder.save_record(dataclasses.replace(record, roster=(*record.roster, newcomer)))


def hand_over_model(folder: HospitalFolder, ledger: LedgerReader, board: KeyBoard, recipient: Address) -> None:
    """As a hospital: seal the model in force to another one on the roster that both agreed to.

    Args:
        folder: The hospital's own; its model is the one in force (`blockchain.catch_up`).
        ledger: Says which model that is.
        board: Where to leave it.
        recipient: Who gets it.

    Raises:
        VerificationError: this hospital's model is another, strangers are on the roster, or the recipient's card is
            not its own. Then nothing was sealed.
        EvidenceError: there is no card, or the folder is damaged.
        LedgerError: the node cannot be reached.
    """
    check_ledger(folder, folder.membership(), ledger)
    if recipient not in {entry.address for entry in ledger.roster()}:
        raise VerificationError(f"{recipient} is not on the roster.", "Hand the model to nobody else.")
    key = sealing_keys(ledger, board, [recipient])[recipient]
    model = folder.load_model()
    in_force, digest = ledger.base_id(), digest_in_force(ledger)
    content = model_bytes(model)
    if model.base_id != in_force or sha256(content) != digest:
        raise VerificationError(
            f"The model here ({sha256(content).hex()}) is not the one in force ({digest.hex()}).",
            "Let this hospital catch up first, or ask another for the model.",
        )
    board.save_model(recipient, seal(content, key, _purpose(ledger, in_force, recipient)))


def take_model(folder: HospitalFolder, ledger: LedgerReader, board: KeyBoard, parameters: int) -> GlobalModel:
    """As a newcomer: take the model in force from what another hospital left, unless it is here already.

    Args:
        folder: The hospital's own.
        ledger: Says which model is in force.
        board: Where it was left.
        parameters: How many weights the agreed model has, at least one; nothing larger is read.

    Returns:
        The model in force.

    Raises:
        VerificationError: the ledger or its roster is not the one that was joined, or what was left is not the model
            in force. Nothing was stored.
        EncryptionError: it does not open. Nothing was stored.
        EvidenceError: nothing was left, or the folder is damaged.
        LedgerError: the node cannot be reached.
    """
    check_ledger(folder, folder.membership(), ledger)
    identity, in_force = Identity.load(folder.identity), ledger.base_id()
    if folder.has_model() and folder.load_model().base_id == in_force:
        return folder.load_model()
    size = parameters * _WEIGHT_BYTES
    largest = size * (1 + MOST_MOMENTS)
    sealed = board.load_model(identity.address, largest + OVERHEAD_BYTES)
    try:
        content = unseal(sealed, identity.sealing_key, _purpose(ledger, in_force, identity.address))
    except EncryptionError as error:
        raise EncryptionError(
            "The sealed model does not open: it is another hospital's, or of another round.",
            "Ask a hospital to hand over the model that is in force now.",
        ) from error
    digest = digest_in_force(ledger)
    if not content or len(content) % size or sha256(content) != digest:
        raise VerificationError(
            f"The model that was left is {sha256(content).hex()}, the one in force is {digest.hex()}.",
            "Do not use it; ask another hospital for the model.",
        )
    values = np.frombuffer(content, "<f4").astype(np.float32)
    model = GlobalModel(values[:parameters], in_force, values[parameters:])
    folder.save_model(model)
    return model


def digest_in_force(ledger: LedgerReader) -> bytes:
    """Digest of the model in force (`model_bytes`): by more than half of the last accepted round's accepting votes.

    Returns:
        32 bytes; the initial model's where no round was accepted yet.

    Raises:
        VerificationError: the votes for that round name no single model.
        LedgerError: the node cannot be reached.
    """
    for index in range(ledger.latest_round(), 0, -1):
        if ledger.round(index).phase is not RoundPhase.ACCEPTED:
            continue
        votes = [event.values for event in ledger.events("VoteCast", index)]
        named = Counter(bytes(vote["candidateDigest"]) for vote in votes if vote["accept"])
        digest, count = named.most_common(1)[0] if named else (b"", 0)
        if 2 * count <= named.total():
            raise VerificationError(
                f"The votes for round {index} name {len(named)} different models, and none by more than half.",
                "Compare the hospitals' models before anybody joins.",
            )
        return digest
    return ledger.initial_model_digest()


def _purpose(ledger: LedgerReader, base_id: bytes, recipient: Address) -> bytes:
    """What a sealed model is: of which ledger, after which history, and for whom."""
    try:
        places = to_canonical_address(ledger.contract) + to_canonical_address(recipient)
    except ValueError as error:
        raise LedgerError(f"{recipient!r} is no address.", "Give 0x and 40 hexadecimal digits.") from error
    return _MAGIC + ledger.chain_id.to_bytes(WORD_BYTES, "big") + base_id + places
