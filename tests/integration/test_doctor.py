"""`main.py doctor`: all is well at a whole kit, and each thing that is broken is named, with what to do."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import pytest
from command_line import run_here
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from federation import Federation, founded
from flwr.supercore.primitives.asymmetric import public_key_to_bytes
from server_host import admitted, enrolled, server_kit
from source_tree import ROOT
from tls import StandIn, gateway, write_certificates

from commands.doctor import machine, study
from commands.doctor.examination import Line, examine
from commands.doctor.finding import Level, fine
from commands.doctor.gateway import Gateway, check_clock, check_fleet, check_tls
from commands.doctor.ledger import LedgerThere, check_agreed_roster, check_key_in_force, check_ledger
from data_preprocessing import load_partition, save_partition
from fedward import settings as setting
from fedward.errors import LedgerError, ResourceError
from fedward.files import sha256
from fedward.folders.hospital import HeldKey
from fedward.folders.whereabouts import announced
from fedward.hosts.approvals import Approval, Approvals
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.members import Admitted, Members
from fedward.hosts.project import Deployed, Place, Project, Study
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.superlink_control import SuperLinkControl
from fedward.sharing.sealed_releases import ChannelKey
from fedward.types import HospitalId

TOKEN = "5a" * 32
HEARTBEAT = "/v1/fleet/send-node-heartbeat"
BUNDLE = b"what hospitals run"


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    with founded(tmp_path_factory.mktemp("doctor") / "run") as federation:
        yield federation


@pytest.fixture
def stand_in(federation: Federation, tmp_path: Path) -> Iterator[StandIn]:
    write_certificates(tmp_path / "tls")
    with gateway(tmp_path / "tls", StandIn(federation.node.url, TOKEN)) as running:
        yield running


@pytest.fixture
def project(federation: Federation, stand_in: StandIn, tmp_path: Path) -> Project:
    ledger, data = federation.ledger, federation.data
    deployed = Deployed(
        contract=ledger.contract,
        chain_id=ledger.chain_id,
        genesis_hash=ledger.genesis_hash().hex(),
        settings_digest=federation.settings.digest().hex(),
        model_digest=ledger.initial_model_digest().hex(),
        bundle=sha256(BUNDLE).hex(),
        certificate=(tmp_path / "tls" / "authority.pem").read_text(),
    )
    asked = Study("lungs", tuple(federation.parties.hospitals), data.findings, data.class_names)
    return Project(asked, Place("localhost", stand_in.port), federation.settings, deployed)


@pytest.fixture
def hospital(federation: Federation, project: Project, stand_in: StandIn, tmp_path: Path) -> HospitalKit:
    kit = HospitalKit(tmp_path / "hospital-kit")
    shutil.copytree(federation.folder.hospital(HospitalId("hospital-2")).path, kit.hospital.path)
    kit.path.chmod(0o700)
    project.save(kit.project)
    kit.authority.parent.mkdir()
    kit.authority.write_text(project.require_deployed().certificate)
    key = ec.generate_private_key(ec.SECP384R1())
    write_transport_key(kit, key)
    stand_in.supernode = public_key_to_bytes(key.public_key())
    deployed = project.require_deployed()
    Approvals(kit.approvals).approve(deployed.bundle, deployed.settings_digest)
    kit.token.write_text(TOKEN)
    kit.token.chmod(0o600)
    return kit


@pytest.fixture
def server(federation: Federation, project: Project, tmp_path: Path) -> Iterator[ServerKit]:
    kit = ServerKit(tmp_path / "server-kit")
    shutil.copytree(federation.folder.server.path, kit.study.path)
    for folder in (kit.path, kit.study.path):
        folder.chmod(0o700)
    project.save(kit.project)
    shutil.copytree(tmp_path / "tls", kit.certificate.parent)
    kit.bundle.write_bytes(BUNDLE)
    kit.ledger.mkdir(mode=0o700)
    for member in federation.folder.server.load_record().roster:
        digest = sha256(member.hospital.encode()).hex()
        Members(kit.members).admit(Admitted(member.hospital, member.address, member.weight, member.hospital, digest))
    # The SuperLink is tested by itself, below.
    with announced(kit.ledger, federation.node.url), mock.patch.object(study, "check_superlink", return_value=fine("")):
        yield kit


def write_transport_key(kit: HospitalKit, key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> None:
    kit.transport_key.parent.mkdir(exist_ok=True)
    kit.transport_key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    kit.transport_key.chmod(0o600)
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    kit.transport_public.write_bytes(public + b" a comment\n")


def levels(lines: list[Line]) -> dict[str, str]:
    """Of all that is not well."""
    return {line.check: str(line.finding.level) for line in lines if line.finding.level is not Level.OK}


def test_all_is_well_at_a_whole_kit(hospital: HospitalKit, server: ServerKit) -> None:
    for kit in (hospital, server):
        lines = examine(kit.path)
        assert levels(lines) == {}, [line.finding for line in lines]
        done = run_here("doctor", kit.path)
        assert (done.returncode, done.stderr) == (0, "")
        for line in lines:
            assert line.check in done.stdout
            assert line.finding.said in done.stdout or line.check in ("memory", "disk")  # how much is free changes
        told = json.loads(run_here("doctor", kit.path, "--json").stdout)
        assert [one["check"] for one in told] == [line.check for line in lines]
        assert {one["level"] for one in told} == {"OK"}


def test_nothing_is_changed(hospital: HospitalKit) -> None:
    def state() -> dict[Path, tuple[int, int]]:
        return {path: (path.stat().st_mtime_ns, path.stat().st_mode) for path in hospital.path.rglob("*")}

    before = state()
    examine(hospital.path)
    assert state() == before


Break = Callable[[HospitalKit, StandIn], object]


def changed(kit: HospitalKit, **fields: object) -> None:
    """What the project's file says was deployed, otherwise."""
    project = Project.load(kit.project)
    project.with_deployed(dataclasses.replace(project.require_deployed(), **fields)).save(kit.project)


