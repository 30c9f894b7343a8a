"""Encrypt a hospital's update, decrypt the sum: CKKS through Pyfhel, exact on whole numbers.

What this does not protect: whoever holds the consortium's secret key can decrypt every ciphertext that reaches them,
and a ciphertext says nothing about who made it, under which key, or whether the update inside is honest.

Only hospitals use this module. Server, witness and auditor check and add ciphertexts without any key and without Pyfhel
(`fedward.ciphertexts.serialized`). Bytes from outside are compared with the format that our parameters determine before
Pyfhel parses them. Everything is serialized without compression, so that hashes do not depend on how Pyfhel was built.
"""

import functools
import hashlib
from collections.abc import Iterable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from Pyfhel import PyCtxt, Pyfhel

from fedward.ciphertexts.packing import count_saturated, pack, quantize_chunks, unpack
from fedward.ciphertexts.plan import SLOTS, WRONG_DECODE_BOUND, PackingPlan
from fedward.ciphertexts.serialized import (
    CIPHERTEXT,
    COEFFICIENT_MODULI,
    PUBLIC_KEY,
    RING_DEGREE,
    SECRET_KEY,
    SECURITY_BITS,
)
from fedward.errors import EncryptionError
from fedward.types import EncryptedUpdate, PrivateUpdate

_PUBLIC_MAGIC = b"fedward public context 1\n"
_SECRET_MAGIC = b"fedward secret context 1\n"
_REMEDY = "Ask the consortium's dealer for the current context."
# Bound on an encrypted zero, decrypted: 97 standard deviations of one ciphertext's noise. Under a key that does not
# match, zero decrypts to about 2^64.
_LARGEST_ZERO = 2.0**20


class PublicContext:
    """Encryption parameters with the public key: encrypts, and cannot decrypt.

    Attributes:
        fingerprint: 32 bytes; sha256 of `to_bytes()`. Names the key epoch on the ledger and in every commitment.

    Guarantees:
        1. `from_bytes` accepts our parameters only, and no bytes that carry anything beside a public key.
        2. No secret key is inside; decrypting with what is inside fails.
    """

    __slots__ = ("_backend", "_content", "fingerprint")

    def __init__(self, public_key: bytes) -> None:
        """Take a public key, serialized without compression; raises EncryptionError as `from_bytes` does."""
        PUBLIC_KEY.check_hiding(public_key)
        self._backend = _new_backend()
        _parse(self._backend.from_bytes_public_key, public_key, "public key")
        self._content = _PUBLIC_MAGIC + _context_bytes() + public_key
        self.fingerprint = hashlib.sha256(self._content).digest()

    @classmethod
    def from_bytes(cls, content: bytes) -> "PublicContext":
        """Read what `to_bytes` wrote.

        Raises:
            EncryptionError: the bytes are anything else: truncated, of other parameters, or with a secret key.
        """
        if content.startswith(_SECRET_MAGIC):
            raise EncryptionError(
                "A public context was expected, but these bytes hold a secret key.",
                "Keep them at the hospital.",
            )
        return cls(_strip(content, _PUBLIC_MAGIC, PUBLIC_KEY.total_bytes, "public context"))

    def to_bytes(self) -> bytes:
        """Parameters and public key, about 66 kB; the same bytes for the same key, always."""
        return self._content

    def _encrypt_slots(self, slots: NDArray[np.complex128]) -> bytes:
        """Encrypt slots to one ciphertext. `pack` has applied the scale, so CKKS's own is 1 and the header is fixed."""
        return bytes(self._backend.encryptComplex(slots, scale=1.0).to_bytes("none"))

    def __repr__(self) -> str:
        return f"PublicContext({self.fingerprint.hex()})"

    def __reduce__(self) -> tuple[Any, tuple[bytes]]:
        # Pyfhel's own pickling drops keys silently.
        return PublicContext.from_bytes, (self._content,)


