"""Keys, ciphertexts and what each of them refuses; the noise law against real ciphertexts."""

import copy
import pickle
import subprocess
import sys
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from Pyfhel import PyCtxt, Pyfhel

from encryption import PublicContext, SecretContext, decrypt, encrypt, summarize
from fedward.ciphertexts.packing import quantize
from fedward.ciphertexts.plan import SLOTS, PackingPlan, plan_layout
from fedward.ciphertexts.serialized import (
    CIPHERTEXT,
    COEFFICIENT_MODULI,
    PUBLIC_KEY,
    RING_DEGREE,
    SECRET_KEY,
    add_ciphertexts,
    check_ciphertext,
)
from fedward.errors import EncryptionError
from fedward.types import EncryptedUpdate, PrivacyEvent, PrivateUpdate

EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
PLAN = plan_layout(10_000, 5, 1.0, 2, 18)
DELTA = np.random.default_rng(0).normal(0, 0.3, PLAN.parameters).astype(np.float32)


@pytest.fixture(scope="module")
def secret() -> SecretContext:
    return SecretContext.generate()


@pytest.fixture(scope="module")
def update(secret: SecretContext) -> EncryptedUpdate:
    return encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, secret.public, np.random.default_rng(1))


def pyfhel(degree: int = RING_DEGREE, primes: tuple[int, ...] = (60,)) -> Pyfhel:
    backend = Pyfhel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about rescaling, which is not used
        backend.contextGen(scheme="ckks", n=degree, scale=2.0, qi_sizes=list(primes))
    backend.keyGen()
    return backend


def test_update_decrypts_to_its_integers(secret: SecretContext, update: EncryptedUpdate) -> None:
    expected = quantize(DELTA, 3, 10, PLAN, np.random.default_rng(1))
    np.testing.assert_array_equal(decrypt(update.chunks, PLAN, secret, 1), expected.values)
    assert (update.weight, update.saturated, update.event) == (3, expected.saturated, EVENT)
    assert update.saturated > 0
    assert update.context_fingerprint == secret.public.fingerprint
    assert {len(chunk) for chunk in update.chunks} == {65_649}


def test_same_update_encrypts_to_other_bytes(secret: SecretContext, update: EncryptedUpdate) -> None:
    again = encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, secret.public, np.random.default_rng(1))
    assert not set(again.chunks) & set(update.chunks)


def test_summary_is_measured_from_chunks(update: EncryptedUpdate) -> None:
    summary = summarize(PLAN, sum(map(len, update.chunks)))
    assert summary == {
        "bytes_per_parameter": PLAN.bytes_per_parameter,
        "parameters": 10_000,
        "ring_degree": 4096,
        "security_bits": 128,
        "exact": True,
    }


def test_noise_follows_the_law() -> None:
    """Deviation within 3 % over 8 keys, tail beyond 4 deviations within a factor of 2 of the law's."""
    noise = []
    for _ in range(8):
        backend = pyfhel()
        for _ in range(8):
            zero = backend.decryptComplex(backend.encryptComplex(np.zeros(SLOTS, np.complex128), scale=1.0))
            noise += [zero.real, zero.imag]
    coordinates = np.concatenate(noise)
    deviation = PackingPlan(1, 1, 1.0, 16, 20)._noise_deviation(1)
    assert coordinates.std() == pytest.approx(deviation, rel=0.03)
    tail = np.mean(np.abs(coordinates) > 4 * deviation) / (5 * np.exp(-8))
    assert 0.5 < tail < 2


def test_adding_equals_seal_byte_for_byte(secret: SecretContext, update: EncryptedUpdate) -> None:
    backend = pyfhel()
    other = encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, secret.public, np.random.default_rng(2)).chunks[0]
    left = PyCtxt(pyfhel=backend, bytestring=update.chunks[0], scheme="ckks")
    left += PyCtxt(pyfhel=backend, bytestring=other, scheme="ckks")
    assert add_ciphertexts(update.chunks[0], other) == left.to_bytes("none")


