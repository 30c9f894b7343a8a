"""Shared keys: sums are exact, fewer shares tell nothing, and any bytes are refused or are what they were."""

from collections.abc import Iterator

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import example, given, settings
from hypothesis import strategies as st

from encryption import RoundKey, _opened, decrypt, encrypt_fields, opens
from fedward.ciphertexts.packing import unpack
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.public_polynomials import public_polynomial
from fedward.ciphertexts.serialized import RING_DEGREE, residues_of, sum_ciphertexts
from fedward.errors import EncryptionError
from fedward.sharing.answer_sheets import MAX_BYTES, MAX_HOLDERS, AnswerSheet
from fedward.sharing.dealing import MASKS, Complaint, deal_key
from fedward.sharing.modular import MODULUS, Residues, add, multiply, subtract, uniform
from fedward.sharing.releases import restore_sum_key
from fedward.sharing.sealed_releases import ChannelKey, decrypt_release, encrypt_release
from fedward.sharing.sealed_shares import UnfitShareError, open_share, seal_shares
from fedward.sharing.shamir import deal, restore
from fedward.sharing.sizes import release_bytes, sealed_share_bytes
from fedward.sharing.terms import Purpose, ReleaseTerms, ShareTerms
from fedward.types import Address

LEDGER, HOSPITAL, DEALER = (Address("0x" + pair * 20) for pair in ("11", "22", "33"))
SHARE = ShareTerms(190826, LEDGER, 3, b"h" * 32, DEALER, HOSPITAL)
RELEASE = ReleaseTerms(190826, LEDGER, 3, HOSPITAL, Purpose.UPDATES, b"h" * 32, 0b10111, b"s" * 32)
X25519 = X25519PrivateKey.generate()
CHANNEL = ChannelKey.generate()

residue = st.one_of(st.integers(0, MODULUS - 1), st.sampled_from([0, 1, MODULUS - 1]))
residues = st.lists(residue, min_size=1, max_size=20).map(lambda values: np.array(values, np.uint64))
numbers = st.tuples(*[residue] * MASKS)
sheets = st.builds(
    AnswerSheet,
    st.dictionaries(st.integers(1, MAX_HOLDERS), st.one_of(numbers, st.sampled_from(Complaint)), max_size=12),
    st.lists(numbers, max_size=9).map(tuple),
)
changes = st.tuples(st.sampled_from(["bit", "cut", "gap", "more"]), st.integers(0, 10_000), st.integers(1, 255))


def changed(content: bytes, change: tuple[str, int, int]) -> bytes:
    kind, place, value = change
    result, at = bytearray(content), place % max(1, len(content))
    if kind == "bit":
        result[at] ^= 1 << value % 8
    elif kind == "cut":
        del result[at:]
    elif kind == "gap":
        del result[at : at + value]
    else:
        result[at:at] = bytes(value)
    return bytes(result)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(
    hospitals=st.integers(1, 7),
    data=st.data(),
    layout=st.sampled_from([(1, 40), (2, 18), (2, 10), (3, 12)]),
    parameters=st.integers(1, 9000),
    seed=st.integers(0, 2**32),
)
def test_the_sum_over_any_set_opens_exactly_by_any_threshold_of_releases(
    hospitals: int, data: st.DataObject, layout: tuple[int, int], parameters: int, seed: int
) -> None:
    """With the real ciphertexts, against plain integers."""
    threshold = data.draw(st.integers(1, hospitals))
    included = sorted(data.draw(st.sets(st.integers(1, hospitals), min_size=1)))
    releasing = data.draw(st.permutations(range(1, hospitals + 1)))[: data.draw(st.integers(threshold, hospitals))]
    plan = plan_layout(parameters, hospitals, 1.0, *layout)
    most = plan.largest_field_sum // hospitals
    rng, round_seed = np.random.default_rng(seed), b"round of the test"
    plain = {dealer: rng.integers(-most, most, parameters, endpoint=True) for dealer in included}
    keys = {dealer: RoundKey.generate() for dealer in included}
    shares = {dealer: deal_key(key.residues(), threshold, hospitals) for dealer, key in keys.items()}
    sent = [encrypt_fields(plain[dealer], plan, keys[dealer], round_seed) for dealer in included]
    chunks = [sum_ciphertexts(each) for each in zip(*sent, strict=True)]
    released = {}
    for holder in releasing:
        summed = np.zeros(RING_DEGREE, np.uint64)
        for dealer in included:
            summed = add(summed, shares[dealer][holder - 1][:RING_DEGREE])
        released[holder] = summed

    def fits(key: Residues) -> bool:
        return opens(chunks, plan, RoundKey(key), round_seed, len(included))

    found = restore_sum_key(released, threshold, fits)
    assert found.wrong == ()
    sums = decrypt(chunks, plan, RoundKey(found.key), round_seed, len(included))
    np.testing.assert_array_equal(sums, sum(plain.values()))


