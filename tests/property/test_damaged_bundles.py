"""Whatever the bytes of a bundle, reading it works or ends in one of our two errors."""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tampering import save_archive

from blockchain.audit.report import Report, Status
from blockchain.audit.sources.bundle import BundleEvidence, write_bundle
from blockchain.audit.sources.evidence import ClaimedMember, Claims, Genesis, RawBlock
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.errors import EvidenceError, VerificationError
from fedward.files import parse_json, sha256
from fedward.folders.ciphertexts import RoundFiles
from fedward.types import Address, HospitalId

pytestmark = pytest.mark.slow

HOSPITAL = Address("0x4e656414d2C96918F23765FCC00D107111C6341f")
CHUNKS = {sha256(content).hex(): content for content in (b"sum" * 50, b"part" * 50)}


class Invented:
    """Evidence of a run that never was: what a bundle holds is not its reader's matter."""

    source = "an invention"
    live = False

    def claims(self) -> Claims:
        roster = (ClaimedMember(HospitalId("hospital-1"), HOSPITAL, 5),)
        epsilons, releases = {HospitalId("hospital-1"): 2.5}, {HospitalId("hospital-1"): 3}
        return Claims("run", 7, HOSPITAL, {"a": {"b": 1.5}}, roster, epsilons, releases, 1e-5, 2, None, None)

    def genesis(self) -> Genesis:
        return Genesis(b"header", {HOSPITAL: 10**24})

    def blocks(self) -> Any:
        return iter([RawBlock(number, bytes([number]) * 40) for number in (1, 2)])

    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        return ()

    def rounds(self) -> tuple[int, ...]:
        return (1,)

    def round_files(self, _round_index: int) -> RoundFiles:
        first, second = CHUNKS
        return RoundFiles((first,), {HOSPITAL: (second,)})

    def chunk(self, name: str) -> bytes:
        return CHUNKS[name]

    def key_files(self) -> tuple[str, ...]:
        return ()

    def key_file(self, name: str) -> bytes:
        raise KeyError(name)

    def check_members(self, report: Report) -> None:
        """Nothing to say."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "whole"
    write_bundle(Invented(), path, with_ciphertexts=True)
    return path


def read_all(path: Path) -> set[Status]:
    """Use every method; returns what the digests say."""
    evidence, report = BundleEvidence(path), Report()
    try:
        evidence.check_members(report)
        for index in evidence.rounds():
            files = evidence.round_files(index)
            for name in (*files.aggregate, *(name for names in files.updates.values() for name in names)):
                try:
                    evidence.chunk(name)
                except (EvidenceError, VerificationError):
                    report.fail(report.lines[0].step, "a chunk")
        for read in (evidence.genesis, evidence.checkpoints, lambda: list(evidence.blocks())):
            try:
                read()
            except (EvidenceError, VerificationError):
                report.fail(report.lines[0].step, "a member")
        return {line.status for line in report.lines}
    finally:
        evidence.close()


def refuses_or_reads(path: Path) -> set[Status] | None:
    try:
        return read_all(path)
    except (EvidenceError, VerificationError):
        return None


def rewrite(whole: Path, path: Path, change: Callable[[dict[str, bytes]], None]) -> None:
    """A bundle with other members, itself a proper archive."""
    with zipfile.ZipFile(whole) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    save_archive(path, members)


def test_an_undamaged_bundle_reads(whole: Path) -> None:
    assert read_all(whole) == {Status.OK, Status.NOTE}
    evidence = BundleEvidence(whole)
    assert (evidence.claims(), evidence.genesis()) == (Invented().claims(), Invented().genesis())
    assert list(evidence.blocks()) == list(Invented().blocks())
    evidence.close()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_changed_bytes_are_found_or_harmless(whole: Path, tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.just(len(content)) | st.integers(0, len(content)))]
    (tmp_path / "b").write_bytes(content)
    refuses_or_reads(tmp_path / "b")


def test_no_byte_of_a_bundle_can_be_changed_unnoticed(whole: Path, tmp_path: Path) -> None:
    content, path = whole.read_bytes(), tmp_path / "b"
    with zipfile.ZipFile(whole) as archive:
        start, length = archive.start_dir, len(content)
    for place in sorted({*range(0, length, 499), *range(200), *range(start - 200, length)}):  # most is the artifact
        for flipped in (0x01, 0x80):
            path.write_bytes(content[:place] + bytes([content[place] ^ flipped]) + content[place + 1 :])
            found = refuses_or_reads(path)
            assert found is None or found & {Status.FAIL, Status.MISSING}, place


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
@example(b"")
@example(b"PK\x05\x06" + b"\xff" * 16 + b"\0\0")
@example(b"PK\x06\x06" + b"\xff" * 72 + b"PK\x05\x06" + b"\xff" * 16 + b"\0\0")
def test_any_bytes_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "b").write_bytes(content)
    assert refuses_or_reads(tmp_path / "b") is None


SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=20)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


def places(fields: Any) -> list[tuple[Any, Any]]:
    """Every place of nested JSON: its container and its key."""
    keys = list(fields) if isinstance(fields, Mapping) else range(len(fields)) if isinstance(fields, list) else []
    return [place for key in keys for place in [(fields, key), *places(fields[key])]]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.parametrize("name", ["manifest.json", "genesis.json"])
def test_any_value_anywhere_in_its_json(whole: Path, tmp_path: Path, name: str, data: st.DataObject) -> None:
    def change(members: dict[str, bytes]) -> None:
        fields = json.loads(members[name])
        container, key = data.draw(st.sampled_from(places(fields)))
        container[key] = data.draw(VALUES)
        members[name] = json.dumps(fields).encode()

    rewrite(whole, tmp_path / "b", change)
    refuses_or_reads(tmp_path / "b")


@pytest.mark.parametrize("name", ["genesis.json", "blocks.rlp", "artifact.json", "checkpoints.jsonl"])
def test_a_changed_member_fails_and_an_absent_one_is_missing(whole: Path, tmp_path: Path, name: str) -> None:
    rewrite(whole, tmp_path / "changed", lambda members: members.update({name: members[name] + b" "}))
    rewrite(whole, tmp_path / "absent", lambda members: members.pop(name) and None)
    for path, status in (("changed", Status.FAIL), ("absent", Status.MISSING)):
        evidence, report = BundleEvidence(tmp_path / path), Report()
        evidence.check_members(report)
        evidence.close()
        assert [line.status for line in report.lines if line.status in (Status.FAIL, Status.MISSING)] == [status]


def test_an_archive_without_a_manifest_lacks_evidence(whole: Path, tmp_path: Path) -> None:
    rewrite(whole, tmp_path / "b", lambda members: members.clear())
    with pytest.raises(EvidenceError, match="no manifest"):
        BundleEvidence(tmp_path / "b")


def test_a_member_longer_than_a_ciphertext_is_refused(whole: Path, tmp_path: Path) -> None:
    long = {"ciphertexts/" + name: b"x" * 200_000 for name in CHUNKS}
    rewrite(whole, tmp_path / "long", lambda members: members.update(long))
    evidence = BundleEvidence(tmp_path / "long")
    with pytest.raises(VerificationError, match="longer than"):
        evidence.chunk(next(iter(CHUNKS)))
    evidence.close()


def changed_manifest(members: dict[str, bytes], change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads(members["manifest.json"])
    change(manifest)
    members["manifest.json"] = json.dumps(manifest).encode()


def another_artifact(members: dict[str, bytes]) -> None:
    """Another contract's, with its digest in the manifest."""
    members["artifact.json"] = content = b'{"abi": []}'
    digest = sha256(content).hex()
    changed_manifest(members, lambda manifest: manifest["members"].update({"artifact.json": digest}))


