"""What the administrator asks the server's SuperLink: admit nodes, start and stop runs. On loopback only."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import httpx
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import HEARTBEAT_PATIENCE
from flwr.common.serde import user_config_to_proto
from flwr.proto import control_pb2 as api
from flwr.proto.fab_pb2 import Fab
from flwr.proto.node_pb2 import NodeInfo
from flwr.supercore.constant import NodeStatus
from flwr.supercore.protobuf.constants import FRAME_HEADER_SIZE, PROTOBUF_MEDIA_TYPE
from google.protobuf.message import DecodeError, Message

from fedward.errors import ResourceError, UsageError
from fedward.files import parse_json, sha256
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_access import CONTROL_HEADER, SuperLinkAccess
from fedward.tables import Scalar
from fedward.types import NodeId

TIMEOUT_S = 30.0
MOST_LOG_BYTES = 64 * 1024 * 1024
MOST_RUNS = 1000

_SHOWN = 300  # characters of an answer that an error shows
_START = "Start the server: main.py serve KIT."

Answer = TypeVar("Answer", bound=Any)  # a message of Flower's API


@dataclass(frozen=True)
class Node:
    """A SuperNode that was registered.

    Attributes:
        node_id: Flower's number.
        public_key: Its key, one line in OpenSSH's form, without a comment.
        status: registered | online | offline | unregistered
        last_heartbeat: About when it was last heard from, Unix seconds; None: never.
    """

    node_id: NodeId
    public_key: str
    status: str
    last_heartbeat: float | None


@dataclass(frozen=True)
class Run:
    """A run of the ServerApp.

    Attributes:
        run_id: Flower's number.
        status: pending | starting | running | finished
        outcome: Of a finished one: completed | failed | stopped; empty before.
        details: Why, where Flower says it.
        started, finished: UTC, ISO 8601; empty where it has not.
    """

    run_id: int
    status: str
    outcome: str
    details: str
    started: str
    finished: str


class SuperLinkControl:
    """Asks the SuperLink of a server's kit; also a context manager.

    Every method raises `ResourceError` where the SuperLink does not answer, and `UsageError` where it refuses.

    Args:
        kit: The server's; its SuperLink is running (`main.py serve`).

    Raises:
        ResourceError: the SuperLink was never started.
        UsageError: this is not the user who started it.
    """

    def __init__(self, kit: ServerKit) -> None:
        access = SuperLinkAccess(kit)
        self._client = httpx.Client(
            base_url=access.base_url(),
            verify=access.tls(),
            timeout=TIMEOUT_S,
            trust_env=False,
            headers={CONTROL_HEADER: access.control_secret(), "content-type": PROTOBUF_MEDIA_TYPE},
        )

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> "SuperLinkControl":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def register_node(self, public_key_line: str) -> None:
        """Let a SuperNode in, by its public key in OpenSSH's form; harmless when repeated."""
        key = _as_pem(public_key_line)
        if self._registered(key) is None:
            self._call("register-node", api.RegisterNodeRequest(public_key=key), api.RegisterNodeResponse)

    def unregister_node(self, public_key_line: str) -> None:
        """Let a SuperNode in no more, and drop its connection; harmless when repeated."""
        node = self._registered(_as_pem(public_key_line))
        if node is not None:
            self._call("unregister-node", api.UnregisterNodeRequest(node_id=node.node_id), api.UnregisterNodeResponse)

    def list_nodes(self) -> tuple[Node, ...]:
        """Every SuperNode that was ever registered."""
        return tuple(_node(info) for info in self._nodes())

    def start_run(self, bundle: bytes, config: Mapping[str, Scalar]) -> int:
        """Start the ServerApp.

        Args:
            bundle: The code that every hospital is to run, as Flower packs it.
            config: What differs from the bundle's own run config, by dotted key.

        Returns:
            The run's number.
        """
        fab = Fab(hash_str=sha256(bundle).hex(), content=bundle)
        request = api.StartRunRequest(fab=fab, override_config=user_config_to_proto(dict(config)))
        answer = self._call("start-run", request, api.StartRunResponse)
        if not answer.run_id:
            raise UsageError("The SuperLink started no run of this bundle.", "Its log says why: KIT/logs/superlink.log")
        return answer.run_id

    def list_runs(self) -> tuple[Run, ...]:
        """The runs, latest first."""
        answer = self._call("list-runs", api.ListRunsRequest(limit=MOST_RUNS), api.ListRunsResponse)
        ordered = sorted(answer.run_dict.values(), key=lambda run: run.pending_at, reverse=True)
        return tuple(
            Run(
                run.run_id,
                run.status.status,
                run.status.sub_status,
                run.status.details,
                run.running_at,
                run.finished_at,
            )
            for run in ordered
        )

    def stop_run(self, run_id: int) -> None:
        """Stop a run; harmless where it has ended."""
        if any(run.run_id == run_id and run.status == "finished" for run in self.list_runs()):
            return
        self._call("stop-run", api.StopRunRequest(run_id=run_id), api.StopRunResponse)

    def logs(self, run_id: int) -> Iterator[str]:
        """What a run's ServerApp logs, from its beginning until it ends, as it comes."""
        content = api.StreamLogsRequest(run_id=run_id).SerializeToString()
        timeout = httpx.Timeout(TIMEOUT_S, read=None)
        with (
            self._reaching(),
            self._client.stream("POST", "/v1/control/stream-logs", content=content, timeout=timeout) as response,
        ):
            if response.is_error:
                response.read()
                _refuse(response)
            buffer = b""
            for chunk in response.iter_bytes():
                buffer += chunk
                while len(buffer) >= FRAME_HEADER_SIZE:
                    end = FRAME_HEADER_SIZE + int.from_bytes(buffer[:FRAME_HEADER_SIZE], "big")
                    if end > MOST_LOG_BYTES:
                        raise ResourceError("The run's log is too long to be shown.", "Read it in the kit's logs/.")
                    if len(buffer) < end:
                        break
                    yield _parsed(buffer[FRAME_HEADER_SIZE:end], api.StreamLogsResponse).log_output
                    buffer = buffer[end:]

    def _nodes(self) -> tuple[NodeInfo, ...]:
        return tuple(self._call("list-nodes", api.ListNodesRequest(), api.ListNodesResponse).nodes_info)

    def _registered(self, key: bytes) -> NodeInfo | None:
        """The node that has a key and may connect, if there is one."""
        for node in self._nodes():
            if node.public_key == key and node.status != NodeStatus.UNREGISTERED:
                return node
        return None

    def _call(self, route: str, request: Message, answer: type[Answer]) -> Answer:
        """Ask the SuperLink's Control API."""
        with self._reaching():
            response = self._client.post(f"/v1/control/{route}", content=request.SerializeToString())
        if response.is_error:
            _refuse(response)
        return _parsed(response.content, answer)

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except httpx.TransportError as error:
            reason = str(error).rstrip(".") or type(error).__name__
            raise ResourceError(
                f"The server's SuperLink at {self._client.base_url} does not answer: {reason}.", _START
            ) from error