def test_contexts_survive_their_bytes(secret: SecretContext, update: EncryptedUpdate) -> None:
    public = PublicContext.from_bytes(secret.public.to_bytes())
    assert public.fingerprint == secret.public.fingerprint
    assert pickle.loads(pickle.dumps(public)).to_bytes() == public.to_bytes()  # noqa: S301
    restored = SecretContext.from_bytes(secret.to_bytes())
    assert restored.public.fingerprint == public.fingerprint
    sent = encrypt(PrivateUpdate(DELTA, EVENT), 1, 1, PLAN, public, np.random.default_rng(3))
    values = quantize(DELTA, 1, 1, PLAN, np.random.default_rng(3)).values
    np.testing.assert_array_equal(decrypt(sent.chunks, PLAN, restored, 1), values)
    np.testing.assert_array_equal(decrypt(update.chunks, PLAN, restored, 1), decrypt(update.chunks, PLAN, secret, 1))


def test_public_context_holds_no_secret_and_cannot_decrypt(
    secret: SecretContext, update: EncryptedUpdate, tmp_path: Path
) -> None:
    """In a process of its own: Pyfhel 3.5.0 dereferences the missing key, which ends the process."""
    content = secret.public.to_bytes()
    key = secret.to_bytes()[-SECRET_KEY.total_bytes :]
    assert key[-64:] not in content
    assert PublicContext.from_bytes(content)._backend.is_secret_key_empty()
    assert not hasattr(secret.public, "_decrypt_slots")
    (tmp_path / "context").write_bytes(content)
    (tmp_path / "chunk").write_bytes(update.chunks[0])
    script = """
import sys
from pathlib import Path
from Pyfhel import PyCtxt
from encryption import PublicContext
backend = PublicContext.from_bytes(Path(sys.argv[1], "context").read_bytes())._backend
ciphertext = PyCtxt(pyfhel=backend, bytestring=Path(sys.argv[1], "chunk").read_bytes(), scheme="ckks")
print("parsed", flush=True)
print("opened", backend.decryptComplex(ciphertext))
"""
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", script, tmp_path], cwd=root, capture_output=True, check=False)
    assert done.returncode != 0
    assert done.stdout == b"parsed\n"


def test_secret_context_shows_and_gives_away_nothing(secret: SecretContext) -> None:
    assert repr(secret) == f"SecretContext({secret.public.fingerprint.hex()})"
    assert not hasattr(secret, "__dict__")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(EncryptionError, match="pickled or copied"):
            leak(secret)
    assert secret != SecretContext.from_bytes(secret.to_bytes())


def test_public_context_refuses_a_secret_key(secret: SecretContext) -> None:
    content = secret.to_bytes()
    with pytest.raises(EncryptionError, match="hold a secret key"):
        PublicContext.from_bytes(content)
    with pytest.raises(EncryptionError, match="bytes where"):
        PublicContext.from_bytes(secret.public.to_bytes() + content[-SECRET_KEY.total_bytes :])


def test_keys_of_two_contexts_do_not_mix(secret: SecretContext, update: EncryptedUpdate) -> None:
    stranger = SecretContext.generate()
    ours, theirs = secret.to_bytes(), stranger.to_bytes()
    mixed = ours[: -SECRET_KEY.total_bytes] + theirs[-SECRET_KEY.total_bytes :]
    with pytest.raises(EncryptionError, match="does not belong") as raised:
        SecretContext.from_bytes(mixed)
    assert theirs[-32:].hex() not in str(raised.value)
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt(update.chunks, PLAN, stranger, 1)
    both = [add_ciphertexts(chunk, chunk) for chunk in update.chunks]
    foreign = encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, stranger.public, np.random.default_rng(1)).chunks
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt([add_ciphertexts(*pair) for pair in zip(both, foreign, strict=True)], PLAN, secret, 3)


@pytest.mark.parametrize("position", [CIPHERTEXT.header_bytes, 35_000, CIPHERTEXT.total_bytes - 8])
def test_tampered_residue_does_not_decode(secret: SecretContext, update: EncryptedUpdate, position: int) -> None:
    """In range, so well formed: hashes find it on the way, and decoding finds it at the end."""
    chunk = bytearray(update.chunks[1])
    chunk[position] ^= 1
    check_ciphertext(bytes(chunk))
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt([update.chunks[0], bytes(chunk)], PLAN, secret, 1)


