"""One method on one seed: encrypt, train readers, let attackers try, and measure all of them on other patients' images.

Who knows what:
- the protecting hospital: the federation's model, its own images and labels;
- an authorized reader: a network trained on the protecting hospital's pairs, whose part that reads labels starts as
  the federation's model;
- an attacker: encrypted images, and a classifier trained elsewhere; he retrains it on k encrypted images with labels,
  which is all that k known pairs, or public labels, are worth to him.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedward.adversarial.attack import Aim, Attack
from fedward.adversarial.harness import craft, hidden, in_eight_bits
from fedward.adversarial.registry import attack_from
from fedward.adversarial.victim import Victim
from fedward.labs.image_encryption.figures import decisions, margins_of, quality, share
from fedward.labs.image_encryption.models import ELSEWHERE, FEDERATION, Models, continue_training
from fedward.labs.image_encryption.plan import Plan
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.registry import READERS, train_reader
from fedward.seeding import public_rng
from fedward.settings import TrainingSettings
from fedward.types import ImageSet, Vector

AUTHORIZED = "joint"  # the reader that every method is measured with
_ATTACKER_EPOCHS = 20
SHOWN = 4  # images in the picture


@dataclass(frozen=True)
class Sets:
    """Which images are used for what; of different patients.

    Attributes:
        own: Images of the protecting hospital, to learn from.
        test: Images of all hospitals, to measure on.
    """

    own: ImageSet
    test: ImageSet


@dataclass(frozen=True)
class Picture:
    """A few images at every stage: float32, shape (n, height, width, 1) each."""

    originals: Vector
    encrypted: Vector
    restored: Vector


def run_method(
    text: str, plan: Plan, sets: Sets, models: Models, training: TrainingSettings, *, compare: bool
) -> tuple[dict[str, Any], Picture]:
    """Measure one method.

    Args:
        text: The method, as `attack_from` reads it.
        plan: How much.
        sets: Images.
        models: Classifiers of the seed.
        training: The consortium's, whose seed decides all draws; attackers train so, too.
        compare: Whether all readers are trained, or the authorized one only.

    Returns:
        Its figures, and a picture.
    """
    attack, seed = attack_from(text), training.seed
    size = sets.test.images.shape[1]
    model = models[FEDERATION]
    victim = Victim(model.classifier(size), model.thresholds)
    own, test = _enough(attack, plan, sets.own), _enough(attack, plan, sets.test)
    rng = public_rng("lab image encryption", seed, text)
    pixels, started = test.pixels(), time.perf_counter()
    encrypted = craft(attack, victim, pixels, Aim(test.labels), rng)
    seconds = time.perf_counter() - started
    learned = craft(attack, victim, own.pixels(), Aim(own.labels), rng)
    pairs = Pairs(learned, own.pixels(), own.labels)
    readers = {
        name: train_reader(name, pairs, seed, epochs=plan.reader_epochs, classifier=victim.classifier)
        for name in (READERS if compare else (AUTHORIZED,))
    }
    flipped = hidden(victim, pixels, encrypted, test.labels)
    found = {
        "method": text,
        "images": len(test),
        "pairs": len(own),
        "images_a_second": len(test) / seconds,
        "clean": decisions(test, victim.margins(pixels)),
        "encrypted": _encrypted(victim, test, encrypted, flipped),
        "readers": {name: _read(reader, test, encrypted, flipped) for name, reader in readers.items()},
        "attackers": _attackers(plan, models, own, learned, test, encrypted, training),
        "transfer": _transfer(models, test, encrypted),
    }
    restored = readers[AUTHORIZED].images(encrypted[:SHOWN])
    return found, Picture(pixels[:SHOWN], encrypted[:SHOWN], pixels[:SHOWN] if restored is None else restored)


def _enough(attack: Attack, plan: Plan, images: ImageSet) -> ImageSet:
    """Fewer images for methods that ask thousands of decisions of each."""
    if attack.needs != "decisions":
        return images
    return images.some(np.arange(max(1, round(plan.slow_share * len(images)))))


def _encrypted(victim: Victim, test: ImageSet, encrypted: Vector, flipped: Any) -> dict[str, Any]:
    """Encrypted images as they are, and as a file of 8 bits keeps them."""
    pixels = test.pixels()
    right = ~Aim(test.labels).reached(victim.decisions(pixels))
    rounded = in_eight_bits(encrypted)
    return {
        **quality(encrypted, pixels),
        "hidden": share(flipped, right, test),
        "l2": float(np.sqrt(((encrypted - pixels) ** 2).sum(axis=(1, 2, 3))).mean()),
        "in_eight_bits": {
            **quality(rounded, pixels),
            "hidden": share(hidden(victim, pixels, rounded, test.labels), right, test),
        },
        "decided": decisions(test, victim.margins(encrypted)),
    }


def _read(reader: Reader, test: ImageSet, encrypted: Vector, flipped: Any) -> dict[str, Any]:
    """What a reader gives back, of all images and of those whose label is hidden."""
    images, logits = reader.images(encrypted), reader.scores(encrypted)
    pixels, found = test.pixels(), {}
    for name, some in (("all", np.ones(len(test), np.bool_)), ("hidden", flipped)):
        found[name] = {
            **(quality(images[some], pixels[some]) if images is not None else {}),
            **({"encrypted": quality(encrypted[some], pixels[some])} if images is not None else {}),
            **(decisions(test.some(some), margins_of(logits[some])) if logits is not None else {}),
        }
    return found


def _attackers(
    plan: Plan,
    models: Models,
    own: ImageSet,
    learned: Vector,
    test: ImageSet,
    encrypted: Vector,
    training: TrainingSettings,
) -> dict[str, Any]:
    """How well an attacker recovers labels with k known pairs; 0: his own classifier as it is."""
    size, found = test.images.shape[1], {}
    for known in (0, *plan.known):
        if known > len(own):
            continue
        model = models[ELSEWHERE]
        classifier = model.classifier(size)
        chosen = public_rng("known pairs", training.seed, known).permutation(len(own))[:known]
        if known:
            continue_training(classifier, learned[chosen], own.labels[chosen], training, _ATTACKER_EPOCHS)
        thresholds = (0.5,) if known else model.thresholds  # retrained, the old ones no longer fit
        found[str(known)] = decisions(test, margins_of(classifier.logits(encrypted), thresholds))
    return found


def _transfer(models: Models, test: ImageSet, encrypted: Vector) -> dict[str, Any]:
    """Which other classifiers are misled too: accuracy before and after, and what share of right decisions turns."""
    size, pixels, found = test.images.shape[1], test.pixels(), {}
    for name, model in models.items():
        victim = Victim(model.classifier(size), model.thresholds)
        right = ~Aim(test.labels).reached(victim.decisions(pixels))
        found[name] = {
            "architecture": model.architecture,
            "clean": decisions(test, victim.margins(pixels)),
            "encrypted": decisions(test, victim.margins(encrypted)),
            "misled": share(hidden(victim, pixels, encrypted, test.labels), right, test),
        }
    return found
