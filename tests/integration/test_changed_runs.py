"""Whatever one thing is changed in a run: the audit fails, reports missing evidence, or lists it as not verified."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from changed_runs import Change, draw_of_bundle, draw_of_folder, owned_up
from shared_runs import SharedRuns
from soak import FIRST_SEED, scaled

from blockchain.audit.report import Report, Status
from blockchain.audit.sources.bundle import write_bundle
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from commands.audit.examination import audited
from fedward.folders.server import ServerFolder

pytestmark = pytest.mark.slow

DRAWS = scaled(12, 500)  # of each of the two forms


@dataclass(frozen=True)
class Finished:
    """A finished run in both forms, with what hospitals vouch for, and what audits of both find."""

    folder: Path
    bundle: Path
    trust: TrustFile
    of_folder: Report
    of_bundle: Report


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, shared_runs: SharedRuns) -> Finished:
    place = tmp_path_factory.mktemp("finished") / "mine"
    shutil.copytree(shared_runs.concluded(), place)
    trust = TrustFile.load(place / "run" / "trust.json")
    reports = [audited(place / form, trust).report for form in ("run", "bundle")]
    assert [report.exit_code for report in reports] == [0, 0]
    return Finished(place / "run", place / "bundle", trust, *reports)


def unnoticed(source: Path, draw: Callable[[Path, int], Change], before: Report, trust: TrustFile | None) -> list[str]:
    """The draws of which the audit says nothing; each can be had again by its seed."""
    found = []
    for seed in range(FIRST_SEED, FIRST_SEED + DRAWS):
        copy = source.with_name("copy")
        if source.is_dir():
            shutil.copytree(source, copy)
        else:
            shutil.copyfile(source, copy)
        change = draw(copy, seed)
        # Every fourth time with the run's own trust file, as where nobody handed one in.
        own = source.is_dir() and seed % 4 == 0
        report = audited(copy, None if own else trust).report
        if not owned_up(change, report, before):
            found.append(f"seed {seed}: {change}, trust {'own' if own else 'handed in'}")
        shutil.rmtree(copy) if source.is_dir() else copy.unlink()
    return found


def test_any_change_of_a_folder_is_found_or_listed(finished: Finished) -> None:
    assert unnoticed(finished.folder, draw_of_folder, finished.of_folder, finished.trust) == []


def test_any_change_of_a_bundle_is_found_or_listed(finished: Finished) -> None:
    assert unnoticed(finished.bundle, draw_of_bundle, finished.of_bundle, finished.trust) == []


def test_an_audit_of_pruned_rounds_says_what_is_missing_and_of_which_rounds(finished: Finished, tmp_path: Path) -> None:
    """The server may keep single updates of the last rounds only: sums stay, nothing passes as verified."""
    copy = tmp_path / "run"
    shutil.copytree(finished.folder, copy)
    folder = ServerFolder(copy / "server").ciphertexts
    updates = {name for part in folder.round_files(1).updates.values() for name in part}
    sums = [folder.load_aggregate(index) for index in (1, 2)]
    size = sum((folder.path / name).stat().st_size for name in updates)
    assert folder.prune(2) == (0, 0), "there are no more rounds"
    assert folder.prune(1) == (len(updates), size)
    assert not any((folder.path / name).exists() for name in updates)
    assert [folder.load_aggregate(index) for index in (1, 2)] == sums
    assert folder.prune(1) == (0, 0)
    write_bundle(RunEvidence(copy), tmp_path / "bundle", with_ciphertexts=True)
    for form in ("run", "bundle"):
        report = audited(tmp_path / form, finished.trust).report
        assert report.exit_code == 8
        missing = [line for line in report.lines if line.status is Status.MISSING]
        assert len(missing) == 4, missing  # three updates and their sum
        assert {line.round_index for line in missing} == {1}


def changed(source: Path, target: Path, change: Callable[[list[object]], list[object]]) -> Report:
    """What an audit says of a run in which the answers and the releases of round 2 were changed."""
    shutil.copytree(source, target)
    dealings = target / "server" / "dealings" / "round-0002.json"
    told = json.loads(dealings.read_bytes())
    dealings.write_text(json.dumps(told | {"answers": change(told["answers"])}))
    releases = target / "server" / "releases" / "round-0002-updates.json"
    releases.write_text(json.dumps(change(json.loads(releases.read_bytes()))))
    return audited(target, None).report


def test_answers_and_releases_beyond_those_needed_are_listed_as_what_may_be_left_out(
    finished: Finished, tmp_path: Path
) -> None:
    """Two of three hospitals open a sum; who else answered and released, the ledger does not tell."""
    listed = {
        "server/dealings/*.json: answers left out, or in another order",
        "server/releases/*.json: releases left out, or in another order",
    }
    fewer = changed(finished.folder, tmp_path / "fewer", lambda items: items[:-1])
    assert fewer.exit_code == 0
    assert listed <= set(fewer.unverified)
    twice = changed(finished.folder, tmp_path / "twice", lambda items: [*items, items[0]])
    failed = [line.evidence for line in twice.lines if line.status is Status.FAIL]
    assert failed == [
        "Answers in the name of hospital-1 are there more than once.",
        "A release of updates in the name of hospital-1 is not signed for this round.",
    ]
    none = changed(finished.folder, tmp_path / "none", lambda items: items[:0])
    assert {line.status for line in none.lines if line.round_index == 2} >= {Status.FAIL, Status.MISSING}
