"""Compares the CNN's logits and gradients by pixels with those that Keras's layers give: milliseconds an image.

    python benchmarks/inference.py [--images N] [--repeats N] [--json]

Both ways take turns in one process, in batches of 32, and times are medians. What differs between them is printed too.
"""

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fedward.learning.model import Classifier
from fedward.learning.quiet_tensorflow import tf
from fedward.learning.weight_shapes import ModelSpec

BATCH, SIZE = 32, 64


def gradient_of(scores: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The gradient of the summed logits by pixels."""

    def gradient(pixels: Any) -> Any:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(pixels)
            logits = scores(pixels)
        return tape.gradient(logits, pixels)

    return gradient


def compared(what: str, ways: dict[str, Callable[[Any], Any]], images: int, repeats: int) -> dict[str, Any]:
    """One function both ways."""
    batches = [
        tf.constant(np.random.default_rng(start).random((BATCH, SIZE, SIZE, 1)), tf.float32)
        for start in range(0, images, BATCH)
    ]
    traced = {way: tf.function(function) for way, function in ways.items()}
    found = {way: np.concatenate([np.asarray(run(batch)) for batch in batches]) for way, run in traced.items()}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(repeats):
        for way, run in traced.items():
            started = time.perf_counter()
            for batch in batches:
                run(batch).numpy()
            seconds[way].append(time.perf_counter() - started)
    each = {way: 1000 * statistics.median(times) / (BATCH * len(batches)) for way, times in seconds.items()}
    typical = float(np.abs(found["keras"]).mean())
    return {
        "what": what,
        "milliseconds": each,
        "ratio": each["keras"] / each["ours"],
        "difference": float(np.median(np.abs(found["ours"] - found["keras"]))) / typical,
    }


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=256, help="images a turn (default 256)")
    parser.add_argument("--repeats", type=int, default=9, help="turns (default 9)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    classifier = Classifier(ModelSpec("cnn", SIZE, 1), seed=1)
    ways = {"ours": classifier.scores, "keras": functools.partial(classifier.network, training=False)}
    found = [
        compared("logits", ways, options.images, options.repeats),
        compared("gradients", {way: gradient_of(run) for way, run in ways.items()}, options.images, options.repeats),
    ]
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print("what       ours, ms  Keras, ms  ratio  median difference")
    for each in found:
        ours, theirs = each["milliseconds"]["ours"], each["milliseconds"]["keras"]
        print(f"{each['what']:10} {ours:8.2f} {theirs:10.2f} {each['ratio']:6.2f} {each['difference']:18.1e}")


if __name__ == "__main__":
    main()
