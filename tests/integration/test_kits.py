"""Kits of a study on separate hosts: what is made, and what is refused before anything is made."""

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from blockchain.consortium.key_exchange import agree_to_roster
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.node.embedded import start_node
from blockchain.password import FILE_VARIABLE, VARIABLE
from commands.agree.agreed_roster import save_agreed, vouched_for
from commands.agree.agreeing import agree_and_take
from commands.enroll.enrolling import make_hospital_kit
from commands.enroll.own_images import Images
from commands.provision.provisioning import GivenCertificate, make_server_kit
from data_preprocessing import preprocess, save_partition
from fedward import settings as setting
from fedward.errors import BudgetError, DataError, EvidenceError, FedwardError, UsageError, VerificationError
from fedward.files import sha256
from fedward.hosts.approvals import Approvals
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Project
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.spoken import spoken
from fedward.privacy.record_places import record_of_source
from fedward.privacy.study_files import Limit
from fedward.types import Address, HospitalId, Member

PROJECT = """
[study]
name = "test"
hospitals = ["north", "east", "south"]
findings = ["opacity"]
class-names = ["normal", "opacity"]

[server]
host = "localhost"
port = 18443

[settings.data]
image-size = 16
"""


@pytest.fixture(autouse=True)
def no_password(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands set the variable for their own process, which here is the tests'."""
    monkeypatch.setenv(FILE_VARIABLE, "/nowhere")
    monkeypatch.delenv(FILE_VARIABLE)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerKit]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FILE_VARIABLE, "/nowhere")
        patch.delenv(FILE_VARIABLE)
        folder = tmp_path_factory.mktemp("administrator")
        (folder / "project.toml").write_text(PROJECT)
        yield make_server_kit(folder / "project.toml", folder / "server", folder / "password", None)


