"""Step 14 of an audit: whatever is changed in a run's result fails, is missing, or is listed as not verified."""

import json
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here
from shared_runs import SharedRuns

from blockchain.audit.auditor import audit
from blockchain.audit.checks.counts import check_counts
from blockchain.audit.checks.result import check_listed_rounds, check_result, check_roster
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.evidence import Claims
from blockchain.audit.sources.released import ReleasedFolder
from blockchain.audit.sources.round_keys import RoundKeys
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from fedward.types import Address, HospitalId


@dataclass(frozen=True)
class Honest:
    """A finished run, and what an audit of it found."""

    folder: Path
    claims: Claims
    stories: Any


@pytest.fixture(scope="module")
def honest(shared_runs: SharedRuns) -> Honest:
    path = shared_runs.concluded() / "run"
    found = audit(RunEvidence(path), TrustFile.load(path / "trust.json"))
    assert found.report.exit_code == 0, found.report.to_json()
    assert found.claims
    return Honest(path, found.claims, found.stories)


@pytest.fixture
def run(honest: Honest, tmp_path: Path) -> Path:
    """A copy to change."""
    return Path(shutil.copytree(honest.folder, tmp_path / "run"))


def checked(run: Path, honest: Honest) -> Report:
    evidence, report = RunEvidence(run), Report()
    listed = {index: evidence.round_files(index) for index in evidence.rounds()}
    check_listed_rounds(evidence.rounds(), honest.stories, report)
    counts = check_counts(honest.stories, RoundKeys(evidence), evidence, report, {})
    check_result(ReleasedFolder(run), honest.claims, honest.stories, None, listed, counts, report)
    return report


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads(path.read_bytes())
    change(content)
    path.write_text(json.dumps(content))


def of_summary(table: str, key: str, value: Any) -> Callable[[Path], None]:
    return lambda run: rewritten(run / "summary.json", lambda told: told[table].__setitem__(key, value))


