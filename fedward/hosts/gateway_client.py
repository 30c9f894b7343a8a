"""The way of a hospital or witness to the gateway, by HTTPS: the study's authority alone is trusted, a token borne."""

import time
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol

import requests

from fedward.checked_json import checked_json
from fedward.errors import EvidenceError, ResourceError, UsageError
from fedward.files import parse_json
from fedward.folders.whereabouts import Bearer, NodeAddress
from fedward.hosts.project import Place, Project
from fedward.types import Member

LEDGER_PATH = "/ledger"
PATIENCE_S = 30.0  # for a server that is being restarted
TIMEOUT_S = 30.0  # for a connection, and for the next bytes
ANSWER_TIMEOUT_S = 600.0  # for all of an answer
MOST_MEMBERS_BYTES = 1024 * 1024

_RETRY_S = 0.5
_AWAY = (HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT)
_PART_BYTES = 64 * 1024
_MOST_SENTENCE = 64 * 1024
_SHOWN = 300  # characters of the server's sentence that an error shows


class Answered(NamedTuple):
    """What the gateway answered: a status of HTTP, and at most one byte more than was asked for."""

    status: int
    content: bytes


class Kit(Protocol):
    """A hospital's kit or a witness's, as far as it says where the gateway is and what opens it."""

    authority: Path
    token: Path

    def load_project(self) -> Project:
        """The project's file."""

    def load_token(self) -> str:
        """The token."""


def base_url(server: Place) -> str:
    """Where a server's gateway answers."""
    host = f"[{server.host}]" if ":" in server.host else server.host
    return f"https://{host}:{server.port}"


def ledger_node(kit: Kit) -> NodeAddress:
    """The ledger's node as a kit's party reaches it through the gateway.

    Raises:
        UsageError: the kit is not complete.
    """
    authority, token = str(kit.authority.resolve()), str(kit.token.resolve())
    return NodeAddress(base_url(kit.load_project().server) + LEDGER_PATH, authority, token)


class GatewayClient:
    """Asks one server's gateway; also a context manager.

    Args:
        url: As `base_url` makes it.
        authority: PEM; whom to trust. Nobody else is, whatever the environment names.
        token: The hospital's. No error shows it.
        patience_s: How long to try again where the server is away.

    Guarantees:
        1. At most so many bytes of an answer are read as were asked for, and one more; and no answer is read for ever.
    """

    def __init__(self, url: str, authority: Path, token: str, patience_s: float = PATIENCE_S) -> None:
        self.url = url
        self._authority = authority
        self._patience_s = patience_s
        self._session = requests.Session()
        self._session.auth = Bearer(token)

    @classmethod
    def of(cls, kit: Kit) -> "GatewayClient":
        """The client of a kit.

        Raises:
            UsageError: the kit is not complete.
        """
        return cls(base_url(kit.load_project().server), kit.authority, kit.load_token())

    def close(self) -> None:
        """Close the connection."""
        self._session.close()

    def __enter__(self) -> "GatewayClient":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def members(self) -> tuple[Member, ...]:
        """The hospitals that the administrator admitted.

        Raises:
            ResourceError: the server cannot be reached.
            UsageError: it does not know this hospital's token.
            EvidenceError: its answer is malformed.
        """
        status, content = self.ask("GET", "/members", MOST_MEMBERS_BYTES)
        if status != HTTPStatus.OK:
            raise ResourceError(
                f"The server told no list of hospitals: {sentence(status, content)}.", "Try again later."
            )
        remedy = "Ask the administrator which version the server runs."
        return checked_json(tuple[Member, ...], content, "The server's list of hospitals", EvidenceError, remedy)

    def ask(self, method: str, path: str, most: int, content: bytes | None = None) -> Answered:
        """Ask, and try again for a while where the server is away.

        Args:
            method: GET, or PUT, which may be repeated without harm.
            path: From the slash on.
            most: The largest answer that is expected, bytes.
            content: What to leave there.

        Raises:
            ResourceError: the server cannot be reached, or is not the study's.
            UsageError: it does not know this hospital's token.
        """
        deadline = time.monotonic() + self._patience_s
        while True:
            try:
                answered = self._once(method, path, most, content)
            except requests.exceptions.SSLError as error:
                raise ResourceError(
                    f"The server at {self.url} is not the one that the study's certificate is for.",
                    "Ask the administrator whether the server's certificate has expired or was made anew.",
                ) from error
            except (requests.RequestException, OSError) as error:
                if time.monotonic() >= deadline or not isinstance(error, requests.RequestException):
                    reason = type(error).__name__ if isinstance(error, requests.RequestException) else error.strerror
                    raise ResourceError(
                        f"The server at {self.url} cannot be reached: {reason}.",
                        "Check the network, and ask the administrator whether the server runs.",
                    ) from error
            else:
                if answered.status == HTTPStatus.UNAUTHORIZED:
                    raise UsageError(
                        f"The server at {self.url} does not know this hospital's token.",
                        "Ask the administrator whether this hospital was admitted, by this request, or was revoked.",
                    )
                if answered.status not in _AWAY or time.monotonic() >= deadline:
                    return answered
            time.sleep(_RETRY_S)

    def _once(self, method: str, path: str, most: int, content: bytes | None) -> Answered:
        # The certificate is named with each request: REQUESTS_CA_BUNDLE would take the place of the session's.
        with self._session.request(
            method,
            self.url + path,
            data=content,
            headers={"Content-Type": "application/octet-stream"},
            verify=str(self._authority),
            timeout=TIMEOUT_S,
            stream=True,
            allow_redirects=False,
        ) as response:
            allowed = most if response.status_code == HTTPStatus.OK else _MOST_SENTENCE
            deadline, parts, size = time.monotonic() + ANSWER_TIMEOUT_S, list[bytes](), 0
            for part in response.iter_content(_PART_BYTES):
                parts.append(part)
                size += len(part)
                if size > allowed:
                    break
                if time.monotonic() > deadline:
                    raise requests.ReadTimeout("The answer came too slowly.")
            return Answered(response.status_code, b"".join(parts)[: allowed + 1])


def sentence(status: int, content: bytes) -> str:
    """Why the gateway refused, in its own words where it sent some."""
    try:
        answer = parse_json(content)
    except ValueError:
        answer = None
    said = answer.get("error") if isinstance(answer, dict) else None
    return said[:_SHOWN].rstrip(".") if isinstance(said, str) and said.isprintable() else f"HTTP {status}"
