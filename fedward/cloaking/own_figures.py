"""What a hospital's image encryption is worth, measured at the end of a run on its own images with the run's own model.

Images of patients whom neither model nor readers have seen are encrypted as the settings say. Two readers are trained
on pairs of training images: a denoiser, which restores images, and one that recovers labels. All of it stays at the
hospital. The work is bounded, so that a run's end waits for seconds and not for minutes: longer training does better.
"""

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.adversarial.attack import Aim, Attack
from fedward.adversarial.harness import craft, hidden
from fedward.adversarial.victim import Victim
from fedward.errors import DataError
from fedward.figures.histograms import sigmoid
from fedward.progress import Progress, silent
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.quality import likeness
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.registry import READERS, train_reader
from fedward.reconstruction.shape import STEP, ReaderShape
from fedward.seeding import public_rng
from fedward.tables import kebab
from fedward.types import ImageSet, Partition, Vector

FORMAT_VERSION = 1
LIMITS = (
    "This is label cloaking, not cryptography: whoever looks sees the X-ray, and whoever trains on a few known pairs "
    "recovers labels."
)

_PAIRS, _HELD_OUT = 512, 128  # training images that readers learn from, test images that are measured
_AT_ONCE = 8  # images encrypted between two looks at the clock
_ENCRYPTING_S = 20.0  # of processor time; then it ends with what there is: of some methods an image takes seconds
_CROP = 32  # pixels a side: a denoiser looks at surroundings only, and learns from pieces as it does from images
_CROPS_A_PAIR = 2
_DENOISER_EPOCHS, _LABEL_EPOCHS = 6, 10
_ORDINARY_SIDE = 64  # pixels; of larger images fewer pairs are learned from
_STAGES = 4  # that are reported: encrypting, two readers, measuring


@dataclass(frozen=True)
class Shown:
    """Test images with what became of them, for a picture.

    Attributes:
        originals, encrypted: float32, shape (n, size, size, 1), values in [0, 1].
        restored: The same; None where no reader could be trained.
        scores, encrypted_scores: float32, shape (n, findings): the model's scores for both; from 0.5 on a finding is
            called, whatever its threshold.
        hidden: bool, shape (n,): whose labels are hidden.
    """

    originals: Vector
    encrypted: Vector
    restored: Vector | None
    scores: Vector
    encrypted_scores: Vector
    hidden: NDArray[np.bool_]


def measure_encryption(
    partition: Partition, victim: Victim, encryption: Attack, seed: int, report: Progress = silent
) -> tuple[dict[str, Any], Shown]:
    """Encrypt test images, train readers on training images, and compare.

    Args:
        partition: The hospital's images; no patient is in two of its splits.
        victim: The run's model with its thresholds, which is to be misled.
        encryption: How images are encrypted.
        seed: Decides which images are taken, and all that attack and training draw.
        report: Told which stage is done.

    Returns:
        The figures, as `image-encryption.json` has them, and the measured images.

    Raises:
        DataError: the hospital has no training images, or no test images.

    Limits:
        How many images are encrypted depends on the machine's speed where the method takes long; what else the machine
        does meanwhile does not matter.
    """
    for name, images in (("training", partition.train), ("test", partition.test)):
        if not len(images):
            raise DataError(f"{partition.hospital} has no {name} images to measure with.", "Enroll with more images.")
    rng = public_rng("image-encryption", seed, partition.hospital)
    train, test = (
        _some(images, most, rng) for images, most in ((partition.train, _PAIRS), (partition.test, _HELD_OUT))
    )
    report(0, _STAGES)
    pairs_made, made = _encrypt_in_time((train, test), victim, encryption, rng)
    train, test = train.some(np.arange(len(pairs_made))), test.some(np.arange(len(made)))
    report(1, _STAGES)
    reason = "" if test.images.shape[1] % STEP == 0 else f"readers take images whose side is a multiple of {STEP}"
    restored, logits, pairs = None, None, 0
    if not reason:
        known = Pairs(pairs_made, train.pixels(), train.labels)
        restored = _denoiser(known, seed, rng).images(made)
        report(2, _STAGES)
        recovery, pairs = _label_recovery(known, seed, victim)
        logits = recovery.scores(made)
        report(3, _STAGES)
    figures, shown = _figures(test, made, restored, logits, victim)
    about = {
        "format_version": FORMAT_VERSION,
        "hospital": partition.hospital,
        "method": encryption.name,
        "options": {kebab(key): value for key, value in dataclasses.asdict(encryption.options).items()},
        "limits": LIMITS,
        "pixels": "float32 from 0 to 1, not rounded to 8 bits",
    }
    readers = {"pairs": len(train), "pairs_for_labels": pairs, "none_because": reason or None}
    report(_STAGES, _STAGES)
    return about | figures | {"readers": readers}, shown


