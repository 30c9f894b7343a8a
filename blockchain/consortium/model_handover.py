"""Model handover: how a hospital gets its first model, from the settings or sealed from another hospital.

A hospital of the founding starts from the initial weights (`start_from`). One that joins later gets the model in force
from another hospital, which seals it (`hand_over_model`), and takes it (`take_model`). Either way the hospital accepts
a model only by its digest: the one that the votes of the last accepted round name or, before the first accepted round,
the one that the ledger was deployed with. So a newcomer needs no old key, and need not trust the sender. Nor the node
that tells which model that is: people compare it with the roster (`ModelInForce`). Every function may be repeated
without harm.
"""

from dataclasses import dataclass

import numpy as np
from eth_utils.address import to_canonical_address

from blockchain.consortium.key_exchange import check_ledger, sealing_keys
from blockchain.identity import Identity
from blockchain.ledger.encoding import WORD_BYTES
from blockchain.ledger.reader import LedgerReader
from blockchain.ledger.records import RoundPhase
from fedward.ciphertexts.sealing import OVERHEAD_BYTES, seal, unseal
from fedward.errors import EncryptionError, LedgerError, VerificationError
from fedward.files import sha256
from fedward.folders.hospital import HospitalFolder, model_bytes
from fedward.folders.key_board import KeyBoard
from fedward.learning.server_step import MOST_MOMENTS
from fedward.types import Address, GlobalModel, Vector

_MAGIC = b"fedward sealed model 1\n"
_WEIGHT_BYTES = 4  # of a float32


@dataclass(frozen=True)
class ModelInForce:
    """Which model the next round starts from.

    A base id does not tell weights. Were two hospitals told different ones under the same base id, the one could train
    from a model in which nothing can be learned, and the sum would be the other's update.

    Attributes:
        base_id: 32 bytes; names the history of accepted aggregates.
        digest: 32 bytes; of the model (`model_bytes`).
    """

    base_id: bytes
    digest: bytes


def model_in_force(ledger: LedgerReader) -> ModelInForce:
    """The model in force, as a node tells of it.

    Raises:
        LedgerError: the node cannot be reached.
    """
    return ModelInForce(ledger.base_id(), digest_in_force(ledger))


def start_from(folder: HospitalFolder, agreed: ModelInForce, weights: Vector) -> None:
    """As a hospital of the founding: store the initial model, which everybody can make from the agreed settings.

    Args:
        folder: The hospital's own.
        agreed: Which model is in force.
        weights: float32, shape (parameters,).

    Raises:
        VerificationError: the weights are not those of the model in force. Nothing was stored.
    """
    model = GlobalModel(weights, agreed.base_id)
    check_in_force(model_bytes(model), agreed)
    folder.save_model(model)


def hand_over_model(folder: HospitalFolder, ledger: LedgerReader, board: KeyBoard, recipient: Address) -> None:
    """As a hospital: seal the model in force for another hospital on the roster that both agreed to.

    Args:
        folder: The hospital's own; its model is the one in force (`blockchain.catch_up`).
        ledger: Says which model is in force.
        board: Where to leave the sealed model.
        recipient: The hospital that gets the model.

    Raises:
        VerificationError: this hospital's model is not the one in force, the roster is not the agreed one, or the
            recipient's card is not signed by the recipient. Then nothing was sealed.
        EvidenceError: there is no card, or the folder is damaged.
        LedgerError: the node cannot be reached.
    """
    check_ledger(folder, folder.membership(), ledger)
    if recipient not in {entry.address for entry in ledger.roster()}:
        raise VerificationError(f"{recipient} is not on the roster.", "Hand the model to nobody else.")
    key = sealing_keys(ledger, board, [recipient])[recipient]
    model = folder.load_model()
    in_force, content = model_in_force(ledger), model_bytes(model)
    if (model.base_id, sha256(content)) != (in_force.base_id, in_force.digest):
        raise VerificationError(
            f"The model here ({sha256(content).hex()}) is not the one in force ({in_force.digest.hex()}).",
            "Let this hospital catch up first, or ask another for the model.",
        )
    board.save_model(recipient, seal(content, key, _purpose(ledger, in_force.base_id, recipient)))


def take_model(
    folder: HospitalFolder, ledger: LedgerReader, board: KeyBoard, parameters: int, agreed: ModelInForce
) -> GlobalModel:
    """As a newcomer: take the model in force from the key board, unless it is in the folder already.

    Args:
        folder: The hospital's own.
        ledger: Says who is on the roster.
        board: Where the sealed model was left.
        parameters: How many weights the agreed model has, at least one; nothing larger is read.
        agreed: Which model is in force.

    Returns:
        The model in force.

    Raises:
        VerificationError: the ledger or its roster is not the one that was joined, or what was left is not the model
            in force. Nothing was stored.
        EncryptionError: the sealed model does not open. Nothing was stored.
        EvidenceError: nothing was left, or the folder is damaged.
        LedgerError: the node cannot be reached.
    """
    check_ledger(folder, folder.membership(), ledger)
    identity, in_force = Identity.load(folder.identity), agreed.base_id
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
    check_in_force(content, agreed)
    if not content or len(content) % size:
        raise VerificationError(
            f"The model in force has {len(content)} bytes, not whole vectors of {parameters} weights.",
            "Compare the model's name with what was agreed on.",
        )
    values = np.frombuffer(content, "<f4").astype(np.float32)
    model = GlobalModel(values[:parameters], in_force, values[parameters:])
    folder.save_model(model)
    return model


def digest_in_force(ledger: LedgerReader) -> bytes:
    """Digest of the model in force (`model_bytes`), as more than half of the last accepted round's votes name it.

    Returns:
        32 bytes; the initial model's where no round was accepted yet.

    Raises:
        LedgerError: the node cannot be reached.
    """
    for index in range(ledger.latest_round(), 0, -1):
        record = ledger.round(index)
        if record.phase is RoundPhase.ACCEPTED:
            return record.candidate_digest
    return ledger.initial_model_digest()


def check_in_force(content: bytes, agreed: ModelInForce) -> None:
    """Make sure that a model (`model_bytes`) is the one in force.

    Raises:
        VerificationError: it is another.
    """
    if sha256(content) != agreed.digest:
        raise VerificationError(
            f"The model here is {sha256(content).hex()}, the one in force is {agreed.digest.hex()}.",
            "Do not use it; ask another hospital for the model.",
        )


def _purpose(ledger: LedgerReader, base_id: bytes, recipient: Address) -> bytes:
    """What a model is sealed for: ledger, history (base id) and recipient."""
    try:
        places = to_canonical_address(ledger.contract) + to_canonical_address(recipient)
    except ValueError as error:
        raise LedgerError(f"{recipient!r} is no address.", "Give 0x and 40 hexadecimal digits.") from error
    return _MAGIC + ledger.chain_id.to_bytes(WORD_BYTES, "big") + base_id + places
