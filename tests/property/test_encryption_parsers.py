"""Bytes from outside: whatever they are, only our error leaves the parsers, and memory stays bounded."""

import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from encryption import PublicContext, SecretContext, decrypt, encrypt
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.serialized import SECRET_KEY, add_ciphertexts, check_ciphertext
from fedward.errors import EncryptionError
from fedward.types import PrivacyEvent, PrivateUpdate

PLAN = plan_layout(100, 1, 1.0, 2, 18)
KINDS = ("chunk", "public", "secret")


class Samples:
    """One valid byte string of each kind, and what parses it."""

    def __init__(self) -> None:
        self.secret = SecretContext.generate()
        event = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
        update = PrivateUpdate(np.full(100, 0.5, np.float32), event)
        chunk = encrypt(update, 1, 1, PLAN, self.secret.public, np.random.default_rng(0)).chunks[0]
        self.valid = {"chunk": chunk, "public": self.secret.public.to_bytes(), "secret": self.secret.to_bytes()}
        self.parsers: dict[str, Callable[[bytes], object]] = {
            "chunk": self.parse_chunk,
            "public": PublicContext.from_bytes,
            "secret": SecretContext.from_bytes,
        }

    def parse_chunk(self, content: bytes) -> None:
        check_ciphertext(content)
        add_ciphertexts(content, self.valid["chunk"])
        decrypt([content], PLAN, self.secret, 1)


@pytest.fixture(scope="module")
def samples() -> Samples:
    return Samples()


fuzz = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@fuzz
@given(kind=st.sampled_from(KINDS), content=st.binary(max_size=300))
def test_random_bytes(samples: Samples, kind: str, content: bytes) -> None:
    with pytest.raises(EncryptionError):
        samples.parsers[kind](content)


@fuzz
@given(kind=st.sampled_from(KINDS), kept=st.floats(0, 1, exclude_max=True), tail=st.binary(max_size=50))
def test_truncated_and_extended(samples: Samples, kind: str, kept: float, tail: bytes) -> None:
    valid = samples.valid[kind]
    for content in (valid[: int(kept * len(valid))], valid + b"\x00" + tail, valid[int(kept * len(valid)) + 1 :]):
        with pytest.raises(EncryptionError):
            samples.parsers[kind](content)


@fuzz
@given(kind=st.sampled_from(KINDS), position=st.integers(0, 120), bits=st.integers(1, 255))
def test_changed_header(samples: Samples, kind: str, position: int, bits: int) -> None:
    """The first 113 bytes of any kind are constants; what follows in a chunk are residues."""
    content = bytearray(samples.valid[kind])
    content[position % 113] ^= bits
    with pytest.raises(EncryptionError):
        samples.parsers[kind](bytes(content))


@fuzz
@given(kind=st.sampled_from(KINDS), position=st.integers(0, 2**31), junk=st.binary(min_size=1, max_size=64))
def test_junk_anywhere(samples: Samples, kind: str, position: int, junk: bytes) -> None:
    """In-range residues pass as a public key, since any is; a chunk never opens, and a secret key that passes does."""
    valid = samples.valid[kind]
    start = position % (len(valid) - len(junk))
    content = valid[:start] + junk + valid[start + len(junk) :]
    if content == valid:
        return
    try:
        parsed = samples.parsers[kind](content)
    except EncryptionError as raised:
        error: EncryptionError | None = raised
    else:
        error = None
    if error is not None:
        key = samples.valid["secret"][-SECRET_KEY.total_bytes :][200:232]
        assert key.hex() not in str(error)
        assert repr(key)[2:-1] not in str(error)
    elif kind == "public":
        assert isinstance(parsed, PublicContext)
        assert parsed.fingerprint != samples.secret.public.fingerprint
    else:
        # Decryption uses the first prime's half of a secret key only.
        assert kind == "secret"
        assert isinstance(parsed, SecretContext)
        assert start >= len(valid) - SECRET_KEY.total_bytes // 2
        decrypt([samples.valid["chunk"]], PLAN, parsed, 1)


@pytest.mark.parametrize("kind", KINDS)
def test_large_bytes_cost_no_memory(samples: Samples, kind: str) -> None:
    huge = samples.valid[kind] * 100
    tracemalloc.start()
    with pytest.raises(EncryptionError, match="bytes where"):
        samples.parsers[kind](huge)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_the_other_kinds_are_refused(samples: Samples, kind: str) -> None:
    for other in KINDS:
        if other != kind:
            with pytest.raises(EncryptionError):
                samples.parsers[kind](samples.valid[other])


@fuzz
@given(
    kind=st.sampled_from(KINDS),
    position=st.integers(0, 200),
    word=st.sampled_from([0, 1, 2**31, 2**32, 2**61, 2**63 - 1, 2**64 - 1]),
)
def test_huge_lengths_inside_cost_no_memory(samples: Samples, kind: str, position: int, word: int) -> None:
    """Where a parser would read a length, a count or a size: SEAL's own would allocate what it says."""
    valid = samples.valid[kind]
    content = valid[:position] + word.to_bytes(8, "little") + valid[position + 8 :]
    tracemalloc.start()
    try:
        samples.parsers[kind](content)
    except EncryptionError:
        pass
    else:
        assert content == valid or position + 8 > 113  # what follows are residues, most of them in range
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 8_000_000


@fuzz
@given(first=st.sampled_from(KINDS), second=st.sampled_from(KINDS), cut=st.floats(0, 1), keep=st.booleans())
def test_halves_of_two_kinds_are_neither(samples: Samples, first: str, second: str, cut: float, keep: bool) -> None:
    """A key's head before a ciphertext's body and the like, of the length of either."""
    left, right = samples.valid[first], samples.valid[second]
    place = int(cut * len(left))
    content = left[:place] + right[-(len(left) - place) or len(right) :] if keep else left[:place] + right[place:]
    for kind in KINDS:
        if content == samples.valid[kind]:
            continue
        try:
            samples.parsers[kind](content)
        except EncryptionError:
            continue
        assert len(content) == len(samples.valid[kind])
        assert content[:113] == samples.valid[kind][:113]
