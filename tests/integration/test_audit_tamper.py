"""Whole runs, tampered with by somebody who also mends the digests, and an audit that names the step."""

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from federation import founded

from blockchain.audit.auditor import audit
from blockchain.audit.bundle import BundleEvidence, write_bundle
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.run_evidence import RunEvidence
from blockchain.identity import Identity
from blockchain.remembering import gather_trust, remember
from blockchain.trust import TrustFile

Members = dict[str, bytes]


@dataclass(frozen=True)
class Finished:
    """A run with nothing left running: its bundle, ciphertexts inside, and what its hospitals vouch for."""

    bundle: Path
    trust: TrustFile


def finish(path: Path) -> Finished:
    with founded(path / "run", ("privacy.mode", "update")) as federation:
        assert [federation.lead_round()["phase"] for _ in range(2)] == ["accepted", "accepted"]
        members = []
        for partition in federation.data.partitions:
            folder = federation.folder.hospital(partition.hospital)
            remember(folder, federation.ledger, Identity.load(folder.identity))
            members.append(folder)
        trust, run = (
            gather_trust(list(zip(federation.folder.load_record().roster, members, strict=True))),
            federation.folder,
        )
    write_bundle(RunEvidence(run), path / "bundle", with_ciphertexts=True)
    return Finished(path / "bundle", trust)


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finish(tmp_path_factory.mktemp("honest"))


@pytest.fixture(scope="module")
def invented(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """Another consortium altogether, as anybody can make one at home."""
    return finish(tmp_path_factory.mktemp("invented"))


def audited(bundle: Path, trust: TrustFile | None) -> Report:
    evidence = BundleEvidence(bundle)
    try:
        return audit(evidence, trust).report
    finally:
        evidence.close()


def failed(report: Report) -> set[Step]:
    return {line.step for line in report.lines if line.status is Status.FAIL}


def tampered(bundle: Path, target: Path, change: Callable[[Members, dict[str, Any]], None]) -> Path:
    """A copy with some members changed; every digest in the manifest is made to fit again."""
    with zipfile.ZipFile(bundle) as archive:
        infos = archive.infolist()
        members = {info.filename: archive.read(info) for info in infos}
    manifest = json.loads(members["manifest.json"])
    change(members, manifest)
    for name in manifest["members"]:
        manifest["members"][name] = hashlib.sha256(members[name]).hexdigest()
    members["manifest.json"] = json.dumps(manifest).encode()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for info in infos:
            archive.writestr(zipfile.ZipInfo(info.filename, info.date_time), members[info.filename])
    return target


def test_an_honest_bundle_with_its_trust_file_is_verified(honest: Finished) -> None:
    report = audited(honest.bundle, honest.trust)
    assert report.exit_code == 0, [line for line in report.lines if line.status is not Status.OK]
    assert {line.step for line in report.lines} == set(Step)


def test_mended_digests_alone_change_nothing(honest: Finished, tmp_path: Path) -> None:
    """What the tests below change is what is found, not that a bundle was packed again."""
    copy = tampered(honest.bundle, tmp_path / "bundle", lambda _members, _manifest: None)
    assert audited(copy, honest.trust).exit_code == 0


def test_a_wholly_invented_run_is_incomplete_without_and_false_with_the_trust_file(
    honest: Finished, invented: Finished
) -> None:
    assert audited(invented.bundle, None).exit_code == 8
    report = audited(invented.bundle, honest.trust)
    assert report.exit_code == 7
    assert Step.GENESIS in failed(report)


def cut_tail(members: Members, _manifest: dict[str, Any]) -> None:
    blocks, start, starts = members["blocks.rlp"], 0, []
    prefix = next(size for size in (4, 8) if framed(blocks, size))
    while start < len(blocks):
        starts.append(start)
        start += prefix + int.from_bytes(blocks[start : start + prefix], "big")
    members["blocks.rlp"] = blocks[: starts[-1]]


def framed(blocks: bytes, prefix: int) -> bool:
    """Whether lengths of so many bytes lead exactly to the end."""
    start = 0
    while start < len(blocks):
        start += prefix + int.from_bytes(blocks[start : start + prefix], "big")
    return start == len(blocks)


def lower_epsilon(_members: Members, manifest: dict[str, Any]) -> None:
    epsilons = manifest["claims"]["epsilons"] if "claims" in manifest else manifest["epsilons"]
    hospital = sorted(epsilons)[0]
    epsilons[hospital] /= 2


def flip_a_bit(members: Members, _manifest: dict[str, Any]) -> None:
    name = min(name for name in members if name.startswith("ciphertexts/"))
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


def swap_two_hospitals(_members: Members, manifest: dict[str, Any]) -> None:
    updates = manifest["rounds"]["1"]["updates"]
    first, second = sorted(updates)[:2]
    updates[first], updates[second] = updates[second], updates[first]


@pytest.mark.parametrize(
    ("change", "step"),
    [
        (cut_tail, Step.CHECKPOINTS),
        (lower_epsilon, Step.PRIVACY),
        (flip_a_bit, Step.CIPHERTEXTS),
        (swap_two_hospitals, Step.CIPHERTEXTS),
    ],
)
def test_the_right_step_finds_it(
    honest: Finished, tmp_path: Path, change: Callable[[Members, dict[str, Any]], None], step: Step
) -> None:
    report = audited(tampered(honest.bundle, tmp_path / "bundle", change), honest.trust)
    assert report.exit_code == 7
    assert step in failed(report), [line for line in report.lines if line.status is Status.FAIL]
