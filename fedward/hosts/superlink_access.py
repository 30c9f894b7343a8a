"""How the server's own processes reach its SuperLink on loopback: the port, and the secrets that open it."""

import secrets
import socket
import ssl
from pathlib import Path

from fedward.checked_json import read_json
from fedward.errors import EvidenceError, ResourceError
from fedward.files import make_folder, read_private, write_atomic
from fedward.hosts.loopback import HOST, free_port
from fedward.hosts.server_kit import ServerKit

CONTROL_HEADER = "fedward-control"  # bears the secret that opens the Control API; `superlink_process` names it, too

_SECRET_BYTES = 32
_MOST_BYTES = 1024
_PRIVATE = 0o600
_START = "Start the server: main.py serve KIT."


class SuperLinkAccess:
    """Files in the kit's folder for Flower that only its owner reads.

    Attributes:
        port_file: JSON; on which port of loopback the SuperLink listens, from one start to the next.
        control: 64 hexadecimal digits, without which the SuperLink answers nobody on its Control API.
        launcher: The secret with which the launcher of ServerApps asks the SuperLink for work.
    """

    def __init__(self, kit: ServerKit) -> None:
        self._kit = kit
        self._folder = kit.superlink / "access"
        self.port_file = self._folder / "port.json"
        self.control = self._folder / "control"
        self.launcher = self._folder / "launcher"

    def prepare(self) -> None:
        """Choose a port, where none was chosen or another program took it meanwhile, and draw fresh secrets.

        Call it while no SuperLink of this kit runs.

        Raises:
            ResourceError: the disk is full or the folder cannot be written.
        """
        make_folder(self._folder)
        write_atomic(self.control, secrets.token_hex(_SECRET_BYTES).encode(), _PRIVATE)
        write_atomic(self.launcher, secrets.token_bytes(_SECRET_BYTES), _PRIVATE)
        try:
            if _is_free(self.port()):
                return
        except ResourceError:
            pass  # the first start
        write_atomic(self.port_file, str(free_port()).encode(), _PRIVATE)

    def port(self) -> int:
        """On which port of loopback the SuperLink listens.

        Raises:
            ResourceError: it was never started.
        """
        try:
            return read_json(int, self.port_file, "The SuperLink's port", _START)
        except EvidenceError as error:
            raise ResourceError("The server's SuperLink was never started.", _START) from error

    def base_url(self) -> str:
        """Where the SuperLink answers; raises as `port`."""
        return f"https://{HOST}:{self.port()}"

    def control_secret(self) -> str:
        """What opens the Control API.

        Raises:
            UsageError: the file is missing, or other users may read it.
        """
        return read_private(self.control, _MOST_BYTES, f"The SuperLink's secret in {self.control}", _START).decode()

    def tls(self) -> ssl.SSLContext:
        """Trusts the study's authority and nobody else."""
        return trusting(self._kit.authority)


def trusting(authority: Path) -> ssl.SSLContext:
    """TLS for a client that trusts one authority and nobody else.

    Args:
        authority: PEM.

    Raises:
        ResourceError: the file is missing or holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_verify_locations(authority)
    except (OSError, ssl.SSLError) as error:
        raise ResourceError(
            f"{authority} holds no certificate that can be read.", "Restore it from project.toml's `certificate`."
        ) from error
    return context


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
