"""Progress display of a running federation: round, hospitals that are done, model quality, seconds by stage."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rich.progress import Progress, TaskID

from commands import console
from fedward.errors import ResourceError, error_of
from fedward.files import read_lines
from fedward.folders.server import ServerFolder
from fedward.settings import Settings

POLL_S = 0.1
_NO_COUNTS = "no sum of validation counts, for too few hospitals sent any"
SILENCE_S = 5.0  # after Flower's runner has ended: the server's last events are on the disk by then


class Leading(Protocol):
    """The processes that lead the rounds."""

    @property
    def log(self) -> Path:
        """Where they write to."""

    def running(self) -> bool:
        """Whether the rounds may still make progress."""

    def last_words(self) -> str:
        """The last error in the log, shortened; empty where there is none."""


def watch(
    folder: ServerFolder,
    flower: Leading,
    settings: Settings,
    start: str,
    again: str,
    after_round: Callable[[], None] = lambda: None,
) -> None:
    """Show the server's progress until it has finished.

    Args:
        folder: The server's.
        flower: What leads the rounds.
        settings: How many rounds and hospitals there are.
        start: What to say at the beginning.
        again: How to go on after a failure.
        after_round: Called after each round; the rounds do not wait for it.

    Raises:
        FedwardError: the server stopped with an error, or Flower ended without one.
    """
    with console.progress() as shown:
        view = _View(shown, settings.training.rounds, settings.data.hospitals)
        console.note(start)
        seen, ended_at = 0, None
        while True:
            lines = read_lines(folder.progress)
            for line in lines[seen:]:
                event = json.loads(line)
                if event["event"] == "finished":
                    return
                if event["event"] == "failed":
                    raise error_of(event["exit_code"], event["what"], event["remedy"])
                view.show(event)
                if event["event"] == "closed":
                    after_round()
            seen = len(lines)
            if not flower.running():
                ended_at = ended_at or time.monotonic()
                if time.monotonic() > ended_at + SILENCE_S:
                    reason = flower.last_words()
                    raise ResourceError(
                        f"Flower's processes ended before the run was finished{f': {reason}' if reason else '.'}",
                        f"See {flower.log}; continue with {again}.",
                    )
            time.sleep(POLL_S)


class _View:
    """A bar for the rounds, one for the hospitals of the current round, and a line for each finished round."""

    def __init__(self, shown: Progress, rounds: int, hospitals: int) -> None:
        self._shown = shown
        self._hospitals = hospitals
        self._rounds: TaskID = shown.add_task("Rounds", total=rounds)
        self._stage: TaskID = shown.add_task("Starting", total=hospitals)

    def show(self, event: dict[str, Any]) -> None:
        """Show one event of the server."""
        kind = event["event"]
        if kind == "leading":
            self._shown.update(self._rounds, completed=event["decided"])
        elif kind == "opened":
            self._shown.update(self._stage, description=f"Round {event['round']}: updates", completed=0)
        elif kind == "submitted":
            self._shown.update(self._stage, completed=event["done"])
        elif kind == "voted":
            self._shown.update(self._stage, description=f"Round {event['round']}: votes", completed=event["done"])
        elif kind == "rejected":
            console.warn(f"{event['hospital']} was rejected in round {event['round']}: {event['evidence']}")
        elif kind == "left-out":
            console.note(f"{event['hospital']} is left out of round {event['round']}. {event['evidence']}")
        elif kind == "hospital-failed":
            who = event["hospital"] or "A hospital"
            console.warn(f"{who} failed in round {event['round']}: {event['what']} {event['remedy']}")
        elif kind == "waiting":
            seconds = max(0, int(event["deadline"] - time.time()))
            console.warn(f"Round {event['round']}: {event['what']} are missing; waiting {seconds} s for the deadline.")
        elif kind == "budget-spent":
            console.warn(f"{event['what']} The run ends with the model of {event['decided']} decided rounds.")
        elif kind == "closed":
            self._close(event)

    def _close(self, event: dict[str, Any]) -> None:
        if event["phase"] in ("accepted", "rejected"):
            self._shown.advance(self._rounds)
        figures = [
            f"{name} {event[key]:.4f}"
            for name, key in (("training loss", "train_loss"), ("validation loss", "val_loss"), ("AUC", "val_auc"))
            if event[key] is not None
        ]
        if event["encrypted_counts"] is not None:
            hospitals = event["encrypted_counts"]
            figures.append(f"validation counts of {hospitals} hospitals, encrypted" if hospitals else _NO_COUNTS)
        slowest = sorted(event["timing_s"].items(), key=lambda item: -item[1])[:3]
        times = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in slowest)
        measured = f"{', '.join(figures)} ({times})" if figures and times else "nothing was measured"
        console.note(f"Round {event['round']} {event['phase']}: {measured}")