def other_weights(run: Path) -> None:
    """The last number in the file of weights is another."""
    with zipfile.ZipFile(run / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = bytearray(members["model.weights.h5"])
    found = ReleasedFolder(run).model().weights.astype("<f4")[:64].tobytes()
    place = bytes(content).index(found)
    content[place + 3] ^= 0x80  # a sign
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        for name, each in (members | {"model.weights.h5": bytes(content)}).items():
            archive.writestr(name, each)


def swapped_reports(run: Path) -> None:
    first, second = (run / "hospitals" / f"hospital-{number}" / "reports" / "round-0001.json" for number in (1, 2))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def swapped_folders(run: Path) -> None:
    (run / "hospitals" / "hospital-1").rename(run / "hospitals" / "aside")
    (run / "hospitals" / "hospital-2").rename(run / "hospitals" / "hospital-1")
    (run / "hospitals" / "aside").rename(run / "hospitals" / "hospital-2")


CHANGES: dict[str, tuple[Callable[[Path], None], int]] = {
    "weights": (other_weights, 7),
    "no model": (lambda run: (run / "model.keras").unlink(), 8),
    "a model of junk": (lambda run: (run / "model.keras").write_bytes(b"PK junk") and None, 7),
    "weights_sha256": (of_summary("model", "weights_sha256", "0" * 64), 7),
    "model name": (of_summary("model", "name", "densenet121"), 7),
    "rounds": (of_summary("rounds", "accepted", 3), 7),
    "rejected": (of_summary("rounds", "rejected", False), 7),
    "submissions": (of_summary("ledger", "submissions", 60), 7),
    "votes": (of_summary("ledger", "votes", 60), 7),
    "contract": (of_summary("ledger", "contract", "0x" + "00" * 20), 7),
    "mode": (of_summary("privacy", "mode", "none"), 7),
    "unit": (of_summary("privacy", "unit", "image"), 7),
    "hospitals": (lambda run: rewritten(run / "summary.json", lambda told: told.update(hospitals=9)), 7),
    "a lost figure": (lambda run: rewritten(run / "summary.json", lambda told: told["ledger"].pop("votes")), 7),
    "summary of junk": (lambda run: (run / "summary.json").write_text("[" * 100_000) and None, 7),
    "a digest of settings": (
        lambda run: rewritten(run / "server" / "run.json", lambda told: told.update(settings_digest="ab" * 32)),
        7,
    ),
    "reports": (swapped_reports, 7),
    "folders": (swapped_folders, 7),
    "a lost report": (lambda run: (run / "hospitals" / "hospital-1" / "reports" / "round-0002.json").unlink(), 8),
    "a round that never was": (
        lambda run: (
            shutil.copyfile(
                run / "server" / "ciphertexts" / "round-0001.json", run / "server" / "ciphertexts" / "round-0009.json"
            )
            and None
        ),
        7,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_result_is_found(run: Path, honest: Honest, name: str) -> None:
    change, code = CHANGES[name]
    assert checked(run, honest).exit_code == 0
    change(run)
    assert checked(run, honest).exit_code == code


def changed(run: Path, file: str, name: str) -> bool:
    """Change a value, by its dotted name, and tell whether there is one."""
    content = json.loads((run / file).read_bytes())
    *tables, key = name.split(".", 2)
    table = content
    for each in tables:
        table = table[each]
    table[key] = "changed"
    (run / file).write_text(json.dumps(content))
    return True


def names_of(content: dict[str, Any], prefix: str = "") -> list[str]:
    return [
        name
        for key, value in content.items()
        for name in (
            names_of(value, f"{prefix}{key}.")
            if isinstance(value, dict) and value and "." not in prefix
            else [f"{prefix}{key}"]
        )
    ]


def test_each_value_of_the_summary_is_checked_or_listed(run: Path, honest: Honest) -> None:
    content = (run / "summary.json").read_bytes()
    elsewhere = {"privacy.epsilon", "privacy.delta", "ledger.height", "ledger.head"}  # steps 1, 12 and 13
    for name in set(names_of(json.loads(content))) - elsewhere:
        changed(run, "summary.json", name)
        report = checked(run, honest)
        listed = [each for each in report.unverified if f"summary.json: {name}.".startswith(f"{each}.")]
        assert report.exit_code == 7 or listed, name
        (run / "summary.json").write_bytes(content)


@pytest.mark.parametrize(
    "name",
    [
        "metrics.jsonl",
        "hospitals/hospital-1/new",
        "roc.png",
        "report.html",
        "server/ciphertexts/" + "ab" * 32,
        "a\nb",
        "new/0001",
    ],
)
def test_a_file_that_no_step_reads_is_listed(run: Path, honest: Honest, name: str) -> None:
    (run / name).parent.mkdir(parents=True, exist_ok=True)
    (run / name).write_text("anything")
    report = checked(run, honest)
    last = name.rpartition("/")[2]
    assert any(last in each or "*" in each.rpartition("/")[2] for each in report.unverified), report.unverified
    assert report.exit_code == 0


def test_links_are_listed_and_not_followed(run: Path, honest: Honest) -> None:
    (run / "elsewhere").symlink_to(run.parent)
    report = checked(run, honest)
    assert "elsewhere" in report.unverified
    assert not any(each.startswith("elsewhere/") for each in report.unverified)


def test_the_roster_of_a_run_is_the_ledgers(honest: Honest) -> None:
    first, *others = honest.claims.roster
    ghost = replace(first, hospital=HospitalId("ghost"), address=Address("0x" + "12" * 20))
    for members in ((first, *others, ghost), (replace(first, weight=first.weight + 1), *others)):
        report = Report()
        check_roster(replace(honest.claims, roster=members), honest.stories, frozenset(), report)
        assert report.failed(Step.MODEL)
    report = Report()
    check_roster(honest.claims, honest.stories, frozenset(), report)
    assert [line.status for line in report.lines] == [Status.OK]


def test_with_a_server_optimizer_the_weights_are_not_verified(run: Path, honest: Honest) -> None:
    assert honest.claims.settings
    adam = {**honest.claims.settings, "server-optimizer": {"name": "adam"}}
    other = replace(honest, claims=replace(honest.claims, settings=adam))
    report = checked(run, other)
    assert "model.keras: weights" in report.unverified
    assert report.exit_code == 0


@pytest.mark.parametrize("optimizer", ["none", "adam"])
@pytest.mark.parametrize("places", [(0,), (0, 1)])
def test_a_model_without_a_majority_of_the_votes_fails(
    run: Path, honest: Honest, optimizer: str, places: tuple[int, ...]
) -> None:
    """A minority that names another candidate changes nothing; without more than half there is no model in force."""
    assert honest.claims.settings
    settings = {**honest.claims.settings, "server-optimizer": {"name": optimizer}}
    *earlier, last = honest.stories
    votes = list(last.votes)
    assert len(votes) == 3
    for place in places:
        votes[place] = replace(votes[place], candidate_digest=bytes([place]) * 32)
    stories = [*earlier, replace(last, votes=votes)]
    report = checked(run, replace(honest, claims=replace(honest.claims, settings=settings), stories=stories))
    failed = [line for line in report.lines if line.step is Step.MODEL and line.status is Status.FAIL]
    assert bool(failed) is (len(places) == 2)
    assert all("No candidate has more than half" in line.evidence for line in failed)


def test_what_is_not_verified_is_printed_in_the_json_and_on_the_page(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(run.parent)
    told = json.loads(run_here("audit", run, "--json").stdout)
    assert {"summary.json: test", "roc.png", "run.json: class_names"} <= set(told["not_verified"])
    assert "summary.json: test" in run_here("audit", run).stdout
    page = (run.parent / "audit-run.html").read_text()
    assert "<h2>Not verified</h2>" in page
    assert "<li>summary.json: test</li>" in page