def with_membership(kit: HospitalKit, **fields: object) -> None:
    kit.hospital.join(dataclasses.replace(kit.hospital.membership(), **fields))


def with_partition(kit: HospitalKit, change: Callable[..., object]) -> None:
    path = kit.hospital.partition
    partition = load_partition(path)
    path.unlink()
    save_partition(path, change(partition))


def with_project(kit: HospitalKit, **fields: object) -> None:
    dataclasses.replace(Project.load(kit.project), **fields).save(kit.project)


def approved(kit: HospitalKit) -> Approval:
    approval = Approvals(kit.approvals).current()
    assert approval
    return approval


def with_older_key(kit: HospitalKit) -> None:
    """As when an epoch began since: the key that the hospital has is another."""
    (path,) = kit.hospital.keys.glob("*.key")
    key = ChannelKey.generate()
    path.unlink()
    kit.hospital.save_channel_key(HeldKey(1, key.fingerprint), key.to_bytes())


def other_settings(kit: HospitalKit) -> setting.Settings:
    return setting.replace(Project.load(kit.project).settings, "training.local-epochs", 7)


def other_public_half(kit: HospitalKit) -> None:
    private = kit.transport_key.read_bytes()
    write_transport_key(kit, ec.generate_private_key(ec.SECP384R1()))
    kit.transport_key.write_bytes(private)


def other_authority(kit: HospitalKit) -> None:
    write_certificates(kit.path / "other", authority="other")
    kit.authority.write_bytes((kit.path / "other" / "authority.pem").read_bytes())


