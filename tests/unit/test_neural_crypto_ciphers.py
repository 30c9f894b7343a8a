"""The ciphers: planted affine maps are recovered, Bob undoes the mixer exactly, AES refuses, and twins agree."""

import dataclasses

import numpy as np
import pytest

from fedward.labs.neural_crypto.affine_attack import EXACT, apply_affine, errors_by_known, fit_affine
from fedward.labs.neural_crypto.attacks import chosen_plaintexts, next_key
from fedward.labs.neural_crypto.autoencoder import CODE, PUBLISHED, WIDE, build_decoder, build_encoder
from fedward.labs.neural_crypto.ciphers import AesGcm, Bytes, Plain, Wide, draw_nonces, in_bytes, to_levels
from fedward.labs.neural_crypto.mixer import Mixer, as_signs, circled, flat, from_flat, new_mixer
from fedward.labs.neural_crypto.mixer_training import mixed, train_mixer
from fedward.labs.neural_crypto.published import with_one
from fedward.learning.quiet_tensorflow import tf


def some(count: int, seed: int = 1) -> tuple[Wide, Bytes, Bytes]:
    """Codes, keys and nonces."""
    rng = np.random.default_rng(seed)
    return rng.random((count, CODE)), rng.integers(0, 256, (count, 32, 32), np.uint8), draw_nonces(rng, count)


def planted(count: int, seed: int = 1) -> tuple[Wide, Wide]:
    """Inputs and outputs of an affine map of 64 numbers to 32: an eighth of the published cipher's."""
    matrix = np.random.default_rng(0).normal(size=(65, 32))
    inputs = np.random.default_rng(seed).random((count, 64))
    return inputs, with_one(inputs) @ matrix


def test_an_affine_cipher_is_recovered_from_one_triple_more_than_numbers_and_not_from_fewer() -> None:
    errors = errors_by_known(planted(80), planted(50, seed=2), (32, 64, 65, 80, 90))
    assert list(errors) == ["32", "64", "65", "80"]
    assert errors["65"]["largest"] < EXACT
    assert errors["80"]["largest"] < EXACT
    assert min(errors["32"]["median"], errors["64"]["median"]) > 1_000 * EXACT


def test_codes_that_span_fewer_dimensions_need_fewer_triples() -> None:
    inputs, _ = planted(80)
    inputs[:, 40:] = 0.5
    errors = errors_by_known((inputs, inputs @ np.ones((64, 3))), (inputs, inputs @ np.ones((64, 3))), (40, 41))
    assert errors["41"]["largest"] < EXACT < errors["40"]["largest"]
    assert errors["41"]["exact"] == 1


def test_what_is_not_affine_is_not_recovered() -> None:
    inputs, outputs = planted(80)
    unseen, wanted = planted(50, seed=2)
    fitted = fit_affine(inputs, np.sin(outputs))
    assert np.abs(apply_affine(fitted, unseen) - np.sin(wanted)).max() > 0.1


@pytest.mark.parametrize(
    "mixer", [new_mixer(1), from_flat([9 * each for each in flat(new_mixer(2))], new_mixer(2).stretch)]
)
def test_bob_undoes_the_mixer_exactly_under_the_right_key_only(mixer: Mixer) -> None:
    codes, keys, nonces = some(50)
    sent = mixer.encrypt(codes, keys, nonces)
    assert np.array_equal(sent, sent.astype(np.uint8))
    assert np.array_equal(mixer.decrypt(sent, keys, nonces), to_levels(codes) / 255)
    assert np.array_equal(mixer.decrypt(sent[:1], keys[:1], nonces[:1]), to_levels(codes[:1]) / 255), (
        "alone as in a batch"
    )
    for others, theirs in ((np.roll(keys, 1, axis=0), nonces), (next_key(keys, np.random.default_rng(1)), nonces)):
        assert not np.array_equal(mixer.decrypt(sent, others, theirs), to_levels(codes) / 255)
    assert not np.array_equal(mixer.encrypt(codes, keys, np.roll(nonces, 1, axis=0)), sent)


def test_the_mixer_in_training_is_the_mixer() -> None:
    mixer, (codes, keys, nonces) = new_mixer(3), some(40)
    given = np.concatenate([circled(mixer.key_turns(keys)), as_signs(nonces)], axis=1)
    weights = [tf.constant(each, tf.float32) for each in flat(mixer)]
    found = mixed(weights, tf.constant(to_levels(codes), tf.float32), tf.constant(given, tf.float32)).numpy()
    assert np.mean(found == mixer.encrypt(codes, keys, nonces)) > 0.999, "float32 rounds a few otherwise"


def test_training_changes_all_rounds_and_nothing_else() -> None:
    mixer, (codes, keys, _) = new_mixer(4), some(40)
    trained, errors = train_mixer(mixer, codes, keys, 2, seed=1)
    assert len(errors) == 2
    assert not any(np.array_equal(a, b) for a, b in zip(flat(trained), flat(mixer), strict=True))
    assert np.array_equal(trained.stretch, mixer.stretch)


def test_aes_is_exact_and_refuses_other_keys_nonces_and_changed_messages() -> None:
    cipher, (codes, keys, nonces) = AesGcm(), some(4)
    sent = cipher.encrypt(codes, keys, nonces)
    assert np.array_equal(cipher.decrypt(sent, keys, nonces), to_levels(codes) / 255)
    changed = sent.copy()
    changed[0, 0] = (changed[0, 0] + 1) % 256
    for refused in (
        cipher.decrypt(sent, next_key(keys, np.random.default_rng(1)), nonces)[0],
        cipher.decrypt(sent, keys, np.roll(nonces, 1, axis=0))[0],
        cipher.decrypt(changed, keys, nonces)[0],
    ):
        assert np.isnan(refused).all()


def test_a_key_one_pixel_off_differs_in_one_pixel_by_one_level() -> None:
    _, keys, _ = some(20)
    changed = next_key(keys, np.random.default_rng(1))
    assert ((changed != keys).sum(axis=(1, 2)) == 1).all()
    assert np.abs(changed.astype(int) - keys.astype(int)).max() == 1


def test_chosen_plaintexts_are_told_apart_without_a_cipher_and_not_with_aes() -> None:
    _, keys, _ = some(1)
    plain = chosen_plaintexts(Plain(), keys, 200, seed=1)
    hidden = chosen_plaintexts(AesGcm(), keys, 200, seed=1)
    assert {told["share"] for told in plain.values()} == {1.0}
    assert all(told["p"] < 1e-6 for told in plain.values())
    assert all(told["p"] > 1e-3 for told in hidden.values())


def test_what_is_sent_fits_bytes() -> None:
    cipher = dataclasses.replace(new_mixer(1), low=-1.0, high=1.0)
    assert in_bytes(cipher, np.array([[-2.0, -1.0, 0.0, 1.0, 2.0]])).tolist() == [[0, 0, 128, 255, 255]]


def test_the_published_autoencoder_has_the_published_size() -> None:
    assert build_encoder(PUBLISHED).count_params() + build_decoder(PUBLISHED).count_params() == 677
    assert build_encoder(WIDE).count_params() + build_decoder(WIDE).count_params() == 71_365
