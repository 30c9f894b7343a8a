"""How often `predict` warns of images that are unlike an upright chest X-ray, rightly and wrongly.

    .venv/bin/python benchmarks/unlike_images.py [--choose] [--json]

Wrongly: X-rays as they are, of patients whose X-rays chose no threshold. Rightly: the same X-rays turned and inverted,
photographs of them that are drawn (perspective, light box or table, glare), hands, heads and knees that are drawn, and
the few pictures that pydicom, matplotlib and scikit-learn bring along: slices of CT and MRI, a bone scan, photographs.
`named` is how many got the reason that is true of them. --choose prints what the thresholds were chosen by: X-rays of
other patients alone. X-rays are those of FEDWARD_DATA, default ../shared/data; of PneumoniaMNIST, which comes from the
same hospital as chest_xray, nobody knows whether patients are the same.
"""

import argparse
import dataclasses
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from matplotlib import cbook
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.drawn_images import as_bytes, drawn, hand, head, knee, photograph
from data_preprocessing import read_split
from fedward import settings as setting
from fedward.dataset.decoding import finish
from fedward.dataset.records import Split
from fedward.explaining.unlike import INVERTED, TURNED, UPSIDE_DOWN, correlations, unlike

DATA = Path(os.environ.get("FEDWARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
SIZE, FILM = 64, 256  # of what is judged, and of films before they are photographed
DRAWN, PHOTOGRAPHS = 300, 300
SOURCES = ("chest_xray", "nih_chestxray14", "pneumoniamnist.npz")
DICOM_SAMPLES = ("CT_small.dcm", "MR_small.dcm", "693_J2KI.dcm", "JPEG2000.dcm")

Images = NDArray[np.uint8]


def x_rays(source: str, split: Split, size: int = SIZE) -> Images:
    """X-rays of one part of the patients: a given split, or half of them where there is none."""
    finding = "any" if source.startswith("nih") else "auto"
    settings = dataclasses.replace(
        setting.load().data, source=str(DATA / source), image_size=size, finding=finding, test_share=0.5, val_share=0.1
    )
    return read_split(settings, 1, split, lambda _done, _total: None)[0].images


def sample_pictures() -> Images:
    """What other packages bring along that is no chest X-ray."""
    planes = [image.mean(axis=2) for image in load_sample_images().images]
    with cbook.get_sample_data("s1045.ima.gz") as file:
        planes.append(np.frombuffer(file.read(), np.uint16).reshape(256, 256).astype(np.float64))
    for name in DICOM_SAMPLES:
        path = pydicom.data.get_testdata_file(name, download=False)
        planes.append(pydicom.dcmread(str(path)).pixel_array.astype(np.float64))
    scaled = [(plane - plane.min()) / np.ptp(plane) * 255 for plane in planes]
    return np.stack([finish(plane.astype(np.float32), SIZE)[0] for plane in scaled])


def kinds() -> dict[str, tuple[Images, str]]:
    """What is judged by its name, and the reason that is true of it; none for X-rays as they are."""
    tested = {source: x_rays(source, "test") for source in SOURCES}
    found = {f"{source}, as it is": (images, "") for source, images in tested.items()}
    for source, images in tested.items():
        found[f"{source}, inverted"] = (255 - images, INVERTED)
        found[f"{source}, upside down"] = (np.ascontiguousarray(images[:, ::-1, ::-1]), UPSIDE_DOWN)
        found[f"{source}, turned by a quarter"] = (np.ascontiguousarray(np.rot90(images, 1, (1, 2))), TURNED)
    rng = np.random.default_rng(7)
    films = np.concatenate([x_rays(source, "test", FILM) for source in SOURCES[:2]])
    some = films[rng.choice(len(films), PHOTOGRAPHS, replace=False)]
    found["photographs of films (drawn)"] = (
        np.stack([as_bytes(photograph(rng, film, SIZE)) for film in some]),
        "other",
    )
    for seed, (name, draw) in enumerate({"hands": hand, "heads in MRI": head, "knees in MRI": knee}.items()):
        found[f"{name} (drawn)"] = (drawn(draw, DRAWN, SIZE, seed), "other")
    found["other packages' pictures"] = (sample_pictures(), "other")
    return found


def judged(images: Images, true: str) -> dict[str, Any]:
    """How many are warned of, and how many for the reason that is true of them."""
    told = unlike(images)
    warned = sum(map(bool, told))
    named = sum(text == true for text in told) if true not in ("", "other") else None
    return {"images": len(images), "warned": warned, "named": named}


def choose() -> dict[str, dict[str, float]]:
    """What 98 of 100 X-rays of the choosing part are above in likeness, and 99 of 100 in being ahead, by source."""
    found = {}
    for source in SOURCES:
        alike, ahead = correlations(x_rays(source, "train"))
        found[source] = {"alike": float(np.percentile(alike, 2)), "ahead": float(np.percentile(ahead, 1))}
    return found


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--choose", action="store_true", help="print what the thresholds were chosen by")
    parser.add_argument("--sheet", type=Path, help="write a PNG with some of each kind")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if options.choose:
        print(json.dumps(choose(), indent=2))
        return
    everything = kinds()
    if options.sheet:
        rows = [
            np.concatenate(list(images[:: max(1, len(images) // 7)][:7]), axis=1) for images, _ in everything.values()
        ]
        Image.fromarray(np.concatenate([row for row in rows if row.shape[1] == 7 * SIZE])).save(options.sheet)
    found = {name: judged(images, true) for name, (images, true) in everything.items()}
    if options.json:
        print(json.dumps(found, indent=2))
        return
    print("| images | how many | warned of | in 100 | for the right reason |\n|---|---|---|---|---|")
    for name, each in found.items():
        share = 100 * each["warned"] / each["images"]
        named = "" if each["named"] is None else str(each["named"])
        print(f"| {name} | {each['images']} | {each['warned']} | {share:.1f} | {named} |")


if __name__ == "__main__":
    main()
