"""What a user is warned of before a run, and what is said of a disk that cannot be written to."""

import sqlite3
from pathlib import Path
from types import SimpleNamespace

import pytest

from blockchain.node.store import _unwritable
from commands.simulate.simulation import _warn_of_large_delta
from fedward import settings as setting

DATA = SimpleNamespace(partitions=(0,) * 5, manifest={"images": 4_000, "patients": 1_000})


@pytest.mark.parametrize(
    ("mode", "unit", "delta", "said"),
    [
        ("sample", "patient", 1e-2, "above 1/1000, one in the patients"),
        ("sample", "patient", 1e-3, ""),
        ("sample", "image", 5e-4, "above 1/4000, one in the images"),
        ("sample", "image", 1e-5, ""),
        ("update", "patient", 0.0999, ""),
        ("none", "patient", 0.09, ""),
    ],
)
def test_a_delta_that_lets_a_whole_patient_out_is_warned_of(
    mode: str, unit: str, delta: float, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = setting.load(None, ("privacy.mode", mode), ("privacy.unit", unit), ("privacy.delta", delta))
    _warn_of_large_delta(DATA, settings)  # type: ignore[arg-type]
    shown = " ".join(capsys.readouterr().err.split())
    assert bool(shown) == bool(said)
    assert said in shown


@pytest.mark.parametrize(
    ("reason", "remedy"),
    [
        ("attempt to write a readonly database", "Copy the folder to where you may write"),
        ("unable to open database file", "Copy the folder to where you may write"),
        ("database or disk is full", "Free some space"),
        ("database is locked", "Stop that node"),
    ],
)
def test_a_store_that_cannot_be_written_says_what_helps(reason: str, remedy: str) -> None:
    assert remedy in _unwritable(Path("chain.sqlite"), sqlite3.OperationalError(reason)).remedy
