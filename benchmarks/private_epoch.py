"""How much longer an epoch of private training (DP-SGD) takes than a plain one, on the same drawn images.

    .venv/bin/python benchmarks/private_epoch.py [--json] [--images N] [--repeats R]

An epoch of private training is as many steps as let every patient take part once on average: 1 / sampling-rate. Times
are of processor cores, so that a busy machine changes them little; the least of the repeats counts.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from fedward import settings as setting
from fedward.learning.model import Classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.privacy.private_training import train_privately
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition

IMAGES_OF_A_PATIENT = 2
SIZE = 64


def main() -> None:
    """Measure both models and print a line each, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--images", type=int, default=800, help="of one hospital")
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    rows = [measured(name, arguments.images, arguments.repeats) for name in ("cnn", "scatter")]
    if arguments.json:
        print(json.dumps({"rows": rows}, indent=2))
        return
    for row in rows:
        print(
            f"{row['model']:8} plain {row['plain_s']:7.2f} s   private {row['private_s']:7.2f} s   {row['ratio']:.2f}x"
        )


def measured(name: str, images: int, repeats: int) -> dict[str, str | float]:
    """Seconds of processor time of a plain and of a private epoch of a model."""
    settings = setting.load()
    training = dataclasses.replace(settings.training, local_epochs=1)
    privacy = dataclasses.replace(
        settings.privacy, mode="sample", steps=round(1 / settings.privacy.sampling_rate), learning_rate=1e-6
    )
    classifier = Classifier(ModelSpec(name, SIZE, 1), 1)
    partition, model = _hospital(images), GlobalModel(classifier.get_weights(), b"")
    plain = _seconds(lambda: train(partition, model, classifier, training, 1), repeats)
    private = _seconds(lambda: train_privately(partition, model, classifier, privacy), repeats)
    return {"model": name, "images": images, "plain_s": plain, "private_s": private, "ratio": private / plain}


def _hospital(images: int) -> Partition:
    """A partition with noise for images: what they show does not change the time."""
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (images, SIZE, SIZE), dtype=np.uint8)
    labels = (rng.random((images, 1)) < 0.5).astype(np.float32)
    patients = np.array([f"p{row // IMAGES_OF_A_PATIENT}" for row in range(images)])
    held = ImageSet(pixels, labels, patients)
    return Partition(HospitalId("hospital-1"), ("finding",), held, held, held)


def _seconds(work: Callable[[], object], repeats: int) -> float:
    """The least processor time of some calls, after one that traces."""
    work()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


if __name__ == "__main__":
    main()
