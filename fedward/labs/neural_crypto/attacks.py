"""Attacks on a cipher under one key: known plaintexts, chosen ones, wrong or nearly right keys, a nonce used twice.

Each attacker knows the networks and all nonces. What he makes of messages is measured against images of other patients.
"""

from typing import Any

import numpy as np
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from fedward.labs.neural_crypto.affine_attack import apply_affine, fit_affine
from fedward.labs.neural_crypto.autoencoder import CODE, Coder, Wide
from fedward.labs.neural_crypto.ciphers import LEVELS, NONCE, Bytes, Cipher, draw_nonces, to_levels
from fedward.labs.neural_crypto.eves import Messages, seen
from fedward.labs.neural_crypto.networks import ask, train_network
from fedward.learning.quiet_tensorflow import keras
from fedward.reconstruction.quality import psnr, ssim
from fedward.seeding import public_rng
from fedward.types import Vector

_BATCH, _RATE, _HIDDEN = 64, 1e-3, 256


def closeness(found: Vector, originals: Vector) -> dict[str, float]:
    """Mean PSNR in dB and mean SSIM."""
    return {"psnr_db": float(np.mean(psnr(found, originals))), "ssim": float(np.mean(ssim(found, originals)))}


def read_with(cipher: Cipher, coder: Coder, sent: Wide, keys: Bytes, nonces: Bytes) -> Vector | None:
    """Images that somebody decrypts with these keys; None where all are refused, grey where one is."""
    codes = cipher.decrypt(sent, keys, nonces)
    refused = np.isnan(codes).any(axis=1)
    if refused.all():
        return None
    images = coder.images(np.nan_to_num(codes))
    images[refused] = 0.5
    return images


def next_key(keys: Bytes, rng: np.random.Generator) -> Bytes:
    """Keys that differ in one pixel, drawn for each, by one grey level."""
    changed = keys.copy()
    rows, columns = rng.integers(0, keys.shape[1], (2, len(keys)))
    changed[np.arange(len(keys)), rows, columns] ^= 1
    return changed


def known_plaintexts(
    cipher: Cipher,
    coder: Coder,
    known: Messages,
    test: Messages,
    counts: tuple[int, ...],
    steps: int,
    seed: int,
) -> dict[str, dict[str, dict[str, float]]]:
    """What an attacker reads under one key, by how many pairs (image, what was sent) he has under it.

    Args:
        cipher: The cipher; each message has a nonce of its own.
        coder: Whose codes are sent.
        known: Images that he knows; all is sent under the key of the first test message.
        test: Others.
        counts: Numbers of pairs; those that are too many are left out.
        steps: Of training his network.
        seed: Decides nonces, initial weights and draws.

    Returns:
        By number of pairs, what is read by least squares from the numbers sent, by least squares from these as angles
        too, and by a network: see `closeness`.
    """
    rng, found = public_rng("known plaintexts", cipher.name, seed), {}
    key = test.keys[:1]
    inputs, unseen = (_under(cipher, each.codes, key, rng) for each in (known, test))
    sent = (inputs.shape[1] - 8 * NONCE) // 3  # numbers that are sent stand first
    for count in (each for each in counts if each <= len(known)):
        guesses = {
            "linear": _by_least_squares(inputs[:count, :sent], known.codes[:count], unseen[:, :sent]),
            "linear in angles": _by_least_squares(inputs[:count], known.codes[:count], unseen),
            "network": _by_network(inputs[:count], known.codes[:count], unseen, steps, seed),
        }
        found[str(count)] = {name: closeness(coder.images(codes), test.pixels()) for name, codes in guesses.items()}
    return found


def chosen_plaintexts(cipher: Cipher, key: Bytes, count: int, seed: int) -> dict[str, Any]:
    """Whether an attacker tells which of two codes was sent, that he chose: the game of indistinguishability.

    He has each of both sent under the key, with new nonces, and trains on it; then he is shown as many others. Codes
    are 0 and one half everywhere: as far from each other as bytes on a circle can be.

    Args:
        cipher: The cipher.
        key: uint8, shape (1, 32, 32).
        count: Messages that he trains on, and as many that he is asked about.
        seed: Decides draws.

    Returns:
        Of each distinguisher how many it told rightly, and by what chance guessing would tell as many.
    """
    rng = public_rng("chosen plaintexts", cipher.name, seed)
    which = rng.integers(0, 2, 2 * count)
    inputs = _under(cipher, np.repeat(0.5 * which[:, None], CODE, axis=1), key, rng)
    learned, asked = slice(0, count), slice(count, None)
    kinds = {
        "linear": LogisticRegression(C=0.1, max_iter=300),
        "network": MLPClassifier((64,), alpha=1e-2, max_iter=40, early_stopping=True, random_state=seed),
    }
    found = {}
    for name, kind in kinds.items():
        right = int((kind.fit(inputs[learned], which[learned]).predict(inputs[asked]) == which[asked]).sum())
        chance = float(binomtest(right, count, 0.5, alternative="greater").pvalue)
        found[name] = {"right": right, "asked": count, "share": right / count, "p": chance}
    return found


def same_nonce(cipher: Cipher, coder: Coder, known: Messages, test: Messages) -> dict[str, float]:
    """What is read with one known pair where key and nonce are used again, which they must not be.

    The attacker takes what was added, or exclusive-ored, to the known message away from the others.
    """
    nonces, key = np.zeros((len(test), 12), np.uint8), test.keys[:1]
    sent = cipher.encrypt(test.codes, np.repeat(key, len(test), axis=0), nonces)[:, :CODE]
    pair = cipher.encrypt(known.codes[:1], key, nonces[:1])[:, :CODE]
    whole = np.rint(sent).astype(np.int64), np.rint(pair).astype(np.int64), to_levels(known.codes[:1]).astype(np.int64)
    guesses = [
        sent - pair + known.codes[:1],
        ((whole[0] - whole[1] + whole[2]) % LEVELS) / (LEVELS - 1),
        ((whole[0] ^ whole[1] ^ whole[2]) % LEVELS) / (LEVELS - 1),
    ]
    found = [closeness(coder.images(np.asarray(each, np.float64)), test.pixels()) for each in guesses]
    return max(found, key=lambda each: each["psnr_db"])


def _under(cipher: Cipher, codes: Wide, key: Bytes, rng: np.random.Generator) -> Wide:
    """What is seen of codes that are sent under one key, each with a nonce of its own."""
    nonces = draw_nonces(rng, len(codes))
    return seen(cipher, cipher.encrypt(codes, np.repeat(key, len(codes), axis=0), nonces), nonces)


def _by_least_squares(inputs: Wide, codes: Wide, unseen: Wide) -> Wide:
    return apply_affine(fit_affine(inputs, codes), unseen)


def _by_network(inputs: Wide, codes: Wide, unseen: Wide, steps: int, seed: int) -> Wide:
    """Codes that a network tells which was trained on these."""
    keras.utils.set_random_seed(seed)
    rng = public_rng("known plaintexts' network", seed, len(inputs))
    mean = keras.initializers.Constant(codes.mean(0))
    network = keras.Sequential(
        [
            keras.Input((inputs.shape[1],)),
            keras.layers.Dense(_HIDDEN, activation="relu"),
            keras.layers.Dense(CODE, kernel_initializer="zeros", bias_initializer=mean),
        ]
    )

    def draw() -> tuple[Wide, Wide]:
        rows = rng.integers(0, len(inputs), _BATCH)
        return inputs[rows], codes[rows]

    train_network(network, draw, steps, _RATE)
    return ask(network, unseen).astype(np.float64)
