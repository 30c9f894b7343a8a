"""The server's gateway, as seen from a host of the study: its certificate, its clock, and what it hands on."""

import http.client
import json
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from blockchain.ledger.artifact import load_artifact
from commands.doctor.finding import Finding, failure, fine, watch
from fedward.errors import LedgerError, ResourceError
from fedward.files import parse_json
from fedward.hosts.project import Deployed, Place

TIMEOUT_S = 10.0
MOST_OFF_S = 60.0
RENEW_DAYS = 30

_DAY_S = 86_400
_HEARTBEAT = "/v1/fleet/send-node-heartbeat"
_SHOWN = 200  # characters of what a stranger may have sent
_MOST_ANSWER_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Answer:
    """What the gateway answered.

    Attributes:
        status: HTTP status.
        date: Its `Date` header; None where there is none.
        body: The content.
        expires: When its certificate expires, in Unix seconds.
        sent_at, got_at: This host's clock before and after, in Unix seconds.
    """

    status: int
    date: str | None
    body: bytes
    expires: float
    sent_at: float
    got_at: float


class Gateway:
    """Asks the gateway over TLS, with no trust but in the study's authority.

    Args:
        place: Where the gateway answers.
        authority: PEM file.
    """

    def __init__(self, place: Place, authority: Path) -> None:
        self._place = place
        self._authority = authority

    @property
    def name(self) -> str:
        """Host and port."""
        return f"{self._place.host}:{self._place.port}"

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        """Ask one thing.

        Raises:
            ResourceError: the gateway cannot be reached, its certificate is not to be trusted, or it speaks no HTTP.
        """
        connection = http.client.HTTPSConnection(
            self._place.host, self._place.port, timeout=TIMEOUT_S, context=self._context()
        )
        try:
            connection.connect()
            certificate = connection.sock.getpeercert() or {}
            sent_at = time.time()
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            content = response.read(_MOST_ANSWER_BYTES)
            expires = ssl.cert_time_to_seconds(str(certificate.get("notAfter")))
            return Answer(response.status, response.getheader("Date"), content, expires, sent_at, time.time())
        except ssl.SSLCertVerificationError as error:
            raise ResourceError(
                f"The certificate of {self.name} is not to be trusted: {error.verify_message}.",
                "Compare the clocks of both hosts; then ask the administrator whether the certificate was renewed. Do "
                "not go on: it may be another server.",
            ) from error
        except ssl.SSLError as error:
            raise ResourceError(
                f"{self.name} does not speak TLS as it should: {error.reason or error}.",
                "Check host and port in project.toml, and what stands between the two hosts.",
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ResourceError(
                f"{self.name} cannot be reached: {getattr(error, 'strerror', None) or error or type(error).__name__}.",
                "Check the network, the name in project.toml and the firewall; ask whether the server runs.",
            ) from error
        finally:
            connection.close()

    def _context(self) -> ssl.SSLContext:
        try:
            return ssl.create_default_context(cafile=str(self._authority))
        except (OSError, ssl.SSLError) as error:
            raise ResourceError(
                f"The study's authority {self._authority} cannot be read: {error.strerror or error}.",
                "Copy the table deployed.certificate of project.toml into it, or restore it from a backup.",
            ) from error


def check_tls(gateway: Gateway) -> Finding:
    """The gateway is reached; its certificate is by the study's authority, for its name, and not about to expire."""
    answer = gateway.ask("GET", "/health")
    if answer.status != HTTPStatus.OK:
        return failure(
            f"{gateway.name} answered /health with {answer.status}.",
            "Ask the administrator what answers at that port, and for the log of the gateway.",
        )
    days = int((answer.expires - time.time()) // _DAY_S)
    said = f"The certificate of {gateway.name} is valid for {days} more days."
    if days < RENEW_DAYS:
        return watch(said, "The administrator should renew it before then.")
    return fine(said)


def check_clock(gateway: Gateway) -> Finding:
    """This host's clock and the server's are less than a minute apart.

    Flower's signatures and the certificate's dates depend on it. The server tells whole seconds.
    """
    answer = gateway.ask("GET", "/health")
    try:
        told = parsedate_to_datetime(answer.date or "").timestamp()
    except (TypeError, ValueError):
        return watch("The gateway does not tell its time.", "Compare the clocks of both hosts by hand.")
    off = round((answer.sent_at + answer.got_at) / 2 - told)
    if abs(off) > MOST_OFF_S:
        return failure(
            f"This host's clock is {abs(off)} s {'ahead of' if off > 0 else 'behind'} the server's.",
            "Let both hosts set their clocks from the network: timedatectl set-ntp true",
        )
    return fine(f"This host's clock is within {max(abs(off), 2)} s of the server's.")


def check_fleet(gateway: Gateway, transport_key: ec.EllipticCurvePrivateKey) -> Finding:
    """The gateway lets this hospital's SuperNode in, and the SuperLink behind it answers.

    What is asked is a heartbeat of node 0, which is nobody's: the SuperLink refuses it, and that is answer enough.
    """
    answer = gateway.ask("POST", _HEARTBEAT, b"", _signed_headers(transport_key))
    if answer.status == HTTPStatus.PRECONDITION_FAILED:
        return failure(
            f"The gateway does not let this hospital's SuperNode in{_reason(answer.body)}.",
            "Ask the administrator whether this hospital was admitted, by the request of this kit, or was revoked.",
        )
    if answer.status == HTTPStatus.NOT_FOUND or answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return failure(
            f"The gateway answers, and the SuperLink behind it does not (HTTP {answer.status}).",
            "Ask the administrator to run `doctor` at the server.",
        )
    return fine("The gateway lets this hospital's SuperNode in, and the SuperLink behind it answers.")


def _signed_headers(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    """What a SuperNode sends with each request: who it is, and when it asks, signed."""
    asked_at = now().isoformat()
    return {
        FLEET_HTTP_PUBLIC_KEY_HEADER: b64encode(public_key_to_bytes(key.public_key())).decode(),
        TIMESTAMP_HEADER: asked_at,
        FLEET_HTTP_SIGNATURE_HEADER: b64encode(sign_message(key, asked_at.encode())).decode(),
        "Content-Type": PROTOBUF_MEDIA_TYPE,
    }


def _reason(body: bytes) -> str:
    """The gateway's own sentence, where it sent one."""
    try:
        content = parse_json(body)
    except ValueError:
        return ""
    said = content.get("detail") if isinstance(content, dict) else None
    return f": {said[:_SHOWN].rstrip('.')}" if isinstance(said, str) and said else ""


def check_ledger(gateway: Gateway, token: str, deployed: Deployed) -> Finding:
    """With the hospital's token the ledger is reached, and it is the project's: chain, block 0, contract."""
    chain_id = _rpc(gateway, token, "eth_chainId")
    genesis = _rpc(gateway, token, "eth_getBlockByNumber", "0x0", False)
    code = _rpc(gateway, token, "eth_getCode", deployed.contract, "latest")
    try:
        found = (int(chain_id, 16), genesis["hash"].removeprefix("0x"), bytes.fromhex(code.removeprefix("0x")))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _unusable() from error
    stop = "Do not take part; ask the administrator, over the telephone, which ledger the study has."
    if found[0] != deployed.chain_id:
        return failure(f"The ledger is chain {found[0]}, the project's is {deployed.chain_id}.", stop)
    if found[1] != deployed.genesis_hash:
        return failure(f"Block 0 of the ledger is {found[1]}, the project's is {deployed.genesis_hash}.", stop)
    if not load_artifact().is_code(found[2]):
        return failure(f"There is no update ledger of this version at {deployed.contract}.", stop)
    return fine(f"The ledger is the project's: contract {deployed.contract} on chain {found[0]}.")


def _rpc(gateway: Gateway, token: str, method: str, *parameters: object) -> Any:
    """The result of a JSON-RPC call through the gateway."""
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    answer = gateway.ask("POST", "/ledger", body, headers)
    if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise LedgerError(
            "The gateway does not let this hospital's token in.",
            "Ask the administrator whether this hospital was admitted, by the request of this kit, or was revoked.",
        )
    if answer.status != HTTPStatus.OK:
        raise LedgerError(
            f"The gateway answered a question to the ledger with HTTP {answer.status}.",
            "Ask the administrator to run `doctor` at the server.",
        )
    try:
        content = parse_json(answer.body)
    except ValueError as error:
        raise _unusable() from error
    if not isinstance(content, dict) or "result" not in content:
        raise _unusable()
    return content["result"]


def _unusable() -> LedgerError:
    return LedgerError(
        "The ledger behind the gateway gave no usable answer.", "Ask the administrator to run `doctor` at the server."
    )
