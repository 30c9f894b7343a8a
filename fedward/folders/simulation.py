"""The folder of a simulated run: each party's own folder, the embedded node's, and what the simulation itself leaves.

RUN/  server/  hospitals/hospital-1/ ...  witness/ (where one is required)  ledger/ (the embedded node's chain)
      summary.json  trust.json  manifest.json  model.keras  learning_curves.png ...  flower.log  report.html
      baselines.json  .lock

Only whoever plays all parties may hold all their folders: this module is imported by commands/, tests and benchmarks.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from fedward.errors import ResourceError, UsageError
from fedward.files import make_folder
from fedward.folders.hospital import HospitalFolder
from fedward.folders.places import hospitals_part, server_part, summary_file
from fedward.folders.server import ServerFolder
from fedward.folders.witness import WitnessFolder
from fedward.types import HospitalId


class SimulationFolder:
    """Names the folders of all parties and the simulation's own files."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.server = ServerFolder(server_part(path))
        self.witness = WitnessFolder(path / "witness")
        self.ledger = path / "ledger"
        self.hospitals = hospitals_part(path)
        self.summary = summary_file(path)
        self.trust = path / "trust.json"
        self.model = path / "model.keras"

    def check_unused(self) -> None:
        """Make sure that there is nothing in the folder.

        Raises:
            UsageError: there is.
        """
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise UsageError(
                f"The output folder {self.path} is in use.",
                "Choose another --out, or continue that run with --resume.",
            )

    @classmethod
    def create(cls, path: Path) -> "SimulationFolder":
        """Make a new folder for a run.

        Raises:
            UsageError: there is something in it already, or it cannot be made.
        """
        run = cls(path)
        run.check_unused()
        try:
            for folder in (run.server.path, run.server.ciphertexts.path, run.ledger, run.hospitals):
                make_folder(folder)
        except ResourceError as error:
            raise UsageError(
                f"The output folder {path} cannot be made. {error.what}", "Choose another --out."
            ) from error
        return run

    def check_current(self) -> None:
        """Make sure that the run can be continued: older ones have the server's files at the top.

        Raises:
            UsageError: it is an older one.
        """
        if self.server.path == self.path:
            raise UsageError(
                f"The run {self.path} was made by an earlier version, with the server's files elsewhere.",
                "It can be audited, exported and evaluated; continue it with the version that began it.",
            )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder, so that no second run writes to it.

        Raises:
            UsageError: another run holds it.
        """
        lock = filelock.FileLock(self.path / ".lock", timeout=0)
        try:
            with lock:
                yield
        except filelock.Timeout as error:
            raise UsageError(
                f"The output folder {self.path} is in use by a running simulation.", "Wait for it, or choose another."
            ) from error

    def hospital(self, hospital: HospitalId) -> HospitalFolder:
        """One hospital's folder."""
        return HospitalFolder(self.hospitals / hospital)
