"""How often a heat map's hottest place lies in the finding, on drawn phantoms whose finding is drawn at a known place.

    .venv/bin/python benchmarks/heat_maps.py [--models cnn,scatter] [--seeds 1,2,3] [--json]

Each model is trained on phantoms of 64 by 64 pixels (seed 1 of the drawing) from another start. `chosen on` are the
phantoms that the maps' blocks and smoothing were chosen on, `others` are drawn anew, and say what is to be expected.
`grad-cam` is the plain method at the last convolution of the CNN, `random` a map of 8 by 8 random numbers. A finding
covers about 5 of 100 parts of an image; a place counts as inside as far out as 1/e of the finding's middle is left.
DenseNet121 takes five minutes to train.

    .venv/bin/python benchmarks/heat_maps.py --run RUN_OR_MODEL

looks at real X-rays instead, where nobody knows the place: test images of chest_xray (FEDWARD_DATA, default
../shared/data) that the model calls. By how much does the logit fall when the hottest tenth of an image is blurred, and
by how much when the hottest tenth of another image's map is? How often is the hottest place near the border?
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_preprocessing import read_split
from fedward import settings as setting
from fedward.dataset.phantoms import FINDING, finding_places, list_phantoms
from fedward.explaining.heat_maps import METHODS
from fedward.explaining.spreading import Places, smooth, spread
from fedward.learning.model import Classifier
from fedward.learning.model_file import load_classifier
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import Vector

SIZE, BATCH, COUNT = 64, 32, 400
DRAWN = {"chosen on": 77, "others": 78}  # seeds of phantoms
# Phantoms, epochs and learning rate.
TRAINING = {"cnn": (1_500, 8, 0.002), "scatter": (1_000, 30, 0.003), "densenet121": (700, 8, 0.001)}
REAL, BLURRED, MARGIN = 200, 6 / 64, 10 / 64  # real images; deviation of the blur and width of the border, in sides
Maps = Callable[[Classifier, Vector], Vector]


def phantoms(count: int, seed: int) -> tuple[Vector, NDArray[np.float32]]:
    """Pixels, float32 (n, size, size, 1), and labels, (n, 1)."""
    listing = list_phantoms(count, SIZE, seed)
    labels = np.array([[float(FINDING in entry.classes)] for entry in listing.entries], np.float32)
    return (np.asarray(listing.pixels)[..., None] / np.float32(255)).astype(np.float32), labels


def trained(name: str, seed: int) -> Classifier:
    """A model that tells phantoms with the finding from others."""
    count, epochs, rate = TRAINING[name]
    pixels, labels = phantoms(count, 1)
    classifier, rng = Classifier(ModelSpec(name, SIZE, 1), seed), np.random.default_rng(seed)
    prepared = classifier.prepare(pixels)
    classifier.start_training(rate)
    for _ in range(epochs):
        order = rng.permutation(count)
        for start in range(0, count - BATCH + 1, BATCH):
            classifier.train_batch(prepared[order[start : start + BATCH]], labels[order[start : start + BATCH]])
    return classifier


def ours(classifier: Classifier, pixels: Vector) -> Vector:
    """The maps of `predict --explain`."""
    return METHODS[classifier.spec.name].maps(classifier, pixels, np.zeros(len(pixels), np.intp))


def grad_cam(classifier: Classifier, pixels: Vector) -> Vector:
    """Selvaraju et al. 2017, at the last convolution of the CNN, before it is halved."""
    last = [layer for layer in classifier.network.layers if isinstance(layer, keras.layers.ReLU)][-1]
    network = keras.Model(classifier.network.input, [last.output, classifier.network.output])
    with tf.GradientTape() as tape:
        activations, logits = network(tf.constant(pixels), training=False)
        total = tf.reduce_sum(logits)
    weights = tf.reduce_mean(tape.gradient(total, activations), axis=(1, 2), keepdims=True)
    coarse = tf.nn.relu(tf.reduce_sum(weights * activations, axis=-1))
    return spread(np.asarray(coarse), Places(3.5, 8), SIZE)


def random(_classifier: Classifier, pixels: Vector) -> Vector:
    """Maps that know nothing."""
    return spread(np.random.default_rng(0).random((len(pixels), 8, 8), np.float32), Places(3.5, 8), SIZE)


def inside(maps: Vector, places: NDArray[np.bool_]) -> float:
    """The share of maps whose hottest pixel lies where the finding is drawn."""
    hottest = maps.reshape(len(maps), -1).argmax(axis=1)
    return float(places.reshape(len(places), -1)[np.arange(len(maps)), hottest].mean())


def measured(name: str, seed: int) -> dict[str, dict[str, float]]:
    """Shares by method and phantoms, for one model; of all phantoms with the finding."""
    classifier = trained(name, seed)
    methods: dict[str, Maps] = {"ours": ours, "random": random} | ({"grad-cam": grad_cam} if name == "cnn" else {})
    found: dict[str, dict[str, float]] = {method: {} for method in methods}
    for part, drawing in DRAWN.items():
        pixels, labels = phantoms(COUNT, drawing)
        positive = labels[:, 0] == 1
        places = finding_places(COUNT, SIZE, drawing)[positive]
        for method, maps in methods.items():
            found[method][part] = inside(maps(classifier, pixels[positive]), places)
    return found


def on_real_images(model: Path) -> dict[str, float]:
    """What blurring the hottest tenth of real X-rays does to a model's logit, and where the hottest places are."""
    classifier, card = load_classifier(model / "model.keras" if model.is_dir() else model)
    source = (
        Path(os.environ.get("FEDWARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data")) / "chest_xray"
    )
    settings = dataclasses.replace(setting.load().data, source=str(source), image_size=card.image_size)
    images, _ = read_split(settings, card.seed, "test", lambda _done, _total: None, expected=card.findings)
    pixels = images.pixels()
    pixels = pixels[classifier.logits(pixels)[:, 0] > 0][:REAL]
    logits, maps, size = classifier.logits(pixels)[:, 0], ours(classifier, pixels), card.image_size
    blurred = smooth(pixels[..., 0], size * BLURRED)[..., None]
    hot = maps >= np.quantile(maps.reshape(len(maps), -1), 0.9, axis=1)[:, None, None]

    def fall(where: NDArray[np.bool_]) -> float:
        changed = np.where(where[..., None], blurred, pixels)
        return float((logits - classifier.logits(changed)[:, 0]).mean())

    row, column = np.divmod(maps.reshape(len(maps), -1).argmax(axis=1), size)
    margin = size * MARGIN
    near = np.minimum.reduce([row, column, size - 1 - row, size - 1 - column]) < margin
    return {
        "images": len(pixels),
        "mean logit": float(logits.mean()),
        "falls by, hottest tenth blurred": fall(hot),
        "falls by, another image's hottest tenth": fall(np.roll(hot, 1, axis=0)),
        "hottest near the border": float(near.mean()),
    }


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="cnn,scatter", help=f"of {','.join(TRAINING)} (default cnn,scatter)")
    parser.add_argument("--seeds", default="1,2,3", help="starts of training (default 1,2,3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--run", type=Path, help="a run or model file, to be looked at on real X-rays")
    options = parser.parse_args()
    if options.run:
        print(json.dumps(on_real_images(options.run), indent=2))
        return
    found = {
        f"{name}, seed {seed}": measured(name, int(seed))
        for name in options.models.split(",")
        for seed in options.seeds.split(",")
    }
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print(f"| model | method | {' | '.join(DRAWN)} |\n|---|---|{'---|' * len(DRAWN)}")
    for model, methods in found.items():
        for method, shares in methods.items():
            print(f"| {model} | {method} | {' | '.join(f'{share:.3f}' for share in shares.values())} |")


if __name__ == "__main__":
    main()