class SecretContext:
    """The consortium's key pair; at hospitals only.

    Attributes:
        public: What may be given to anybody.

    Guarantees:
        1. `repr` shows the fingerprint only, pickling and copying raise, equality is identity.
        2. `from_bytes` accepts only a secret key that decrypts what its public key encrypted.

    Limits: `to_bytes` returns the key in the clear; write it with mode 0600, or seal it.
    """

    __slots__ = ("_backend", "public")

    def __init__(self, public: PublicContext, secret_key: bytes) -> None:
        """Take a key pair, both serialized without compression; raises EncryptionError as `from_bytes` does."""
        SECRET_KEY.check(secret_key)
        self.public = public
        self._backend = _new_backend()
        # Pyfhel looks for the public key before it decrypts.
        _parse(self._backend.from_bytes_public_key, public.to_bytes()[-PUBLIC_KEY.total_bytes :], "public key")
        _parse(self._backend.from_bytes_secret_key, secret_key, "secret key")
        zero = self._decrypt_slots(public._encrypt_slots(np.zeros(SLOTS, np.complex128)))
        if not np.abs(zero).max() < _LARGEST_ZERO:
            raise EncryptionError("A secret context's secret key does not belong to its public key.", _REMEDY)

    @classmethod
    def generate(cls) -> "SecretContext":
        """Make a new key pair from the operating system's randomness."""
        backend = _new_backend()
        backend.keyGen()
        return cls(PublicContext(backend.to_bytes_public_key("none")), backend.to_bytes_secret_key("none"))

    @classmethod
    def from_bytes(cls, content: bytes) -> "SecretContext":
        """Read what `to_bytes` wrote.

        Raises:
            EncryptionError: the bytes are anything else, or the two keys do not belong together.
        """
        keys = _strip(content, _SECRET_MAGIC, PUBLIC_KEY.total_bytes + SECRET_KEY.total_bytes, "secret context")
        return cls(PublicContext(keys[: PUBLIC_KEY.total_bytes]), keys[PUBLIC_KEY.total_bytes :])

    def to_bytes(self) -> bytes:
        """Parameters and both keys, about 99 kB, in the clear."""
        public = self.public.to_bytes()[len(_PUBLIC_MAGIC) :]
        return bytes(_SECRET_MAGIC + public + self._backend.to_bytes_secret_key("none"))

    def _decrypt_slots(self, chunk: bytes) -> NDArray[np.complex128]:
        """Decrypt one ciphertext: complex128, shape (slots,), whole numbers times the plan's scale, plus noise."""
        CIPHERTEXT.check(chunk)
        try:
            ciphertext = PyCtxt(pyfhel=self._backend, bytestring=chunk, scheme="ckks")
            return np.asarray(self._backend.decryptComplex(ciphertext), dtype=np.complex128)
        except (RuntimeError, ValueError) as error:
            raise EncryptionError(f"A ciphertext could not be opened: {error}.", _REMEDY) from error

    def __repr__(self) -> str:
        return f"SecretContext({self.public.fingerprint.hex()})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise EncryptionError(
            "A secret context cannot be pickled or copied.", "Write to_bytes() to a file of mode 0600, or seal it."
        )


def encrypt(
    update: PrivateUpdate,
    weight: int,
    total_weight: int,
    plan: PackingPlan,
    context: PublicContext,
    rng: np.random.Generator,
) -> EncryptedUpdate:
    """Weight, quantize and encrypt an update that has passed its privacy stage.

    Args:
        update: The update; float32, shape (plan.parameters,).
        weight: The hospital's enrolled weight, in [1, total_weight].
        total_weight: Sum of all enrolled weights.
        plan: How the update is laid out in ciphertexts.
        context: The consortium's public context.
        rng: Source of the rounding only; encryption draws its own secret randomness.

    Raises:
        EncryptionError: the update does not fit the plan or is not finite, or the weight is out of range.

    Guarantees:
        1. The integers inside are those of `quantize` with the same generator.
        2. Beside the update and its ciphertexts, memory grows by less than two bytes a parameter.
    """
    pieces = quantize_chunks(update.delta, weight, total_weight, plan, rng)
    chunks = tuple(context._encrypt_slots(pack(values, plan)) for values in pieces)
    saturated = count_saturated(update.delta, plan)
    return EncryptedUpdate(chunks, weight, context.fingerprint, update.event, saturated)


