"""Whatever one thing is changed in a run: the audit fails, reports missing evidence, or lists it as not verified."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from changed_runs import Change, draw_of_bundle, draw_of_folder, owned_up
from shared_runs import SharedRuns
from soak import FIRST_SEED, scaled

from blockchain.audit.report import Report
from blockchain.consortium.trust import TrustFile
from commands.audit.examination import audited

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
