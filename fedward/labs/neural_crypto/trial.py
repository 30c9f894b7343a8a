"""One cipher on one seed: what Bob reads, and what everybody reads who has no key, measured on other patients' images.

Who knows what: networks, nonces and what is sent are public, the key is not. Eve has training images of other
patients, and has them sent under keys of her own as often as she likes. Attackers with known or chosen plaintexts
have them under the one key that they attack.
"""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fedward.labs.neural_crypto.affine_attack import errors_by_known
from fedward.labs.neural_crypto.attacks import (
    chosen_plaintexts,
    closeness,
    known_plaintexts,
    next_key,
    read_with,
    same_nonce,
)
from fedward.labs.neural_crypto.autoencoder import CODE, Coder, Wide
from fedward.labs.neural_crypto.ciphers import Bytes, Cipher, draw_nonces, in_bytes
from fedward.labs.neural_crypto.eves import Eve, Messages, messages, train_eve
from fedward.labs.neural_crypto.measures import entropy, neighbor_correlation, npcr, uaci
from fedward.labs.neural_crypto.plan import Plan
from fedward.labs.neural_crypto.published import Affine
from fedward.seeding import public_rng
from fedward.types import Vector

SHOWN = 4  # images in the picture
_KEY_SHIFT, _WRONG_SHIFT = 1, 7  # a test image's key is the next one; a wrong key is one further on


@dataclass(frozen=True)
class Sets:
    """Images, uint8, shape (n, 32, 32); of different patients.

    Attributes:
        train: What networks and attackers learn from.
        test: What is measured.
    """

    train: Bytes = field(repr=False)
    test: Bytes = field(repr=False)


@dataclass(frozen=True)
class Picture:
    """A few images at every stage: float32, shape (n, 32, 32, 1); what was sent as 16 by 16 bytes, enlarged."""

    originals: Vector
    keys: Vector
    sent: Vector
    bob: Vector
    eve: Vector
    wrong_key: Vector


def measure(cipher: Cipher, coder: Coder, sets: Sets, plan: Plan, seed: int) -> tuple[dict[str, Any], Picture]:
    """Measure one cipher.

    Args:
        cipher: The cipher; nothing of it is told to what measures it.
        coder: Whose codes it sends.
        sets: Images.
        plan: How much.
        seed: Decides draws.

    Returns:
        Its figures, and a picture.
    """
    rng = public_rng("neural crypto", cipher.name, seed)
    train, test = messages(sets.train, coder), messages(sets.test, coder, _KEY_SHIFT)
    originals, nonces = test.pixels(), draw_nonces(rng, len(test))
    sent = cipher.encrypt(test.codes, test.keys, nonces)
    bob = read_with(cipher, coder, sent, test.keys, nonces)
    found: dict[str, Any] = {
        "cipher": cipher.name,
        "about": cipher.about,
        "images": len(test),
        "prior": closeness(np.repeat(train.pixels().mean(0, keepdims=True), len(test), axis=0), originals),
        "ceiling": closeness(coder.images(test.codes), originals),
        "bob": None if bob is None else closeness(bob, originals),
        **_by_other_keys(cipher, coder, test, sent, nonces, rng),
        "entropy_bits": entropy(in_bytes(cipher, sent)),
        "neighbor_correlation": neighbor_correlation(in_bytes(cipher, sent)),
    }
    found["eves"], best = _eves(cipher, train, test, plan, seed)
    counts = plan.known
    found["known_plaintexts"] = known_plaintexts(cipher, coder, train, test, counts, plan.attack_steps, seed)
    found["chosen_plaintexts"] = chosen_plaintexts(cipher, test.keys[:1], plan.chosen, seed)
    found["same_nonce"] = same_nonce(cipher, coder, train, test)
    if isinstance(cipher, Affine):
        found["affine_attack"] = break_affine(cipher, train, test, plan, seed)
    return found, _picture(cipher, coder, test, best, rng)