# What is broken, which check says so, and a part of what it says.
AT_A_HOSPITAL: dict[str, tuple[Break, str, str]] = {
    "project": (lambda kit, _: kit.project.write_text("study ="), "project", "is not valid TOML"),
    "no account": (lambda kit, _: (kit.hospital.identity / "account.key").unlink(), "account", "could not be read"),
    "account of another": (lambda kit, _: (kit.hospital.identity / "account.key").chmod(0o644), "account", "readable"),
    "small curve": (
        lambda kit, _: write_transport_key(kit, ec.generate_private_key(ec.SECP256R1())), "transport key", "no P-384",
    ),
    "other kind": (
        lambda kit, _: write_transport_key(kit, ed25519.Ed25519PrivateKey.generate()), "transport key", "no P-384",
    ),
    "transport key": (lambda kit, _: kit.transport_key.write_bytes(b"x"), "transport key", "is damaged"),
    "public half": (lambda kit, _: other_public_half(kit), "transport key", "not the public half"),
    "no public half": (lambda kit, _: kit.transport_public.unlink(), "transport key", "could not be read"),
    "token": (lambda kit, _: kit.token.write_text("5a"), "token", "is damaged"),
    "permissions": (lambda kit, _: kit.token.chmod(0o640), "permissions", "Other users"),
    "open folder": (lambda kit, _: kit.hospital.path.chmod(0o755), "permissions", "Other users"),
    "images": (lambda kit, _: kit.hospital.partition.write_bytes(b"x"), "data", "damaged"),
    "findings": (
        lambda kit, _: with_partition(kit, lambda one: dataclasses.replace(one, findings=("OTHER",))),
        "data", "labeled with OTHER",
    ),
    "fewer images": (
        lambda kit, _: with_partition(kit, lambda one: dataclasses.replace(one, train=one.val)), "data", "enrolled",
    ),
    "other ledger": (lambda kit, _: with_membership(kit, chain_id=5), "membership", "chain"),
    "other name": (lambda kit, _: with_membership(kit, hospital=HospitalId("nobody")), "membership", "nobody"),
    "other settings": (
        lambda kit, _: with_project(kit, settings=other_settings(kit)),
        "membership", "settings in the file",
    ),
    "roster": (lambda kit, _: with_membership(kit, roster_digest=sha256(b"").hex()), "roster", "not agreed"),
    "no approval": (lambda kit, _: shutil.rmtree(kit.approvals), "code", "approved no code"),
    "other code": (
        lambda kit, _: Approvals(kit.approvals).approve("0" * 64, approved(kit).settings), "code", "approved code 0000",
    ),
    "code under other settings": (
        lambda kit, _: Approvals(kit.approvals).approve(approved(kit).bundle, "0" * 64), "code", "approved settings 00",
    ),
    "approvals": (lambda kit, _: (kit.approvals / "approvals.jsonl").write_text("x\n"), "code", "approval"),
    "no channel key": (lambda kit, _: shutil.rmtree(kit.hospital.keys), "channel key", "no channel key"),
    "channel key": (
        lambda kit, _: next(kit.hospital.keys.glob("*.key")).write_bytes(b"x"), "channel key", "",
    ),
    "other authority": (lambda kit, _: other_authority(kit), "TLS", "not to be trusted"),
    "no authority": (lambda kit, _: kit.authority.unlink(), "TLS", "cannot be read"),
    "other host": (
        lambda kit, stand_in: with_project(kit, server=Place("127.0.0.1", stand_in.port)), "TLS", "not to be trusted",
    ),
    "other port": (lambda kit, _: with_project(kit, server=Place("localhost", 1)), "TLS", "cannot be reached"),
    "health": (lambda _, stand_in: stand_in.status.update({"/health": 500}), "TLS", "500"),
    "clock ahead": (lambda _, stand_in: setattr(stand_in, "ahead_s", -75.0), "clock", "ahead of"),
    "clock behind": (lambda _, stand_in: setattr(stand_in, "ahead_s", 75.0), "clock", "behind"),
    "SuperLink": (lambda _, stand_in: stand_in.status.update({HEARTBEAT: 503}), "SuperLink", "503"),
    "not admitted": (lambda _, stand_in: setattr(stand_in, "supernode", b"other"), "SuperLink", "in: not an admitted"),
    "no gateway": (lambda _, stand_in: stand_in.status.update({HEARTBEAT: 404}), "SuperLink", "404"),
    "revoked": (lambda _, stand_in: setattr(stand_in, "token", "6b" * 32), "ledger", "token"),
    "node is down": (lambda _, stand_in: stand_in.status.update({"/ledger": 503}), "ledger", "503"),
    "no JSON": (lambda _, stand_in: stand_in.bodies.update({"/ledger": b"x"}), "ledger", "no usable answer"),
    "no result": (lambda _, stand_in: stand_in.bodies.update({"/ledger": b"[]"}), "ledger", "no usable answer"),
    "odd result": (lambda _, stand_in: stand_in.bodies.update({"/ledger": b'{"result":5}'}), "ledger", "no usable"),
    "who came": (
        lambda kit, _: with_membership(kit, roster_digest=sha256(b"others").hex()), "who is in", "not those that",
    ),
    "new epoch": (lambda kit, _: with_older_key(kit), "key in force", "has not taken the channel key of epoch 1"),
    "other chain": (lambda kit, _: changed(kit, chain_id=7), "ledger", "the project's is 7"),
    "other genesis": (lambda kit, _: changed(kit, genesis_hash="0" * 64), "ledger", "Block 0"),
    "other contract": (lambda kit, _: changed(kit, contract="0x" + "11" * 20), "ledger", "no update ledger"),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_A_HOSPITAL)