@pytest.mark.parametrize("parameters", [1, 8_192, 8_200])
def test_a_key_that_was_made_for_one_ciphertext_does_not_open_another(parameters: int) -> None:
    """Off by a message over the public polynomial, it opens one to the sum and that message: why two are looked at."""
    plan, seed, key = plan_layout(parameters, 5, 1.0, 2, 18), b"round of the test", RoundKey.generate()
    chunks = encrypt_fields(np.full(parameters, 5), plan, key, seed)
    wished = encrypt_fields(np.full(parameters, 7), plan, RoundKey(np.zeros(RING_DEGREE, np.uint64)), seed)[0]
    inverses = np.array([pow(int(value), -1, MODULUS) for value in public_polynomial(seed, 0)], np.uint64)
    other = RoundKey(subtract(key.residues(), multiply(residues_of(wished), inverses)))
    assert opens(chunks, plan, key, seed, 5)
    assert not opens(chunks, plan, RoundKey.generate(), seed, 5)
    assert not opens(chunks, plan, other, seed, 5)
    with pytest.raises(EncryptionError):
        decrypt(chunks, plan, other, seed, 5)
    assert (unpack(_opened(chunks[:1], [0], other, seed)[0], plan.fields_in(0), plan, 5) == 12).all(), "the first alone"


def drawing(rows: list[list[int]]) -> Iterator[bytes]:
    """What a source of random bytes gives, so that a dealer draws these coefficients."""
    for row in rows:
        yield np.array(row, "<u8").tobytes()


