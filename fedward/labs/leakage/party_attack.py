"""Attacks what one party holds: gradient inversion, and which candidate's own gradient points the same way.

The second needs no picture: who has X-rays to compare with computes what each would have changed of the model.

References:
    Geiping, Bauermeister, Dröge and Moeller 2020, "Inverting Gradients: How easy is it to break privacy?"
    Nasr, Shokri and Houmansadr 2019, "Comprehensive Privacy Analysis of Deep Learning" (gradients tell members).
"""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.labs.leakage.inversion import MATCHINGS, Inverter, Seen
from fedward.labs.leakage.measures import directions, figures
from fedward.labs.leakage.networks import LocalTraining, Tensors, update
from fedward.labs.leakage.obfuscations import split
from fedward.labs.leakage.parties import Effort, View
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Vector

_ONE_STEP = LocalTraining(1, 1.0)
_TURNS = (
    MATCHINGS[3],
    MATCHINGS[1],
    MATCHINGS[3],
    MATCHINGS[2],
)  # the last free scale: of Adam's steps nothing is known


def attacked(view: View, spec: ModelSpec, effort: Effort, rng: np.random.Generator) -> tuple[dict[str, Any], Vector]:
    """Attack a view.

    Args:
        view: What the party holds; of what only the lab knows, nothing is used but to measure.
        spec: The model's shape.
        effort: How hard.
        rng: Draws starts.

    Returns:
        Figures, and the found images, float32, shape (vectors, attempts, searched, size, size, 1).
    """
    network = _network(spec)
    weights = split(view.weights, tuple(np.asarray(each) for each in network.trainable_weights))
    found = np.stack([_inverted(view, place, spec, weights, effort, rng) for place in range(len(view.vectors))])
    by_gradient = [_alignments(view, group, network, weights) for group in range(len(view.places))]
    by_picture = [_likenesses(view, group, found) for group in range(len(view.places))]
    by_prior = [directions(group) @ directions(view.prior[None])[0] for group in view.candidates]
    told = {
        "attempts": len(view.vectors) * effort.attempts,
        "among": view.candidates.shape[1],
        "by_picture": _ranks(by_picture, view),
        "by_gradient": _ranks(by_gradient, view),
        "by_prior": _ranks(by_prior, view),
        **_likeness(view, found),
    }
    return told, found


def plain_gradients(classifier: Classifier, weights: Vector, images: Vector, labels: Vector) -> Vector:
    """The gradient of each image by itself: what a hospital of one image changes in one step, over the learning rate.

    Args:
        classifier: Of the model's shape.
        weights: Of the model, float32, shape (parameters,).
        images: float32, shape (n, size, size, 1).
        labels: float32, shape (n, findings).

    Returns:
        float32, shape (n, parameters).
    """
    tensors = split(weights, tuple(np.asarray(each) for each in classifier.network.trainable_weights))
    pairs = zip(images, labels, strict=True)
    found = [_gradient(classifier.network, tensors, image[None], label[None]) for image, label in pairs]
    return np.stack(found).astype(np.float32)


def _inverted(
    view: View, place: int, spec: ModelSpec, weights: Tensors, effort: Effort, rng: np.random.Generator
) -> Vector:
    """The images of all attempts on one vector: shape (attempts, searched, size, size, 1)."""
    labels = view.candidate_labels[place : place + 1] if view.alone else view.labels
    seen = Seen(weights, labels, split(view.vectors[place], weights), sparse=False)
    tried = []
    for number in range(effort.attempts):
        matching = _TURNS[number % len(_TURNS)]
        tried.append(_inverter(spec)(seen, matching, effort.steps, rng, view.prior)[0])
    return np.stack(tried)


def _alignments(view: View, group: int, network: Any, weights: Tensors) -> NDArray[np.float64]:
    """The cosine between each candidate's gradient and what is held."""
    held = view.vectors[group if view.alone else 0].astype(np.float64)
    label = view.candidate_labels[group : group + 1]
    cosines = []
    for image in view.candidates[group]:
        gradient = _gradient(network, weights, image[None], label)
        cosines.append(gradient @ held / max(float(np.linalg.norm(gradient)), 1e-30))
    return np.array(cosines)


def _gradient(network: Any, weights: Tensors, image: Vector, label: Vector) -> NDArray[np.float64]:
    given = [tf.constant(weight) for weight in weights], tf.constant(image), tf.constant(label)
    return np.concatenate([each.numpy().ravel() for each in _step_of(network)(*given)]).astype(np.float64)


def _likenesses(view: View, group: int, found: Vector) -> NDArray[np.float64]:
    """How much each candidate correlates with what was found, what all X-rays share taken away; mean over attempts."""
    candidates = directions(view.candidates[group] - view.prior)
    of = found[group if view.alone else 0]
    return np.asarray(np.mean([(candidates @ directions(tried - view.prior).T).max(1) for tried in of], 0), np.float64)


def _ranks(scores: list[NDArray[np.float64]], view: View) -> dict[str, Any]:
    """How often the victim comes first of its group, and its mean place, from 0 (first) to 1 (last)."""
    places = [
        float((of > of[place]).mean() + ((of == of[place]).sum() - 1) / 2 / len(of))
        for of, place in zip(scores, view.places, strict=True)
    ]
    hits = sum(int(of.argmax()) == int(place) for of, place in zip(scores, view.places, strict=True))
    return {
        "hits": hits,
        "of": len(places),
        "place": float(np.mean(places)) * view.candidates.shape[1] / (view.candidates.shape[1] - 1),
    }


def _likeness(view: View, found: Vector) -> dict[str, Any]:
    """PSNR and SSIM of each found image against the original that it is nearest to, beside the prior by the same rule.

    With many originals anything is near to one of them: so the prior is compared with the one nearest to it.
    """
    best, above, prior = list[dict[str, float]](), list[dict[str, float]](), list[dict[str, float]]()
    for place, attempts in enumerate(found):
        behind = view.behind[place : place + 1] if view.alone else view.behind
        base = _nearest(view.prior[None], behind)
        tried = [_nearest(images, behind) for images in attempts]
        prior.append({name: float(values[0]) for name, values in base.items()})
        best.append({name: max(float(each[name].max()) for each in tried) for name in base})
        above.append({name: best[-1][name] - prior[-1][name] for name in base})
    means = {name: float(np.mean([each[name] for each in best])) for name in best[0]}
    return {
        "best": means,
        "prior": {name: float(np.mean([each[name] for each in prior])) for name in means},
        "most_above_prior": {name: max(each[name] for each in above) for name in means},
    }


def _nearest(images: Vector, originals: Vector) -> dict[str, NDArray[np.float64]]:
    flat, others = images.reshape(len(images), -1), originals.reshape(len(originals), -1)
    errors = (flat**2).sum(1)[:, None] - 2 * flat @ others.T + (others**2).sum(1)
    found = figures(images, originals[errors.argmin(1)])
    return {name: found[name] for name in ("psnr_db", "ssim")}


@functools.lru_cache(maxsize=1)
def _network(spec: ModelSpec) -> Any:
    return Classifier(spec).network


@functools.lru_cache(maxsize=1)
def _inverter(spec: ModelSpec) -> Inverter:
    return Inverter(_network(spec), spec.image_size, _ONE_STEP)


@functools.lru_cache(maxsize=1)
def _step_of(network: Any) -> Any:
    return tf.function(lambda weights, image, label: update(network, weights, image, label, _ONE_STEP))
