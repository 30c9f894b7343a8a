"""Encrypt a hospital's update, decrypt the sum: CKKS with one polynomial, exact on whole numbers.

Every hospital encrypts under a key of its own, drawn for one round and for one thing that is summed. A ciphertext is
message + error + public polynomial * key, one polynomial of the ring; the public polynomial follows from the round.
Sums of ciphertexts are ciphertexts under the sum of the keys. So whoever knows the sum of the keys opens the sum of the
updates, and nothing else; the key of a single hospital is never put together again (`fedward.sharing`).

What this does not protect: whoever knows a key opens what was encrypted under it, a ciphertext says nothing about who
made it, under which key, or whether the update inside is honest, and a key that is used for two things tells their
difference.

Only hospitals use this module. Server, witness and auditor check and add ciphertexts without any key and without Pyfhel
(`fedward.ciphertexts.serialized`).

How: whole numbers are the coefficients of the message (`packing.pack`); errors are added to them as whole numbers;
SEAL, by way of Pyfhel, transforms the polynomial to number-theoretic form; there the public polynomial times the key is
added. So SEAL itself opens (ciphertext, minus the public polynomial) with the key as its secret key, and tests compare.

Every step from whole numbers to message is linear and exact: the message of a sum is the sum of the messages, to the
last coefficient. So what an opened sum shows beside the sum is the sum of the errors, which are drawn without regard to
the messages. A step that rounds one hospital's coefficients, such as CKKS's encoding into slots, would leave there what
tells of that hospital alone (docs/adr/0041).

References: Shi, Chan, Rieffel, Chow and Song 2011, "Privacy-Preserving Aggregation of Time-Series Data", has sums under
sums of keys; Bell, Gascón, Lepoint, Li, Meiklejohn, Raykova and Yun 2023, "ACORN", the form over rings.
"""

import ctypes
import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import NDArray
from Pyfhel import Pyfhel, PyPtxt

from fedward.ciphertexts.discrete_gaussian import discrete_gaussian
from fedward.ciphertexts.packing import count_saturated, pack, quantize_chunks, unpack
from fedward.ciphertexts.plan import ERROR_DEVIATION, WRONG_DECODE_BOUND, PackingPlan
from fedward.ciphertexts.public_polynomials import public_polynomial
from fedward.ciphertexts.serialized import CHUNK_BYTES, MODULUS, RING_DEGREE, SECURITY_BITS, residues_of
from fedward.errors import EncryptionError
from fedward.sharing.modular import Residues, add, multiply, subtract, to_bytes, uniform
from fedward.types import EncryptedUpdate, PrivateUpdate

_BATCH = 8  # ciphertexts that are worked on together: NumPy is kept busy, and memory stays small
_Thing = TypeVar("_Thing")

# SEAL, as Pyfhel builds it, lets its memory pool go twice when a process ends, and the second time writes to memory
# that was freed: about one process in forty ended with "free(): corrupted unsorted chunks", after all its work. An
# object that is never destroyed holds the pool, so that neither is the last to let go.
_HOLDS_POOL = PyPtxt()
ctypes.pythonapi.Py_IncRef(ctypes.py_object(_HOLDS_POOL))


class RoundKey:
    """A key for one round and one purpose: of one hospital, or the sum of several hospitals' keys.

    Guarantees:
        1. `generate` draws each residue uniformly from the operating system's randomness.
        2. `repr` shows nothing of the key; pickling and copying raise.
    """

    __slots__ = ("_residues",)

    def __init__(self, residues: Residues) -> None:
        """Take a key.

        Args:
            residues: uint64, shape (RING_DEGREE,), each below the prime; in number-theoretic form.

        Raises:
            EncryptionError: it is anything else.
        """
        if residues.shape != (RING_DEGREE,) or residues.dtype != np.uint64 or (residues >= np.uint64(MODULUS)).any():
            raise EncryptionError("These numbers are no key of a round.", "Restore them from the shares again.")
        self._residues = residues.copy()

    @classmethod
    def generate(cls) -> "RoundKey":
        """Draw a new key."""
        return cls(uniform((RING_DEGREE,)))

    def residues(self) -> Residues:
        """A copy of the key, to be dealt in shares; uint64, shape (RING_DEGREE,)."""
        return self._residues.copy()

    def forget(self) -> None:
        """Overwrite this copy of the key in memory. Encrypt nothing with it afterwards: it would hide nothing.

        Limits: copies that `residues` gave out, and what NumPy left of products in freed memory, are not overwritten.
        """
        self._residues[:] = 0

    def _masks(self, seed: bytes, places: Iterable[int]) -> Residues:
        """What hides the content of the ciphertexts in these places: the public polynomials times the key."""
        return multiply(np.stack([public_polynomial(seed, place) for place in places]), self._residues)

    def __repr__(self) -> str:
        return "RoundKey(hidden)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise EncryptionError("A round's key cannot be pickled or copied.", "Deal it in sealed shares.")