FORGED: dict[str, Callable[[dict[str, bytes]], None]] = {
    "another artifact": another_artifact,
    "a digest of a file elsewhere": lambda members: changed_manifest(
        members, lambda manifest: manifest["members"].update({"../../../etc/passwd": "0" * 64})
    ),
    "a digest of nothing": lambda members: changed_manifest(
        members, lambda manifest: manifest["members"].update({"more.json": "0" * 64})
    ),
    "a digest left out": lambda members: changed_manifest(
        members, lambda manifest: manifest["members"].pop("blocks.rlp")
    ),
    "ciphertexts that are denied": lambda members: changed_manifest(
        members, lambda manifest: manifest.update(ciphertexts=False)
    ),
    "a ciphertext of no round": lambda members: members.update({"ciphertexts/" + "a" * 64: b"x"}),
    "a member of its own": lambda members: members.update({"README": b"x"}),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_bundle_fails(name: str, whole: Path, tmp_path: Path) -> None:
    rewrite(whole, tmp_path / "b", FORGED[name])
    assert Status.FAIL in read_all(tmp_path / "b")


@pytest.mark.parametrize("run_id", ["\u202egnp.exe", "a\x1b[2J", "a\nb", "\u2066x", "\u200b", "", "x" * 256, "\ud800"])
def test_a_run_whose_name_is_not_what_it_looks_like_is_refused(run_id: str, whole: Path, tmp_path: Path) -> None:
    rewrite(
        whole,
        tmp_path / "b",
        lambda members: changed_manifest(members, lambda manifest: manifest["claims"].update(run_id=run_id)),
    )
    with pytest.raises(VerificationError, match="run_id must") as refused:
        BundleEvidence(tmp_path / "b")
    assert str(refused.value).isprintable()


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 101, b'"\\' * 100_000, b"\xff", b"9" * 5000, b""])
def test_json_that_would_overflow_the_stack_is_refused_at_once(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"nested|line|decode|digits"):
        parse_json(content)


def test_brackets_in_a_text_are_no_nesting() -> None:
    deep = "[" * 500 + '"\\'
    assert parse_json(json.dumps({"a": [deep, {deep: 1}]}).encode()) == {"a": [deep, {deep: 1}]}
