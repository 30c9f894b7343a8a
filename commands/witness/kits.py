"""A witness's kit: made before there is a study, completed by the study's project file."""

from pathlib import Path

from blockchain.consortium.witness_enrollment import WitnessRequest, sign_witness_request
from blockchain.identity import Identity
from commands import console
from commands.confirming import confirm_number
from commands.new_folder import check_new
from commands.passwords import new_password, point_to_password
from fedward.entry import private_files
from fedward.errors import UsageError, VerificationError
from fedward.files import make_folder, making_folder, read_file, resolved, write_atomic
from fedward.hosts.project import MOST_BYTES, Project
from fedward.hosts.spoken import spoken
from fedward.hosts.start_files import WITNESS, write_start_files
from fedward.hosts.tokens import draw_token
from fedward.hosts.witness_kit import WitnessKit

_PRIVATE = 0o600


def make_witness_kit(out: Path, password_file: Path | None) -> WitnessKit:
    """Make the kit of a witness; all of it or nothing.

    Args:
        out: The new folder.
        password_file: Where the password of the witness's account lies, or is to lie.

    Raises:
        UsageError: the folder is in use, or no password is given.
        ResourceError: the disk is full.
    """
    check_new(out)
    password, token = new_password(password_file), draw_token()
    with private_files(), making_folder(resolved(out)) as unfinished:
        kit = WitnessKit(unfinished)
        identity = Identity.create(kit.identity, password.text)
        write_atomic(kit.token, token.encode(), _PRIVATE)
        write_atomic(kit.request, sign_witness_request(identity, token))
    made = WitnessKit(resolved(out))
    write_start_files(made.path, WITNESS)
    point_to_password(made.path, password)
    console.out.print(f"The witness's kit is in {made.path}; its account is {identity.address}.", soft_wrap=True)
    console.out.print(f"Number of the request: [bold]{spoken(made.load_request())}[/]")
    console.out.print(
        f"Next: send {made.request} to the administrator, and read out that number over the telephone. Once the study "
        f"is provisioned: main.py join-witness {made.path} project.toml",
        soft_wrap=True,
    )
    return made


def join(kit: WitnessKit, project_file: Path, number: str | None) -> None:
    """Complete a witness's kit by the file of the study that was provisioned with it.

    Args:
        kit: The witness's.
        project_file: The file that the administrator sent.
        number: Its number, as the administrator read it; None: it is asked for.

    Raises:
        UsageError: there is no such kit, or the file is wrong.
        VerificationError: the file's number is another, or the study has another witness.
        ResourceError: the disk is full.
    """
    if not kit.exists():
        raise UsageError(f"{kit.path} is no witness's kit.", "Name the folder that `main.py enroll-witness` made.")
    project = Project.load(project_file)
    deployed = project.require_deployed()
    content = read_file(project_file, MOST_BYTES, "The project's file", "Name the file.", through_link=True)
    confirm_number("the project's file", content, number)
    own = WitnessRequest.from_bytes(kit.load_request(), "This witness's request").address
    if own not in deployed.witnesses:
        raise VerificationError(
            f"The study {project.study.name} does not name this witness's account {own}.",
            "The administrator provisions it with this kit's request.json.",
        )
    with private_files():
        make_folder(kit.authority.parent)
        write_atomic(kit.authority, deployed.certificate.encode())
        write_atomic(kit.project, content)
    console.out.print(f"The witness has joined {project.study.name}. Start it: {kit.path / 'start.sh'}", soft_wrap=True)