def solved(matrix: list[list[int]], right: list[int]) -> list[int]:
    """The one solution of linear equations modulo the prime; StopIteration where there is not exactly one."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for place in range(len(rows)):
        pivot = next(number for number in range(place, len(rows)) if rows[number][place])
        rows[place], rows[pivot] = rows[pivot], rows[place]
        inverse = pow(rows[place][place], -1, MODULUS)
        rows[place] = [value * inverse % MODULUS for value in rows[place]]
        for number, row in enumerate(rows):
            if number != place:
                rows[number] = [
                    (value - row[place] * own) % MODULUS for value, own in zip(row, rows[place], strict=True)
                ]
    return [row[-1] for row in rows]


@settings(max_examples=100, deadline=None)
@given(holders=st.integers(1, 9), data=st.data(), secret=residue, other=residue)
def test_fewer_shares_than_the_threshold_fit_every_secret_and_each_as_well(
    holders: int, data: st.DataObject, secret: int, other: int
) -> None:
    """Exactly: to the shares that they see, and to any other secret, belongs one draw of the dealer and no second.

    So whoever sees them knows as much of the secret as before: draws are uniform.
    """
    threshold = data.draw(st.integers(1, holders))
    seen = sorted(data.draw(st.permutations(range(1, holders + 1)))[: threshold - 1])
    shares = deal(np.array([secret], np.uint64), threshold, holders)
    powers = [[pow(holder, power, MODULUS) for power in range(1, threshold)] for holder in seen]
    wanted = [(int(shares[holder - 1, 0]) - other) % MODULUS for holder in seen]
    coefficients = solved(powers, wanted)  # the only ones, of x^1 and up
    words = drawing([coefficients[::-1]])  # the dealer draws the highest first
    again = deal(np.array([other], np.uint64), threshold, holders, lambda _count: next(words))
    for holder in seen:
        assert again[holder - 1, 0] == shares[holder - 1, 0]
    assert restore({holder: again[holder - 1] for holder in range(1, holders + 1)}, threshold)[0] == other


@settings(max_examples=150, deadline=None)
@given(share=residues)
@example(share=np.array([MODULUS - 1], np.uint64))
def test_a_share_comes_back_as_it_was(share: Residues) -> None:
    (sealed,) = seal_shares(share[None], [X25519.public_key().public_bytes_raw()], [SHARE])
    assert len(sealed) == sealed_share_bytes(share.size)
    assert np.array_equal(open_share(sealed, SHARE, X25519, share.size), share)
    content = encrypt_release(share, RELEASE, CHANNEL)
    assert len(content) == release_bytes(share.size)
    assert np.array_equal(decrypt_release(content, RELEASE, CHANNEL, share.size), share)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=300), width=st.integers(1, 40))
def test_any_bytes_are_no_share_and_no_release(content: bytes, width: int) -> None:
    for guess in (content, content[: sealed_share_bytes(width)].ljust(sealed_share_bytes(width), b"\0")):
        with pytest.raises(UnfitShareError):
            open_share(guess, SHARE, X25519, width)
    for guess in (content, content[: release_bytes(width)].ljust(release_bytes(width), b"\0")):
        with pytest.raises(EncryptionError):
            decrypt_release(guess, RELEASE, CHANNEL, width)


@settings(max_examples=200, deadline=None)
@given(share=residues, change=changes)
def test_any_change_of_a_share_or_a_release_is_seen(share: Residues, change: tuple[str, int, int]) -> None:
    (sealed,) = seal_shares(share[None], [X25519.public_key().public_bytes_raw()], [SHARE])
    with pytest.raises(UnfitShareError):
        open_share(changed(sealed, change), SHARE, X25519, share.size)
    with pytest.raises(EncryptionError):
        decrypt_release(changed(encrypt_release(share, RELEASE, CHANNEL), change), RELEASE, CHANNEL, share.size)


@settings(max_examples=200, deadline=None)
@given(sheet=sheets)
@example(sheet=AnswerSheet({}))
def test_a_sheet_comes_back_as_it_was(sheet: AnswerSheet) -> None:
    content = sheet.to_bytes()
    again = AnswerSheet.from_bytes(content)
    assert again == sheet
    assert all(type(again.answers[dealer]) is type(said) for dealer, said in sheet.answers.items())
    assert again.to_bytes() == content
    assert len(content) <= MAX_BYTES


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(sheet=sheets, change=changes, content=st.binary(max_size=200))
def test_any_bytes_are_refused_or_one_sheet_exactly(
    sheet: AnswerSheet, change: tuple[str, int, int], content: bytes
) -> None:
    magic = AnswerSheet({}).to_bytes()[:-4]
    for guess in (changed(sheet.to_bytes(), change), content, magic + content):
        try:
            read = AnswerSheet.from_bytes(guess)
        except EncryptionError:
            continue
        assert read.to_bytes() == guess


def test_a_sheet_that_is_too_long_is_not_read() -> None:
    every = AnswerSheet(
        dict.fromkeys(range(1, MAX_HOLDERS + 1), (0,) * MASKS), ((MODULUS - 1,) * MASKS,) * MAX_HOLDERS
    ).to_bytes()
    assert len(every) == MAX_BYTES
    assert AnswerSheet.from_bytes(every).to_bytes() == every
    with pytest.raises(EncryptionError, match="too many"):
        AnswerSheet.from_bytes(every + b"\0")
    out_of_range = every[:-8] + MODULUS.to_bytes(8, "big")
    with pytest.raises(EncryptionError, match="not below the prime"):
        AnswerSheet.from_bytes(out_of_range)


def test_masks_are_drawn_anew_for_each_dealing() -> None:
    key = uniform((4,))
    first, second = deal_key(key, 2, 3), deal_key(key, 2, 3)
    assert not np.array_equal(
        restore(dict(enumerate(first, 1)), 2)[-MASKS:], restore(dict(enumerate(second, 1)), 2)[-MASKS:]
    )
