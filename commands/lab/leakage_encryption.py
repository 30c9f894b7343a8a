"""The federation's real encryption, for the lab of leakage: privacy stage, packing, ciphertexts, the opened sum."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from encryption import RoundKey, decrypt, encrypt
from fedward.ciphertexts.packing import dequantize, plan_packing, value_range
from fedward.ciphertexts.serialized import sum_ciphertexts
from fedward.privacy.mechanism import privatize
from fedward.settings import EncryptionSettings, PrivacySettings
from fedward.sharing.modular import add
from fedward.types import ModelUpdate, Vector


@dataclass(frozen=True)
class RoundOfHospitals:
    """Encrypts updates of hospitals of equal weight, each under a key of its own, and opens their sum.

    Attributes:
        settings: How updates are laid out in ciphertexts.
        privacy: Of mode `none`, as the lab adds noise itself.
    """

    settings: EncryptionSettings
    privacy: PrivacySettings

    def __call__(
        self, updates: Sequence[Vector], rng: np.random.Generator
    ) -> tuple[tuple[bytes, ...], NDArray[np.float64]]:
        """See `fedward.labs.leakage.obfuscations.Encryption`."""
        count = len(updates)
        plan = plan_packing(updates[0].size, count, self.settings, value_range(self.settings, self.privacy))
        seed, keys, encrypted = rng.bytes(32), [RoundKey.generate() for _ in updates], []
        for delta, key in zip(updates, keys, strict=True):
            private = privatize(ModelUpdate(delta, examples=1, loss=0.0), self.privacy)
            encrypted.append(encrypt(private, 1, count, plan, key, seed, rng))
        sums = [sum_ciphertexts(chunks) for chunks in zip(*(each.chunks for each in encrypted), strict=True)]
        total = keys[0].residues()
        for key in keys[1:]:
            total = add(total, key.residues())
        opened = decrypt(sums, plan, RoundKey(total), seed, count)
        return encrypted[0].chunks, dequantize(opened, plan, count, count)
