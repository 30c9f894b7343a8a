"""Empirical privacy audit: an attacker who knows everything but one patient gives a lower bound on epsilon.

    PYTHONPATH=. .venv/bin/python benchmarks/privacy_audit.py [--trials 1000] [--json]

Plays against `fedward.privacy.private_training.train_privately` itself, on the linear model of wavelet features: an
empirical lower bound on epsilon (95 % confidence), beside the stated one. The last row is a deliberate mistake, a tenth
of the stated noise: there the lower bound must pass the stated epsilon, or the attacker is too weak to notice anything.
"""

import argparse
import dataclasses
import json
import time

import numpy as np

from fedward import settings as setting
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.privacy.accounting import epsilon
from fedward.privacy.epsilon_lower_bound import canary_scores, epsilon_found
from fedward.privacy.mechanism import expected_event
from fedward.settings import PrivacySettings
from fedward.types import GlobalModel, HospitalId, ImageSet, Partition

SIZE = 16
PATIENTS, IMAGES_EACH = 8, 2
CASES = (  # name, sampling rate, steps, stated noise, noise really added
    ("one step, everybody", 1.0, 1, 1.0, 1.0),
    ("one step, half", 0.5, 1, 0.7, 0.7),
    ("ten steps, half", 0.5, 10, 2.0, 2.0),
    ("a tenth of the noise", 1.0, 1, 4.0, 0.4),
)


def hospital() -> Partition:
    """A few patients with noise for images; the last one is easiest to tell apart: black, and labeled so."""
    rng = np.random.default_rng(0)
    count = PATIENTS * IMAGES_EACH
    images = rng.integers(0, 256, (count, SIZE, SIZE)).astype(np.uint8)
    images[-IMAGES_EACH:, : SIZE // 2] = 0
    labels = np.zeros((count, 1), np.float32)
    labels[-IMAGES_EACH:] = 1.0
    train = ImageSet(images, labels, np.repeat([f"p{number}" for number in range(PATIENTS)], IMAGES_EACH))
    nobody = ImageSet(images[:0], labels[:0], train.patients[:0])
    return Partition(HospitalId("hospital-1"), ("f",), train, nobody, nobody)


def rows(trials: int) -> list[dict[str, float | str]]:
    """Audit one case after the other."""
    classifier = Classifier(ModelSpec("scatter", SIZE, 1), 1)
    model = GlobalModel(classifier.get_weights(), b"")
    found: list[dict[str, float | str]] = []
    base = dataclasses.replace(setting.load().privacy, mode="sample", clip_norm=0.1, momentum=0.0, learning_rate=0.1)
    for name, rate, steps, stated, added in CASES:
        settings: PrivacySettings = dataclasses.replace(base, sampling_rate=rate, steps=steps, noise_multiplier=stated)
        started = time.perf_counter()
        really = dataclasses.replace(settings, noise_multiplier=added)
        scores = canary_scores(hospital(), f"p{PATIENTS - 1}", model, classifier, really, trials)
        found.append(
            {
                "name": name,
                "unit": settings.unit,
                "delta": settings.delta,
                "epsilon_stated": epsilon([expected_event(settings)]) or 0.0,
                "epsilon_found": epsilon_found(*scores, settings.delta),
                "seconds": time.perf_counter() - started,
            }
        )
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000, help="with the canary, and as many without")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table = rows(options.trials)
    if options.json:
        print(json.dumps({"trials": options.trials, "rows": table}, indent=2))
        return
    print(f"{'case':<24}{'unit':<10}{'epsilon stated':>16}{'found, at least':>18}{'seconds':>10}")
    for row in table:
        print(
            f"{row['name']:<24}{row['unit']:<10}{row['epsilon_stated']:>16.3f}{row['epsilon_found']:>18.3f}"
            f"{row['seconds']:>10.1f}"
        )


if __name__ == "__main__":
    main()
