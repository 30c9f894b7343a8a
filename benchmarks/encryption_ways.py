"""Ways to add updates under encryption (ours, Pyfhel, TenSEAL), which `benchmarks/encryption_cost.py` compares.

Libraries are imported where they are used: TenSEAL's environment has neither Pyfhel nor Fedward's packages, ours no
TenSEAL.
"""

import functools
import importlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

HOSPITALS = 5
THRESHOLD = 4  # of five hospitals, by the default rule
SEED = b"benchmark"
RING_DEGREE = 8192
SCALE_BITS = 40
NAIVE_MODULUS_BITS = [60, 40, 60]
NVFLARE_MODULUS_BITS = [60, 40, 40]
OURS, REFERENCE = "fedward", "tenseal symmetric"


class Way(Protocol):
    """One way to add five vectors under encryption; each way has its own types of ciphertexts and bytes."""

    def deal(self) -> int:
        """Make a hospital's key for the round and deal it; nothing where a key lasts. Returns bytes that are sent."""

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

    def answer(self) -> int:
        """Open what was dealt to one hospital, answer about it, and judge all answers. Returns bytes that are sent."""

    def release(self) -> int:
        """Release one hospital's part of the sum's key. Returns bytes that are sent."""

    def decrypt(self, sent: list[bytes]) -> Any:
        """Restore the sum's key where it is dealt, and decrypt a serialized sum to float64."""


class Ours:
    """The project's own functions; keys are dealt to all hospitals, and four of five releases open the sum."""

    def __init__(self, parameters: int, _threads: int) -> None:
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

        from fedward import settings as setting
        from fedward.ciphertexts.packing import round_plan
        from fedward.sharing.sealed_releases import ChannelKey

        self._settings = setting.load(None, ("data.hospitals", HOSPITALS))
        self._plan = round_plan(parameters, HOSPITALS, self._settings)
        self._rng = np.random.default_rng(1)
        self._channel, self._sealing = ChannelKey.generate(), [X25519PrivateKey.generate() for _ in range(HOSPITALS)]
        self._keys: list[Any] = []
        self._shares: list[Any] = []  # by dealer, for all holders
        self._sealed: list[tuple[bytes, ...]] = []
        self._opened: list[Any] = []  # by dealer, for the first holder
        self._releases: list[bytes] = []

    def deal(self) -> int:
        """Draw a key, split it, and seal each share to its recipient."""
        from encryption import RoundKey
        from fedward.sharing.dealing import deal_key
        from fedward.sharing.sealed_shares import seal_shares

        self._keys.append(RoundKey.generate())
        self._shares.append(deal_key(self._keys[-1].residues(), THRESHOLD, HOSPITALS))
        public = [key.public_key().public_bytes_raw() for key in self._sealing]
        terms = [_share_terms(len(self._shares), holder) for holder in range(1, HOSPITALS + 1)]
        self._sealed.append(seal_shares(self._shares[-1], public, terms))
        return sum(map(len, self._sealed[-1]))

    def encrypt(self, values: Any) -> Any:
        """Weight and encrypt."""
        from encryption import encrypt
        from fedward.privacy.mechanism import privatize
        from fedward.types import ModelUpdate

        update = privatize(ModelUpdate(values, 1, 0.0), self._settings.privacy)
        return encrypt(update, 1, HOSPITALS, self._plan, self._keys[-1], SEED, self._rng)

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

    def answer(self) -> int:
        """As holder 1, with the server's judgment of what all holders answer."""
        from fedward.sharing.answer_sheets import AnswerSheet, state
        from fedward.sharing.dealing import answer, challenges
        from fedward.sharing.judging import judge_dealings
        from fedward.sharing.sealed_shares import open_share
        from fedward.sharing.sizes import share_width

        points = challenges(b"benchmark")
        self._opened = [
            open_share(sealed[0], _share_terms(dealer, 1), self._sealing[0], share_width(1))
            for dealer, sealed in enumerate(self._sealed, 1)
        ]
        said = {dealer: answer(share, points) for dealer, share in enumerate(self._opened, 1)}
        # What the others answer is made here, too, and counted.
        stated = [state(shares, points) for shares in self._shares]
        sheets = {
            holder: AnswerSheet({dealer: numbers[holder - 1] for dealer, numbers in enumerate(stated, 1)}, own)
            for holder, own in enumerate(stated, 1)
        }
        judgment = judge_dealings(sheets, said, THRESHOLD, HOSPITALS)
        if sheets[1].answers != said or judgment.wrong_dealers or judgment.set_aside_holders:
            raise SystemExit(f"Honest dealings were judged wrong: {judgment}")
        return len(sheets[1].to_bytes())

    def release(self) -> int:
        """Add the shares of all dealers, and encrypt the sum under the channel key."""
        content = self._release(self._opened, 1)
        self._releases = [content, *self._others()]
        return len(content)

    def decrypt(self, sent: list[bytes]) -> Any:
        """Open all releases, restore the sum's key, open the sum."""
        from encryption import RoundKey, decrypt, opens
        from fedward.ciphertexts.packing import dequantize
        from fedward.ciphertexts.serialized import RING_DEGREE
        from fedward.sharing.releases import restore_sum_key
        from fedward.sharing.sealed_releases import decrypt_release

        parts = {
            holder: decrypt_release(content, _release_terms(holder), self._channel, RING_DEGREE)
            for holder, content in enumerate(self._releases, 1)
        }

        def fits(residues: Any) -> bool:
            return opens(sent, self._plan, RoundKey(residues), SEED, HOSPITALS)

        key = RoundKey(restore_sum_key(parts, THRESHOLD, fits).key)
        return dequantize(decrypt(sent, self._plan, key, SEED, HOSPITALS), self._plan, HOSPITALS, HOSPITALS)

    def _release(self, shares: list[Any], holder: int) -> bytes:
        from fedward.ciphertexts.serialized import RING_DEGREE
        from fedward.sharing.modular import add
        from fedward.sharing.sealed_releases import encrypt_release

        total = functools.reduce(add, [share[:RING_DEGREE] for share in shares])
        return encrypt_release(total, _release_terms(holder), self._channel)

    def _others(self) -> list[bytes]:
        """The other hospitals' releases; they are timed with the first one's, and so counted five times."""
        return [
            self._release([shares[holder - 1] for shares in self._shares], holder) for holder in range(2, HOSPITALS + 1)
        ]


def _share_terms(dealer: int, holder: int) -> Any:
    from fedward.sharing.terms import ShareTerms
    from fedward.types import Address

    accounts = (Address(f"0x{number:040x}") for number in (0, dealer, holder))
    return ShareTerms(1, next(accounts), 1, bytes(32), next(accounts), next(accounts))


def _release_terms(holder: int) -> Any:
    from fedward.sharing.terms import Purpose, ReleaseTerms
    from fedward.types import Address

    accounts = (Address(f"0x{number:040x}") for number in (0, holder))
    place = (1, next(accounts), 1, next(accounts))
    return ReleaseTerms(*place, Purpose.UPDATES, bytes(32), 2**HOSPITALS - 1, bytes(32))


class LastingKey:
    """What ways have in common whose key lasts and is at every hospital: nothing is dealt."""

    def deal(self) -> int:
        """Nothing."""
        return 0

    def answer(self) -> int:
        """Nothing."""
        return 0

    def release(self) -> int:
        """Nothing."""
        return 0


class NaivePyfhel(LastingKey):
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


class TenSeal(LastingKey):
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
