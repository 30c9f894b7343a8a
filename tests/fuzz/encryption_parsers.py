"""Coverage-guided fuzzing of what reads keys and ciphertexts from outside; needs `pip install atheris`.

    python tests/fuzz/encryption_parsers.py [libFuzzer's options, such as -max_total_time=60]

Any exception but our own ends it, and so does a crash or memory beyond libFuzzer's limit. Each input is laid over a
valid object at some place, since random bytes alone hardly ever pass the length check.
"""

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found]
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

with atheris.instrument_imports(include=["encryption", "fedward"]):
    from encryption import RoundKey, decrypt, encrypt, opens
    from fedward.ciphertexts.packing import plan_packing
    from fedward.ciphertexts.serialized import CHUNK_BYTES, add_ciphertexts, check_ciphertext
    from fedward.errors import EncryptionError
    from fedward.settings import load
    from fedward.types import PrivacyEvent, PrivateUpdate

SEED = b"a round"
PLAN = plan_packing(100, 1, load().encryption, 1.0)
KEY = RoundKey.generate()
UPDATE = PrivateUpdate(np.full(100, 0.5, np.float32), PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0))
CHUNK = encrypt(UPDATE, 1, 1, PLAN, KEY, SEED, np.random.default_rng(0)).chunks[0]


def read_chunk(content: bytes) -> None:
    """All that is done with a ciphertext from outside, in the order of what an attacker must pass."""
    opens([content], PLAN, KEY, SEED, 1)
    check_ciphertext(content)
    add_ciphertexts(content, CHUNK)
    decrypt([content], PLAN, KEY, SEED, 1)


def make_key(content: bytes) -> None:
    """Restored shares, as a key."""
    RoundKey(np.frombuffer(content[: len(content) // 8 * 8], np.uint64))


def try_one(data: bytes) -> None:
    source = atheris.FuzzedDataProvider(data)
    valid, read = ((CHUNK, read_chunk), (KEY.residues().tobytes(), make_key))[source.ConsumeIntInRange(0, 1)]
    how = source.ConsumeIntInRange(0, 2)
    place = source.ConsumeIntInRange(0, CHUNK_BYTES)
    junk = source.ConsumeBytes(source.remaining_bytes())
    # Anywhere, cut out, or by itself.
    content = junk if how == 2 else valid[:place] + junk + valid[place + (0 if how == 1 else len(junk)) :]
    try:
        read(content)
    except EncryptionError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
