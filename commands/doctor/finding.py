"""What a check found: fine, to be watched, or to be mended, with what to do about it."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How a check ended."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The end of one check.

    Attributes:
        level: Whether the study can go on with it.
        said: What was found, in a sentence.
        remedy: What to do; empty where all is well.
    """

    level: Level
    said: str
    remedy: str = ""


def fine(said: str) -> Finding:
    """All is well."""
    return Finding(Level.OK, said)


def watch(said: str, remedy: str) -> Finding:
    """The study can go on, for now."""
    return Finding(Level.WARN, said, remedy)


def failure(said: str, remedy: str) -> Finding:
    """The study cannot go on, or not safely."""
    return Finding(Level.FAIL, said, remedy)
