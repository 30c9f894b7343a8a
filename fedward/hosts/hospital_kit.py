"""A hospital's kit: its folder on a host of its own, and what lies where in it.

project.toml  request.json (public)  roster.json  second-node.json  tls/  transport/  token
hospital/ (the hospital's folder)  flower/ (Flower's)  approvals/  start.sh  systemd/  logs/

Private keys are made here, and leave in no file.
"""

from pathlib import Path

from fedward.folders.hospital import HospitalFolder
from fedward.hosts.project import Project
from fedward.hosts.tokens import read_token


class HospitalKit:
    """A hospital's folder: everything that its processes need.

    Attributes:
        project: The project's file that the hospital agreed to.
        request: What the hospital sends the administrator to be admitted; public.
        authority: PEM; the certificate authority of the server's TLS, as the project's file has it.
        transport_key, transport_public: The SuperNode's P-384 key in OpenSSH's form, and its public half.
        token: Opens the server's gateway to this hospital: 64 hexadecimal digits. The server has its hash only.
        hospital: The hospital's own folder: identity, images, keys, models.
        second_node: Where another node of the ledger answers, with which blocks are compared; there is none by default.
        flower: Flower's folder (`FLWR_HOME`).
        approvals: Which bundles the hospital approved, and the key that signs approvals.
        roster: The rosters that this hospital agreed to, with names, once it has.
        outgoing: What left the hospital, in its folder: a line for each message.
        logs: A file for each process.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.project = path / "project.toml"
        self.request = path / "request.json"
        self.authority = path / "tls" / "authority.pem"
        self.transport_key = path / "transport" / "key"
        self.transport_public = path / "transport" / "key.pub"
        self.token = path / "token"
        self.hospital = HospitalFolder(path / "hospital")
        self.roster = path / "roster.json"
        self.second_node = path / "second-node.json"
        self.flower = path / "flower"
        self.approvals = path / "approvals"
        self.outgoing = self.hospital.outgoing
        self.logs = path / "logs"

    def load_project(self) -> Project:
        """The project's file that the hospital agreed to.

        Raises:
            UsageError: it is missing, damaged or not yet provisioned.
        """
        project = Project.load(self.project)
        project.require_deployed()
        return project

    def load_token(self) -> str:
        """The hospital's token for the gateway.

        Raises:
            UsageError, EvidenceError, VerificationError: it is missing or damaged.
        """
        return read_token(self.token)
