"""Certificates and a small gateway for tests: HTTPS on loopback, with the routes that hospitals use."""

import datetime
import ssl
import threading
import urllib.request
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from flwr.supercore.primitives.asymmetric import bytes_to_public_key, verify_signature

PRIVATE = 0o600


def write_certificates(folder: Path, host: str = "localhost", days: float = 300.0, authority: str = "test") -> None:
    """authority.pem, and server.pem with server.key, signed by it for a host's name."""
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.datetime.now(datetime.UTC)
    keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in ("authority", "server")}
    names = {"authority": f"authority {authority}", "server": host}
    for name, key in keys.items():
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names[name])]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, names["authority"])]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=30))
            .not_valid_after(now + datetime.timedelta(days=days if name == "server" else 3000, hours=1))
            .add_extension(x509.BasicConstraints(ca=name == "authority", path_length=None), critical=True)
        )
        if name == "server":
            builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        certificate = builder.sign(keys["authority"], hashes.SHA256())
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    content = keys["server"].private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(content)
    (folder / "server.key").chmod(PRIVATE)


@dataclass
class StandIn:
    """A gateway whose answers a test can change.

    Attributes:
        port: Where it answers.
        node: The URL of the ledger's node behind it.
        token: Which token it lets in.
        supernode: Which SuperNode's public key it lets in, PEM.
        ahead_s: How far its clock is ahead.
        status: What it answers by path, where not 200.
        bodies: What it answers by path, in place of what it should.
    """

    node: str
    token: str
    supernode: bytes = b""
    port: int = 0
    ahead_s: float = 0.0
    dated: bool = True
    status: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)


@contextmanager
def gateway(certificates: Path, stand_in: StandIn) -> Iterator[StandIn]:
    """Serve until the `with` block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(b"{}")

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith("/v1/fleet/"):
                self._fleet()
                return
            if self.headers["Authorization"] != f"Bearer {stand_in.token}":
                self._answer(b"", 401)
                return
            request = urllib.request.Request(  # noqa: S310 - the node of this test
                stand_in.node, body, {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request) as response:  # noqa: S310
                self._answer(response.read())

        def _fleet(self) -> None:
            """What the SuperLink answers a SuperNode that calls itself node 0, once the gateway has let it in."""
            key, signature = (b64decode(self.headers[name]) for name in ("flwr-public-key", "flwr-signature"))
            said = self.headers["flwr-timestamp"].encode()
            if key == stand_in.supernode and verify_signature(bytes_to_public_key(key), said, signature):
                self._answer(b"", 401)
            else:
                self._answer(b'{"detail": "not an admitted hospital."}', 412)

        def _answer(self, content: bytes, status: int = 200) -> None:
            self.send_response_only(stand_in.status.get(self.path, status))
            if stand_in.dated:
                self.send_header("Date", formatdate(time() + stand_in.ahead_s, usegmt=True))
            content = stand_in.bodies.get(self.path, content)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *arguments: object) -> None:
            """A client that does not trust the certificate hangs up."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server.key")
    with Quiet(("127.0.0.1", stand_in.port), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        stand_in.port = int(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield stand_in
        finally:
            server.shutdown()
            thread.join()
