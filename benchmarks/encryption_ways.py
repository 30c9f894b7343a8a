"""Ways to add updates under encryption (ours, Pyfhel, TenSEAL), which `benchmarks/encryption_cost.py` compares.

Libraries are imported where they are used: TenSEAL's environment has no Pyfhel, ours no TenSEAL.
"""

import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

HOSPITALS = 5
RING_DEGREE = 8192
SCALE_BITS = 40
NAIVE_MODULUS_BITS = [60, 40, 60]
NVFLARE_MODULUS_BITS = [60, 40, 40]
OURS, REFERENCE = "fedward", "tenseal symmetric"


class Way(Protocol):
    """One way to add five vectors under encryption; each way has its own types of ciphertexts and bytes."""

    def encrypt(self, values: Any) -> Any:
        """Encrypt a float32 vector, weighted by 1 / HOSPITALS."""

    def serialize(self, ciphertexts: Any) -> list[bytes]:
        """Turn ciphertexts into the bytes that are sent."""

    def parse(self, sent: list[bytes]) -> Any:
        """Turn the bytes that were sent into what can be added."""

    def add(self, total: Any, update: Any) -> Any:
        """Add one more update to the running sum."""

    def finish(self, total: Any) -> list[bytes]:
        """Serialize the sum."""

    def decrypt(self, sent: list[bytes]) -> Any:
        """Decrypt a serialized sum to float64."""


class Ours:
    """The project's own functions."""

    def __init__(self, parameters: int, _threads: int) -> None:
        from encryption import SecretContext
        from fedward import settings as setting
        from fedward.ciphertexts.packing import round_plan

        self._settings = setting.load(None, ("data.hospitals", HOSPITALS))
        self._plan = round_plan(parameters, HOSPITALS, self._settings)
        self._secret = SecretContext.generate()
        self._rng = np.random.default_rng(1)

    def encrypt(self, values: Any) -> Any:
        """Weight and encrypt."""
        from encryption import encrypt
        from fedward.privacy.mechanism import privatize
        from fedward.types import ModelUpdate

        update = privatize(ModelUpdate(values, 1, 0.0), self._settings.privacy)
        return encrypt(update, 1, HOSPITALS, self._plan, self._secret.public, self._rng)

    def serialize(self, ciphertexts: Any) -> list[bytes]:
        """Give what is sent."""
        return list(ciphertexts.chunks)

    def parse(self, sent: list[bytes]) -> list[bytes]:
        """Read what was sent."""
        from fedward.ciphertexts.serialized import check_ciphertext

        for chunk in sent:
            check_ciphertext(chunk)
        return sent

    def add(self, total: list[bytes], update: list[bytes]) -> list[bytes]:
        """Add in place."""
        from fedward.ciphertexts.serialized import add_ciphertexts

        # As the server does it: each chunk of the sum replaces the one before.
        for index, chunk in enumerate(update):
            total[index] = add_ciphertexts(total[index], chunk)
        return total

    def finish(self, total: list[bytes]) -> list[bytes]:
        """Give what is sent."""
        return total

    def decrypt(self, sent: list[bytes]) -> Any:
        """Open the sum."""
        from encryption import decrypt
        from fedward.ciphertexts.packing import dequantize

        sums = decrypt(sent, self._plan, self._secret, HOSPITALS)
        return dequantize(sums, self._plan, HOSPITALS, HOSPITALS)


class NaivePyfhel:
    """Pyfhel with one real number a slot and a level for multiplications that nobody needs; always one thread."""

    def __init__(self, parameters: int, _threads: int) -> None:
        self._parameters, self._slots = parameters, RING_DEGREE // 2
        library = importlib.import_module("Pyfhel")
        self._ciphertext = library.PyCtxt
        self._he = library.Pyfhel()
        self._he.contextGen(scheme="ckks", n=RING_DEGREE, scale=2.0**SCALE_BITS, qi_sizes=NAIVE_MODULUS_BITS)
        self._he.keyGen()

    def encrypt(self, values: Any) -> list[Any]:
        """Weight and encrypt."""
        weighted = values.astype(np.float64) / HOSPITALS
        starts = range(0, self._parameters, self._slots)
        return [self._he.encryptFrac(weighted[start : start + self._slots]) for start in starts]

    def serialize(self, ciphertexts: list[Any]) -> list[bytes]:
        """Give what is sent."""
        return [ciphertext.to_bytes("none") for ciphertext in ciphertexts]

    def parse(self, sent: list[bytes]) -> list[Any]:
        """Read what was sent."""
        return [self._ciphertext(pyfhel=self._he, bytestring=content, scheme="ckks") for content in sent]

    def add(self, total: list[Any], update: list[Any]) -> list[Any]:
        """Add in place."""
        for left, right in zip(total, update, strict=True):
            self._he.add(left, right, in_new_ctxt=False)
        return total

    def finish(self, total: list[Any]) -> list[bytes]:
        """Give what is sent."""
        return self.serialize(total)

    def decrypt(self, sent: list[bytes]) -> Any:
        """Open the sum."""
        slots = [self._he.decryptFrac(ciphertext) for ciphertext in self.parse(sent)]
        return np.concatenate(slots)[: self._parameters]


class TenSeal:
    """TenSEAL with NVFlare's parameters, the whole update as one vector."""

    def __init__(self, encryption_type: str, threads: int) -> None:
        self._library = importlib.import_module("tenseal")
        self._context = self._library.context(
            self._library.SCHEME_TYPE.CKKS,
            poly_modulus_degree=RING_DEGREE,
            coeff_mod_bit_sizes=NVFLARE_MODULUS_BITS,
            encryption_type=self._library.ENCRYPTION_TYPE[encryption_type],
            n_threads=threads,
        )
        self._context.global_scale = 2.0**SCALE_BITS

    def encrypt(self, values: Any) -> Any:
        """Weight and encrypt."""
        return self._library.ckks_vector(self._context, values * np.float64(1 / HOSPITALS))

    def serialize(self, ciphertexts: Any) -> list[bytes]:
        """Give what is sent."""
        return [ciphertexts.serialize()]

    def parse(self, sent: list[bytes]) -> Any:
        """Read what was sent."""
        return self._library.ckks_vector_from(self._context, sent[0])

    def add(self, total: Any, update: Any) -> Any:
        """Add in place."""
        total += update
        return total

    def finish(self, total: Any) -> list[bytes]:
        """Give what is sent."""
        return self.serialize(total)

    def decrypt(self, sent: list[bytes]) -> Any:
        """Open the sum."""
        return np.asarray(self.parse(sent).decrypt())


# By name: from the number of parameters and of threads, which TenSEAL alone uses.
WAYS: dict[str, Callable[[int, int], Way]] = {
    OURS: Ours,
    "pyfhel, naive": NaivePyfhel,
    REFERENCE: lambda _parameters, threads: TenSeal("SYMMETRIC", threads),
    "tenseal asymmetric": lambda _parameters, threads: TenSeal("ASYMMETRIC", threads),
}
