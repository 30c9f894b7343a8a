"""What parties on separate hosts hand each other: the project's file, requests, numbers, and the list of members."""

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blockchain.consortium.enrollment import (
    Enrollment,
    SignedEnrollment,
    check_enrollment,
    own_card,
    sign_enrollment,
)
from blockchain.identity import Identity
from commands.confirming import confirm_number
from fedward.errors import UsageError, VerificationError
from fedward.files import sha256
from fedward.hosts.members import Admitted, Members
from fedward.hosts.project import Deployed, Project
from fedward.hosts.spoken import spoken
from fedward.hosts.transport_key import fingerprint, make_transport_key
from fedward.settings import replace
from fedward.types import Address, HospitalId

EXAMPLE = Path(__file__).resolve().parents[2] / "config" / "hosts" / "project.toml"
DEPLOYED = Deployed("0x" + "Ab" * 20, 1337, "0" * 64, "1" * 64, "2" * 64, "3" * 64, "-----BEGIN\nabc\n-----END\n")  # type: ignore[arg-type]


def request(folder: Path, deployed: Deployed = DEPLOYED, name: str = "north") -> SignedEnrollment:
    """A request as `enroll` writes it."""
    identity = Identity.create(folder / name / "identity")
    transport = make_transport_key(folder / name / "key", folder / name / "key.pub")
    asked = Enrollment(
        chain_id=deployed.chain_id,
        contract=deployed.contract,
        hospital=HospitalId(name),
        address=identity.address,
        weight=100,
        card=own_card(identity, deployed),
        transport_key=(folder / name / "key.pub").read_text().strip(),
        token_hash=sha256(name.encode()).hex(),
    )
    return SignedEnrollment.from_bytes(sign_enrollment(asked, identity, transport), "The request")


def member(signed: SignedEnrollment) -> Admitted:
    asked = signed.enrollment
    return Admitted(asked.hospital, asked.address, asked.weight, asked.transport_key, asked.token_hash)


@pytest.fixture
def ledger(tmp_path: Path) -> Deployed:
    """A study whose ledger is at a real address: cards name it with its checksum."""
    return dataclasses.replace(DEPLOYED, contract=Identity.create(tmp_path / "somebody").address)


def test_a_project_is_read_as_it_was_saved(tmp_path: Path) -> None:
    project = Project.load(EXAMPLE)
    settings = replace(project.settings, "detectors.names", "")
    provisioned = project.with_settings(settings).with_deployed(DEPLOYED)
    provisioned.save(tmp_path / "project.toml")
    assert Project.load(tmp_path / "project.toml") == provisioned
    assert provisioned.settings.data.hospitals == len(project.study.hospitals) == 4
    with pytest.raises(UsageError, match="before `provision`"):
        project.require_deployed()


WRONG = {
    "no table": ("[server]", "[servers]", "server is missing"),
    "no host": ('host = "fedward.example.org"', 'host = "a b"', "host's name"),
    "twice": ('"north", "east"', '"north", "north"', "different hospitals"),
    "path as a name": ('"north", "east"', '"../north", "east"', "small letters"),
    "a setting that is none": ("rounds = 10", "round = 10", "training.round"),
    "no TOML": ("[study]", "[study", "TOML"),
}


