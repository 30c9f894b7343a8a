"""`--tracking`: which tracker, and when it is told. What it cannot take never stops a run."""

from pathlib import Path
from typing import Literal

from commands import console
from fedward.errors import FedwardError

Tracker = Literal["mlflow", "tensorboard"]


def check_tracker(tracker: Tracker | None) -> None:
    """Make sure that a tracker can be used, before any work.

    Raises:
        UsageError: it needs a package that is not installed.
    """
    if tracker == "mlflow":
        from commands.tracking.mlflow_runs import require_mlflow

        require_mlflow()


def write_to_tracker(tracker: Tracker, path: Path, out: Path | None = None) -> str:
    """Write what there is of a run; returns where to, in words.

    Args:
        tracker: Which.
        path: The run's folder; it may be running.
        out: TensorBoard's folder of the run; None: `tensorboard` in the run's.

    Raises:
        UsageError: the tracker needs a package that is not installed.
        FedwardError: the run's folder is damaged, or the figures cannot be written.
    """
    from commands.tracking.figures import tracked

    run = tracked(path)
    if tracker == "tensorboard":
        from commands.tracking.event_files import FOLDER, write_event_files

        place = out or path / FOLDER
        write_event_files(run, place)
        return str(place)
    from commands.tracking.mlflow_runs import write_mlflow_run

    write_mlflow_run(run)
    return "MLflow"


class Following:
    """Tells a tracker of a run that goes on.

    Args:
        tracker: Which; None: nobody is told.
        path: The run's folder.
    """

    def __init__(self, tracker: Tracker | None, path: Path) -> None:
        self._tracker, self._path = tracker, path
        self._in_vain = False

    def after_round(self) -> None:
        """Tell it of the rounds so far; where that fails, say so, and leave it until the run's end."""
        if not self._in_vain:
            self._in_vain = not self._tell("It is told again at the run's end.")

    def at_end(self) -> None:
        """Tell it of the whole run."""
        self._tell("")

    def _tell(self, then: str) -> bool:
        if self._tracker is None:
            return True
        try:
            write_to_tracker(self._tracker, self._path)
        except FedwardError as error:
            console.warn(f"The run goes on without --tracking {self._tracker}. {error} {then}".rstrip())
            return False
        return True