def encrypt(
    update: PrivateUpdate,
    weight: int,
    total_weight: int,
    plan: PackingPlan,
    key: RoundKey,
    seed: bytes,
    rng: np.random.Generator,
) -> EncryptedUpdate:
    """Weight, quantize and encrypt an update that has passed its privacy stage.

    Args:
        update: The update; float32, shape (plan.parameters,).
        weight: The hospital's enrolled weight, in [1, total_weight].
        total_weight: Sum of all enrolled weights.
        plan: How the update is laid out in ciphertexts.
        key: A fresh key, which encrypts nothing else.
        seed: Of the round's public polynomials for updates.
        rng: Source of the rounding only; encryption draws its own secret randomness.

    Raises:
        EncryptionError: the update does not fit the plan or is not finite, or the weight is out of range.

    Guarantees:
        1. The integers inside are those of `quantize` with the same generator.
        2. Beside the update and its ciphertexts, memory grows by less than two bytes a parameter and 6 MB.
    """
    pieces = quantize_chunks(update.delta, weight, total_weight, plan, rng)
    chunks = tuple(_encrypt_pieces(pieces, plan, key, seed))
    return EncryptedUpdate(chunks, weight, update.event, count_saturated(update.delta, plan))


def encrypt_fields(fields: NDArray[np.int64], plan: PackingPlan, key: RoundKey, seed: bytes) -> tuple[bytes, ...]:
    """Encrypt whole numbers as they are; `decrypt` reads sums of them.

    Args:
        fields: int64, shape (plan.parameters,); the sums over all hospitals must be within the plan's bounds, too.
        plan: How the fields are laid out in ciphertexts.
        key: A fresh key, which encrypts nothing else.
        seed: Of the round's public polynomials for what these fields are.

    Raises:
        EncryptionError: there are more or fewer fields than planned, or one is out of its bounds.
    """
    if fields.shape != (plan.parameters,):
        raise EncryptionError(f"{fields.shape} fields are not the {plan.parameters} of the layout.", "Plan for them.")
    pieces = (fields[start : start + plan.parameters_per_chunk] for start in plan.starts())
    return tuple(_encrypt_pieces(pieces, plan, key, seed))


def decrypt(chunks: Iterable[bytes], plan: PackingPlan, key: RoundKey, seed: bytes, summands: int) -> NDArray[np.int64]:
    """Decrypt an aggregate, a few chunks at a time, to the exact integer sums.

    Args:
        chunks: The aggregate's ciphertexts in order, checked against the ledger's hash first.
        plan: The plan of the updates inside.
        key: The sum of the keys that the summands are under.
        seed: Of the public polynomials that the summands were made with.
        summands: Number of updates inside, in [1, plan.summands].

    Returns:
        int64, shape (plan.parameters,); the sums of the quantized updates.

    Raises:
        EncryptionError: a chunk is malformed, missing or one too many, under another key, or does not decode within
            the bounds of noise, fields and padding.
    """
    sums, start, found = np.empty(plan.parameters, dtype=np.int64), 0, 0
    for places, batch in _batches(chunks):
        for place, coefficients in zip(places, _opened(batch, places, key, seed), strict=False):
            if place >= plan.chunks:
                raise _wrong_count(plan)
            fields = plan.fields_in(place)
            sums[start : start + fields] = unpack(coefficients, fields, plan, summands)
            start, found = start + fields, found + 1
    if found < plan.chunks:
        raise _wrong_count(plan)
    return sums


def opens(chunks: Sequence[bytes], plan: PackingPlan, key: RoundKey, seed: bytes, summands: int) -> bool:
    """Whether a key opens an aggregate's first and last ciphertext to something within the bounds of noise.

    A wrong key makes coefficients uniform. With the presets and up to 128 hospitals, at most one in 2^6 uniform
    coefficients is as close to a whole number as noise, and so at most one in 2^(6 * RING_DEGREE) wrong keys passes. A
    key that somebody made for one ciphertext, so that it opens to what they like, does not open another, and every
    plan has two.
    """
    if len(chunks) != plan.chunks:
        return False
    for place in (0, plan.chunks - 1):
        try:
            unpack(_opened([chunks[place]], [place], key, seed)[0], plan.fields_in(place), plan, summands)
        except EncryptionError:
            return False
    return True


