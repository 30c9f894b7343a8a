"""Metrics of a kit for Prometheus, and whether it is in order: read from its files whenever somebody asks.

    GET /metrics   what Prometheus reads
    GET /health    200 while all processes run, 503 where one does not; JSON

Nothing in it tells of patients or images: process names, rounds, kinds of messages, their number and bytes, and times.
"""

import json
import shutil
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import psutil
from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from blockchain.consortium.remembering import last_checkpoint
from commands import console
from commands.serve.json_lines import Lines
from fedward.errors import FedwardError, ResourceError, UsageError
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit

LOOPBACK = "127.0.0.1"
# By name: what the command line of each of a kit's processes has in it.
SERVER_PROCESSES = {
    "ledger": "kept_node",
    "superlink": "superlink_process",
    "launcher": "launcher_process",
    "gateway": "gateway_process",
}
OF_PART = {"launcher": "superlink"}  # where a process has another name than its part
HOSPITAL_PROCESSES = {
    "supernode": "supernode_process",
    "launcher": "launcher_process",
    "answering": "clientapp_process",
}


class KitMetrics:
    """Collects the metrics of one kit.

    Args:
        kit: A server's or a hospital's.
        processes: Which of its processes run; by name the time when it was started, Unix seconds.
        wanted: Names of those that should.
    """

    def __init__(
        self, kit: ServerKit | HospitalKit, processes: Callable[[], Mapping[str, float]], wanted: Collection[str]
    ) -> None:
        self._kit = kit
        self._processes = processes
        self._wanted = wanted
        self._events = Lines(kit.study.progress if isinstance(kit, ServerKit) else kit.outgoing)
        self._rounds = Lines(kit.study.metrics) if isinstance(kit, ServerKit) else None
        self._messages: dict[str, tuple[int, int]] = {}
        self._outcomes: dict[str, int] = {}
        self._round, self._last_s = 0, 0.0
        self._lock = threading.Lock()

    def missing(self) -> list[str]:
        """The processes that do not run."""
        return sorted(set(self._wanted) - set(self._processes()))

    def collect(self) -> Iterator[Metric]:
        """What Prometheus asks for, as it is now."""
        with self._lock:
            self._read_on()
            yield _gauge("process_start_time_seconds", "When a process was started; absent while it does not run.",
                         self._processes(), "process")  # fmt: skip
            yield _gauge("disk_free_bytes", "Free space where the kit lies.", shutil.disk_usage(self._kit.path).free)
            yield _gauge("round", "The latest round.", self._round)
            yield _gauge("last_event_time_seconds", "When a message left, or a round went on.", self._last_s)
            if isinstance(self._kit, ServerKit):
                yield _counter("rounds", "Rounds that have ended.", self._outcomes, "outcome")
            else:
                counts = {kind: count for kind, (count, _) in self._messages.items()}
                sizes = {kind: size for kind, (_, size) in self._messages.items()}
                yield _counter("messages", "Messages that left.", counts, "kind")
                yield _counter("message_bytes", "Their bytes.", sizes, "kind")
                yield _gauge(
                    "ledger_height", "The last block that the hospital signed to have seen.", _height(self._kit)
                )
                yield _gauge("fork_found", "1 if others have other blocks.", int(self._kit.hospital.fork.exists()))

    def _read_on(self) -> None:
        """Take in what was added to the kit's logs."""
        for line in self._events.new():
            index, at = line.get("round"), line.get("time")
            self._round = max(self._round, index) if isinstance(index, int) else self._round
            if isinstance(at, str):
                self._last_s = datetime.fromisoformat(at).timestamp()
            if "kind" in line:
                count, size = self._messages.get(line["kind"], (0, 0))
                self._messages[line["kind"]] = (count + 1, size + int(line["bytes"]))
        for line in self._rounds.new() if self._rounds else ():
            self._outcomes[line["phase"]] = self._outcomes.get(line["phase"], 0) + 1


def own_processes(names: Mapping[str, str]) -> dict[str, float]:
    """Which processes below this one run: by name, when they were started, Unix seconds."""
    found: dict[str, float] = {}
    for process in sorted(psutil.Process().children(recursive=True), key=lambda one: one.pid):
        try:
            line, started = " ".join(process.cmdline()), process.create_time()
        except psutil.Error:
            continue
        for name, script in names.items():
            if script in line:
                found.setdefault(name, started)
    return found


def serve_metrics(kit: ServerKit | HospitalKit, place: str, only: str | None = None) -> None:
    """Answer from now on, in a thread that ends with the process.

    Args:
        kit: Whose metrics.
        place: PORT on loopback, or ADDRESS:PORT.
        only: The part of a server that runs here; None: all.

    Raises:
        UsageError: this is no such place.
        ResourceError: the port is taken.
    """
    host, port = _place(place)
    names = HOSPITAL_PROCESSES if isinstance(kit, HospitalKit) else {
        name: script for name, script in SERVER_PROCESSES.items() if only in (None, OF_PART.get(name, name))
    }  # fmt: skip
    metrics = KitMetrics(kit, lambda: own_processes(names), names)
    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    try:
        server = make_server(host, port, _app(metrics, registry), WSGIServer, _Quiet)
    except OSError as error:
        raise ResourceError(f"Metrics cannot be shown at {place}: {error.strerror}.", "Choose another port.") from error
    threading.Thread(target=server.serve_forever, daemon=True).start()
    console.note(f"Metrics: http://{host}:{server.server_port}/metrics")


class _Quiet(WSGIRequestHandler):
    """Logs no requests."""

    def log_message(self, format: str, *args: object) -> None:
        """See the base class."""


def _app(metrics: KitMetrics, registry: CollectorRegistry) -> Callable[..., Iterable[bytes]]:
    """Both routes as a WSGI app."""
    shown = make_wsgi_app(registry)

    def app(environ: dict[str, str], start_response: Callable[..., object]) -> Iterable[bytes]:
        if environ.get("PATH_INFO") != "/health":
            return shown(environ, start_response)  # type: ignore[no-any-return]
        missing = metrics.missing()
        status = "503 Service Unavailable" if missing else "200 OK"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps({"status": "ok" if not missing else "degraded", "missing": missing}).encode() + b"\n"]

    return app


def _place(place: str) -> tuple[str, int]:
    host, _, port = place.rpartition(":")
    if not port.isdecimal() or int(port) > 65535:
        raise UsageError(f"{place} is no place to show metrics at.", "Give a port, or an address and a port: 9100.")
    return host.strip("[]") or LOOPBACK, int(port)


def _height(kit: HospitalKit) -> int:
    """The height of the hospital's last checkpoint; 0 before the first, or where it is damaged."""
    try:
        seen = last_checkpoint(kit.hospital)
    except FedwardError:
        return 0
    return seen.checkpoint.height if seen else 0


def _gauge(name: str, says: str, value: float | Mapping[str, float], label: str = "") -> Metric:
    family = GaugeMetricFamily(f"fedward_{name}", says, labels=[label] if label else None)
    for key, one in value.items() if isinstance(value, Mapping) else (("", value),):
        family.add_metric([key] if label else [], one)
    return family


def _counter(name: str, says: str, values: Mapping[str, int], label: str) -> Metric:
    family = CounterMetricFamily(f"fedward_{name}", says, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family