@pytest.mark.parametrize(("old", "new", "said"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_project_is_refused_with_what_is_wrong(tmp_path: Path, old: str, new: str, said: str) -> None:
    text = EXAMPLE.read_text()
    assert old in text
    (tmp_path / "project.toml").write_text(text.replace(old, new))
    with pytest.raises(UsageError, match=said):
        Project.load(tmp_path / "project.toml")


def test_a_request_proves_both_keys(tmp_path: Path, ledger: Deployed) -> None:
    signed = request(tmp_path, ledger)
    check_enrollment(signed, ledger)
    assert SignedEnrollment.from_bytes(signed.to_bytes(), "It") == signed


@pytest.mark.parametrize("part", ["hospital", "address", "weight", "card", "transport_key", "token_hash"])
def test_a_request_that_was_changed_is_refused(tmp_path: Path, ledger: Deployed, part: str) -> None:
    signed, other = request(tmp_path, ledger), request(tmp_path, ledger, "east")
    value = 101 if part == "weight" else getattr(other.enrollment, part)
    changed = dataclasses.replace(signed, enrollment=dataclasses.replace(signed.enrollment, **{part: value}))
    with pytest.raises(VerificationError):
        check_enrollment(changed, ledger)


def test_a_request_with_anothers_signature_or_for_another_ledger_is_refused(tmp_path: Path, ledger: Deployed) -> None:
    signed, other = request(tmp_path, ledger), request(tmp_path, ledger, "east")
    for part in ("signature", "transport_signature"):
        with pytest.raises(VerificationError, match="did not sign"):
            check_enrollment(dataclasses.replace(signed, **{part: getattr(other, part)}), ledger)
    with pytest.raises(VerificationError, match="not for this study's"):
        check_enrollment(signed, dataclasses.replace(ledger, chain_id=1338))
    # A card of another hospital, in a request that is signed with the right keys.
    stolen = dataclasses.replace(signed.enrollment, card=other.enrollment.card)
    identity = Identity.load(tmp_path / "north" / "identity")
    transport = make_transport_key(tmp_path / "new" / "key", tmp_path / "new" / "key.pub")
    stolen = dataclasses.replace(stolen, transport_key=(tmp_path / "new" / "key.pub").read_text().strip())
    content = sign_enrollment(stolen, identity, transport)
    with pytest.raises(VerificationError, match=r"sealing key|card"):
        check_enrollment(SignedEnrollment.from_bytes(content, "It"), ledger)


@given(content=st.binary(max_size=400))
def test_no_bytes_make_a_request_but_requests(content: bytes) -> None:
    with pytest.raises(UsageError):
        SignedEnrollment.from_bytes(content, "It")


def test_members_are_admitted_once_and_revoked_for_good(tmp_path: Path) -> None:
    members, north, east = (
        Members(tmp_path / "members.json"),
        *(member(request(tmp_path, name=name)) for name in ("north", "east")),
    )
    assert members.all() == ()
    for one in (north, east, north):
        members.admit(one)
    assert members.all() == (north, east)
    assert (tmp_path / "members.json").stat().st_mode & 0o077 == 0
    assert members.by_token("north") == north
    assert members.by_token("west") is None
    for part in ("hospital", "address", "transport_key", "token_hash"):
        thief = dataclasses.replace(member(request(tmp_path, name=f"west-{part[:4]}")), **{part: getattr(north, part)})
        with pytest.raises(UsageError, match=part.replace("_", " ")):
            members.admit(thief)
    members.revoke(HospitalId("north"))
    members.revoke(HospitalId("north"))
    assert members.by_token("north") is None
    with pytest.raises(UsageError, match="revoked"):
        members.admit(north)
    with pytest.raises(UsageError, match="Admitted were: north, east"):
        members.revoke(HospitalId("south"))
    assert members.by_token("east") == east


def test_a_number_is_read_out_in_six_groups() -> None:
    assert spoken(b"") == spoken(b"")
    assert [len(group) for group in spoken(b"").split()] == [5] * 6
    assert len({spoken(bytes([value])) for value in range(256)}) == 256
    # SHA-256 of nothing, modulo 10^30, by an own calculation.
    whole = int(sha256(b"").hex(), 16)
    assert spoken(b"").replace(" ", "") == str(whole % 10**30).zfill(30)


def test_whoever_confirms_another_number_is_stopped() -> None:
    confirm_number("the file", b"content", spoken(b"content"))
    confirm_number("the file", b"content", spoken(b"content").replace(" ", "-"))
    with pytest.raises(VerificationError, match="changed on its way"):
        confirm_number("the file", b"content", spoken(b"contents"))
    with pytest.raises(VerificationError):
        confirm_number("the file", b"content", "")


def test_a_fingerprint_is_what_openssh_shows(tmp_path: Path) -> None:
    make_transport_key(tmp_path / "key", tmp_path / "key.pub")
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    assert fingerprint((tmp_path / "key.pub").read_text()).startswith("SHA256:")
    # A published example: OpenSSH's fingerprint of a key of GitHub's documentation.
    known = (
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMj"
        "NuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg="
    )
    assert fingerprint(known) == "SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM"


def test_a_request_is_one_file_of_public_things(tmp_path: Path) -> None:
    signed = request(tmp_path)
    content = signed.to_bytes()
    assert set(json.loads(content)) == {"enrollment", "signature", "transport_signature"}
    for secret in ("account.key", "x25519.key"):
        assert (tmp_path / "north" / "identity" / secret).read_bytes().strip() not in content
    assert Address(json.loads(content)["enrollment"]["address"]) == signed.enrollment.address