def _refuse(response: httpx.Response) -> None:
    """Raise what the SuperLink says of a request that it did not take."""
    try:
        answer = parse_json(response.content)
    except ValueError:
        answer = None
    said = answer if isinstance(answer, dict) else {}
    detail = (
        " ".join(str(said[key]) for key in ("detail", "extra") if said.get(key)) or f"status {response.status_code}"
    )
    raise UsageError(
        f"The SuperLink refused: {detail[:_SHOWN].rstrip('.')}.", "Its log says more: KIT/logs/superlink.log"
    )


def _parsed(content: bytes, kind: type[Answer]) -> Answer:
    """An answer of the SuperLink."""
    answer: Answer = kind()
    try:
        answer.ParseFromString(content)
    except DecodeError as error:
        raise ResourceError(
            "The SuperLink's answer is no answer of this Flower version.", "Restart the server."
        ) from error
    return answer


def _as_pem(public_key_line: str) -> bytes:
    """A public key as Flower keeps it.

    Raises:
        UsageError: it is no P-384 key in OpenSSH's form.
    """
    remedy = "Ask the hospital for the file request.json of its kit."
    try:
        key = serialization.load_ssh_public_key(public_key_line.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("The SuperNode's public key is damaged.", remedy) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP384R1):
        raise UsageError("The SuperNode's public key is not one on the curve P-384.", remedy)
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _node(info: NodeInfo) -> Node:
    """What Flower tells of a node."""
    key = serialization.load_pem_public_key(info.public_key)
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    heard = info.online_until if info.HasField("online_until") else None
    if heard is not None and info.status == NodeStatus.ONLINE:
        heard -= HEARTBEAT_PATIENCE * info.heartbeat_interval
    return Node(NodeId(info.node_id), line, info.status, heard)
