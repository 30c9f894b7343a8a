"""A run in MLflow: its settings as parameters, its figures as metrics. Needs the package `mlflow` or `mlflow-skinny`.

Where to is MLflow's own business: `MLFLOW_TRACKING_URI`, else its default, a database in the working directory.
`MLFLOW_EXPERIMENT_NAME` names the experiment, `fedward` by default.
"""

import os
import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from typing import Any

from commands.tracking.figures import Point, Tracked
from fedward.errors import ResourceError, UsageError

EXPERIMENT = "fedward"
_KEY_TAG = "fedward.genesis_hash"  # by which a run is found again
_PARAMS_AT_ONCE = 100  # as many as MLflow takes in one message
_METRICS_AT_ONCE = 1000
_LONGEST = 6000  # characters of a parameter
_NOT_IN_NAMES = re.compile(r"[^\w./ -]", re.ASCII)


def require_mlflow() -> None:
    """Make sure that MLflow is installed, before the work begins.

    Raises:
        UsageError: it is not.
    """
    if find_spec("mlflow") is None:
        raise UsageError("MLflow is not installed.", "Install it, make mlflow, or leave --tracking mlflow out.")


def write_mlflow_run(run: Tracked) -> None:
    """Write what is new of a run.

    Raises:
        UsageError: MLflow is not installed.
        ResourceError: MLflow's place cannot be reached, or refuses.

    Guarantees:
        1. A point that MLflow has of this run already, whoever wrote it, is not written again.
    """
    require_mlflow()
    # Unless told otherwise MLflow reports its use to its makers: not from a hospital.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient

    try:
        _write(run, MlflowClient())
    except MlflowException as error:
        raise ResourceError(
            f"MLflow did not take the run: {' '.join(str(error).split())}",
            "Mend that, and write the run later: main.py export RUN --tracking mlflow.",
        ) from error


def _write(run: Tracked, client: Any) -> None:
    from mlflow.entities import Metric, Param

    run_id, written = _found(run, client) or (_begun(run, client), set())
    params = [Param(name, value[:_LONGEST]) for name, value in run.settings.items()]
    for some in _parts(params, _PARAMS_AT_ONCE):
        client.log_batch(run_id, params=some)
    metrics = [Metric(each.name, each.value, _ms(each.time_s), each.step) for each in unwritten(run, written)]
    for some in _parts(metrics, _METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=some)
    if run.state == "runs":
        client.update_run(run_id, status="RUNNING")
    else:
        client.set_terminated(run_id, "FINISHED" if run.state == "finished" else "KILLED", _ms(run.last_s))


def _found(run: Tracked, client: Any) -> tuple[str, set[tuple[str, int]]] | None:
    """MLflow's id of a run that it has, with name and step of all points of it; None: it has none."""
    experiment = client.get_experiment_by_name(_experiment())
    if experiment is None:
        return None
    wanted = f"tags.`{_KEY_TAG}` = '{run.key}'"
    runs = client.search_runs([experiment.experiment_id], filter_string=wanted, max_results=1)
    if not runs:
        return None
    run_id: str = runs[0].info.run_id
    points = (point for name in runs[0].data.metrics for point in client.get_metric_history(run_id, name))
    return run_id, {(point.key, point.step) for point in points}


def _begun(run: Tracked, client: Any) -> str:
    """Begin a run in its experiment; returns MLflow's id of it."""
    experiment = client.get_experiment_by_name(_experiment())
    place = experiment.experiment_id if experiment else client.create_experiment(_experiment())
    begun = client.create_run(place, start_time=_ms(run.begun_s), tags={_KEY_TAG: run.key}, run_name=run.name)
    return str(begun.info.run_id)


def _experiment() -> str:
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def unwritten(run: Tracked, written: Iterable[tuple[str, int]]) -> Iterator[Point]:
    """The points of a run that are not written yet, under names that MLflow takes.

    Args:
        run: The run.
        written: Name and step of those that are.
    """
    known = set(written)
    for points in (*run.rounds.values(), run.end):
        for point in points:
            name = _NOT_IN_NAMES.sub("_", point.name)
            if (name, point.step) not in known:
                known.add((name, point.step))
                yield Point(name, point.step, point.time_s, point.value)


def _parts(values: list[Any], size: int) -> Iterator[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _ms(time_s: float) -> int:
    return round(time_s * 1000)
