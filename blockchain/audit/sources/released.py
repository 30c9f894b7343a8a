"""What a run folder hands out as its result, beside the evidence: model, summary, reports, and other files."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from blockchain.audit.sources.round_keys import KEY_FILE
from fedward.errors import VerificationError
from fedward.files import parse_json, read_file
from fedward.folders.places import hospitals_part, record_file, server_part, summary_file
from fedward.learning.stored_model import StoredModel, read_model
from fedward.types import HospitalId

MOST_JSON_BYTES = 64 * 1024 * 1024
MOST_REPORT_BYTES = 16 * 1024 * 1024
MOST_FILES = 5_000_000

_REMEDY = "Restore that file."
_HASH = re.compile(r"[0-9a-f]{64}", re.ASCII)


@runtime_checkable
class WithResult(Protocol):
    """A source that holds a run's result."""

    def released(self) -> "ReleasedFolder":
        """The result, unread."""


class ReleasedFolder:
    """Reads what lies in a run folder; every method raises `EvidenceError` or `VerificationError`, and nothing else."""

    def __init__(self, run: Path) -> None:
        self._run = run

    @property
    def finished(self) -> bool:
        """Whether the run hands out a result: a summary or a model, or a link in the place of one."""
        return any(path.is_symlink() or path.exists() for path in (summary_file(self._run), self._run / "model.keras"))

    def model(self) -> StoredModel:
        """The released model's card and weights."""
        return read_model(self._run / "model.keras")

    def summary(self) -> Mapping[str, Any]:
        """`summary.json`, unchecked but for being an object."""
        return self._file(summary_file(self._run), "The summary")

    def record(self) -> Mapping[str, Any]:
        """`run.json`, unchecked but for being an object."""
        return self._file(record_file(self._run), "The run's record")

    def metrics_place(self) -> str:
        """Where in the folder the server's metrics lie."""
        return (server_part(self._run) / "metrics.jsonl").relative_to(self._run).as_posix()

    def metrics(self) -> tuple[Mapping[str, Any], ...]:
        """The server's lines of metrics, unchecked but for being objects; none where there is no such file."""
        path = self._run / self.metrics_place()
        if not path.exists() and not path.is_symlink():
            return ()
        # A last line that a crash cut short says nothing.
        lines = read_file(path, MOST_JSON_BYTES, "The server's metrics", _REMEDY).split(b"\n")[:-1]
        return tuple(_object(line, f"A line of {path}") for line in lines)

    def has_hospital(self, hospital: HospitalId) -> bool:
        """Whether that hospital's own folder is here."""
        return (hospitals_part(self._run) / hospital / "hospital.json").exists()

    def report_place(self, hospital: HospitalId, round_index: int) -> str:
        """Where in the folder the reports behind a vote lie."""
        part = hospitals_part(self._run).relative_to(self._run)
        return f"{part.as_posix()}/{hospital}/reports/round-{round_index:04d}.json"

    def report(self, hospital: HospitalId, round_index: int) -> bytes:
        """The reports behind a vote, whose hash is in the vote."""
        path = self._run / self.report_place(hospital, round_index)
        return read_file(path, MOST_REPORT_BYTES, f"The report of {hospital}", _REMEDY)

    def files(self) -> Iterator[str]:
        """Every file and link of the folder, by its path in it; no link is followed."""
        count = 0
        for folder, folders, files in os.walk(self._run, followlinks=False):
            links = [name for name in folders if (Path(folder) / name).is_symlink()]
            for name in sorted([*files, *links]):
                count += 1
                if count > MOST_FILES:
                    raise VerificationError(f"{self._run} holds more than {MOST_FILES:,} files.", _REMEDY)
                yield (Path(folder) / name).relative_to(self._run).as_posix()

    def evidence_files(self, ciphertexts: Iterable[str], rounds: Iterable[int]) -> set[str]:
        """The files that the other steps read, given the listed ciphertexts and rounds."""
        server, hospitals = (
            part.relative_to(self._run) for part in (server_part(self._run), hospitals_part(self._run))
        )
        kept = {server / "ciphertexts" / name for name in ciphertexts}
        kept |= {server / "ciphertexts" / f"round-{index:04d}.json" for index in rounds}
        kept |= {server / "run.json"}
        names = {path.as_posix() for path in kept}
        for name in self.files():
            key_file = name.removeprefix(f"{server.as_posix()}/")
            if re.fullmatch(rf"{hospitals.as_posix()}/[^/]+/(checkpoints|privacy)\.jsonl", name) or (
                key_file != name and KEY_FILE.fullmatch(key_file)
            ):
                names.add(name)
        return names

    def _file(self, path: Path, what: str) -> Mapping[str, Any]:
        """A file that is a JSON object."""
        return _object(read_file(path, MOST_JSON_BYTES, what, _REMEDY), str(path))


@dataclass(frozen=True)
class _Kind:
    """Files that differ in a hospital's name, a number or a hash only."""

    pattern: str
    count: int

    def __str__(self) -> str:
        return self.pattern if self.count == 1 else f"{self.pattern} ({self.count:,} files)"


def joined(names: Iterator[str]) -> list[str]:
    """Files as a reader can take them in: those of all hospitals, rounds and hashes together, with their number."""
    kinds, examples = Counter[str](), dict[str, str]()
    for name in names:
        pattern = re.sub(r"^hospitals/[^/]+/", "hospitals/*/", name)
        pattern = re.sub(r"^(superlink|logs|tls|systemd)/.*", r"\1/*", pattern)  # of a server's kit
        pattern = re.sub(r"(?<![0-9a-zA-Z])[0-9]{4,}(?![0-9a-zA-Z])", "*", _HASH.sub("*", pattern))
        kinds[pattern] += 1
        examples[pattern] = name
    return [str(_Kind(pattern if count > 1 else examples[pattern], count)) for pattern, count in sorted(kinds.items())]


def _object(content: bytes, what: str) -> Mapping[str, Any]:
    """A JSON object."""
    try:
        found = parse_json(content)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"{what} is no JSON.", _REMEDY) from error
    if not isinstance(found, dict):
        raise VerificationError(f"{what} is no JSON object.", _REMEDY)
    return found
