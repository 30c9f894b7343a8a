"""How often `main.py screen` finds planted images, and how often it suspects images that nobody planted.

    .venv/bin/python benchmarks/screening.py [--hospitals 5] [--seeds 1,2] [--json]

Each hospital's training images of chest_xray (FEDWARD_DATA, default ../shared/data) are screened as they are, and with
images of PNEUMONIA among those labeled NORMAL that carry a white square in a corner: 5, 10, 15 and 25 of 100 with that
label. `precision` and `recall` are those of the group that is named, where one is; `first` is the share of planted
images among the as many that stick out most.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from data_preprocessing import preprocess
from fedward import settings as setting
from fedward.backdoor.stamps import square
from fedward.screening import screen
from fedward.types import ImageSet

DATA = Path(os.environ.get("FEDWARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SHARES = (0.0, 0.05, 0.1, 0.15, 0.25)


def planted(images: ImageSet, share: float, seed: int) -> tuple[ImageSet, np.ndarray]:
    """Images with marked ones under the wrong label, so many of all with that label; and which they are."""
    rng, size = np.random.default_rng(seed), images.images.shape[1]
    present = images.labels[:, 0] > 0
    count = round(share * (~present).sum() / (1 - share))
    chosen = rng.permutation(np.flatnonzero(present))[:count]
    side = size * 6 // 64
    mark = square("mark", size, size - side - 1, size - side - 1, side, 1.0)
    shown, labels = images.images.copy(), images.labels.copy()
    shown[chosen] = np.rint(mark.on(images.pixels()[chosen])[..., 0] * 255).astype(np.uint8)
    labels[chosen] = 0
    which = np.zeros(len(labels), np.bool_)
    which[chosen] = True
    return dataclasses.replace(images, images=shown, labels=labels), which


def measured(images: ImageSet, share: float, seed: int, training: setting.TrainingSettings) -> list[dict[str, Any]]:
    """Both labels of one hospital."""
    given, which = planted(images, share, seed)
    rows = []
    for each in screen(given, training, seed):
        if each.clusters is None:
            continue
        here = which[each.rows]
        row: dict[str, Any] = {"share": share, "label": each.label, "suspicious": each.clusters.suspicious}
        row |= {"silhouette": each.clusters.apart, "group": each.clusters.share}
        if here.any():
            group = each.clusters.smaller
            first = np.argsort(-each.scores)[: here.sum()]
            row |= {"precision": float(here[group].mean()), "recall": float(group[here].mean())}
            row |= {"first": float(here[first].mean())}
        rows.append(row)
    return rows


def main() -> None:
    """Screen all hospitals under all shares, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hospitals", type=int, default=5)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    settings = setting.load(None, ("data.source", str(DATA / "chest_xray")), ("data.hospitals", args.hospitals))
    rows: list[dict[str, Any]] = []
    for seed in (int(each) for each in args.seeds.split(",")):
        for part in preprocess(settings.data, seed, bytes(32)).partitions:
            for share in SHARES:
                rows += measured(part.train, share, seed, settings.training)
                print(json.dumps(rows[-2:]), file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    print("| planted | screened | suspected | precision | recall | first |\n|---|---:|---:|---:|---:|---:|")
    for share in SHARES:
        of_share = [row for row in rows if row["share"] == share]
        for kind, some in (
            (
                "none" if not share else f"{share:.0%} of a label",
                [r for r in of_share if ("first" in r) == (share > 0)],
            ),
            ("the other label there", [r for r in of_share if "first" not in r] if share else []),
        ):
            if not some:
                continue
            hits = [row for row in some if row["suspicious"]]
            mean = (
                f"{np.mean([row[key] for row in given]):.2f}" if given and key in given[0] else "-"
                for key, given in (("precision", hits), ("recall", hits), ("first", some))
            )
            print(f"| {kind} | {len(some)} | {len(hits)} | {' | '.join(mean)} |")


if __name__ == "__main__":
    main()
