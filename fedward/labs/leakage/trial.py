"""Attacks one case on one seed: draws victims, computes what the server sees, attacks it, and measures."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.labs.leakage.inversion import MATCHINGS, Inverter, Seen, ceiling, read_rows
from fedward.labs.leakage.measures import MOST_DB, classes_read, figures, matched, means, names, positives_read
from fedward.labs.leakage.networks import (
    CLASSES,
    LENET_CLASSES,
    LocalTraining,
    Tensors,
    labels_for,
    update,
    weights_of,
)
from fedward.labs.leakage.obfuscations import Obfuscation
from fedward.labs.leakage.plan import NEAR_MEAN, Case, Plan
from fedward.labs.leakage.victims import Drawn, Scene, draw
from fedward.learning.quiet_tensorflow import tf
from fedward.seeding import public_rng
from fedward.types import Vector

_STRANGERS = 5  # groups of other patients that attempts are compared with
ROW_OF_GRADIENT = "first row"  # the attempt that needs no search, see `read_rows`


@dataclass(frozen=True)
class Picture:
    """The images of all victims of a case, one after the other; float32, shape (n, size, size, 1), values in [0, 1].

    Attributes:
        originals: As the hospitals have them.
        found: The best attempt on each victim.
    """

    originals: Vector = field(repr=False)
    found: Vector = field(repr=False)


def _of_strangers(attempts: Iterable[Vector], drawn: Drawn, prior: Vector) -> dict[str, float]:
    """By how much attempts pass the prior of images that are not behind what was seen, and so by chance."""
    count = len(drawn.images)
    strangers = drawn.candidates[count:]
    groups = [strangers[start : start + count] for start in range(0, len(strangers) - count + 1, count)][:_STRANGERS]
    most = {"psnr_db": -MOST_DB, "ssim": -2.0}
    for group in groups:
        base = figures(np.repeat(prior, count, 0), group)
        for images in attempts:
            of = figures(matched(images, group), group)
            most = {name: max(value, float((of[name] - base[name]).max())) for name, value in most.items()}
    return most


def victims_rng(seed: int, index: int) -> np.random.Generator:
    """What draws the victims of one trial of a seed: the same for all obfuscations."""
    return public_rng("lab victims", seed, index)


class Trial:
    """One case's hospitals and their attacker.

    Args:
        network: The model of the round, at the weights from which hospitals train.
        inverter: Attacks it.
        local: How hospitals train.
        obfuscation: What is done to updates.
        case: What is attacked.
        plan: How hard.
    """

    def __init__(
        self,
        network: Any,
        inverter: Inverter,
        local: LocalTraining,
        obfuscation: Obfuscation,
        case: Case,
        plan: Plan,
    ) -> None:
        self._network, self._inverter, self._local = network, inverter, local
        self._obfuscation, self._case, self._plan = obfuscation, case, plan

    def run(self, scene: Scene, seed: int) -> tuple[dict[str, Any], Picture]:
        """Attack all victims of a seed.

        Args:
            scene: The images.
            seed: Decides the victims, which are the same for all obfuscations, and the attacker's starts.
        """
        count = self._case.batch * self._obfuscation.hospitals
        victims, pictures = [], []
        for index in range(self._plan.victims):
            drawn = draw(scene.victims, count, self._plan.candidates, victims_rng(seed, index))
            found, picture = self._attack(scene, drawn, public_rng("lab attack", seed, index, str(self._case)))
            victims.append(found)
            pictures.append(picture)
        whole = Picture(
            np.concatenate([each.originals for each in pictures]), np.concatenate([each.found for each in pictures])
        )
        return {"images": count, "victims": victims}, whole

    def _attack(self, scene: Scene, drawn: Drawn, rng: np.random.Generator) -> tuple[dict[str, Any], Picture]:
        seen = self._seen(drawn, rng)
        attempts = self._attempts(scene, seen, drawn, rng)
        prior = figures(np.repeat(scene.prior, len(drawn.images), 0), drawn.images)
        measured = {name: figures(images, drawn.images) for name, images in attempts.items()}
        best = max(measured, key=lambda name: measured[name]["psnr_db"].mean())
        told = {
            "attempts": {name: means(of) for name, of in measured.items()},
            "best": means(measured[best]),
            "prior": means(prior),
            "ceiling": means(figures(ceiling(drawn.images), drawn.images)),
            "most_above_prior": {
                name: max(float((of[name] - prior[name]).max()) for of in measured.values())
                for name in ("psnr_db", "ssim")
            },
            "strangers_above_prior": _of_strangers(attempts.values(), drawn, scene.prior),
            "named": names(np.concatenate(list(attempts.values())), drawn, scene.prior),
            "among": drawn.among,
            **self._labels_read(seen, drawn, scene),
        }
        return told, Picture(drawn.images, attempts[best])

    def _seen(self, drawn: Drawn, rng: np.random.Generator) -> Seen:
        """What the server gets of the hospitals that share the drawn images."""
        weights, batch, labels = weights_of(self._network), self._case.batch, self._labels(drawn)
        updates = [
            self._update(weights, drawn.images[start : start + batch], labels[start : start + batch])
            for start in range(0, len(drawn.images), batch)
        ]
        return Seen(weights, labels, self._obfuscation(updates, rng), self._obfuscation.sparse)

    def _labels(self, drawn: Drawn) -> NDArray[np.float32]:
        return labels_for(self._case.model, drawn.labels)

    def _update(self, weights: Tensors, images: Vector, labels: Vector) -> Tensors:
        given = [tf.constant(weight) for weight in weights], tf.constant(images), tf.constant(labels)
        return tuple(each.numpy() for each in update(self._network, *given, self._local))

    def _attempts(self, scene: Scene, seen: Seen, drawn: Drawn, rng: np.random.Generator) -> Mapping[str, Vector]:
        """What each attempt found, in the order of the originals, by its name."""
        found: dict[str, Vector] = {}
        count = len(drawn.images)
        steps = self._plan.steps_for(self._case, count)
        for start in self._plan.starts:
            around = scene.prior[0] if start == NEAR_MEAN else None
            for number in range(self._plan.attempts):
                matching = MATCHINGS[number % len(MATCHINGS)]
                images, _ = self._inverter(seen, matching, steps, rng, around)
                where = f", {start}" if start == NEAR_MEAN else ""
                found[f"{len(found) + 1}, {matching.name}{where}"] = matched(images, drawn.images)
        if count == 1 and (row := read_rows(seen, drawn.images.shape[1])) is not None:
            found[ROW_OF_GRADIENT] = row
        return found

    def _labels_read(self, seen: Seen, drawn: Drawn, scene: Scene) -> dict[str, Any]:
        """Whether the attacker would have counted the labels right, had he not known them; and the chance of it."""
        count, bias = len(drawn.labels), seen.values[-1].ravel() / np.float32(self._local.steps)
        if self._case.model == LENET_CLASSES:
            read = set(classes_read(bias, count)) == set(self._labels(drawn).argmax(1))
            return {"labels_read": read, "labels_chance": 1 / math.comb(CLASSES, count)}
        logit = float(self._network(tf.constant(scene.prior), training=False)[0, 0])
        positives = positives_read(float(bias[0]), 1 / (1 + math.exp(-logit)), count)
        return {
            "labels_read": positives == int(drawn.labels.sum()),
            "labels_chance": math.comb(count, count // 2) / 2**count,
        }
