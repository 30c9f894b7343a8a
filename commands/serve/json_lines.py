"""Lines of JSON that a kit's processes add to its logs: read on from where one was, and print them as they come."""

import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedward.timing import utc_now

INTERVAL_S = 1.0
MOST_BYTES = 16 * 1024**2  # taken in at a time


class Lines:
    """The lines of one file, each once.

    Args:
        path: The file; it may not be there yet, and may begin anew.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self._file = 0  # its inode: another one is another file

    def pass_over(self) -> None:
        """Pass over what is there, however much."""
        with contextlib.suppress(FileNotFoundError):
            found = self._path.stat()
            self._read, self._file = found.st_size, found.st_ino

    def new(self) -> list[dict[str, Any]]:
        """The whole lines that were added since the last look, those that are no JSON objects left out."""
        try:
            with self._path.open("rb") as file:
                found = self._path.stat()
                if found.st_ino != self._file or found.st_size < self._read:
                    self._read, self._file = 0, found.st_ino
                file.seek(self._read)
                content = file.read(MOST_BYTES)
        except OSError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self._read += len(whole)
        return [line for line in map(_parsed, whole.splitlines()) if line is not None]


class JsonLog:
    """Says what happens as lines of JSON on stdout.

    Args:
        party: Who serves: the server's or hospital's name.
        events: The log in which rounds (server) or messages (hospital) are noted.
    """

    # What is handed on of an event, and by what name. Nothing else is.
    FIELDS: Mapping[str, str] = {
        "round": "round", "event": "stage", "kind": "stage", "hospital": "hospital", "phase": "phase",
        "bytes": "bytes", "done": "done",
    }  # fmt: skip

    def __init__(
        self, party: str, events: Path, write: Callable[[str], None] = lambda line: print(line, flush=True)
    ) -> None:
        self._party = party
        self._lines = Lines(events)
        self._write = write
        self._lock = threading.Lock()

    def start(self) -> None:
        """Hand on events from now on, in a thread that ends with the process."""
        self._lines.pass_over()
        threading.Thread(target=self._go_on, daemon=True).start()

    def say(self, sentence: str) -> None:
        """Say a sentence."""
        self._print({"time": utc_now(), "party": self._party, "message": sentence})

    def hand_on(self) -> None:
        """Print the events that were added since the last time."""
        for line in self._lines.new():
            told = {name: line[key] for key, name in self.FIELDS.items() if line.get(key) is not None}
            self._print({"time": line.get("time"), "party": self._party, **told})

    def _go_on(self) -> None:
        pause = threading.Event()
        while not pause.wait(INTERVAL_S):
            self.hand_on()

    def _print(self, line: Mapping[str, Any]) -> None:
        with self._lock:
            self._write(json.dumps(line))


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
