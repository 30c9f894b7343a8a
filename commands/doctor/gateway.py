"""The server's gateway, as seen from a host of the study: its certificate, its clock, and what it hands on."""

import http.client
import ssl
import time
from base64 import b64encode
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from flwr.common.constant import TIMESTAMP_HEADER
from flwr.supercore.constant import FLEET_HTTP_PUBLIC_KEY_HEADER, FLEET_HTTP_SIGNATURE_HEADER
from flwr.supercore.date import now
from flwr.supercore.primitives.asymmetric import public_key_to_bytes, sign_message
from flwr.supercore.protobuf.constants import PROTOBUF_MEDIA_TYPE

from commands.doctor.finding import Finding, failure, fine, watch
from fedward.errors import ResourceError
from fedward.files import parse_json
from fedward.hosts.project import Place

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
