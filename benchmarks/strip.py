"""How often `main.py screen --model --incoming` suspects images with a trigger, and clean ones.

    .venv/bin/python benchmarks/strip.py [--seeds 1,2]

A classifier is trained on training images of chest_xray (FEDWARD_DATA, default ../shared/data), with a mark on a fifth
of those with the finding, which are labeled as without: a white square, a smaller or a darker one. Another is trained
without. Validation images tell what is usual; test images with the finding are looked at with the mark and without.
"""

import argparse
import dataclasses
import os
import secrets
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_preprocessing import preprocess
from fedward import settings as setting
from fedward.backdoor.stamps import Stamp, square
from fedward.learning.model import Classifier
from fedward.learning.training import run_epochs
from fedward.learning.weight_shapes import ModelSpec
from fedward.strip import RATE, rarity, usual
from fedward.types import ImageSet

DATA = Path(os.environ.get("FEDWARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SIZE, MARKS = 64, (("white 6x6", 6, 1.0), ("white 3x3", 3, 1.0), ("grey 6x6", 6, 0.7), ("black 6x6", 6, 0.0))
EPOCHS, LOOKED_AT = 8, 150


def trained(images: ImageSet, stamp: Stamp | None, settings: setting.Settings, seed: int) -> Classifier:
    """A classifier, with a backdoor where a mark is given."""
    pixels, labels, rng = images.pixels(), images.labels.copy(), np.random.default_rng(seed)
    if stamp:
        present = np.flatnonzero(labels[:, 0] > 0)
        chosen = rng.permutation(present)[: len(present) // 5]
        pixels[chosen], labels[chosen] = stamp.on(pixels[chosen]), 0
    classifier = Classifier(ModelSpec("cnn", SIZE, 1), seed)
    classifier.start_training(settings.training.learning_rate)
    run_epochs(classifier, pixels, labels, dataclasses.replace(settings.training, local_epochs=EPOCHS), rng)
    return classifier


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", default="1")
    print("| mark | seed | called as the attacker wants | of these suspected | clean ones suspected |")
    print("|---|---:|---:|---:|---:|")
    for seed in map(int, parser.parse_args().seeds.split(",")):
        settings = setting.load(None, ("data.source", str(DATA / "chest_xray")), ("data.hospitals", 2))
        parts = preprocess(settings.data, seed, secrets.token_bytes(32)).partitions
        train, val, test = (
            ImageSet.joined([getattr(part, name) for part in parts]) for name in ("train", "val", "test")
        )
        rng = np.random.default_rng(seed)
        clean = val.pixels()[rng.permutation(len(val))]
        ill = test.pixels()[test.labels[:, 0] > 0][:LOOKED_AT]
        every = test.pixels()[rng.permutation(len(test))][: 2 * LOOKED_AT]
        for name, side, brightness in (*MARKS, ("none in training, white 6x6", 6, 1.0)):
            stamp = square("mark", SIZE, SIZE - side - 1, SIZE - side - 1, side, brightness)
            classifier = trained(train, None if name.startswith("none") else stamp, settings, seed)
            than = usual(classifier.logits, clean, np.array([0.5]))
            marked = stamp.on(ill)
            wanted = classifier.logits(marked)[:, 0] < 0
            found = rarity(classifier.logits, marked[wanted], than) <= RATE if wanted.any() else np.zeros(1)
            false = rarity(classifier.logits, every, than) <= RATE
            shares = " | ".join(f"{share:.3f}" for share in (wanted.mean(), found.mean(), false.mean()))
            print(f"| {name} | {seed} | {shares} |", flush=True)


if __name__ == "__main__":
    main()
