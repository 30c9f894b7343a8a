"""A server's kit with everything that its processes need, its ledger deployed, and hospitals' keys to admit."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from blockchain.identity import Identity
from blockchain.node.embedded import start_node
from fedward import settings as setting
from fedward.files import make_folder, sha256, write_atomic
from fedward.hosts.loopback import HOST, free_port
from fedward.hosts.members import Admitted, Members
from fedward.hosts.project import Deployed, Place, Project, Study
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.tls import make_authority, make_server_certificate
from fedward.types import Address, HospitalId

NOBODY = Address("0x" + "00" * 20)


def server_kit(path: Path, settings: setting.Settings | None = None) -> ServerKit:
    """A kit as `provision` makes it, but for a contract on the ledger."""
    kit, settings = ServerKit(path), settings or setting.load()
    for folder in (kit.path, kit.study.path, kit.superlink, kit.logs):
        make_folder(folder)
    make_authority(kit.authority, kit.authority_key, "lungs")
    make_server_certificate(kit.authority, kit.authority_key, kit.certificate, kit.certificate_key, HOST)
    start_node(kit.ledger, settings.ledger.chain_id, ()).stop()
    deployed = Deployed(
        NOBODY,
        settings.ledger.chain_id,
        "0" * 64,
        settings.digest().hex(),
        "0" * 64,
        "0" * 64,
        kit.authority.read_text(),
    )
    study = Study("lungs", (HospitalId("a"), HospitalId("b")), ("x",), ("no", "yes"))
    Project(study, Place(HOST, free_port()), settings, deployed).save(kit.project)
    return kit


@dataclass
class Enrolled:
    """A hospital's public and private parts, as `enroll` makes them.

    Attributes:
        member: What the server knows of it.
        key: Its SuperNode's key, in a file in OpenSSH's form.
        token: What opens the gateway to it.
    """

    member: Admitted
    key: Path
    token: str

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}


def enrolled(folder: Path, name: str) -> Enrolled:
    """A hospital, not admitted yet."""
    make_folder(folder)
    key, token = ec.generate_private_key(ec.SECP384R1()), secrets.token_hex(32)
    kinds = serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    path = folder / f"{name}.key"
    write_atomic(path, key.private_bytes(serialization.Encoding.PEM, *kinds), 0o600)
    line = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    write_atomic(path.with_suffix(".pub"), line.encode())
    address = Identity.create(folder / f"{name}-identity").address
    return Enrolled(Admitted(HospitalId(name), address, 100, line, sha256(token.encode()).hex()), path, token)


def admitted(kit: ServerKit, folder: Path, name: str) -> Enrolled:
    """A hospital whom the gateway lets in."""
    found = enrolled(folder, name)
    Members(kit.members).admit(found.member)
    return found