def test_what_is_broken_at_a_hospital_is_named(hospital: HospitalKit, stand_in: StandIn, name: str) -> None:
    act, check, said = AT_A_HOSPITAL[name]
    act(hospital, stand_in)
    findings = {line.check: line.finding for line in examine(hospital.path)}
    assert findings[check].level is Level.FAIL, findings[check]
    assert said in findings[check].said
    assert findings[check].remedy
    failed = {name for name, finding in findings.items() if finding.level is Level.FAIL}
    beside = {"ledger": {"membership"}}.get(check, set())  # both compare with the project's file
    assert failed <= {check} | beside  # nothing else is blamed
    done = run_here("doctor", hospital.path)
    assert done.returncode == 10
    assert check in done.stderr


@pytest.mark.parametrize("answer", ["0x", "0x00", "0x" + "ff" * 96, "zz", None, 5])
def test_an_odd_answer_of_the_contract_is_no_crash(hospital: HospitalKit, stand_in: StandIn, answer: object) -> None:
    stand_in.bodies["/ledger"] = json.dumps({"result": answer}).encode()
    project = Project.load(hospital.project)
    there = LedgerThere(Gateway(project.server, hospital.authority), TOKEN, project.require_deployed())
    for check in (check_agreed_roster, check_key_in_force):
        with pytest.raises(LedgerError, match="no usable answer"):
            check(there, hospital)


def test_what_follows_from_another_failure_is_not_looked_at(hospital: HospitalKit) -> None:
    hospital.project.unlink()
    shown = levels(examine(hospital.path))
    assert {name for name, level in shown.items() if level == "FAIL"} == {"project"}
    assert {name for name, level in shown.items() if level == "WARN"} == {
        "disk", "data", "membership", "code", "TLS", "clock", "SuperLink", "ledger", "who is in",
        "key in force",
    }  # fmt: skip


def test_a_fork_that_was_found_fails(hospital: HospitalKit) -> None:
    hospital.hospital.fork.write_text("{}")
    (line,) = [line for line in examine(hospital.path) if line.check == "forks"]
    assert line.finding.level is Level.FAIL
    assert str(hospital.hospital.fork) in line.finding.said


def test_a_second_node_that_does_not_answer_fails(hospital: HospitalKit) -> None:
    hospital.second_node.write_text('{"url": "http://127.0.0.1:1", "certificate": "", "token_file": ""}')
    (line,) = [line for line in examine(hospital.path) if line.check == "forks"]
    assert line.finding.level is Level.FAIL
    assert "127.0.0.1:1" in line.finding.said


