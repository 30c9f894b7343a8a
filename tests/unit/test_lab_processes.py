"""The processes of a lab: what is done is kept, and one that was killed is told in a sentence."""

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from fedward.errors import ResourceError
from fedward.labs.units import Results, results_of, run_units


@dataclass(frozen=True)
class Piece:
    name: str


def square(piece: Piece) -> int:
    """What a piece finds; the one that is called "killed" takes its process along, as a machine without memory does."""
    if piece.name == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    return int(piece.name) ** 2


def test_a_killed_process_is_told_and_what_was_done_is_kept(tmp_path: Path) -> None:
    results, pieces = Results(tmp_path), [Piece("2"), Piece("3"), Piece("killed")]
    told: list[tuple[int, int]] = []
    with pytest.raises(ResourceError, match="was killed") as raised:
        run_units(results, pieces, square, lambda *done: told.append(done), processes=1)
    assert "goes on with what is missing" in raised.value.remedy
    assert results_of(results, pieces) == {Piece("2"): 4, Piece("3"): 9}
    assert told[0] == (0, 3)