def encrypt_fields(fields: NDArray[np.int64], plan: PackingPlan, context: PublicContext) -> tuple[bytes, ...]:
    """Encrypt whole numbers as they are; `decrypt` reads sums of them.

    Args:
        fields: int64, shape (plan.parameters,); the sums over all hospitals must be within the plan's bounds, too.
        plan: How the fields are laid out in ciphertexts.
        context: The consortium's public context.

    Raises:
        EncryptionError: there are more or fewer fields than planned, or one is out of its bounds.
    """
    if fields.shape != (plan.parameters,):
        raise EncryptionError(f"{fields.shape} fields are not the {plan.parameters} of the layout.", "Plan for them.")
    starts = range(0, plan.parameters, plan.parameters_per_chunk)
    return tuple(
        context._encrypt_slots(pack(fields[start : start + plan.parameters_per_chunk], plan)) for start in starts
    )


def decrypt(chunks: Iterable[bytes], plan: PackingPlan, context: SecretContext, summands: int) -> NDArray[np.int64]:
    """Decrypt an aggregate, one chunk at a time, to the exact integer sums.

    Args:
        chunks: The aggregate's ciphertexts in order, checked against the ledger's hash first.
        plan: The plan of the updates inside.
        context: The consortium's secret context.
        summands: Number of updates inside, in [1, plan.summands].

    Returns:
        int64, shape (plan.parameters,); the sums of the quantized updates.

    Raises:
        EncryptionError: a chunk is malformed, missing or one too many, under another key, or does not decode within
            the bounds of noise, fields and padding.
    """
    sums = np.empty(plan.parameters, dtype=np.int64)
    start = 0
    for chunk in chunks:
        if start >= plan.parameters:
            raise _wrong_count(plan)
        fields = min(plan.parameters_per_chunk, plan.parameters - start)
        sums[start : start + fields] = unpack(context._decrypt_slots(chunk), fields, plan, summands)
        start += fields
    if start < plan.parameters:
        raise _wrong_count(plan)
    return sums


def summarize(plan: PackingPlan, update_bytes: int) -> dict[str, float | int | bool]:
    """The `encryption` part of summary.json.

    Args:
        plan: The run's plan.
        update_bytes: Length of one real update's chunks.
    """
    return {
        "bytes_per_parameter": update_bytes / plan.parameters,
        "parameters": plan.parameters,
        "ring_degree": RING_DEGREE,
        "security_bits": SECURITY_BITS,
        # No plan can be made that breaks this, and every decryption checks it anew.
        "exact": plan.wrong_decode_probability <= WRONG_DECODE_BOUND,
    }


def _new_backend() -> Any:
    """Pyfhel with our parameters and no keys; SEAL refuses parameters below the standard's 128 bits."""
    backend = Pyfhel()
    # Every encoding names its own scale; Pyfhel warns when the default is 1.
    backend.contextGen(scheme="ckks", n=RING_DEGREE, scale=2.0, qi=list(COEFFICIENT_MODULI), sec=SECURITY_BITS)
    return backend


@functools.cache
def _context_bytes() -> bytes:
    """The serialized parameters: a constant, since the parameters are."""
    return bytes(_new_backend().to_bytes_context("none"))


def _strip(content: bytes, magic: bytes, key_bytes: int, name: str) -> bytes:
    """Check what stands before the keys and return the keys."""
    head = magic + _context_bytes()
    if len(content) != len(head) + key_bytes:
        raise EncryptionError(f"A {name} has {len(content)} bytes where {len(head) + key_bytes} are expected.", _REMEDY)
    if not content.startswith(head):
        raise EncryptionError(f"A {name} has another format or other encryption parameters than ours.", _REMEDY)
    return content[len(head) :]


def _parse(read: Any, content: bytes, name: str) -> None:
    """Have Pyfhel parse bytes whose format was checked; its errors name the failed check, never the bytes."""
    try:
        read(content)
    except (RuntimeError, ValueError) as error:
        raise EncryptionError(f"A {name} could not be read: {error}.", _REMEDY) from error


def _wrong_count(plan: PackingPlan) -> EncryptionError:
    return EncryptionError(
        f"The aggregate has not the {plan.chunks} chunks of {plan.parameters} parameters.",
        "Fetch it again from the store; vote to reject it if it stays so.",
    )
