"""Thresholds and validation figures come from counts that votes name: whatever is changed is found, in both modes."""

import json
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from federation import Federation, founded
from tampering import save_archive

from blockchain.audit.auditor import audit
from blockchain.audit.report import Report, Status, Step
from blockchain.audit.sources.bundle import write_bundle
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.kept_counts import differences
from commands.audit.examination import audited
from commands.simulate.checked_figures import with_figures
from commands.simulate.conclusion import conclude
from fedward.ciphertexts.serialized import CHUNK_BYTES
from fedward.errors import VerificationError
from fedward.figures.histograms import BINS, ScoreHistogram
from fedward.figures.validation import differing_figure, pooled, validation_figures
from fedward.files import sha256
from fedward.folders.round_counts import RoundCounts
from fedward.tables import Scalar
from fedward.timing import Stopwatch

STRANGER = "0x" + "12" * 20
Kept = dict[str, Any]
Change = Callable[[Path], None]


@dataclass(frozen=True)
class Finished:
    """A finished run of two rounds, and what its hospitals made of a server that changes what it kept.

    Attributes:
        path: The run's folder; its node is stopped.
        trust: What the hospitals vouch for.
        kept: The server's own counts of the first round.
        refusals: By change: the error with which a hospital took no figures; None: it took them.
        without: The figures of a round whose counts are not kept.
    """

    path: Path
    trust: TrustFile
    kept: RoundCounts
    refusals: dict[str, str | None]
    without: Mapping[str, Any]

    def report(self, run: Path) -> Report:
        """Of the audit of a copy, with what the hospitals vouch for."""
        return audit(RunEvidence(run), self.trust).report


def finished(path: Path, changes: Mapping[str, tuple[Change, str]], *more: tuple[str, Scalar]) -> Finished:
    with founded(path, ("model.name", "scatter"), *more) as federation:
        for _ in range(2):
            assert federation.lead_round()["phase"] == "accepted"
        conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
        refusals = {name: refusal(federation, change) for name, (change, _) in changes.items()}
        with restored(path / "server"):
            removed(path)
            without = figures(federation)[1]
        kept = federation.folder.server.counts.load(1)
    assert kept is not None
    return Finished(path, TrustFile.load(path / "trust.json"), kept, refusals, without)


def figures(federation: Federation) -> list[dict[str, Any]]:
    """As `conclude` takes them."""
    folder = federation.folder
    return with_figures(folder, folder.server.load_record(), federation.ledger, federation.settings)


def refusal(federation: Federation, change: Change) -> str | None:
    with restored(federation.folder.server.path):
        change(federation.folder.path)
        try:
            figures(federation)
        except VerificationError as error:
            return error.what
    return None


@contextmanager
def restored(folder: Path) -> Iterator[None]:
    """Put a folder back as it was."""
    aside = folder.with_name("aside")
    shutil.copytree(folder, aside)
    yield
    shutil.rmtree(folder)
    aside.rename(folder)