def summarize(plan: PackingPlan, update_bytes: int, rounds: int) -> dict[str, float | int | bool]:
    """The `encryption` part of summary.json.

    Args:
        plan: The run's plan.
        update_bytes: Length of one real update's chunks.
        rounds: How many sums were opened.
    """
    return {
        "bytes_per_parameter": update_bytes / plan.parameters,
        "parameters": plan.parameters,
        "ring_degree": RING_DEGREE,
        "security_bits": SECURITY_BITS,
        # No plan can be made that breaks this, and every decryption checks it anew.
        "exact": plan.wrong_decode_probability <= WRONG_DECODE_BOUND,
        "wrong_decode_in_run": plan.wrong_decode_in(rounds),
    }


def _encrypt_pieces(
    pieces: Iterable[NDArray[np.int64]], plan: PackingPlan, key: RoundKey, seed: bytes
) -> Iterator[bytes]:
    """One ciphertext for each piece of at most `plan.parameters_per_chunk` whole numbers."""
    for places, batch in _batches(pieces):
        content = np.stack([pack(fields, plan) for fields in batch])
        # As whole numbers: coefficients of a message pass 2^53, where doubles would round an error away.
        content += discrete_gaussian(content.size, ERROR_DEVIATION).reshape(content.shape)
        yield from map(to_bytes, add(_to_residues(content), key._masks(seed, places)))


def _opened(chunks: Sequence[bytes], places: Iterable[int], key: RoundKey, seed: bytes) -> NDArray[np.int64]:
    """Coefficients of ciphertexts in these places: int64, shape (chunks, RING_DEGREE); as of `pack`, plus errors."""
    residues = np.stack([residues_of(chunk) for chunk in chunks])
    return _to_coefficients(subtract(residues, key._masks(seed, places)))


def _batches(things: Iterable[_Thing]) -> Iterator[tuple[range, list[_Thing]]]:
    """A few at a time, with their places."""
    left, start = iter(things), 0
    while batch := list(itertools.islice(left, _BATCH)):
        yield range(start, start + len(batch)), batch
        start += len(batch)


def _to_residues(coefficients: NDArray[np.int64]) -> Residues:
    """Polynomials in number-theoretic form, in SEAL's order.

    Args:
        coefficients: int64, shape (polynomials, RING_DEGREE), magnitudes below half of the prime.

    Returns:
        uint64, of the same shape.
    """
    transform, head, order = _transform()
    values = np.empty_like(coefficients)
    for row, polynomial in zip(values, coefficients + (coefficients >> 63 & MODULUS), strict=True):
        content = PyPtxt(pyfhel=transform, bytestring=head + to_bytes(polynomial), scheme="bfv")
        row[order] = transform.decodeInt(content)
    return (values + (values >> 63 & MODULUS)).view(np.uint64)


def _to_coefficients(residues: Residues) -> NDArray[np.int64]:
    """The inverse of `_to_residues`: coefficients between minus and plus half of the prime."""
    transform, _, order = _transform()
    coefficients = np.empty(residues.shape, np.int64)
    for row, values in zip(coefficients, residues.view(np.int64), strict=True):
        row[:] = np.frombuffer(transform.encodeInt(values[order]).to_bytes("none")[-CHUNK_BYTES:], "<i8")
    return coefficients - (MODULUS // 2 - coefficients >> 63 & MODULUS)


@functools.cache
def _transform() -> tuple[Any, bytes, NDArray[np.int64]]:
    """SEAL's number-theoretic transform modulo our prime, by way of Pyfhel.

    Pyfhel shows the transform as the batching of BFV: of a plaintext modulo a prime, decoding gives the values at the
    odd powers of a root, and encoding the polynomial with such values. Nothing is encrypted with this context.

    Returns:
        The context; what SEAL writes before a plaintext's coefficients; and for each value that decoding gives, in the
        order of BFV's slots, its place in number-theoretic form.
    """
    transform = Pyfhel()
    transform.contextGen(scheme="bfv", n=RING_DEGREE, t=MODULUS, qi_sizes=[54, 55], sec=SECURITY_BITS)
    head = transform.encodeInt(np.zeros(RING_DEGREE, np.int64)).to_bytes("none")[:-CHUNK_BYTES]
    powers = [pow(3, slot, 2 * RING_DEGREE) for slot in range(RING_DEGREE // 2)]
    powers += [2 * RING_DEGREE - power for power in powers]
    width = RING_DEGREE.bit_length() - 1
    order = [int(f"{power // 2:0{width}b}"[::-1], 2) for power in powers]
    return transform, head, np.array(order)


def _wrong_count(plan: PackingPlan) -> EncryptionError:
    return EncryptionError(
        f"The aggregate has not the {plan.chunks} chunks of {plan.parameters} parameters.",
        "Fetch it again from the store; vote to reject it if it stays so.",
    )