def test_what_is_only_to_be_watched_ends_well(hospital: HospitalKit, stand_in: StandIn) -> None:
    stand_in.dated = False
    assert levels(examine(hospital.path)) == {"clock": "WARN"}
    assert run_here("doctor", hospital.path).returncode == 0


@pytest.mark.parametrize(("days", "level", "said"), [(10, "WARN", "for 10 more days"), (-2, "FAIL", "expired")])
def test_a_certificate_that_ends_soon_or_has_ended(
    federation: Federation, hospital: HospitalKit, server: ServerKit, tmp_path: Path, days: int, level: str, said: str
) -> None:
    write_certificates(tmp_path / "ending", days=days)
    shutil.copytree(tmp_path / "ending", server.certificate.parent, dirs_exist_ok=True)
    shutil.copy(tmp_path / "ending" / "authority.pem", hospital.authority)
    with gateway(tmp_path / "ending", StandIn(federation.node.url, TOKEN)) as other:
        for kit in (hospital, server):
            with_project(kit, server=Place("localhost", other.port))
        at_hospital, at_server = (
            {line.check: line.finding for line in examine(kit.path)} for kit in (hospital, server)
        )
    for finding in (at_hospital["TLS"], at_server["certificate"]):
        assert finding.level == level
        assert said in finding.said


