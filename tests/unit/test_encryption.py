"""What a ciphertext is, to the last residue; what opens it and what does not; the noise of real ciphertexts."""

import copy
import pickle
import tracemalloc
import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from Pyfhel import PyCtxt, Pyfhel, PyPtxt
from scipy.stats import chisquare

import encryption
from encryption import RoundKey, decrypt, encrypt, encrypt_fields, opens, summarize
from fedward.ciphertexts.packing import pack, quantize, unpack
from fedward.ciphertexts.plan import PackingPlan, plan_layout
from fedward.ciphertexts.public_polynomials import public_polynomial, round_seed
from fedward.ciphertexts.serialized import (
    CHUNK_BYTES,
    MODULUS,
    RING_DEGREE,
    add_ciphertexts,
    check_ciphertext,
    residues_of,
    sum_ciphertexts,
)
from fedward.errors import EncryptionError
from fedward.types import Address, EncryptedUpdate, PrivacyEvent, PrivateUpdate

EVENT = PrivacyEvent("none", "none", 1.0, 0.0, 0, 0.0, 0.0)
PLAN = plan_layout(10_000, 5, 1.0, 2, 20)
DELTA = np.random.default_rng(0).normal(0, 0.3, PLAN.parameters).astype(np.float32)
SEED = round_seed(190_826, Address("0x" + "11" * 20), 3, b"h" * 32, "updates")
KEY = RoundKey.generate()
Residues = NDArray[np.uint64]
SLOTS = RING_DEGREE // 2  # of CKKS, which SEAL encodes into and decodes from; Fedward does neither


@pytest.fixture(scope="module")
def update() -> EncryptedUpdate:
    return encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, KEY, SEED, np.random.default_rng(1))


def pyfhel() -> Pyfhel:
    """A CKKS context of our parameters as Pyfhel makes it, with keys that are not used."""
    backend = Pyfhel()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about rescaling, which is not used
        backend.contextGen(scheme="ckks", n=RING_DEGREE, scale=2.0, qi=[MODULUS])
    backend.keyGen()
    return backend


class Seal:
    """The same ring in SEAL's own hands: its ciphertexts of two polynomials, under any key that is given to it."""

    def __init__(self) -> None:
        self.he = pyfhel()
        zeros = np.zeros(SLOTS, np.complex128)
        self.ciphertext_head = self.he.encryptComplex(zeros, scale=1.0).to_bytes("none")[: -2 * CHUNK_BYTES]
        self.plaintext_head = self.he.encodeComplex(zeros, scale=1.0).to_bytes("none")[:-CHUNK_BYTES]
        self.key_head = self.he.to_bytes_secret_key("none")[:-CHUNK_BYTES]

    def under(self, key: RoundKey) -> None:
        self.he.from_bytes_secret_key(self.key_head + key.residues().tobytes())

    def decrypted(self, first: Residues, second: Residues) -> Residues:
        """The residues of what SEAL decrypts (first, second) to: first + second * key."""
        content = self.ciphertext_head + first.tobytes() + second.tobytes()
        opened = self.he.decryptPtxt(PyCtxt(pyfhel=self.he, bytestring=content, scheme="ckks"))
        return np.frombuffer(opened.to_bytes("none")[-CHUNK_BYTES:], "<u8")

    def decoded(self, residues: Residues) -> NDArray[np.complex128]:
        content = self.plaintext_head + residues.tobytes()
        return np.asarray(self.he.decodeComplex(PyPtxt(pyfhel=self.he, bytestring=content, scheme="ckks")))

    def coefficients(self, residues: Residues) -> list[int]:
        """Whole coefficients to the last digit: what is above 2^30 is decoded first, then taken off and decoded again.

        SEAL decodes into doubles, which hold no more than 53 bits.
        """
        high = np.rint(coefficients_of(self.decoded(residues)) / 2**30).astype(np.int64) << 30
        rest = coefficients_of(self.decoded(difference(residues, encryption._to_residues(high[None])[0])))
        assert np.abs(rest).max() < 2**32
        assert np.abs(rest - np.rint(rest)).max() < 1e-3
        return [int(above) + int(below) for above, below in zip(high, np.rint(rest), strict=True)]


@pytest.fixture(scope="module")
def seal() -> Seal:
    return Seal()