@pytest.fixture(scope="module")
def clear(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(tmp_path_factory.mktemp("counts") / "clear", AT_HOSPITALS)


@pytest.fixture(scope="module")
def encrypted(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    return finished(
        tmp_path_factory.mktemp("counts") / "encrypted", ENCRYPTED_AT_HOSPITALS, ("metrics.encrypted", True)
    )


def test_an_honest_run_is_verified(clear: Finished, encrypted: Finished) -> None:
    for made in (clear, encrypted):
        assert made.report(made.path).exit_code == 0, made.report(made.path).to_json()


def kept(change: Callable[[Kept], Any], round_index: int = 2) -> Change:
    """Changes what is kept of a round's counts."""

    def rewrite(run: Path) -> None:
        path = run / "server" / "counts" / f"round-{round_index:04d}.json"
        found = json.loads(path.read_bytes())
        change(found)
        path.write_text(json.dumps(found))

    return rewrite


def moved_image(found: Kept) -> None:
    """Images of the first hospital score a bin higher or lower: the counts still add up."""
    row = a_row(found)
    place = max(map(int, row))
    row[str(place - 1 if place == BINS - 1 else place + 1)] = row.pop(str(place))


def more_images(found: Kept) -> None:
    """Counts that add up to another number of images than their n."""
    row = a_row(found)
    row[next(iter(row))] += 1


def a_row(found: Kept) -> dict[str, int]:
    """Counts of the first hospital that are not all empty."""
    counts = found["plain"][min(found["plain"])]
    return next(row for row in (*counts["positives"], *counts["negatives"]) if row)


def swapped(kind: str) -> Callable[[Kept], None]:
    def change(found: Kept) -> None:
        first, second, *_ = sorted(found[kind])
        found[kind][first], found[kind][second] = found[kind][second], found[kind][first]

    return change


def without_first(kind: str) -> Callable[[Kept], None]:
    return lambda found: found[kind].pop(min(found[kind]))


def stranger(kind: str) -> Callable[[Kept], None]:
    return lambda found: found[kind].update({STRANGER: found[kind][min(found[kind])]})


def loss(found: Kept) -> None:
    found["plain"][min(found["plain"])]["loss_sum"] /= 2


def other_finding(found: Kept) -> None:
    counts = found["plain"][min(found["plain"])]
    counts["positives"] *= 2
    counts["negatives"] *= 2


def another_round(run: Path) -> None:
    folder = run / "server" / "counts"
    shutil.copyfile(folder / "round-0001.json", folder / "round-0002.json")


def round_that_never_was(run: Path) -> None:
    folder = run / "server" / "counts"
    shutil.copyfile(folder / "round-0001.json", folder / "round-0009.json")


def removed(run: Path) -> None:
    (run / "server" / "counts" / "round-0002.json").unlink()


def metrics(name: str, value: object, at: int = 1) -> Change:
    def rewrite(run: Path) -> None:
        path = run / "server" / "metrics.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        lines[at][name] = value
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    return rewrite


def lines_of_metrics(change: Callable[[list[str]], list[str]]) -> Change:
    def rewrite(run: Path) -> None:
        path = run / "server" / "metrics.jsonl"
        path.write_text("".join(change(path.read_text().splitlines(keepends=True))))

    return rewrite


def card(run: Path) -> None:
    """Another threshold in the released model, in a proper archive."""
    with zipfile.ZipFile(run / "model.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    told = json.loads(members["fedward.json"])
    told["thresholds"] = [0.125]
    with zipfile.ZipFile(run / "model.keras", "w") as archive:
        for name, content in (members | {"fedward.json": json.dumps(told).encode()}).items():
            archive.writestr(name, content)


IN_THE_CLEAR: dict[str, tuple[Change, Status, str]] = {
    "a count": (kept(moved_image), Status.FAIL, "its vote names"),
    "a count of an earlier round": (kept(moved_image, 1), Status.FAIL, "its vote names"),
    "counts that do not add up": (kept(more_images), Status.FAIL, "nothing that any images give"),
    "a loss": (kept(loss), Status.FAIL, "its vote names"),
    "two hospitals' counts swapped": (kept(swapped("plain")), Status.FAIL, "its vote names"),
    "an extra hospital": (kept(stranger("plain")), Status.FAIL, "no vote of this round names any"),
    "another finding": (kept(other_finding), Status.FAIL, "its vote names"),
    "a hospital left out": (kept(without_first("plain")), Status.MISSING, "are named by its vote, and not kept"),
    "all left out": (kept(lambda found: found["plain"].clear()), Status.MISSING, "named by its vote, and not kept"),
    "a sum of nothing": (kept(lambda found: found.update(total=["ab" * 32])), Status.FAIL, "no encrypted counts"),
    "a hospital as encrypted": (
        kept(lambda found: found["encrypted"].update({min(found["plain"]): ["ab" * 32]})),
        Status.FAIL,
        "its vote names",
    ),
    "another round's file": (another_round, Status.FAIL, "its vote names"),
    "a round that never was": (round_that_never_was, Status.FAIL, "counts of round 9, which never was"),
    "the file removed": (removed, Status.MISSING, "are named by its vote, and not kept"),
    "thresholds in metrics": (metrics("thresholds", [0.125]), Status.FAIL, "states thresholds [0.125] for round 2"),
    "no thresholds in metrics": (metrics("thresholds", None), Status.FAIL, "states thresholds None for round 2"),
    "more thresholds in metrics": (metrics("thresholds", [0.5, 0.5]), Status.FAIL, "states thresholds"),
    "the threshold in metrics": (metrics("threshold", "0.5"), Status.FAIL, "states threshold '0.5' for round 2"),
    "an AUC": (metrics("val_auc", 0.999, 0), Status.FAIL, "states val_auc 0.999 for round 1"),
    "a validation loss": (metrics("val_loss", 0.01), Status.FAIL, "states val_loss 0.01"),
    "a number of images": (metrics("val_n", True), Status.FAIL, "states val_n True"),
    "a phase": (metrics("phase", "rejected"), Status.FAIL, "on the ledger it is 'accepted'"),
    "a round's number": (metrics("round", 7), Status.FAIL, "a round 7, which is not on the ledger"),
    "a line twice": (lines_of_metrics(lambda lines: [*lines, lines[0]]), Status.MISSING, "2 lines about round 1"),
    "a line removed": (lines_of_metrics(lambda lines: lines[:1]), Status.MISSING, "0 lines about round 2"),
    "a line of junk": (lines_of_metrics(lambda lines: [*lines, "x\n"]), Status.FAIL, "is no JSON"),
    "metrics removed": (lambda run: (run / "server" / "metrics.jsonl").unlink(), Status.MISSING, "0 lines about"),
    "the card": (card, Status.FAIL, "The card of model.keras states thresholds 0.125"),
}  # fmt: skip


def flipped(name: str) -> str:
    return ("0" if name[0] != "0" else "1") + name[1:]


def first_of(found: Kept) -> list[str]:
    return found["encrypted"][min(found["encrypted"])]  # type: ignore[no-any-return]


def first_chunk(found: Kept) -> None:
    first_of(found)[0] = flipped(first_of(found)[0])


def other_total(run: Path) -> None:
    """The kept sum is another well-formed ciphertext, which is there."""
    chunk = bytes([1]) + bytes(CHUNK_BYTES - 1)
    (run / "server" / "ciphertexts" / sha256(chunk).hex()).write_bytes(chunk)
    kept(lambda found: found["total"].__setitem__(0, sha256(chunk).hex()))(run)


def content_of_chunk(run: Path) -> None:
    found = json.loads((run / "server" / "counts" / "round-0002.json").read_bytes())
    path = run / "server" / "ciphertexts" / first_of(found)[0]
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def lost_chunk(run: Path) -> None:
    found = json.loads((run / "server" / "counts" / "round-0002.json").read_bytes())
    (run / "server" / "ciphertexts" / first_of(found)[0]).unlink()


ENCRYPTED: dict[str, tuple[Change, Status, str]] = {
    "a chunk's name": (kept(first_chunk), Status.FAIL, "its vote names"),
    "a chunk fewer": (kept(lambda found: first_of(found).pop()), Status.FAIL, "its vote names"),
    "a chunk's content": (content_of_chunk, Status.FAIL, "has the content of hash"),
    "a chunk removed": (lost_chunk, Status.MISSING, "could not be read"),
    "two hospitals swapped": (kept(swapped("encrypted")), Status.FAIL, "its vote names"),
    "an extra hospital": (kept(stranger("encrypted")), Status.FAIL, "no vote of this round names any"),
    "a hospital left out": (kept(without_first("encrypted")), Status.MISSING, "named by its vote, and not kept"),
    "another sum": (other_total, Status.FAIL, "do not add up to the kept sum"),
    "the sum's order": (kept(lambda found: found["total"].reverse()), Status.FAIL, "do not add up to the kept sum"),
    "no sum": (kept(lambda found: found["total"].clear()), Status.MISSING, "which is not kept"),
    "counts in the clear": (
        kept(lambda found: found["plain"].update({
            min(found["encrypted"]): {"positives": [{"1": 1}], "negatives": [{}], "loss_sum": 0.0, "n": 1}
        })), Status.FAIL, "of another kind",
    ),
    "another round's file": (another_round, Status.FAIL, "its vote names"),
    "the file removed": (removed, Status.MISSING, "are named by its vote, and not kept"),
}  # fmt: skip


def is_told(report: Report, status: Status, words: str) -> None:
    assert any(line.status is status and words in line.evidence for line in report.lines), report.to_json()
    if status is Status.MISSING:
        assert report.exit_code == 8


@pytest.mark.parametrize("name", IN_THE_CLEAR)
def test_what_is_changed_in_the_clear_is_found(clear: Finished, tmp_path: Path, name: str) -> None:
    change, status, words = IN_THE_CLEAR[name]
    run = Path(shutil.copytree(clear.path, tmp_path / "run"))
    change(run)
    is_told(clear.report(run), status, words)


@pytest.mark.parametrize("name", ENCRYPTED)
def test_what_is_changed_under_encryption_is_found(encrypted: Finished, tmp_path: Path, name: str) -> None:
    change, status, words = ENCRYPTED[name]
    run = Path(shutil.copytree(encrypted.path, tmp_path / "run"))
    change(run)
    is_told(encrypted.report(run), status, words)


def test_encrypted_counts_of_a_hospital_that_was_not_included_are_found(encrypted: Finished) -> None:
    story = audit(RunEvidence(encrypted.path), encrypted.trust).stories[0]
    left_out = story.included[0]
    signed = {vote.hospital: vote.counts_hash for vote in story.votes}
    included = {entry.address for entry in story.roster if entry.index in story.included}
    assert not list(differences(encrypted.kept, signed, included))
    address = next(entry.address for entry in story.roster if entry.index == left_out)
    (found,) = differences(encrypted.kept, signed, included - {address})
    assert (found.hospital, found.missing) == (address, False)
    assert "not in the aggregate" in found.what


def test_the_report_says_what_is_verified_and_what_is_not(clear: Finished, encrypted: Finished) -> None:
    plain, hidden = (made.report(made.path) for made in (clear, encrypted))
    told = [line.evidence for line in plain.lines if line.step in (Step.MODEL, Step.COUNTS)]
    assert any(text.startswith("The decision thresholds of model.keras, ") for text in told)
    assert any(text.startswith("The validation figures of 2 rounds in metrics.jsonl follow") for text in told)
    assert sum(text.startswith("The validation counts of 3 hospitals are those") for text in told) == 2
    assert not any("threshold" in each and not each.startswith("model.keras: all but") for each in plain.unverified)
    assert "server/metrics.jsonl" not in plain.unverified
    assert any(
        each.startswith("model.keras: decision thresholds (the counts of round 2 are encr")
        for each in hidden.unverified
    )
    assert any(each.startswith("metrics.jsonl: validation figures of round 1 (") for each in hidden.unverified)
    assert sum("add up to the kept sum" in line.evidence for line in hidden.lines) == 2


@pytest.mark.parametrize("mode", ["clear", "encrypted"])
def test_a_bundle_holds_the_counts(mode: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    made: Finished = request.getfixturevalue(mode)
    write_bundle(RunEvidence(made.path), tmp_path / "bundle", with_ciphertexts=True)
    assert audited(tmp_path / "bundle", made.trust).report.exit_code == 0
    with zipfile.ZipFile(tmp_path / "bundle") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    counts = json.loads(members["counts/round-0002.json"])
    swapped("plain" if mode == "clear" else "encrypted")(counts)
    members["counts/round-0002.json"] = json.dumps(counts).encode()
    manifest = json.loads(members["manifest.json"])
    manifest["members"]["counts/round-0002.json"] = sha256(members["counts/round-0002.json"]).hex()
    members["manifest.json"] = json.dumps(manifest).encode()
    save_archive(tmp_path / "bundle", members)
    is_told(audited(tmp_path / "bundle", made.trust).report, Status.FAIL, "its vote names")
    write_bundle(RunEvidence(made.path), tmp_path / "small", with_ciphertexts=False)
    report = audited(tmp_path / "small", made.trust).report
    missing = [line for line in report.lines if line.step is Step.COUNTS and line.status is Status.MISSING]
    assert bool(missing) is (mode == "encrypted")
    assert not any(line.status is Status.FAIL for line in report.lines)


# ---- hospitals ------------------------------------------------------------------------------------------------------


AT_HOSPITALS = {
    "a count": (kept(moved_image), "its vote names"),
    "an extra hospital": (kept(stranger("plain")), "no vote of this round names any"),
    "another round's file": (another_round, "its vote names"),
    "a threshold": (metrics("thresholds", [0.125]), "state thresholds [0.125]; the counts that hospitals signed"),
    "an AUC": (metrics("val_auc", 1.0), "state val_auc 1.0"),
    "a phase": (metrics("phase", "rejected"), "state that round 2 was rejected, on the ledger it was accepted"),
    "a line removed": (lines_of_metrics(lambda lines: lines[:1]), "round 2 was never, on the ledger it was accepted"),
    "a line twice": (lines_of_metrics(lambda lines: [*lines, lines[0]]), "tell of a round twice"),
}


@pytest.mark.parametrize("name", AT_HOSPITALS)
def test_a_hospital_takes_no_threshold_from_a_server_that_changes_counts(clear: Finished, name: str) -> None:
    what = clear.refusals[name]
    assert what is not None
    assert AT_HOSPITALS[name][1] in what
    assert what.count(". ") == 0, "one sentence"


ENCRYPTED_AT_HOSPITALS = {
    "a chunk's name": (kept(first_chunk), "its vote names"),
    "two hospitals swapped": (kept(swapped("encrypted")), "its vote names"),
    "another sum": (other_total, "do not add up to the sum that the server kept"),
}


@pytest.mark.parametrize("name", ENCRYPTED_AT_HOSPITALS)
def test_a_hospital_opens_no_sum_of_other_counts(encrypted: Finished, name: str) -> None:
    what = encrypted.refusals[name]
    assert what is not None
    assert ENCRYPTED_AT_HOSPITALS[name][1] in what


def test_counts_that_are_not_kept_give_no_threshold(clear: Finished, encrypted: Finished) -> None:
    assert clear.without["thresholds"] is None
    assert encrypted.without["thresholds"] == [0.5]


# ---- pooling --------------------------------------------------------------------------------------------------------


def test_pooled_counts_are_capped_by_weight_and_give_the_figures_of_their_sum() -> None:
    def counts(n: int) -> ScoreHistogram:
        positives, negatives = np.zeros((1, BINS), np.int64), np.zeros((1, BINS), np.int64)
        positives[0, 7000], negatives[0, 3000] = n // 2, n // 2
        return ScoreHistogram(positives, negatives, 0.5 * n, n)

    total = pooled([(counts(10), 10), (counts(40), 20)])
    assert total is not None
    assert (total.n, int(total.positives.sum()), total.loss_sum) == (30, 15, 15.0)
    found = validation_figures(total)
    assert (found["val_n"], found["val_loss"], found["val_auc"]) == (30, 0.5, 1.0)
    assert pooled([]) is None
    assert differing_figure(found | {"val_auc": 1.0 - 1e-12}, found) is None
    assert differing_figure(found | {"val_auc": 1.0 - 1e-6}, found) == "val_auc"
    assert differing_figure(found | {"thresholds": list(found["thresholds"])}, found) is None
    for name, wrong in (("val_n", 31), ("val_n", "30"), ("val_loss", None), ("thresholds", 0.5), ("thresholds", "x")):
        assert differing_figure(found | {name: wrong}, found) == name
