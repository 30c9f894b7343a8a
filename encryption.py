"""Encrypt a hospital's update, decrypt the sum: CKKS with one polynomial, exact on whole numbers.

Every hospital encrypts under a key of its own, drawn for one round and for one thing that is summed. A ciphertext is
message + error + public polynomial * key, one polynomial of the ring; the public polynomial follows from the round.
Sums of ciphertexts are ciphertexts under the sum of the keys. So whoever knows the sum of the keys opens the sum of the
updates, and nothing else; the key of a single hospital is never put together again (`fedward.sharing`).

What this does not protect: whoever knows a key opens what was encrypted under it, a ciphertext says nothing about who
made it, under which key, or whether the update inside is honest, and a key that is used for two things tells their
difference.

Only hospitals use this module. Server, witness and auditor check and add ciphertexts without any key and without Pyfhel
(`fedward.ciphertexts.serialized`). Of CKKS, Pyfhel does the encoding, with its transforms; adding and multiplying
residues is NumPy's work.

References: Shi, Chan, Rieffel, Chow and Song 2011, "Privacy-Preserving Aggregation of Time-Series Data", has sums under
sums of keys; Bell, Gascón, Lepoint, Li, Meiklejohn, Raykova and Yun 2023, "ACORN", the form over rings.
"""

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from Pyfhel import Pyfhel, PyPtxt

from fedward.ciphertexts.discrete_gaussian import discrete_gaussian
from fedward.ciphertexts.packing import count_saturated, pack, quantize_chunks, unpack
from fedward.ciphertexts.plan import ERROR_DEVIATION, WRONG_DECODE_BOUND, PackingPlan
from fedward.ciphertexts.public_polynomials import public_polynomial
from fedward.ciphertexts.serialized import CHUNK_BYTES, MODULUS, RING_DEGREE, SECURITY_BITS, residues_of
from fedward.errors import EncryptionError
from fedward.sharing.modular import Residues, add, multiply, subtract, uniform
from fedward.types import EncryptedUpdate, PrivateUpdate

_BATCH = 16  # ciphertexts whose errors are drawn and transformed together: memory stays small, and NumPy is kept busy


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
        """Overwrite the key in memory; what is encrypted or decrypted with it afterwards is worthless."""
        self._residues[:] = 0

    def _mask(self, seed: bytes, place: int) -> Residues:
        """What hides the content of the ciphertext in this place: the public polynomial times the key."""
        return multiply(public_polynomial(seed, place), self._residues)

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
        2. Beside the update and its ciphertexts, memory grows by less than two bytes a parameter and a few megabytes.
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
    starts = range(0, plan.parameters, plan.parameters_per_chunk)
    pieces = (fields[start : start + plan.parameters_per_chunk] for start in starts)
    return tuple(_encrypt_pieces(pieces, plan, key, seed))


