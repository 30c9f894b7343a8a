"""What `predict` says of an image that somebody gives to the page: in a process of its own, and nothing of it stays."""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import pydicom
from PIL import Image

from commands.predict.telling import shown
from fedward.settings import PROJECT_FILE

MOST_BYTES = 64 * 2**20  # of an image's file
_SECONDS = 180  # that a prediction may take
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder in memory, where there is one: in it a private one is made


@dataclass(frozen=True)
class Told:
    """What was said of an image.

    Attributes:
        findings: Of each finding: its name, the probability, the model's score, and whether it is called.
        calibration: How the probability is calibrated, or why not.
        unlike: How the image is unlike an upright chest X-ray; "" where it is not.
        heat: Which finding the picture's heat is about.
        picture: The image beside its heat map, as PNG; None where there is none.
        problem: Why nothing is said, in a sentence; "" where something is.
    """

    findings: tuple[tuple[str, str, str, bool], ...] = ()
    calibration: str = ""
    unlike: str = ""
    heat: str = ""
    picture: bytes | None = None
    problem: str = ""


def told_of(run: Path, image: bytes) -> Told:
    """Run `main.py predict` on an image.

    The image lies in a private folder, in memory where the system has such a place, for as long as that takes. A file
    that fills memory or crashes a decoder harms that process alone.

    Args:
        run: The run's folder.
        image: A file's bytes, of any format that training reads.
    """
    with tempfile.TemporaryDirectory(prefix="fedward-view-", dir=_memory()) as made:
        folder = Path(made)
        (folder / "image").write_bytes(image)
        options = ["--json", "--explain", str(folder / "maps"), "--", str(run), str(folder / "image")]
        try:
            done = subprocess.run(  # noqa: S603 - our own program, and paths of ours
                [sys.executable, str(PROJECT_FILE.parent / "main.py"), "predict", *options],
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            return Told(problem=f"After {_SECONDS} seconds the model had said nothing.")
        return _told(done, folder)


def _told(done: "subprocess.CompletedProcess[str]", folder: Path) -> Told:
    try:
        found: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = [line for line in done.stderr.splitlines() if line.startswith("Error: ")]
        return Told(problem=last[-1].removeprefix("Error: ") if last else "The prediction failed.")
    if found["unreadable"]:
        return Told(problem=f"This file could not be read: {found['unreadable'][0]['reason']}.")
    (image,) = found["images"]
    drawn = image.get("explanation") or {}
    return Told(
        tuple(
            (name, shown(each["probability"]), f"{each['score']:.4f}", bool(each["called"]))
            for name, each in image["findings"].items()
        ),
        found["calibration"],
        image["unlike"],
        drawn.get("finding", ""),
        _picture(folder / "maps" / drawn["picture"]) if drawn.get("picture") else None,
    )


def _picture(path: Path) -> bytes:
    """The picture as PNG; of a DICOM file it is a secondary capture."""
    if path.suffix == ".png":
        return path.read_bytes()
    written = BytesIO()
    Image.fromarray(pydicom.dcmread(path).pixel_array).save(written, "PNG")
    return written.getvalue()


def _memory() -> Path | None:
    return _MEMORY if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) else None
