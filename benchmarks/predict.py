"""How long `main.py predict` takes on 100 images beside `main.py evaluate`: whole processes, in turns, in one run.

    .venv/bin/python benchmarks/predict.py [RUN_OR_MODEL] [--images N] [--repeats N] [--json]

The images are test X-rays of FEDWARD_DATA (default ../shared/data) in folders of classes. Without a model a CNN with
random weights stands for one: scores do not change how long they take. `evaluate` decodes images the first time and
takes them from its cache afterwards; `predict` keeps none, and decodes always. So there are two ratios: over the first
`evaluate`, and over one that has a cache. Seconds are medians: of the clock, and of processor time, which other work on
the machine hardly changes.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fedward import settings as setting
from fedward.learning.model import Classifier
from fedward.learning.model_file import save_model
from fedward.learning.stored_model import ModelCard

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("FEDWARD_DATA", ROOT.parent / "shared" / "data")) / "chest_xray" / "test"
CLASSES = ("NORMAL", "PNEUMONIA")


def some_images(into: Path, count: int) -> Path:
    """So many test X-rays, half of each class."""
    for name in CLASSES:
        (into / name).mkdir(parents=True)
        for path in sorted((DATA / name).iterdir())[: count // 2]:
            shutil.copy(path, into / name)
    return into


def random_model(path: Path) -> Path:
    """A CNN with random weights."""
    card = ModelCard.of(setting.load(), CLASSES[1:], CLASSES, (0.5,))
    save_model(path, Classifier(card.spec, 1), card)
    return path


def seconds(*arguments: str | Path, cache: Path) -> tuple[float, float]:
    """Wall time and processor time of a whole process."""
    command = [sys.executable, str(ROOT / "main.py"), *map(str, arguments)]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)  # noqa: S603 - our own program, no shell
    wall, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(model: Path, images: Path, scratch: Path, repeats: int) -> dict[str, list[tuple[float, float]]]:
    """Times of each way, in turns."""
    found: dict[str, list[tuple[float, float]]] = {"evaluate": [], "evaluate, cached": [], "predict": []}
    for turn in range(repeats):
        cache = scratch / f"cache-{turn}"
        found["evaluate"].append(seconds("evaluate", model, "--data", images, "--json", cache=cache))
        found["predict"].append(seconds("predict", model, images, "--json", cache=cache))
        found["evaluate, cached"].append(seconds("evaluate", model, "--data", images, "--json", cache=cache))
    return found


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="a run or model file; default: a CNN with random weights")
    parser.add_argument("--images", type=int, default=100, help="images scored (default 100)")
    parser.add_argument("--repeats", type=int, default=5, help="turns (default 5)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        model = options.model or random_model(scratch / "model.keras")
        times = measured(model, some_images(scratch / "images", options.images), scratch, options.repeats)
    medians = {way: tuple(map(statistics.median, zip(*each, strict=True))) for way, each in times.items()}
    ratios = {
        way: [ours / theirs for ours, theirs in zip(medians["predict"], medians[way], strict=True)]
        for way in ("evaluate", "evaluate, cached")
    }
    if options.json:
        print(json.dumps({"images": options.images, "seconds": times, "ratios": ratios}, indent=2))
        return
    for way, (wall, processor) in medians.items():
        ratio = (
            "  predict takes {:.2f} times as long, {:.2f} of processor time".format(*ratios[way])
            if way in ratios
            else ""
        )
        print(f"{way:17} {wall:6.2f} s, {processor:6.2f} s of processor time{ratio}")


if __name__ == "__main__":
    main()
