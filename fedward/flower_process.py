"""Script that `flower.py` starts: one process with the server, Flower's simulation runtime and Ray.

`flwr run` would go through a SuperLink, which listens on loopback and runs whatever app any user of the machine hands
it. This process calls the same runtime by itself, so there is nothing to connect to.

It imports nothing of Fedward: server and hospitals find their modules in the staged app and nowhere else, as at a
hospital on a host of its own.
"""

import contextlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import psutil
from flwr.app import Context, RecordDict
from flwr.common.config import get_fused_config_from_dir
from flwr.common.constant import RUN_ID_NUM_BYTES, SUPERLINK_NODE_ID, TASK_ID_NUM_BYTES
from flwr.server.superlink.linkstate.utils import generate_rand_int_from_bytes
from flwr.supercore.constant import NOOP_FEDERATION_ID
from flwr.supercore.run import Run
from flwr.supercore.task_identity import TaskIdentity
from flwr.supercore.telemetry import EventType

INTERRUPTED = 130


def main(home: Path) -> None:
    """Run the app in a folder as its `plan.json` says, until the server has finished.

    Args:
        home: A folder with `plan.json` and the staged app in `fedward/`.
    """
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, _end)
    plan, app = json.loads((home / "plan.json").read_bytes()), home / "fedward"
    task_id = generate_rand_int_from_bytes(TASK_ID_NUM_BYTES)
    run = replace(
        Run.create_empty(generate_rand_int_from_bytes(RUN_ID_NUM_BYTES)),
        override_config=plan["config"],
        primary_task_id=task_id,
        federation_id=NOOP_FEDERATION_ID,
    )
    TaskIdentity.run_id, TaskIdentity.node_id = run.run_id, SUPERLINK_NODE_ID
    TaskIdentity.task_id = task_id
    runtime()(
        num_supernodes=plan["hospitals"],
        backend_config={
            "client_resources": {"num_cpus": 1},
            "init_args": {"num_cpus": plan["clients_at_once"], "logging_level": logging.WARNING, "log_to_driver": True},
        },
        client_app_attr=plan["client"],
        server_app_attr="server:app",
        server_app_context=Context(
            run_id=run.run_id,
            node_id=SUPERLINK_NODE_ID,
            node_config={},
            state=RecordDict(),
            run_config=get_fused_config_from_dir(app, run.override_config),
        ),
        app_dir=str(app),
        run=run,
        is_app=True,
        exit_event=EventType.FLWR_SIMULATION_RUN_LEAVE,
    )


def runtime() -> Callable[..., Any]:
    """Flower's simulation runtime, without TensorFlow.

    Flower imports TensorFlow where it finds it, to share out GPUs that this runtime gives nobody. That takes three
    seconds of a processor, and the server has no use for it. Hospitals' processes import it themselves.
    """
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        from flwr.simulation.run_simulation import _run_simulation
    finally:
        del sys.modules["tensorflow"]
    return _run_simulation


def _end_with_parent() -> None:
    """End this process with all its children when standard input ends: its parent has ended, however."""
    sys.stdin.buffer.read()
    for child in psutil.Process().children(recursive=True):  # some of Ray's would outlive this process
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    os.kill(os.getpid(), signal.SIGKILL)


def _end(_signal: int, _frame: FrameType | None) -> NoReturn:
    """End at once, in whatever thread the server is; hospitals cope with being ended anywhere."""
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