@pytest.fixture(scope="module")
def partition(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images as data_preprocessing.py prepares them."""
    given = [("data.source", "synthetic"), ("data.image-size", 16), ("data.synthetic-images", 120)]
    data = preprocess(setting.load(None, *given).data, 1, bytes(32))
    path = tmp_path_factory.mktemp("images") / "images.npz"
    save_partition(path, data.partitions[0])
    return path


def number(server: ServerKit) -> str:
    return spoken(server.project.read_bytes())


def test_a_servers_kit_has_a_ledger_with_the_projects_settings(
    server: ServerKit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FILE_VARIABLE, str(server.path.parent / "password"))
    project = server.load_project()
    deployed = project.require_deployed()
    assert deployed.settings_digest == project.settings.digest().hex()
    assert deployed.bundle == sha256(server.bundle.read_bytes()).hex()
    assert deployed.certificate == server.authority.read_text()
    for secret in (server.authority_key, server.certificate_key, server.study.identity / "account.json"):
        assert secret.stat().st_mode & 0o077 == 0
    record, address = server.study.load_record(), Identity.load(server.study.identity).address
    assert (record.contract, record.roster) == (deployed.contract, ())
    with start_node(server.ledger, deployed.chain_id, (), private=True) as node:
        ledger = Ledger.attach(node.url, deployed.contract)
        ledger.check_rules(project.settings.ledger)
        assert ledger.genesis_hash().hex() == deployed.genesis_hash
        assert ledger.initial_model_digest().hex() == deployed.model_digest == record.initial_model_digest
        # The registrar pays for hospitals' transactions, which did not exist when the chain began.
        paying = Ledger.attach(node.url, deployed.contract, Identity.load(server.study.identity))
        newcomer = Identity.create(server.path.parent / "newcomer")
        for _ in range(2):
            paying.fund(newcomer.address, 10**18)
        assert ledger._connection._web3.eth.get_balance(newcomer.address) == 10**18
        assert address != newcomer.address
        for one in (ledger, paying):
            one.close()


def test_a_hospitals_kit_has_its_keys_and_tells_only_public_ones(
    server: ServerKit, partition: Path, tmp_path: Path
) -> None:
    images = Images.of(None, partition, {})
    kit = make_hospital_kit(server.project, tmp_path / "north", "north", images, number(server), tmp_path / "password")
    deployed, membership = server.load_project().require_deployed(), kit.hospital.membership()
    assert (membership.contract, membership.hospital) == (deployed.contract, "north")
    request = kit.request.read_bytes()
    assert json.loads(request)["enrollment"]["weight"] == membership.weight
    secrets = [kit.token.read_bytes(), kit.transport_key.read_bytes(), (tmp_path / "password").read_bytes().strip()]
    assert not any(secret in request for secret in secrets)
    private = [kit.token, kit.transport_key, kit.approvals / "key", *(kit.hospital.identity.iterdir())]
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)
    approved = Approvals(kit.approvals).current()
    assert approved
    assert (approved.bundle, approved.settings) == (deployed.bundle, deployed.settings_digest)
    assert Approvals(kit.approvals).kept(approved.bundle)
    node = kit.hospital.ledger_node()
    assert (node.url, node.certificate) == ("https://localhost:18443/ledger", str(kit.authority))
    assert kit.authority.read_text() == deployed.certificate
    # The server is not there: said in one sentence, and nothing is agreed to.
    with pytest.raises(FedwardError, match="cannot be reached"):
        agree_and_take(kit, "", 0)
    assert kit.hospital.membership() == membership


def changed(server: ServerKit, path: Path, old: str, new: str) -> Path:
    """The project's file with a change that somebody made on its way."""
    text = server.project.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def test_nothing_is_left_of_an_enrollment_that_is_refused(server: ServerKit, partition: Path, tmp_path: Path) -> None:
    out, password, images = tmp_path / "kit", tmp_path / "password", Images.of(None, partition, {})

    def enroll(
        project: Path = server.project, name: str = "north", own: Images = images, said: str | None = None
    ) -> None:
        make_hospital_kit(project, out, name, own, said or spoken(project.read_bytes()), password)

    other = tmp_path / "changed.toml"
    with pytest.raises(UsageError, match="has no hospital west"):
        enroll(name="west")
    with pytest.raises(VerificationError, match="changed on its way"):
        enroll(said=spoken(b"another"))
    with pytest.raises(VerificationError, match="settings in the project's file"):
        enroll(changed(server, other, "image-size = 16", "image-size = 32"))
    bundle = server.load_project().require_deployed().bundle
    with pytest.raises(VerificationError, match="code"):
        enroll(changed(server, other, bundle, "ab" * 32))
    with pytest.raises(DataError, match="labeled with opacity"):
        enroll(changed(server, other, '    "opacity",\n]\nclass', '    "effusion",\n]\nclass'))
    with pytest.raises(UsageError, match="before `provision`"):
        enroll(server.path.parent / "project.toml")
    with pytest.raises(UsageError, match="study's to choose"):
        enroll(own=Images.of("synthetic", None, {"data.finding": "any"}))
    with pytest.raises(UsageError, match="study's to choose"):
        Images.of("synthetic", None, {"training.rounds": "3"})
    for source, prepared in ((None, None), ("synthetic", partition)):
        with pytest.raises(UsageError, match="one set of images"):
            Images.of(source, prepared, {})
    assert not out.exists()
    assert not list(tmp_path.glob(".*"))
    (out / "mine").mkdir(parents=True)
    with pytest.raises(UsageError, match="in use"):
        enroll()
    assert [path.name for path in out.iterdir()] == ["mine"]


def test_a_study_beyond_the_hospitals_own_limit_is_refused(tmp_path: Path, partition: Path) -> None:
    private = '\n[settings.privacy]\nmode = "sample"\ntarget-epsilon = 8.0\n'
    (tmp_path / "project.toml").write_text(PROJECT + private)
    server = make_server_kit(tmp_path / "project.toml", tmp_path / "server", tmp_path / "password", None)
    own = Path(shutil.copyfile(partition, tmp_path / "images.npz"))  # with a record of its own
    images = Images.of(None, own, {})
    made = make_hospital_kit(server.project, tmp_path / "north", "north", images, number(server), tmp_path / "password")
    assert made.hospital.study_place.exists(), "the study is in the hospital's record"
    record_of_source(own).set_limit(Limit(4.0, 1e-5))
    with pytest.raises(BudgetError, match="limit"):
        make_hospital_kit(server.project, tmp_path / "east", "east", images, number(server), tmp_path / "password")
    assert not (tmp_path / "east").exists()


def test_nothing_is_left_of_a_provisioning_that_is_refused(server: ServerKit, tmp_path: Path) -> None:
    (tmp_path / "project.toml").write_text(PROJECT)
    with pytest.raises(UsageError, match="provisioned already"):
        make_server_kit(server.project, tmp_path / "server", tmp_path / "password", None)
    with pytest.raises(UsageError, match="password"):
        make_server_kit(tmp_path / "project.toml", tmp_path / "server", None, None)
    with pytest.raises(UsageError, match="in part"):
        GivenCertificate.of(server.authority, None, None)
    assert not (tmp_path / "server").exists()
    given = GivenCertificate(server.authority, server.certificate, server.certificate_key)
    made = make_server_kit(tmp_path / "project.toml", tmp_path / "server", tmp_path / "password", given)
    assert made.certificate.read_bytes() == server.certificate.read_bytes()
    assert not made.authority_key.exists()
    with pytest.raises(UsageError, match="in use"):
        make_server_kit(tmp_path / "project.toml", tmp_path / "server", tmp_path / "password", None)


def test_one_hospitals_images_are_those_that_sharing_out_gives_all_together() -> None:
    given = [("data.source", "synthetic"), ("data.image-size", 16), ("data.synthetic-images", 120)]
    settings = setting.load(None, *given).data
    shared = preprocess(settings, 1, bytes(32))
    own = preprocess(settings, 1, bytes(32), only=HospitalId("north"))
    assert [part.hospital for part in own.partitions] == ["north"]
    for split in ("train", "val", "test"):
        all_shared = sorted(image.tobytes() for part in shared.partitions for image in getattr(part, split).images)
        assert sorted(image.tobytes() for image in getattr(own.partitions[0], split).images) == all_shared


def test_a_project_keeps_its_number_when_it_is_copied(server: ServerKit, partition: Path, tmp_path: Path) -> None:
    images = Images.of(None, partition, {})
    kit = make_hospital_kit(server.project, tmp_path / "kit", "east", images, number(server), tmp_path / "password")
    assert HospitalKit(kit.path).project.read_bytes() == server.project.read_bytes()
    assert Project.load(kit.project) == server.load_project()


def test_a_hospital_vouches_for_the_rosters_that_it_agreed_to(
    server: ServerKit, partition: Path, tmp_path: Path
) -> None:
    images = Images.of(None, partition, {})
    kit = make_hospital_kit(server.project, tmp_path / "kit", "east", images, number(server), tmp_path / "password")
    with pytest.raises(EvidenceError, match="agreed rosters"):
        vouched_for(kit)
    north, east, south = (
        Member(HospitalId(name), Address("0x" + digit * 40), 7)
        for name, digit in (("north", "1"), ("east", "2"), ("south", "3"))
    )

    def agree(*roster: Member) -> None:
        agree_to_roster(kit.hospital, [(one.address, one.weight) for one in roster])

    agree(north, east)
    for _ in range(2):
        save_agreed(kit, (north, east))
    assert vouched_for(kit) == {"north": north.address, "east": east.address}
    agree(east, south)
    for other in ((south, east), (south,), (east, dataclasses.replace(south, weight=8))):
        save_agreed(kit, other)
        with pytest.raises(VerificationError, match="does not end with the roster"):
            vouched_for(kit)
    save_agreed(kit, (east, south))
    # An auditor finds whoever was revoked since in earlier rounds.
    assert vouched_for(kit) == {one.hospital: one.address for one in (north, east, south)}