AT_THE_SERVER: dict[str, tuple[Callable[[ServerKit], object], str, str]] = {
    "no account": (lambda kit: shutil.rmtree(kit.study.identity), "account", "could not be read"),
    "permissions": (lambda kit: kit.certificate_key.chmod(0o644), "permissions", "Other users"),
    "certificate": (lambda kit: kit.certificate.write_text("x"), "certificate", "cannot be used"),
    "other key": (lambda kit: write_certificates(kit.path / "other") or
                  shutil.copy(kit.path / "other" / "server.key", kit.certificate_key), "certificate", "cannot be used"),
    "other host": (lambda kit: write_certificates(kit.certificate.parent, "other.example"), "certificate", "not name"),
    "code": (lambda kit: kit.bundle.write_bytes(b"other"), "code", "hospitals refuse it"),
    "no code": (lambda kit: kit.bundle.unlink(), "code", "could not be read"),
    "node": (lambda kit: (kit.ledger / "node.json").unlink(), "ledger", "does not run"),
    "dead node": (lambda kit: (kit.ledger / "node.json").write_text('{"url": "http://127.0.0.1:1"}'), "ledger", "be "),
    "genesis": (lambda kit: changed(kit, genesis_hash="0" * 64), "ledger", "Block 0"),
    "contract": (lambda kit: changed(kit, contract="0x" + "11" * 20), "ledger", "no update ledger"),
    "chain": (lambda kit: changed(kit, chain_id=7), "ledger", "chain"),
    "not on the roster": (
        lambda kit: Members(kit.members).admit(Admitted(HospitalId("late"), "0x" + "22" * 20, 5, "key", "0" * 64)),
        "ledger", "late",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_THE_SERVER)
def test_what_is_broken_at_the_server_is_named(server: ServerKit, name: str) -> None:
    act, check, said = AT_THE_SERVER[name]
    act(server)
    findings = {line.check: line.finding for line in examine(server.path)}
    assert findings[check].level is Level.FAIL, findings[check]
    assert said in findings[check].said
    assert findings[check].remedy
    failed = {name for name, finding in findings.items() if finding.level is Level.FAIL}
    assert failed <= {check, "TLS"} if name == "other host" else failed == {check}


def test_a_server_that_runs_is_seen_from_both_sides(tmp_path: Path) -> None:
    """With the real gateway, SuperLink and node in their processes."""
    kit = server_kit(tmp_path / "kit")
    with pytest.raises(ResourceError, match="never started"):
        study.check_superlink(kit)
    insider, stranger = admitted(kit, tmp_path / "hospitals", "a"), enrolled(tmp_path / "hospitals", "b")
    project = kit.load_project()
    gateway, deployed = Gateway(project.server, kit.authority), project.require_deployed()
    command = [sys.executable, "main.py", "serve", str(kit.path)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr
            waited = {"ledger", "superlink", "gateway"}
            while waited:
                line = process.stderr.readline()
                assert line, waited
                waited -= {name for name in waited if name in line and (" answers" in line or " listens" in line)}
            finding = study.check_superlink(kit)
            assert finding.level is Level.FAIL
            assert "not registered with the SuperLink: a" in finding.said
            with SuperLinkControl(kit) as control:
                control.register_node(insider.member.transport_key)
            assert study.check_superlink(kit) == fine("The SuperLink answers; 0 of 1 admitted hospitals are connected.")
            for check in (check_tls, check_clock):
                assert check(gateway).level is Level.OK
            for hospital, level in ((insider, Level.OK), (stranger, Level.FAIL)):
                key = serialization.load_ssh_private_key(hospital.key.read_bytes(), None)
                assert check_fleet(gateway, key).level is level
            assert "Block 0" in check_ledger(LedgerThere(gateway, insider.token, deployed)).said  # the kit names none
            with pytest.raises(LedgerError, match="token"):
                check_ledger(LedgerThere(gateway, stranger.token, deployed))
        finally:
            process.send_signal(signal.SIGINT)
    with pytest.raises(ResourceError, match="SuperLink"):
        study.check_superlink(kit)


def test_a_folder_that_is_no_kit_is_refused(tmp_path: Path) -> None:
    done = run_here("doctor", tmp_path)
    assert done.returncode == 2
    assert "is no kit" in done.stderr


# ---- the machine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("free", "level"), [(8 << 20, "OK"), (1 << 20, "WARN"), (1 << 18, "FAIL")])
def test_little_memory_is_said(tmp_path: Path, free: int, level: str) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:    {free} kB\n")
    assert machine.check_memory(tmp_path / "meminfo").level == level


def test_a_system_that_does_not_tell_its_memory_is_no_failure(tmp_path: Path) -> None:
    assert machine.check_memory(tmp_path / "missing").level is Level.WARN


@pytest.mark.parametrize(
    ("lock", "level", "said"),
    [
        ("flwr==1.0.0 \\\n", "FAIL", "flwr"),
        ("pyfhel==9.9 ; python_version > '3'\n", "FAIL", "pyfhel"),
        ("a-package-for-another-system==1.0\n", "OK", ""),
    ],
)
def test_other_versions_are_named(tmp_path: Path, lock: str, level: str, said: str) -> None:
    pinned = machine.LOCK.read_text()
    name = lock.partition("==")[0]
    kept = "".join(line for line in pinned.splitlines(keepends=True) if not line.startswith(f"{name}=="))
    (tmp_path / "lock").write_text(kept + lock)
    finding = machine.check_versions(tmp_path / "lock")
    assert finding.level == level, finding
    assert said in finding.said


def test_a_missing_list_of_versions_is_to_be_watched(tmp_path: Path) -> None:
    assert machine.check_versions(tmp_path / "missing").level is Level.WARN


@pytest.mark.parametrize(("free", "level"), [(1 << 40, "OK"), (512 << 20, "WARN"), (1 << 10, "FAIL")])
def test_a_full_disk_is_said_at_both(
    hospital: HospitalKit, server: ServerKit, monkeypatch: pytest.MonkeyPatch, free: int, level: str
) -> None:
    usage = shutil.disk_usage(os.curdir)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=free))
    assert machine.check_hospital_disk(hospital).level == level
    assert machine.check_server_disk(server).level == level


def test_rounds_that_are_over_need_no_more_room(server: ServerKit) -> None:
    before = machine.check_server_disk(server).said
    server.study.log_round({"round": 1})
    assert machine.check_server_disk(server).said != before
