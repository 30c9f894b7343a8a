"""A witness's kit: its folder on a host of its own, and what lies where in it.

request.json (public)  token  identity/ (its account)  project.toml  tls/ (once it has joined)  start.sh  systemd/
"""

from pathlib import Path

from fedward.errors import UsageError
from fedward.files import read_file
from fedward.hosts.project import Project
from fedward.hosts.tokens import read_token

_MOST_BYTES = 64 * 1024


class WitnessKit:
    """A witness's folder. It holds no key that opens anything of a hospital's.

    Attributes:
        request: What the witness sends the administrator; public.
        token: Opens the server's gateway to this witness: 64 hexadecimal digits. The server has its hash only.
        identity: The account that attests.
        project: The study's project file, once the witness has joined.
        authority: PEM; the certificate authority of the server's TLS, as that file has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.request = path / "request.json"
        self.token = path / "token"
        self.identity = path / "identity"
        self.project = path / "project.toml"
        self.authority = path / "tls" / "authority.pem"

    def exists(self) -> bool:
        """Whether a witness's kit lies here."""
        return self.request.exists() and self.token.exists() and self.identity.is_dir()

    def load_project(self) -> Project:
        """The project's file that the witness joined by.

        Raises:
            UsageError: it has not joined yet, or the file is damaged.
        """
        if not self.project.exists():
            raise UsageError(
                f"The witness in {self.path} has joined no study yet.",
                f"Take the administrator's project.toml: main.py join-witness {self.path} project.toml",
            )
        project = Project.load(self.project)
        project.require_deployed()
        return project

    def load_token(self) -> str:
        """The witness's token.

        Raises:
            UsageError, EvidenceError, VerificationError: it is missing or damaged.
        """
        return read_token(self.token)

    def load_request(self) -> bytes:
        """The request as it was written."""
        return read_file(self.request, _MOST_BYTES, "The witness's request", "Restore it from a backup.")