def content_of(chunk: bytes, key: RoundKey, place: int) -> Residues:
    """Message and error of a ciphertext: its residues less public polynomial times key, by Python's whole numbers."""
    mask = [int(a) * int(s) for a, s in zip(public_polynomial(SEED, place), key.residues(), strict=True)]
    return np.array([(int(c) - m) % MODULUS for c, m in zip(residues_of(chunk), mask, strict=True)], np.uint64)


def root_of_unity() -> int:
    """The smallest primitive root of order 2n modulo the prime: SEAL's choice."""
    order = 2 * RING_DEGREE
    candidates = (pow(base, (MODULUS - 1) // order, MODULUS) for base in range(2, 99))
    found = next(candidate for candidate in candidates if pow(candidate, order // 2, MODULUS) != 1)
    square, root, least = found * found % MODULUS, found, found
    for _ in range(RING_DEGREE):
        least = min(least, root)
        root = root * square % MODULUS
    return least


def value_at(coefficients: list[int], place: int) -> int:
    """The residue at a place of number-theoretic form, by Horner's rule: the value at an odd power of the root."""
    power = 2 * int(f"{place:012b}"[::-1], 2) + 1
    point, value = pow(root_of_unity(), power, MODULUS), 0
    for coefficient in reversed(coefficients):
        value = (value * point + coefficient) % MODULUS
    return value


def test_update_decrypts_to_its_integers(update: EncryptedUpdate) -> None:
    expected = quantize(DELTA, 3, 10, PLAN, np.random.default_rng(1))
    np.testing.assert_array_equal(decrypt(update.chunks, PLAN, KEY, SEED, 1), expected.values)
    assert (update.weight, update.saturated, update.event) == (3, expected.saturated, EVENT)
    assert update.saturated > 0
    assert {len(chunk) for chunk in update.chunks} == {32_768}


def test_same_update_encrypts_to_other_bytes_even_under_the_same_key(update: EncryptedUpdate) -> None:
    again = encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, KEY, SEED, np.random.default_rng(1))
    assert not set(again.chunks) & set(update.chunks)


def test_residues_are_the_polynomials_values_at_odd_powers_of_the_root() -> None:
    """By Horner's rule on Python's whole numbers: polynomials of one coefficient, errors, and large messages."""
    rng = np.random.default_rng(3)
    for coefficients in (
        [1] + [0] * (RING_DEGREE - 1),
        [0] * (RING_DEGREE - 1) + [-1],
        [int(x) for x in rng.integers(-60, 61, RING_DEGREE)],
        [int(x) for x in rng.integers(-(2**57), 2**57, RING_DEGREE)],
    ):
        found = encryption._to_residues(np.array([coefficients], np.int64))[0]
        for place in (0, 1, 2, 4095, *(int(x) for x in rng.integers(0, RING_DEGREE, 3))):
            assert found[place] == value_at(coefficients, place)


def difference(left: Residues, right: Residues) -> Residues:
    return np.array([(int(x) - int(y)) % MODULUS for x, y in zip(left, right, strict=True)], np.uint64)


def test_numbers_are_the_coefficients_that_seal_reads(seal: Seal, update: EncryptedUpdate) -> None:
    """By hand: low + high * 2^20, times 2^19; SEAL reads that and a small error, and so do we."""
    fields = quantize(DELTA, 3, 10, PLAN, np.random.default_rng(1)).values[: PLAN.parameters_per_chunk]
    ours = content_of(update.chunks[0], KEY, 0)
    theirs = seal.coefficients(ours)
    expected = [(int(fields[place]) + int(fields[place + 4096]) * 2**20) * 2**19 for place in range(RING_DEGREE)]
    errors = [read - message for read, message in zip(theirs, expected, strict=True)]
    assert 0 < max(map(abs, errors)) < 80
    assert pack(fields, PLAN).tolist() == expected
    assert encryption._to_coefficients(ours[None])[0].tolist() == theirs


def test_a_ciphertext_is_what_seal_makes_of_its_content_residue_by_residue(seal: Seal, update: EncryptedUpdate) -> None:
    """SEAL decrypts (m + e, a) to m + e + a * s: our ciphertext, where the round's key is loaded as its secret key."""
    seal.under(KEY)
    for place, chunk in enumerate(update.chunks):
        content, polynomial = content_of(chunk, KEY, place), public_polynomial(SEED, place)
        np.testing.assert_array_equal(seal.decrypted(content, polynomial), residues_of(chunk))


def test_seal_opens_a_sum_of_ours(seal: Seal) -> None:
    """The other half of the ciphertext is minus the public polynomial, and the key is the sum of the keys."""
    keys = [RoundKey.generate() for _ in range(3)]
    fields = np.random.default_rng(5).integers(-9, 10, (3, PLAN.parameters))
    each = [encrypt_fields(own, PLAN, key, SEED) for own, key in zip(fields, keys, strict=True)]
    seal.under(sum_of(keys))
    for place, column in enumerate(zip(*each, strict=True)):
        negative = (np.uint64(MODULUS) - public_polynomial(SEED, place)) % np.uint64(MODULUS)
        coefficients = np.array(seal.coefficients(seal.decrypted(residues_of(sum_ciphertexts(column)), negative)))
        first = place * PLAN.parameters_per_chunk
        expected = fields.sum(axis=0)[first : first + PLAN.parameters_per_chunk]
        np.testing.assert_array_equal(unpack(coefficients, expected.size, PLAN, 3), expected)


def sum_of(keys: list[RoundKey]) -> RoundKey:
    total = np.zeros(RING_DEGREE, object)
    for key in keys:
        total = (total + key.residues().astype(object)) % MODULUS
    return RoundKey(total.astype(np.uint64))


def coefficients_of(slots: NDArray[np.complex128]) -> NDArray[np.float64]:
    """A real polynomial from its values at the roots exp(i * pi * 3^k / n), by a transform over all odd powers."""
    powers = np.array([pow(3, k, 2 * RING_DEGREE) for k in range(SLOTS)])
    values = np.empty(RING_DEGREE, np.complex128)
    values[powers // 2], values[(2 * RING_DEGREE - powers) // 2] = slots, slots.conj()
    found = np.fft.fft(values) / RING_DEGREE * np.exp(-1j * np.pi * np.arange(RING_DEGREE) / RING_DEGREE)
    assert np.abs(found.imag).max() <= 1e-6 + np.abs(found).max() * 1e-12
    return found.real


def test_errors_of_ciphertexts_are_whole_and_follow_the_law(seal: Seal) -> None:
    """Every coefficient of twenty ciphertexts of zero: exactly a whole number, and as often as the law says."""
    plan = plan_layout(20 * 8_192, 5, 1.0, 2, 20)
    chunks = encrypt_fields(np.zeros(plan.parameters, np.int64), plan, KEY, SEED)
    drawn = []
    for place, chunk in enumerate(chunks):
        coefficients = coefficients_of(seal.decoded(content_of(chunk, KEY, place)))
        assert np.abs(coefficients - np.rint(coefficients)).max() < 1e-6
        drawn.append(np.rint(coefficients).astype(int))
    errors = np.concatenate(drawn)
    assert len({tuple(row) for row in drawn}) == 20
    values = np.arange(-120, 121)
    law = np.exp(-(values**2) / (2 * 6.4**2))
    law *= errors.size / law.sum()
    seen = np.array([np.count_nonzero(errors == value) for value in values])
    inner = np.abs(values) <= 20
    assert chisquare([*seen[inner], seen[~inner].sum()], [*law[inner], law[~inner].sum()]).pvalue > 1e-6
    for lag in (1, 7):
        assert abs(np.corrcoef(errors[:-lag], errors[lag:])[0, 1]) < 6 / np.sqrt(errors.size)


def test_an_error_survives_beside_the_largest_message(seal: Seal) -> None:
    """All fields at their bound make coefficients of 2^58, where doubles are 64 apart: no error is rounded away."""
    bound = PLAN.largest_field_sum
    fields = np.full(PLAN.parameters_per_chunk, bound)
    plan = plan_layout(PLAN.parameters_per_chunk, 5, 1.0, 2, 20)
    first, second = (content_of(encrypt_fields(fields, plan, KEY, SEED)[0], KEY, 0) for _ in range(2))
    coefficients = coefficients_of(seal.decoded(difference(first, second)))
    assert np.abs(coefficients - np.rint(coefficients)).max() < 1e-6
    assert coefficients.std() == pytest.approx(6.4 * np.sqrt(2), rel=0.1)
    assert np.count_nonzero(np.rint(coefficients) % 2) > RING_DEGREE / 3, "odd numbers are as frequent as even ones"


def test_noise_follows_the_law() -> None:
    """Deviation within 2 %, the same for every key and place, and the law's share beyond 1, 2 and 3 deviations."""
    plan = plan_layout(32 * 8_192, 5, 1.0, 2, 20)
    law = plan._noise_deviation(1)
    noise: list[NDArray[np.int64]] = []
    for key in (RoundKey.generate(), RoundKey.generate(), RoundKey(np.zeros(RING_DEGREE, np.uint64))):
        chunks = encrypt_fields(np.zeros(plan.parameters, np.int64), plan, key, SEED)
        noise += list(encryption._opened(chunks, range(32), key, SEED))
        assert np.std(noise[-32:]) == pytest.approx(law, rel=0.02)
    coefficients = np.array(noise)
    assert law == 6.4
    assert np.sqrt((coefficients**2).mean(axis=0)) == pytest.approx(law, rel=0.5)
    values = np.arange(-200, 201)
    masses = np.exp(-(values**2) / (2 * law**2))
    for deviations in (1, 2, 3):
        share = masses[np.abs(values) > deviations * law].sum() / masses.sum()
        assert np.mean(np.abs(coefficients) > deviations * law) == pytest.approx(share, rel=0.1)


def test_the_sum_of_the_keys_opens_the_sum_and_no_other_key_does() -> None:
    keys = [RoundKey.generate() for _ in range(5)]
    deltas = np.random.default_rng(2).normal(0, 0.2, (5, PLAN.parameters)).astype(np.float32)
    sent = [
        encrypt(PrivateUpdate(delta, EVENT), 1, 5, PLAN, key, SEED, np.random.default_rng(number)).chunks
        for number, (delta, key) in enumerate(zip(deltas, keys, strict=True))
    ]
    total = [sum_ciphertexts(column) for column in zip(*sent, strict=True)]
    integers = [
        quantize(delta, 1, 5, PLAN, np.random.default_rng(number)).values for number, delta in enumerate(deltas)
    ]
    np.testing.assert_array_equal(decrypt(total, PLAN, sum_of(keys), SEED, 5), np.sum(integers, axis=0))
    assert opens(total, PLAN, sum_of(keys), SEED, 5)
    one_off = sum_of(keys).residues()
    one_off[7] = (int(one_off[7]) + 1) % MODULUS
    wrong = [*keys, sum_of(keys[:4]), sum_of([*keys, keys[0]]), RoundKey.generate(), RoundKey(one_off)]
    wrong.append(RoundKey(np.zeros(RING_DEGREE, np.uint64)))
    for key in wrong:
        assert not opens(total, PLAN, key, SEED, 5)
        with pytest.raises(EncryptionError, match="off whole numbers"):
            decrypt(total, PLAN, key, SEED, 5)
    # Two ciphertexts under keys that are known to nobody: their difference is as closed as they are.
    assert not opens(sent[0], PLAN, keys[1], SEED, 1)
    assert opens(sent[0], PLAN, keys[0], SEED, 1)


@pytest.mark.parametrize(
    "other",
    [
        (190_827, "0x" + "11" * 20, 3, b"h" * 32, "updates"),
        (190_826, "0x" + "12" * 20, 3, b"h" * 32, "updates"),
        (190_826, "0x" + "11" * 20, 4, b"h" * 32, "updates"),
        (190_826, "0x" + "11" * 20, 3, b"i" * 32, "updates"),
        (190_826, "0x" + "11" * 20, 3, b"h" * 32, "counts"),
    ],
)
def test_a_seed_of_another_round_ledger_or_purpose_does_not_open(update: EncryptedUpdate, other: Any) -> None:
    assert not opens(update.chunks, PLAN, KEY, round_seed(*other), 1)
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt(update.chunks, PLAN, KEY, round_seed(*other), 1)


def test_a_sum_with_a_ciphertext_under_another_key_does_not_open(update: EncryptedUpdate) -> None:
    foreign = encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, RoundKey.generate(), SEED, np.random.default_rng(1))
    mixed = [add_ciphertexts(*pair) for pair in zip(update.chunks, foreign.chunks, strict=True)]
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt(mixed, PLAN, sum_of([KEY, KEY]), SEED, 2)


def test_summary_is_measured_from_chunks(update: EncryptedUpdate) -> None:
    summary = summarize(PLAN, sum(map(len, update.chunks)), 7)
    assert summary == {
        "bytes_per_parameter": PLAN.bytes_per_parameter,
        "parameters": 10_000,
        "ring_degree": 4096,
        "security_bits": 128,
        "exact": True,
        "wrong_decode_in_run": 7 * 2 * 4096 * 2.0**-128,
    }


def test_adding_equals_seal_byte_for_byte(seal: Seal, update: EncryptedUpdate) -> None:
    other = encrypt(PrivateUpdate(DELTA, EVENT), 3, 10, PLAN, KEY, SEED, np.random.default_rng(2)).chunks[0]
    polynomial = public_polynomial(SEED, 0).tobytes()  # SEAL takes no ciphertext without a second half
    left, right = (
        PyCtxt(pyfhel=seal.he, bytestring=seal.ciphertext_head + chunk + polynomial, scheme="ckks")
        for chunk in (update.chunks[0], other)
    )
    left += right
    both = add_ciphertexts(update.chunks[0], other) + add_ciphertexts(polynomial, polynomial)
    assert both == left.to_bytes("none")[-2 * CHUNK_BYTES :]


def test_a_key_is_uniform_and_new_each_time() -> None:
    drawn = [RoundKey.generate().residues() for _ in range(16)]
    assert len({key.tobytes() for key in drawn}) == 16
    shares = np.concatenate(drawn) / MODULUS
    assert np.histogram(shares, 16, (0, 1))[0] == pytest.approx(4096, abs=6 * np.sqrt(4096))


def test_a_key_shows_and_gives_away_nothing() -> None:
    key = RoundKey.generate()
    assert repr(key) == str(key) == "RoundKey(hidden)"
    assert not hasattr(key, "__dict__")
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(EncryptionError, match="pickled or copied") as raised:
            leak(key)
        assert str(key.residues()[0]) not in str(raised.value)
    assert key != RoundKey(key.residues())


def test_a_key_that_is_forgotten_is_overwritten_where_it_lies() -> None:
    content = RoundKey.generate().residues()
    key = RoundKey(content)
    given = key.residues()
    held = key._residues
    key.forget()
    assert not held.any()
    assert not key.residues().any()
    np.testing.assert_array_equal(given, content, "what was given out before is the caller's")
    given[:] = 0
    content[:] = 1
    assert not key.residues().any(), "a key has its own copy"


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros(4095, np.uint64),
        np.zeros((1, 4096), np.uint64),
        np.zeros(4096, np.int64),
        np.zeros(4096, ">u8"),
        np.full(4096, MODULUS, np.uint64),
        np.full(4096, 2**64 - 1, np.uint64),
    ],
)
def test_numbers_that_are_no_key_are_refused(wrong: Any) -> None:
    with pytest.raises(EncryptionError, match="no key of a round"):
        RoundKey(wrong)
    RoundKey(np.full(4096, MODULUS - 1, np.uint64))


@pytest.mark.parametrize("position", [0, 17_000, CHUNK_BYTES - 8])
def test_tampered_residue_does_not_decode(update: EncryptedUpdate, position: int) -> None:
    """In range, so well formed: hashes find it on the way, and decoding finds it at the end."""
    chunk = bytearray(update.chunks[1])
    chunk[position] ^= 1
    check_ciphertext(bytes(chunk))
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt([update.chunks[0], bytes(chunk)], PLAN, KEY, SEED, 1)


def test_wrong_number_of_chunks_is_refused(update: EncryptedUpdate) -> None:
    for chunks in ((), update.chunks[:1], (*update.chunks, update.chunks[0])):
        with pytest.raises(EncryptionError, match="has not the 2 chunks"):
            decrypt(chunks, PLAN, KEY, SEED, 1)
    for summands in (0, 6):
        with pytest.raises(EncryptionError, match="outside of the layout"):
            decrypt(update.chunks, PLAN, KEY, SEED, summands)
    assert not opens((), PLAN, KEY, SEED, 1)


def test_chunks_in_another_order_do_not_open(update: EncryptedUpdate) -> None:
    """Each place has a public polynomial of its own."""
    with pytest.raises(EncryptionError, match="off whole numbers"):
        decrypt(update.chunks[::-1], PLAN, KEY, SEED, 1)


def test_more_than_was_planned_for_is_found_in_the_padding(update: EncryptedUpdate) -> None:
    fewer = plan_layout(9_000, 5, 1.0, 2, 20)
    with pytest.raises(EncryptionError, match="padding"):
        decrypt(update.chunks, fewer, KEY, SEED, 1)


def test_seals_own_ciphertexts_are_refused(seal: Seal) -> None:
    """They have a header and two polynomials; so have those of other parameters, with other lengths."""
    zeros = np.zeros(SLOTS, np.complex128)
    ours = bytes(CHUNK_BYTES)
    theirs = seal.he.encryptComplex(zeros, scale=1.0)
    for foreign in (
        theirs.to_bytes("none"),
        (theirs**2).to_bytes("none"),
        seal.he.encodeComplex(zeros).to_bytes("none"),
    ):
        for refuse in (check_ciphertext, lambda content: add_ciphertexts(ours, content)):
            with pytest.raises(EncryptionError, match="bytes where 32768 are expected"):
                refuse(foreign)


def test_residue_out_of_range_is_refused(update: EncryptedUpdate) -> None:
    chunk = update.chunks[0]
    for residue in (MODULUS, 2**64 - 1):
        bad = chunk[:-8] + residue.to_bytes(8, "little")
        with pytest.raises(EncryptionError, match="not below its prime"):
            check_ciphertext(bad)
        with pytest.raises(EncryptionError, match="not below its prime"):
            decrypt([chunk, bad], PLAN, KEY, SEED, 1)
        assert not opens([bad], PLAN, KEY, SEED, 1)
    check_ciphertext(chunk[:-8] + (MODULUS - 1).to_bytes(8, "little"))


def test_ciphertexts_that_cancel_are_a_sum_of_nothing() -> None:
    """Hospitals who conspire can cancel their updates; that must not stop the others' round."""
    key = RoundKey.generate()
    negative = RoundKey((MODULUS - key.residues()) % MODULUS)
    fields = np.arange(PLAN.parameters)
    mine = encrypt_fields(fields, PLAN, key, SEED)
    theirs = encrypt_fields(-fields, PLAN, negative, SEED)
    both = [add_ciphertexts(*pair) for pair in zip(mine, theirs, strict=True)]
    nothing = RoundKey(np.zeros(RING_DEGREE, np.uint64))
    np.testing.assert_array_equal(decrypt(both, PLAN, nothing, SEED, 2), np.zeros(PLAN.parameters))


def test_fields_that_do_not_fit_are_refused() -> None:
    fields = np.zeros(PLAN.parameters, np.int64)
    with pytest.raises(EncryptionError, match="are not the 10000"):
        encrypt_fields(fields[:-1], PLAN, KEY, SEED)
    fields[9_999] = PLAN.largest_field_sum + 1
    with pytest.raises(EncryptionError, match="does not fit"):
        encrypt_fields(fields, PLAN, KEY, SEED)


def test_the_largest_sums_pass_through_at_every_edge() -> None:
    for bound in (PLAN.largest_field_sum, -PLAN.largest_field_sum):
        fields = np.full(PLAN.parameters, bound)
        fields[::3] = -bound
        np.testing.assert_array_equal(decrypt(encrypt_fields(fields, PLAN, KEY, SEED), PLAN, KEY, SEED, 1), fields)


def large_plan() -> PackingPlan:
    return plan_layout(1_500_000, 5, 1.0, 2, 20)


def test_encrypting_makes_no_second_copy_of_a_large_update() -> None:
    """Beside the ciphertexts: less than two bytes a parameter and 6 MB, where one copy in doubles would be 12 MB."""
    plan = large_plan()
    update = PrivateUpdate(np.zeros(plan.parameters, np.float32), EVENT)
    encrypt_fields(np.zeros(PLAN.parameters, np.int64), PLAN, KEY, SEED)  # tables are made once
    tracemalloc.start()
    sent = encrypt(update, 1, 1, plan, KEY, SEED, np.random.default_rng(0))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - sum(map(len, sent.chunks)) < 2 * plan.parameters + 6_000_000


def test_decrypting_holds_its_result_and_a_few_chunks() -> None:
    plan = large_plan()
    chunks = encrypt_fields(np.zeros(plan.parameters, np.int64), plan, KEY, SEED)
    tracemalloc.start()
    sums = decrypt(iter(chunks), plan, KEY, SEED, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - sums.nbytes < 6_000_000
