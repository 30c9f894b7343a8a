"""Coverage-guided fuzzing of what reads contexts and ciphertexts from outside; needs `pip install atheris`.

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
    from encryption import PublicContext, SecretContext, decrypt, encrypt
    from fedward.ciphertexts.packing import plan_packing
    from fedward.ciphertexts.serialized import add_ciphertexts, check_ciphertext
    from fedward.errors import EncryptionError
    from fedward.settings import load
    from fedward.types import PrivacyEvent, PrivateUpdate

PLAN = plan_packing(100, 1, load().encryption, 1.0)
SECRET = SecretContext.generate()
UPDATE = PrivateUpdate(np.full(100, 0.5, np.float32), PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0))
CHUNK = encrypt(UPDATE, 1, 1, PLAN, SECRET.public, np.random.default_rng(0)).chunks[0]


def open_chunk(content: bytes) -> None:
    check_ciphertext(content)
    add_ciphertexts(content, CHUNK)
    decrypt([content], PLAN, SECRET, 1)


KINDS = (
    (CHUNK, open_chunk),
    (SECRET.public.to_bytes(), PublicContext.from_bytes),
    (SECRET.to_bytes(), SecretContext.from_bytes),
)


def try_one(data: bytes) -> None:
    source = atheris.FuzzedDataProvider(data)
    valid, parse = KINDS[source.ConsumeIntInRange(0, 2)]
    how = source.ConsumeIntInRange(0, 3)
    place = source.ConsumeIntInRange(0, 200 if how == 0 else len(valid))
    junk = source.ConsumeBytes(source.remaining_bytes())
    # In the header, anywhere, cut out, or by itself.
    content = junk if how == 3 else valid[:place] + junk + valid[place + (0 if how == 2 else len(junk)) :]
    try:
        parse(content)
    except EncryptionError:
        return


if __name__ == "__main__":
    atheris.Setup(sys.argv, try_one)
    atheris.Fuzz()
