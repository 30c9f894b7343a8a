"""What `main.py protect` is asked for."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Request:
    """The command's options; see `commands.protect.command`."""

    images: tuple[Path, ...]
    model: Path
    hospital: Path
    to: str
    out: Path
    method: str
    eps: float | None
    lossless: bool
    keep_unhidden: bool