def test_wrong_number_of_chunks_is_refused(secret: SecretContext, update: EncryptedUpdate) -> None:
    for chunks in ((), update.chunks[:1], (*update.chunks, update.chunks[0])):
        with pytest.raises(EncryptionError, match="has not the 2 chunks"):
            decrypt(chunks, PLAN, secret, 1)
    for summands in (0, 6):
        with pytest.raises(EncryptionError, match="outside of the layout"):
            decrypt(update.chunks, PLAN, secret, summands)


def test_swapped_chunks_are_found_by_the_padding(secret: SecretContext, update: EncryptedUpdate) -> None:
    with pytest.raises(EncryptionError, match="padding"):
        decrypt(update.chunks[::-1], PLAN, secret, 1)


def test_ciphertexts_of_other_parameters_are_refused(secret: SecretContext) -> None:
    ours = pyfhel()
    zeros = np.zeros(SLOTS, np.complex128)
    foreign = [
        pyfhel(4096, (40, 40)).encryptComplex(zeros, scale=1.0),
        pyfhel(8192).encryptComplex(zeros, scale=1.0),
        pyfhel(8192, (60, 60)).encryptComplex(zeros, scale=1.0),
        pyfhel(RING_DEGREE, (59,)).encryptComplex(zeros, scale=1.0),
        ours.encryptComplex(zeros, scale=2.0**20),
        ours.encryptComplex(zeros, scale=1.0) ** 2,
    ]
    for ciphertext in foreign:
        with pytest.raises(EncryptionError, match="A ciphertext has"):
            check_ciphertext(ciphertext.to_bytes("none"))
        with pytest.raises(EncryptionError, match="A ciphertext has"):
            add_ciphertexts(ours.encryptComplex(zeros, scale=1.0).to_bytes("none"), ciphertext.to_bytes("none"))


def test_public_keys_of_other_parameters_are_refused() -> None:
    for foreign in (pyfhel(4096, (40, 40)), pyfhel(8192, (60, 60)), pyfhel(RING_DEGREE, (59,))):
        with pytest.raises(EncryptionError, match="A public key has"):
            PublicContext(foreign.to_bytes_public_key("none"))


def test_ciphertext_that_hides_nothing_is_refused_but_can_be_a_sum(
    secret: SecretContext, update: EncryptedUpdate
) -> None:
    """Two hospitals who conspire can cancel their updates; that must not stop the others' round."""
    chunk = update.chunks[0]
    residues = CIPHERTEXT.check(chunk)
    negative = chunk[: CIPHERTEXT.header_bytes] + ((COEFFICIENT_MODULI[0] - residues) % COEFFICIENT_MODULI[0]).tobytes()
    check_ciphertext(negative)
    nothing = add_ciphertexts(chunk, negative)
    with pytest.raises(EncryptionError, match="hides nothing"):
        check_ciphertext(nothing)
    assert add_ciphertexts(nothing, chunk) == chunk
    np.testing.assert_array_equal(decrypt([nothing, nothing], PLAN, secret, 2), np.zeros(PLAN.parameters))


def test_public_key_that_hides_nothing_is_refused(secret: SecretContext) -> None:
    key = secret.public.to_bytes()[-PUBLIC_KEY.total_bytes :]
    with pytest.raises(EncryptionError, match="hides nothing"):
        PublicContext(key[: -PUBLIC_KEY.total_bytes // 2] + bytes(PUBLIC_KEY.total_bytes // 2 + 1))


def test_residue_out_of_range_is_refused(secret: SecretContext, update: EncryptedUpdate) -> None:
    chunk = update.chunks[0]
    for residue in (COEFFICIENT_MODULI[0], 2**64 - 1):
        bad = chunk[:-8] + residue.to_bytes(8, "little")
        with pytest.raises(EncryptionError, match="not below its prime"):
            check_ciphertext(bad)
    fine = chunk[:-8] + (COEFFICIENT_MODULI[0] - 1).to_bytes(8, "little")
    check_ciphertext(fine)


def test_encrypting_makes_no_second_copy_of_a_large_update(secret: SecretContext) -> None:
    """Beside the ciphertexts: less than two bytes a parameter, where one copy in doubles would be eight."""
    plan = plan_layout(1_500_000, 5, 1.0, 2, 18)
    update = PrivateUpdate(np.zeros(plan.parameters, np.float32), EVENT)
    tracemalloc.start()
    sent = encrypt(update, 1, 1, plan, secret.public, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - sum(map(len, sent.chunks)) < 2 * plan.parameters
