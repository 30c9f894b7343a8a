"""Add verified updates without opening them, and apply a decrypted sum: the federated averaging step.

Beside the encrypted sum stands its slow, readable twin on plain integers; tests hold the two equal to the last bit.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.ciphertexts.serialized import CHUNK_BYTES, check_stored, sum_ciphertexts
from fedward.errors import EncryptionError, QuorumError, VerificationError
from fedward.files import merkle_root, read_file, sha256, write_atomic
from fedward.types import EncryptedAggregate, Vector, VerifiedUpdate

_RESTORE = "Restore the run's ciphertexts folder, or abort the round."


def aggregate(updates: Sequence[VerifiedUpdate], store: Path) -> EncryptedAggregate:
    """Add the updates' ciphertexts, each read from disk, so that memory does not grow with hospitals or parameters.

    Args:
        updates: Verified updates; at least one, each of another hospital.
        store: Folder of ciphertexts, each named by the sha256 of its content; must exist.

    Raises:
        EncryptionError: the updates have different numbers of chunks, none, or a chunk is malformed.
        QuorumError: there is no update.
        VerificationError: two updates come from one hospital, or a file no longer has the hash it is named by.
        EvidenceError: a chunk is missing or cannot be read.
        ResourceError: the sum cannot be written.

    Guarantees:
        1. Any order of the same updates gives the same aggregate hash.
        2. At most two chunks are in memory, beside the one being made.
    """
    if not updates:
        raise QuorumError("There is no verified update to add.", "Wait for more hospitals, or abort the round.")
    included = tuple(sorted(update.roster_index for update in updates))
    if len(set(included)) != len(included):
        raise VerificationError("One hospital's update would be added twice.", "Add each accepted submission once.")
    counts = {len(update.chunk_files) for update in updates}
    if len(counts) > 1 or 0 in counts:
        raise EncryptionError(
            f"Updates with {sorted(counts)} chunks cannot be added.",
            "Reject the updates whose chunk count is not the layout's before aggregating.",
        )
    files = []
    hashes = []
    for column in zip(*(update.chunk_files for update in updates), strict=True):
        total = sum_ciphertexts(map(_read_chunk, column))
        hashes.append(sha256(total))
        files.append(store / hashes[-1].hex())
        write_atomic(files[-1], total)
    return EncryptedAggregate(tuple(files), merkle_root(hashes), included)


def aggregate_plain(quantized: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    """What `decrypt(aggregate(...))` must equal: the sum of the hospitals' integers.

    Args:
        quantized: int64, shape (parameters,) each; at least one.
    """
    total = np.zeros_like(quantized[0])
    for values in quantized:
        total = total + values
    return total


def apply_update(weights: Vector, mean_update: NDArray[np.float64]) -> Vector:
    """Move the model by the mean update.

    Args:
        weights: float32, shape (parameters,).
        mean_update: float64, shape (parameters,).

    Returns:
        float32, shape (parameters,): added in double precision, then rounded once.

    Raises:
        EncryptionError: the shapes differ.

    Guarantees:
        1. Hospitals that decrypted the same sums get the same bits.
    """
    if weights.shape != mean_update.shape:
        raise EncryptionError(
            f"An update of shape {mean_update.shape} does not fit weights of shape {weights.shape}.",
            "Use the aggregate of this model's round.",
        )
    moved = weights.astype(np.float64)
    moved += mean_update  # in place: a model may be large
    return moved.astype(np.float32)


def _read_chunk(file: Path) -> bytes:
    """Read a stored ciphertext and check that it is still the one it is named by."""
    return check_stored(read_file(file, CHUNK_BYTES, "A ciphertext", _RESTORE), file.name)