def break_affine(cipher: Affine, train: Messages, test: Messages, plan: Plan, seed: int) -> dict[str, Any]:
    """How exactly least squares recover the published cipher.

    From triples (code, key's code, what was sent) they recover what is sent, and from pairs under one key the code.
    Codes of images do not span all dimensions: what no known image has, nothing is known of. Random codes do.

    Returns:
        Of random codes, and of images: see `errors_by_known`; and the seconds that all of it took.
    """
    started, rng = time.perf_counter(), public_rng("affine attack", seed)
    count = max(*plan.triples, *plan.pairs)
    rows = np.arange(count)  # where images are too few, some again, under other keys
    image, key = rows % len(train), (rows + 3 * (rows // len(train))) % len(train)
    by_images = [
        (train.codes[image], cipher.key_codes(train.keys[key])),
        (test.codes, cipher.key_codes(test.keys)),
    ]
    at_random = [(rng.random((size, CODE)), rng.random((size, CODE))) for size in (count, len(test))]
    found = {
        name: _recovered(cipher, known, unseen, plan)
        for name, (known, unseen) in (("random", at_random), ("images", by_images))
    }
    return {**found, "seconds": time.perf_counter() - started}


def _recovered(cipher: Affine, known: tuple[Wide, Wide], unseen: tuple[Wide, Wide], plan: Plan) -> dict[str, Any]:
    """See `break_affine`; known and unseen are codes and keys' codes."""
    key = unseen[1][:1]

    def triples(codes: Wide, keys: Wide) -> tuple[Wide, Wide]:
        return np.concatenate([codes, keys], axis=1), cipher.send(codes, keys)

    def pairs(codes: Wide) -> tuple[Wide, Wide]:
        return cipher.send(codes, np.repeat(key, len(codes), axis=0)), codes

    return {
        "sent_by_triples": errors_by_known(triples(*known), triples(*unseen), plan.triples),
        "code_by_pairs": errors_by_known(pairs(known[0]), pairs(unseen[0]), plan.pairs),
    }


def _by_other_keys(
    cipher: Cipher, coder: Coder, test: Messages, sent: Any, nonces: Bytes, rng: np.random.Generator
) -> dict[str, Any]:
    """What another image's key reads, what a key reads that differs in one pixel, and how it would have been sent."""
    originals, near = test.pixels(), next_key(test.keys, rng)
    wrong = read_with(cipher, coder, sent, np.roll(test.keys, _WRONG_SHIFT, axis=0), nonces)
    nearly = read_with(cipher, coder, sent, near, nonces)
    one, other = in_bytes(cipher, sent), in_bytes(cipher, cipher.encrypt(test.codes, near, nonces))
    return {
        "wrong_key": None if wrong is None else closeness(wrong, originals),
        "near_key": None if nearly is None else closeness(nearly, originals),
        "npcr": npcr(one, other),
        "uaci": uaci(one, other),
    }


def _eves(
    cipher: Cipher, train: Messages, test: Messages, plan: Plan, seed: int
) -> tuple[dict[str, dict[str, float]], Eve]:
    """Every Eve's figures, and the strongest by PSNR on the test images."""
    found: dict[str, dict[str, float]] = {}
    trained = [train_eve(name, cipher, train, plan.eve_steps, seed) for name in plan.eves]
    for eve in trained:
        images, _, _ = eve.images(cipher, test, public_rng("eve's test", cipher.name, seed))
        found[eve.name] = closeness(images, test.pixels())
    return found, max(trained, key=lambda eve: found[eve.name]["psnr_db"])


def _picture(cipher: Cipher, coder: Coder, test: Messages, eve: Eve, rng: np.random.Generator) -> Picture:
    seen, sent, nonces = eve.images(cipher, test, rng)
    few = slice(0, SHOWN)
    grey = np.full_like(seen[few], 0.5)
    keys, wrong = test.keys[few], np.roll(test.keys, _WRONG_SHIFT, axis=0)[few]
    bob, other = (read_with(cipher, coder, sent[few], each, nonces[few]) for each in (keys, wrong))
    grid = in_bytes(cipher, sent[few])[:, :256].reshape(-1, 16, 16).repeat(2, 1).repeat(2, 2)
    return Picture(
        test.pixels()[few],
        (keys[..., None] / np.float32(255.0)).astype(np.float32),
        (grid[..., None] / np.float32(255.0)).astype(np.float32),
        grey if bob is None else bob,
        seen[few],
        grey if other is None else other,
    )
