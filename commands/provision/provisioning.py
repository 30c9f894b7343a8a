"""Make a server's kit: the administrator's acts before any hospital enrolls."""

from dataclasses import dataclass
from pathlib import Path

from blockchain.consortium.registrar import deploy_ledger
from blockchain.consortium.witness_enrollment import WitnessRequest
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import start_node
from blockchain.password import Password
from commands import console
from commands.new_folder import check_new
from commands.passwords import new_password, point_to_password
from commands.simulate.preparation import package_versions
from fedward.entry import private_files
from fedward.errors import UsageError
from fedward.files import make_folder, making_folder, read_file, resolved, sha256, write_atomic
from fedward.folders.server import RunRecord
from fedward.hosts.bundle import MOST_BYTES, build_bundle
from fedward.hosts.members import NamedWitness
from fedward.hosts.project import Deployed, Project
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.spoken import spoken
from fedward.hosts.start_files import SERVER, write_start_files
from fedward.hosts.tls import make_authority, make_server_certificate
from fedward.learning.digest import weights_digest
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.privacy.accounting import calibrated
from fedward.settings import replace, to_tables
from fedward.timing import utc_now

_MOST_PEM_BYTES = 256 * 1024
_PRIVATE = 0o600
WITNESS_GAS_WEI = 10**20  # it sends a transaction a round, each of less than a thousandth of 10**18


@dataclass(frozen=True)
class GivenCertificate:
    """A TLS certificate that the administrator has already, as three files."""

    authority: Path
    certificate: Path
    key: Path

    @classmethod
    def of(cls, authority: Path | None, certificate: Path | None, key: Path | None) -> "GivenCertificate | None":
        """The three together; None where none is given.

        Raises:
            UsageError: only some are given.
        """
        if authority and certificate and key:
            return cls(authority, certificate, key)
        if authority or certificate or key:
            raise UsageError(
                "A certificate was given in part.", "Give --authority, --certificate and --certificate-key, or none."
            )
        return None


def make_server_kit(
    project_file: Path,
    out: Path,
    password_file: Path | None,
    given: GivenCertificate | None,
    witness: WitnessRequest | None = None,
) -> ServerKit:
    """Make the kit of a project; all of it or nothing.

    Args:
        project_file: The project, without the table `deployed`.
        out: The new folder.
        password_file: Where the password of the server's account lies, or is to lie.
        given: Certificates, where the study is not to have an authority of its own.
        witness: Who attests to each round's aggregate; None: nobody.

    Raises:
        UsageError: the project's file is wrong or provisioned already, or requires a witness where none is given; the
            folder is in use, or no password is given.
        FedwardError: the ledger could not be deployed, or the disk is full.
    """
    project = Project.load(project_file)
    if project.deployed:
        raise UsageError(f"{project_file} was provisioned already.", "Take the file that it was made of.")
    check_new(out)
    if project.settings.ledger.witness_required and witness is None:
        raise UsageError(f"{project_file} requires a witness.", "Give --witness.")
    password = new_password(password_file)
    required = replace(calibrated(project.settings), "ledger.witness-required", witness is not None)
    project = project.with_settings(required)
    with private_files(), making_folder(resolved(out)) as unfinished:
        kit = ServerKit(unfinished)
        _make_certificates(kit, project, given)
        write_atomic(kit.bundle, build_bundle())
        if witness:
            NamedWitness(witness.address, witness.token_hash).save(kit.witness)
        deployed = _deploy(kit, project, password, witness)
        project.with_deployed(deployed).save(kit.project)
    made = ServerKit(resolved(out))
    write_start_files(made.path, SERVER)
    point_to_password(made.path, password)
    _tell(made, project)
    return made


def _make_certificates(kit: ServerKit, project: Project, given: GivenCertificate | None) -> None:
    """The server's TLS: an authority of the study's own, or what the administrator has."""
    if given is None:
        make_authority(kit.authority, kit.authority_key, project.study.name)
        make_server_certificate(
            kit.authority, kit.authority_key, kit.certificate, kit.certificate_key, project.server.host
        )
        return
    for source, target in (
        (given.authority, kit.authority),
        (given.certificate, kit.certificate),
        (given.key, kit.certificate_key),
    ):
        content = read_file(source, _MOST_PEM_BYTES, f"The file {source.name}", "Name a PEM file.", through_link=True)
        make_folder(target.parent)
        write_atomic(target, content, _PRIVATE)


def _deploy(kit: ServerKit, project: Project, password: Password, witness: WitnessRequest | None) -> Deployed:
    """Deploy the ledger on a node of the kit's own, and describe the study in `run.json`."""
    settings, study = project.settings, project.study
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(study.findings))
    initial = Classifier(spec, settings.training.seed, settings.model.weights).get_weights()
    server = Identity.create(kit.study.identity, password.text)
    with start_node(kit.ledger, settings.ledger.chain_id, (server.address,), private=True) as node:
        ledger = deploy_ledger(kit.study, settings, weights_digest(initial), node.url)
        if witness:
            ledger.admit_witness(witness.address)
            ledger.fund(witness.address, WITNESS_GAS_WEI)
        deployed = _described(kit, project, ledger, weights_digest(initial), witness)
        ledger.close()
    kit.study.save_record(
        RunRecord(
            run_id=study.name,
            created=utc_now(),
            versions=package_versions(),
            settings=to_tables(settings),
            settings_digest=deployed.settings_digest,
            initial_model_digest=deployed.model_digest,
            findings=study.findings,
            class_names=study.class_names,
            parameters=len(initial),
            contract=deployed.contract,
            roster=(),
            witnesses=deployed.witnesses,
            genesis_hash=deployed.genesis_hash,
        )
    )
    return deployed


def _described(
    kit: ServerKit, project: Project, ledger: Ledger, model_digest: bytes, witness: WitnessRequest | None
) -> Deployed:
    """What hospitals are told of the ledger and the code."""
    bundle = read_file(kit.bundle, MOST_BYTES, "The bundle", "Provision anew.")
    return Deployed(
        contract=ledger.contract,
        chain_id=ledger.chain_id,
        genesis_hash=ledger.genesis_hash().hex(),
        settings_digest=project.settings.digest().hex(),
        model_digest=model_digest.hex(),
        bundle=sha256(bundle).hex(),
        certificate=read_file(kit.authority, _MOST_PEM_BYTES, "The authority", "Provision anew.").decode(),
        witnesses=(witness.address,) if witness else (),
    )


def _tell(kit: ServerKit, project: Project) -> None:
    """Say what was made, and what comes next."""
    content = read_file(kit.project, 1024**2, "The project's file", "Provision anew.")
    console.out.print(f"The server's kit of the study {project.study.name} is in {kit.path}.", soft_wrap=True)
    console.out.print(f"The number of its project.toml is [bold]{spoken(content)}[/].")
    console.out.print(
        f"Next: start it with {kit.path / 'start.sh'}, and send {kit.project} to "
        f"{', '.join(project.study.hospitals)}. Read them that number over the telephone: the file may be changed on "
        "its way.",
        soft_wrap=True,
    )
