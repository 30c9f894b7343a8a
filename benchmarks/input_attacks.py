"""Compares attacks on a classifier's input with those of the Adversarial Robustness Toolbox: images a second, success.

    make .venv-bench/stamp && python benchmarks/input_attacks.py [--images N] [--repeats N] [--json]

Both attack the same CNN, trained for a few epochs on drawn X-rays or on those of FEDWARD_DATA, with the same options
but for the rows of `OWN`, and on the same images, in turns in one process; times are medians, after one run that
compiles. The toolbox gets the classifier as (-logit, logit). Its momentum attack refuses TensorFlow, and is not
compared.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedward import settings as setting
from fedward.adversarial.attack import Aim
from fedward.adversarial.harness import craft, hidden
from fedward.adversarial.registry import attack_from
from fedward.adversarial.victim import Victim
from fedward.labs.image_encryption.models import continue_training
from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import keras, tf
from fedward.learning.weight_shapes import ModelSpec
from fedward.types import ImageSet, Vector

ROOT = Path(__file__).resolve().parents[1]
EPS = 0.02
COMPARED = ("fgsm", "i-fgsm", "pgd", "apgd", "square", "auto", "hop-skip-jump", "hop-skip-jump (coarse)")
ITERATIONS = {"i-fgsm": 30, "pgd": 30, "apgd": 30, "square": 100, "auto": 30, "hop-skip-jump": 10}
# Options that the toolbox has not, by row: there L2 is compared as well as speed.
OWN = {"hop-skip-jump (coarse)": ["coarse=2", "first-evaluations=50"]}
SLOW = {"hop-skip-jump": 8}  # images, of attacks that ask thousands of decisions of each
Run = Callable[[Vector, Vector], Vector]


def trained(epochs: int) -> tuple[Classifier, ImageSet]:
    """A CNN, and images that it was not trained on."""
    from data_preprocessing import preprocess

    folder = os.environ.get("FEDWARD_DATA", "")
    source = str(Path(folder) / "chest_xray") if folder else "synthetic"
    settings = setting.load(None, ("data.source", source), ("data.hospitals", 2))
    partition = preprocess(settings.data, 1, bytes(32)).partitions[0]
    classifier = Classifier(ModelSpec("cnn", settings.data.image_size, 1), seed=1)
    some = np.random.default_rng(1).permutation(len(partition.train))[:1_500]
    images = partition.train.some(some)
    continue_training(classifier, images.pixels(), images.labels, settings.training, epochs)
    return classifier, partition.test.some(np.random.default_rng(2).permutation(len(partition.test)))


def kind_of(name: str) -> str:
    """The attack of a row, without what is said of its options."""
    return name.split()[0]


def ours(name: str, victim: Victim) -> Run:
    """This project's attack."""
    kind, options = kind_of(name), [*OWN.get(name, [])]
    if kind in ITERATIONS:
        options.append(f"iterations={ITERATIONS[kind]}")
    if kind == "auto":
        options.append(f"squares={ITERATIONS['square']}")
    if kind != "hop-skip-jump":
        options.append(f"eps={EPS}")
    attack = attack_from(f"{kind}:{','.join(options)}")
    return lambda pixels, labels: craft(attack, victim, pixels, Aim(labels), np.random.default_rng(1))


def theirs(name: str, classifier: Classifier) -> Run:
    """The toolbox's attack."""
    # Behind all others: of what both environments have, this one's is taken.
    sys.path.extend(str(path) for path in (ROOT / ".venv-bench" / "lib").glob("python3*/site-packages"))
    from art.attacks import evasion
    from art.estimators.classification import TensorFlowV2Classifier

    size = classifier.spec.image_size
    inputs = keras.Input((size, size, 1))
    logits = classifier.network(inputs)
    model = keras.Model(inputs, keras.layers.Concatenate()([-logits, logits]))
    estimator = TensorFlowV2Classifier(
        model,
        nb_classes=2,
        input_shape=(size, size, 1),
        loss_object=tf.keras.losses.CategoricalCrossentropy(from_logits=True),
        clip_values=(0.0, 1.0),
    )
    kind = kind_of(name)
    step = {"eps": EPS, "eps_step": EPS / 10, "batch_size": 256}
    made: dict[str, Callable[[], Any]] = {
        "fgsm": lambda: evasion.FastGradientMethod(estimator, eps=EPS, batch_size=256),
        "i-fgsm": lambda: evasion.BasicIterativeMethod(estimator, max_iter=ITERATIONS[name], verbose=False, **step),
        "pgd": lambda: evasion.ProjectedGradientDescent(
            estimator, max_iter=ITERATIONS[name], num_random_init=1, verbose=False, **step
        ),
        "square": lambda: evasion.SquareAttack(
            estimator, eps=EPS, max_iter=ITERATIONS["square"], p_init=0.8, batch_size=256, verbose=False
        ),
        "hop-skip-jump": lambda: evasion.HopSkipJump(
            estimator, norm=2, max_iter=ITERATIONS[kind], max_eval=1_000, init_eval=100, batch_size=256, verbose=False
        ),
        "apgd": lambda: evasion.AutoProjectedGradientDescent(
            estimator, max_iter=ITERATIONS["apgd"], nb_random_init=1, loss_type="cross_entropy", verbose=False, **step
        ),
        "auto": lambda: evasion.AutoAttack(estimator, attacks=[made["apgd"](), made["square"]()], **step),
    }
    attack = made[kind]()
    return lambda pixels, labels: attack.generate(pixels, y=np.concatenate([1 - labels, labels], axis=1))


def compared(name: str, classifier: Classifier, images: ImageSet, repeats: int) -> dict[str, Any]:
    """One attack both ways."""
    victim, some = Victim(classifier), images.some(np.arange(SLOW.get(kind_of(name), len(images))))
    pixels, labels = some.pixels(), some.labels
    ways = {"ours": ours(name, victim), "theirs": theirs(name, classifier)}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    found: dict[str, Vector] = {way: run(pixels, labels) for way, run in ways.items()}
    for _ in range(repeats):
        for way, run in ways.items():
            started = time.perf_counter()
            found[way] = run(pixels, labels)
            seconds[way].append(time.perf_counter() - started)
    right = victim.decisions(pixels)[:, 0] == (labels[:, 0] > 0)
    return {
        "attack": name,
        "images": len(some),
        "images_a_second": {way: len(some) / statistics.median(times) for way, times in seconds.items()},
        "ratio": statistics.median(seconds["theirs"]) / statistics.median(seconds["ours"]),
        "hidden": {way: float(hidden(victim, pixels, each, labels).sum() / right.sum()) for way, each in found.items()},
        "l2": {way: float(np.sqrt(((each - pixels) ** 2).sum(axis=(1, 2, 3))).mean()) for way, each in found.items()},
    }


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=128, help="images attacked (default 128)")
    parser.add_argument("--epochs", type=int, default=8, help="of training the CNN (default 8)")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs of each (default 3)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    classifier, test = trained(options.epochs)
    found = [compared(name, classifier, test.some(np.arange(options.images)), options.repeats) for name in COMPARED]
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print("attack                 images   ours/s    ART/s  ratio  hidden    ART     L2    ART")
    for each in found:
        speed, share, far = each["images_a_second"], each["hidden"], each["l2"]
        print(
            f"{each['attack']:22} {each['images']:6} {speed['ours']:8.1f} {speed['theirs']:8.1f} {each['ratio']:6.2f}"
            f" {share['ours']:7.3f} {share['theirs']:6.3f} {far['ours']:6.2f} {far['theirs']:6.2f}"
        )


if __name__ == "__main__":
    main()