def decrypt(chunks: Iterable[bytes], plan: PackingPlan, key: RoundKey, seed: bytes, summands: int) -> NDArray[np.int64]:
    """Decrypt an aggregate, one chunk at a time, to the exact integer sums.

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
    sums = np.empty(plan.parameters, dtype=np.int64)
    start = 0
    for place, chunk in enumerate(chunks):
        if start >= plan.parameters:
            raise _wrong_count(plan)
        fields = min(plan.parameters_per_chunk, plan.parameters - start)
        content = subtract(residues_of(chunk), key._mask(seed, place))
        sums[start : start + fields] = unpack(_from_residues(content), fields, plan, summands)
        start += fields
    if start < plan.parameters:
        raise _wrong_count(plan)
    return sums


def opens(chunks: Sequence[bytes], plan: PackingPlan, key: RoundKey, seed: bytes, summands: int) -> bool:
    """Whether a key opens an aggregate's first and last ciphertext to something within the bounds of noise.

    A wrong key makes residues uniform, so that about one in 2^(10 * slots) wrong keys passes. A key that somebody made
    for one ciphertext, so that it opens to what they like, does not open another.

    Limits: where there is one ciphertext only, a key that was made for it passes (docs/adr/0028).
    """
    if len(chunks) != plan.chunks:
        return False
    for place in sorted({0, plan.chunks - 1}):
        fields = min(plan.parameters_per_chunk, plan.parameters - place * plan.parameters_per_chunk)
        content = subtract(residues_of(chunks[place]), key._mask(seed, place))
        try:
            unpack(_from_residues(content), fields, plan, summands)
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
    errors = _errors()
    for place, fields in enumerate(pieces):
        content = add(_to_residues(pack(fields, plan)), _to_residues(next(errors)))
        yield add(content, key._mask(seed, place)).tobytes()


def _errors() -> Iterator[NDArray[np.complex128]]:
    """Fresh error polynomials, each as the slots that Pyfhel encodes, at scale 1, to exactly these coefficients.

    Encoded together with a message they would be lost: its coefficients pass 2^53, where doubles round to even numbers.
    """
    while True:
        drawn = discrete_gaussian(_BATCH * RING_DEGREE, ERROR_DEVIATION).reshape(_BATCH, RING_DEGREE)
        yield from _slots_of(drawn)


def _slots_of(coefficients: NDArray[np.int64]) -> NDArray[np.complex128]:
    """The values of polynomials at the roots of unity, in SEAL's order of slots: shape (polynomials, slots).

    The values at all odd powers of the root are one Fourier transform; slot i is the value at its power 3^i. Doubles
    hold them to within 2^-30 for coefficients below 2^10, and encoding rounds to the nearest whole number.
    """
    twist, order = _roots()
    values = np.fft.ifft(coefficients * twist, axis=-1, norm="forward")
    return np.ascontiguousarray(values[:, order])  # Pyfhel reads rows one after the other


@functools.cache
def _roots() -> tuple[NDArray[np.complex128], NDArray[np.int64]]:
    """Powers of the 2n-th root of unity, and for each slot which odd power it belongs to."""
    twist = np.exp(1j * np.pi * np.arange(RING_DEGREE) / RING_DEGREE)
    power, order = 1, []
    for _ in range(RING_DEGREE // 2):
        order.append((power - 1) // 2)
        power = power * 3 % (2 * RING_DEGREE)
    return twist, np.array(order)


@functools.cache
def _encoder() -> Any:
    """Pyfhel with our parameters and no keys; SEAL refuses parameters below the standard's 128 bits."""
    encoder = Pyfhel()
    # Every encoding names its own scale; Pyfhel warns when the default is 1.
    encoder.contextGen(scheme="ckks", n=RING_DEGREE, scale=2.0, qi=[MODULUS], sec=SECURITY_BITS)
    return encoder


@functools.cache
def _header() -> bytes:
    """What SEAL writes before the residues of a plaintext: a constant, since the parameters are."""
    zero = _encoder().encodeComplex(np.zeros(RING_DEGREE // 2, np.complex128), scale=1.0)
    return bytes(zero.to_bytes("none")[:-CHUNK_BYTES])


def _to_residues(slots: NDArray[np.complex128]) -> Residues:
    """Encode slots to a polynomial in number-theoretic form. `pack` has applied the scale, so CKKS's own is 1."""
    content = _encoder().encodeComplex(slots, scale=1.0).to_bytes("none")
    return np.frombuffer(content, "<u8", offset=len(content) - CHUNK_BYTES)


def _from_residues(residues: Residues) -> NDArray[np.complex128]:
    """Decode a polynomial in number-theoretic form: complex128, shape (slots,)."""
    encoder = _encoder()
    plaintext = PyPtxt(pyfhel=encoder, bytestring=_header() + residues.tobytes(), scheme="ckks")
    return np.asarray(encoder.decodeComplex(plaintext), dtype=np.complex128)


def _wrong_count(plan: PackingPlan) -> EncryptionError:
    return EncryptionError(
        f"The aggregate has not the {plan.chunks} chunks of {plan.parameters} parameters.",
        "Fetch it again from the store; vote to reject it if it stays so.",
    )