def _some(images: ImageSet, most: int, rng: np.random.Generator) -> ImageSet:
    """Some of the images, in an order of their own."""
    return images.some(rng.permutation(len(images))[:most])


def _encrypt_in_time(
    sets: tuple[ImageSet, ImageSet], victim: Victim, encryption: Attack, rng: np.random.Generator
) -> list[Vector]:
    """As many images of each set encrypted, from the first on, as there is time for; some of each in any case."""
    made: list[list[Vector]] = [[], []]
    started, start = time.process_time(), 0
    while start == 0 or (time.process_time() - started < _ENCRYPTING_S and start < max(map(len, sets))):
        for each, done in zip(sets, made, strict=True):
            some = each.some(np.arange(start, min(len(each), start + _AT_ONCE)))
            if len(some):
                done.append(craft(encryption, victim, some.pixels(), Aim(some.labels), rng))
        start += _AT_ONCE
    return [np.concatenate(done) for done in made]


def _denoiser(pairs: Pairs, seed: int, rng: np.random.Generator) -> Reader:
    """A denoiser that learned from pieces of the pairs, and takes whole images."""
    side, crop = pairs.encrypted.shape[1], min(_CROP, pairs.encrypted.shape[1])
    rows = np.repeat(np.arange(len(pairs)), 1 if side == crop else _CROPS_A_PAIR)
    places = rng.integers(0, side - crop + 1, (len(rows), 2))

    def cut(images: Vector) -> Vector:
        parts = (
            images[row, top : top + crop, left : left + crop] for row, (top, left) in zip(rows, places, strict=True)
        )
        return np.stack(list(parts))

    pieces = Pairs(cut(pairs.encrypted), cut(pairs.originals), pairs.labels[rows])
    learned = train_reader("denoiser", pieces, seed, epochs=_DENOISER_EPOCHS)
    whole = READERS["denoiser"](ReaderShape(side, pairs.labels.shape[1]))
    whole.set_weights(learned.get_weights())
    return whole


def _label_recovery(pairs: Pairs, seed: int, victim: Victim) -> tuple[Reader, int]:
    """A reader of labels, and how many pairs it learned from: of large images fewer."""
    share = (_ORDINARY_SIDE / max(_ORDINARY_SIDE, pairs.encrypted.shape[1])) ** 2
    known = pairs.some(np.arange(max(1, round(share * len(pairs)))))
    reader = train_reader("label-recovery", known, seed, epochs=_LABEL_EPOCHS, classifier=victim.classifier)
    return reader, len(known)


def _figures(
    test: ImageSet, encrypted: Vector, restored: Vector | None, logits: Vector | None, victim: Victim
) -> tuple[dict[str, Any], Shown]:
    """All comparisons on the test images."""
    originals, labels = test.pixels(), test.labels > 0
    clean, misled = victim.decisions(originals), victim.decisions(encrypted)
    right, hid = (clean == labels).all(axis=1), hidden(victim, originals, encrypted, test.labels)
    recovered = None if logits is None else logits >= 0
    again = None if restored is None else victim.decisions(restored)
    figures: dict[str, Any] = {
        "images": {
            "measured": len(test),
            "patients": len(np.unique(test.patients)),
            "decided_rightly": int(right.sum()),
            "hidden": int(hid.sum()),
        },
        "hidden_share": float(hid.sum() / right.sum()) if right.any() else None,  # of those decided rightly before
        "encrypted": likeness(encrypted, originals),
        "reconstructed": None if restored is None else likeness(restored, originals),
        "accuracy": {
            "always_the_same_answer": float(np.maximum(labels.mean(axis=0), 1 - labels.mean(axis=0)).mean()),
            "clean": _share(clean == labels),
            "encrypted": _share(misled == labels),
            "reconstructed": None if again is None else _share(again == labels),
            "recovered": None if recovered is None else _share(recovered == labels),
        },
        "accuracy_on_hidden": {
            "reconstructed": None if again is None else _share((again == labels)[hid]),
            "recovered": None if recovered is None else _share((recovered == labels)[hid]),
        },
    }
    clean_scores, misled_scores = (sigmoid(victim.margins(images)) for images in (originals, encrypted))
    shown = Shown(originals, encrypted, restored, clean_scores, misled_scores, hid)
    return figures, shown


def _share(right: NDArray[np.bool_]) -> float | None:
    """The share of decisions that are right; None where there are none."""
    return float(right.mean()) if right.size else None
