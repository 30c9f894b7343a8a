"""A server's kit: the administrator's folder on a study's server host, and what lies where in it.

project.toml (public)  tls/  server/ (its own folder)  ledger/ (the chain)  superlink/ (Flower's)
bundle.fab  members.json  witness.json  start.sh  systemd/  logs/

The parts server/ and ledger/ lie as in a simulated run's folder, so `main.py audit` reads the kit.
"""

from pathlib import Path

from fedward.folders.server import ServerFolder
from fedward.hosts.project import Project


class ServerKit:
    """The administrator's folder: everything that the server's processes need.

    Attributes:
        project: The project's file with what `provision` added; hospitals get a copy.
        authority, authority_key: PEM; the certificate authority of the study's TLS, and its key, which is only needed
            to sign another certificate.
        certificate, certificate_key: PEM; of the server's TLS.
        study: The server's own folder: identity, `run.json`, ciphertexts, key board, progress.
        ledger: The embedded node's folder.
        superlink: Flower's folder (`FLWR_HOME`); its database lies in it.
        bundle: The code that hospitals are to run, as Flower ships it.
        members: Which hospitals were admitted, with their public keys.
        witness: The witness that was named at provisioning; missing where there is none.
        logs: A file for each process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "project.toml"
        self.authority = path / "tls" / "authority.pem"
        self.authority_key = path / "tls" / "authority.key"
        self.certificate = path / "tls" / "server.pem"
        self.certificate_key = path / "tls" / "server.key"
        self.study = ServerFolder(path / "server")
        self.ledger = path / "ledger"
        self.superlink = path / "superlink"
        self.bundle = path / "bundle.fab"
        self.members = path / "members.json"
        self.witness = path / "witness.json"
        self.logs = path / "logs"

    def load_project(self) -> Project:
        """The project's file, with what `provision` added.

        Raises:
            UsageError: it is missing, damaged or not yet provisioned.
        """
        project = Project.load(self.project)
        project.require_deployed()
        return project
