"""Make a hospital's kit: what a hospital does on its own host before it is admitted."""

import json
from pathlib import Path
from urllib.parse import urlsplit

from blockchain.consortium.enrollment import Enrollment, own_card, sign_enrollment
from blockchain.consortium.joining import NOBODY
from blockchain.identity import Identity
from blockchain.own_images import save_images
from blockchain.password import Password
from commands import console
from commands.confirming import confirm_number
from commands.enroll.own_images import Images
from commands.new_folder import check_new
from commands.passwords import new_password, point_to_password
from fedward.checked_json import to_json
from fedward.entry import private_files
from fedward.errors import UsageError, VerificationError
from fedward.files import make_folder, making_folder, read_file, resolved, sha256, write_atomic
from fedward.folders.hospital import HospitalFolder, Membership
from fedward.folders.whereabouts import NodeAddress
from fedward.hosts.approvals import Approvals
from fedward.hosts.bundle import build_bundle
from fedward.hosts.gateway_client import LEDGER_PATH, base_url
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Project
from fedward.hosts.spoken import spoken
from fedward.hosts.start_files import HOSPITAL, write_start_files
from fedward.hosts.tokens import draw_token
from fedward.hosts.transport_key import fingerprint, make_transport_key
from fedward.types import HospitalId, Partition

_PRIVATE = 0o600
_MOST_BYTES = 1024 * 1024


def make_hospital_kit(
    project_file: Path,
    out: Path,
    name: str,
    images: Images,
    number: str | None,
    password_file: Path | None,
    second_node: str | None = None,
) -> HospitalKit:
    """Make the kit of a hospital; all of it or nothing.

    Args:
        project_file: The file that the administrator sent.
        out: The new folder.
        name: The hospital's.
        images: Where the images are.
        number: The number of the project's file, as the administrator read it; None: it is asked for.
        password_file: Where the password of the hospital's account lies, or is to lie.
        second_node: URL of another node of the ledger; None: there is none.

    Raises:
        UsageError: the project's file is wrong or does not name the hospital, or the folder is in use.
        VerificationError: the file's number is another, or its settings are not those on its ledger.
        DataError: the images cannot be used.
        BudgetError: the study would pass the limit that the hospital has set for its patients.
        ResourceError: the disk is full.
    """
    project = Project.load(project_file)
    deployed = project.require_deployed()
    hospital = HospitalId(name)
    if hospital not in project.study.hospitals:
        raise UsageError(f"The study has no hospital {name}.", f"It has {', '.join(project.study.hospitals)}.")
    if project.settings.digest().hex() != deployed.settings_digest:
        raise VerificationError(
            "The settings in the project's file are not those that it says the ledger has.",
            "Ask the administrator for the file again; both sides need the same version of Fedward.",
        )
    if second_node is not None and urlsplit(second_node).scheme not in ("http", "https"):
        raise UsageError(f"{second_node} is no URL of a node.", "Give one that begins with http:// or https://.")
    check_new(out)
    content = read_file(project_file, _MOST_BYTES, "The project's file", "Name the file.", through_link=True)
    confirm_number("the project's file", content, number)
    password = new_password(password_file)
    with private_files(), making_folder(resolved(out)) as unfinished:
        own = images.read(project, hospital)
        kit = HospitalKit(unfinished)
        write_atomic(kit.project, content)
        if second_node is not None:
            write_atomic(kit.second_node, json.dumps(to_json(NodeAddress(second_node))).encode(), _PRIVATE)
        _settle(kit, resolved(out), project, own.partition, password)
        _approve(kit, project)
        own.note(project, kit.hospital)
    made = HospitalKit(resolved(out))
    write_start_files(made.path, HOSPITAL)
    point_to_password(made.path, password)
    _tell(made)
    return made


def _settle(kit: HospitalKit, final: Path, project: Project, partition: Partition, password: Password) -> None:
    """Everything in the kit but the project's file; `final` is where the kit will lie."""
    deployed, token = project.require_deployed(), draw_token()
    make_folder(kit.authority.parent)
    write_atomic(kit.authority, deployed.certificate.encode())
    write_atomic(kit.token, token.encode(), _PRIVATE)
    transport = make_transport_key(kit.transport_key, kit.transport_public)
    folder = HospitalFolder.create(kit.hospital.path)
    identity = Identity.create(folder.identity, password.text)
    save_images(folder, partition, identity, project.settings.image_encryption)
    folder.join(
        Membership(
            hospital=partition.hospital,
            contract=deployed.contract,
            weight=len(partition.train),
            settings_digest=deployed.settings_digest,
            roster_digest=NOBODY,
            chain_id=deployed.chain_id,
            genesis_hash=deployed.genesis_hash,
            witnesses=deployed.witnesses,
        )
    )
    at = HospitalKit(final)
    folder.save_ledger_node(NodeAddress(base_url(project.server) + LEDGER_PATH, str(at.authority), str(at.token)))
    enrollment = Enrollment(
        chain_id=deployed.chain_id,
        contract=deployed.contract,
        hospital=partition.hospital,
        address=identity.address,
        weight=len(partition.train),
        card=own_card(identity, deployed),
        transport_key=kit.transport_public.read_text().strip(),
        token_hash=sha256(token.encode()).hex(),
    )
    write_atomic(kit.request, sign_enrollment(enrollment, identity, transport))


def _approve(kit: HospitalKit, project: Project) -> None:
    """Let the study's code run here, which has to be the code of this checkout.

    Raises:
        VerificationError: the study has other code.
    """
    deployed, own = project.require_deployed(), build_bundle()
    if sha256(own).hex() != deployed.bundle:
        raise VerificationError(
            f"The study's code is {deployed.bundle}, this version's is {sha256(own).hex()}.",
            "Install the version of Fedward that the administrator has.",
        )
    approvals = Approvals(kit.approvals)
    approvals.keep(own)
    approvals.approve(deployed.bundle, deployed.settings_digest)


def _tell(kit: HospitalKit) -> None:
    """Say what was made, and what comes next."""
    content = read_file(kit.request, _MOST_BYTES, "The request", "Enroll again.")
    membership = kit.hospital.membership()
    console.out.print(
        f"The kit of {membership.hospital} is in {kit.path}; its keys leave it in no file.", soft_wrap=True
    )
    console.out.print(f"Training images: {membership.weight}")
    console.out.print(f"Transport key:   {fingerprint(kit.transport_public.read_text())}", soft_wrap=True)
    console.out.print(f"Number of the request: [bold]{spoken(content)}[/]")
    console.out.print(
        f"Next: send {kit.request} to the administrator, and read out that number over the telephone. Once all "
        f"hospitals are admitted: main.py agree {kit.path}",
        soft_wrap=True,
    )
