"""`image-encryption.method`: no readable image at rest, and the same weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_here
from pixel_search import files_with, telling_rows
from sample_images import encoded, picture, write
from source_tree import ROOT

from blockchain.own_images import load_images
from fedward import settings as setting
from fedward.folders.hospital import HospitalFolder

pytestmark = pytest.mark.end_to_end
ARGUMENTS = (
    *("--hospitals", "3", "--rounds", "1", "--local-epochs", "1", "--seed", "3", "--set", "data.image-size=32"),
    *("--set", "speed.clients-at-once=1"),  # a TensorFlow less to start
)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of images, outside of everything that a run writes."""
    root = tmp_path_factory.mktemp("images")
    for index in range(90):
        kind = ("NORMAL", "PNEUMONIA")[index % 2]
        write(root / kind / f"{kind}-{index}.png", encoded(picture(index, 48, 48)))
    return root


def run_in(place: Path, *arguments: "str | Path") -> None:
    """Run `main.py`, so that all that it writes lies in one place: in the cache and as temporary files, too."""
    homes = {name: place / name for name in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME", "TMPDIR")}
    for home in homes.values():
        home.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {name: str(home) for name, home in homes.items()}
    command = [sys.executable, "main.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def simulate(images: Path, place: Path, method: str) -> str:
    """A whole run; returns the weights' hash."""
    chosen = ("--set", f"image-encryption.method={method}")
    run_in(place, "simulate", *ARGUMENTS, *chosen, "--data", images, "--out", place / "run")
    summary = json.loads((place / "run" / "summary.json").read_text())
    assert summary["rounds"]["accepted"] == 1
    return str(summary["model"]["weights_sha256"])


def test_no_readable_image_is_at_rest_and_the_weights_are_the_same(images: Path, tmp_path: Path) -> None:
    clear, sealed = tmp_path / "clear", tmp_path / "sealed"
    assert simulate(images, clear, "none") == simulate(images, sealed, "fgsm")

    settings = setting.load(None, ("image-encryption.method", "fgsm")).image_encryption
    rows = []
    for number in (1, 2, 3):
        partition = load_images(HospitalFolder(sealed / "run" / "hospitals" / f"hospital-{number}"), settings)
        for part in (partition.train, partition.val, partition.test):
            assert len(part)
            rows += telling_rows(part.images, most=1)
    assert len(rows) > 80

    # The control: where nothing is sealed, the same search finds what it looks for, in folders and cache.
    found = [path.relative_to(clear) for path in files_with(rows, clear)]
    partitions = [Path("run") / "hospitals" / f"hospital-{number}" / "partition.npz" for number in (1, 2, 3)]
    (cached,) = (clear / "XDG_CACHE_HOME" / "fedward").iterdir()
    assert found == [cached.relative_to(clear), *partitions]

    run_in(sealed, "evaluate", sealed / "run", "--data", images)
    assert_measured(sealed)
    assert files_with(rows, sealed) == []
    assert not list(clear.rglob("image-encryption*"))
    assert not (sealed / "XDG_CACHE_HOME" / "fedward").exists()


def assert_measured(place: Path) -> None:
    """Each hospital has its figures, and a picture that it can look at; nobody else can, and no other picture shows."""
    for number in (1, 2, 3):
        hospital = place / "run" / "hospitals" / f"hospital-{number}"
        figures = json.loads((hospital / "image-encryption.json").read_text())
        assert (figures["hospital"], figures["method"], figures["options"]) == (hospital.name, "fgsm", {"eps": 0.02})
        assert figures["images"]["measured"] > 0
        assert 33.9 < figures["encrypted"]["psnr_db"] < 36
        assert "not cryptography" in figures["limits"]
        assert (hospital / "image-encryption.json").stat().st_mode & 0o077 == 0
        assert list(hospital.glob("*.png")) == []
        look = place.parent / f"{hospital.name}.png"
        run_in(place, "unseal", hospital, "--out", look)
        assert look.read_bytes().startswith(b"\x89PNG")
        assert look.stat().st_mode & 0o077 == 0
    others = place / "run" / "hospitals" / "hospital-2" / "image-encryption.png.sealed"
    others.write_bytes((hospital / "image-encryption.png.sealed").read_bytes())
    done = run_here("unseal", others.parent, "--out", place / "other.png")
    assert (done.returncode, (place / "other.png").exists()) == (3, False)
    assert "does not open" in done.stderr
