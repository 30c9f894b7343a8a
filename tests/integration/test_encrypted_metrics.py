"""Rounds whose validation counts the server adds without seeing them, beside the same rounds in the clear."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import signed_structs
from cheats import Replaced, cheating
from federation import Federation, untouched
from flwr.app import Message, RecordDict
from flwr.common.serde import recorddict_to_proto
from shared_runs import SharedRuns

import client
from blockchain.consortium.held_keys import HeldKeys
from blockchain.pooled_counts import open_counts
from commands.simulate import checked_figures
from commands.simulate.conclusion import conclude
from encryption import RoundKey, encrypt_fields
from fedward.ciphertexts.encrypted_counts import CountsLayout, EncryptedCounts, counts_layout
from fedward.ciphertexts.plan import PackingPlan
from fedward.errors import QuorumError, VerificationError
from fedward.figures.histograms import BINS, ScoreHistogram
from fedward.learning.model_file import load_card
from fedward.messages import wire
from fedward.messages.ballots import ENCRYPTED_COUNTS
from fedward.sharing.terms import Purpose
from fedward.timing import Stopwatch
from fedward.types import Address, DecodeFailure, HospitalId

ENCRYPTED = ("metrics.encrypted", True)
FIGURES = ("val_n", "val_loss", "val_auc", "threshold", "thresholds")
LOSS_ERROR = 3 * 2.0**-41  # of a sum of three


@dataclass
class Run:
    """A federation, and what its hospitals counted and said."""

    federation: Federation
    histograms: list[ScoreHistogram] = field(default_factory=list)
    ballots: list[Message] = field(default_factory=list)

    def figures(self) -> list[dict[str, object]]:
        """Validation figures by round, as `conclude` takes them."""
        made = self.federation
        rounds = checked_figures.with_figures(made.folder, made.folder.server.load_record(), made.ledger, made.settings)
        return [{key: entry[key] for key in FIGURES} for entry in rounds]

    def latest_figures(self) -> dict[str, object]:
        """Those of the last round alone, which cost one opening."""
        made = self.federation
        record, latest = made.folder.server.load_record(), made.ledger.latest_round()
        return checked_figures._figures(made.folder, record, made.ledger, made.settings, latest)


@contextmanager
def running(made: AbstractContextManager[Federation]) -> Iterator[Run]:
    """A federation whose hospitals' histograms are noted where they are made."""
    real = client.histogram
    with made as federation:
        run = Run(federation)

        def note(*arguments: object) -> ScoreHistogram:
            run.histograms.append(real(*arguments))  # type: ignore[arg-type]
            return run.histograms[-1]

        def keep(_node: int, reply: Message) -> Message:
            if "vote" in reply.content:
                run.ballots.append(reply)
            return reply

        federation.grid.tamper = keep
        with mock.patch("client.histogram", note):
            yield run


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, shared_runs: SharedRuns) -> Iterator[tuple[Run, Run]]:
    """The same two rounds, in the clear and encrypted."""
    path = tmp_path_factory.mktemp("metrics")
    with (
        running(shared_runs.federation(path / "clear")) as clear,
        running(shared_runs.federation(path / "encrypted", ENCRYPTED)) as encrypted,
    ):
        for run in (clear, encrypted):
            for _ in range(2):
                run.federation.lead_round()
        yield clear, encrypted


@pytest.fixture
def run(tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Run]:
    with running(shared_runs.federation(tmp_path / "run", ENCRYPTED)) as made:
        yield made


@pytest.fixture(scope="module")
def many_rounds(tmp_path_factory: pytest.TempPathFactory, shared_runs: SharedRuns) -> Iterator[Run]:
    with running(shared_runs.federation(tmp_path_factory.mktemp("many") / "run", ENCRYPTED)) as made:
        yield made


@pytest.fixture
def next_round(many_rounds: Run) -> Iterator[Run]:
    """A federation that goes on from test to test, each of which looks at the round that it leads itself."""
    many_rounds.histograms.clear()
    yield many_rounds
    many_rounds.federation.grid.tamper = untouched


def keys_of(federation: Federation) -> HeldKeys:
    return HeldKeys(federation.folder.hospital(HospitalId("hospital-1")))


def layout_of(federation: Federation, index: int = 1) -> CountsLayout:
    opening = federation.ledger.opening(index)
    return counts_layout(len(federation.data.findings), len(opening.roster), opening.enrolled_total)


def kept_sum(federation: Federation, index: int) -> EncryptedCounts | None:
    """The sum that the server kept, whose counts are in it and which ciphertexts it is."""
    server = federation.folder.server
    kept = server.counts.load(index)
    if kept is None or not kept.total:
        return None
    return EncryptedCounts(tuple(kept.encrypted), tuple(server.ciphertexts.chunk(name) for name in kept.total))


def opened(federation: Federation, index: int) -> ScoreHistogram:
    counts = kept_sum(federation, index)
    assert counts is not None
    findings, least = len(federation.data.findings), federation.settings.ledger.min_included
    releases = federation.folder.server.round_keys.load_releases(index, Purpose.COUNTS)
    return open_counts(counts, releases, index, findings, least, federation.ledger, keys_of(federation))


def test_the_opened_figures_are_those_of_the_same_run_in_the_clear(both: tuple[Run, Run]) -> None:
    clear, encrypted = both
    plain = [{key: entry[key] for key in FIGURES} for entry in clear.federation.folder.server.rounds()]
    found = encrypted.figures()
    assert clear.figures() == plain, "in the clear nothing is opened"
    assert len(found) == 2
    for one, other in zip(plain, found, strict=True):
        for key in ("val_n", "val_auc", "threshold"):
            assert one[key] == other[key], key
        assert list(one["thresholds"]) == list(other["thresholds"])  # type: ignore[call-overload]
        assert other["val_loss"] == pytest.approx(one["val_loss"], abs=LOSS_ERROR, rel=1e-14)
    assert plain[0]["val_n"]
    assert plain[0]["val_auc"] != plain[1]["val_auc"], "two rounds, not one twice"


def test_the_opened_sum_is_the_plain_sum_bit_for_bit(both: tuple[Run, Run]) -> None:
    _, encrypted = both
    for index in (1, 2):
        first, *others = encrypted.histograms[3 * (index - 1) : 3 * index]
        total = first
        for counts in others:
            total = total + counts
        found = opened(encrypted.federation, index)
        assert found.positives.tobytes() == total.positives.tobytes()
        assert found.negatives.tobytes() == total.negatives.tobytes()
        assert found.n == total.n
        assert abs(found.loss_sum - total.loss_sum) <= LOSS_ERROR


def test_a_hospital_caps_its_own_counts_as_the_server_caps_them_in_the_clear(
    tmp_path: Path, shared_runs: SharedRuns
) -> None:
    found, real = [], client.histogram

    def far_too_many(*arguments: object) -> ScoreHistogram:
        counts = real(*arguments)  # type: ignore[arg-type]
        return ScoreHistogram(counts.positives * 37, counts.negatives * 37, counts.loss_sum * 37, counts.n * 37)

    for name, overrides in (("clear", ()), ("encrypted", (ENCRYPTED,))):
        made = shared_runs.federation(tmp_path / name, *overrides)
        with running(made) as run, mock.patch("client.histogram", far_too_many):
            run.federation.lead_round()
            found += run.figures()
            weights = sum(member.weight for member in run.federation.folder.server.load_record().roster)
    assert found[0]["val_n"] == found[1]["val_n"] == weights
    assert found[0]["val_auc"] == found[1]["val_auc"]
    assert list(found[0]["thresholds"]) == list(found[1]["thresholds"])  # type: ignore[call-overload]
    assert found[0]["val_loss"] == pytest.approx(found[1]["val_loss"], abs=LOSS_ERROR, rel=1e-14)


def test_the_models_card_has_the_same_thresholds(both: tuple[Run, Run]) -> None:
    cards = []
    for run in both:
        made = run.federation
        conclude(made.folder, made.ledger, Stopwatch(), time.perf_counter())
        cards.append(load_card(made.folder.model))
    assert cards[0].thresholds == cards[1].thresholds
    assert cards[0].settings_digest != cards[1].settings_digest, "a promise to the hospitals, so of the digest"
    clear, encrypted = (run.federation.folder for run in both)
    lines = [json.loads(line) for line in (encrypted.hospitals / "validation.jsonl").read_text().splitlines()]
    assert [line["val_auc"] for line in lines] == [entry["val_auc"] for entry in clear.server.rounds()]
    assert (encrypted.hospitals / "validation.jsonl").stat().st_mode & 0o077 == 0
    assert not (clear.hospitals / "validation.jsonl").exists()


def test_the_server_writes_no_figures_rather_than_wrong_ones(both: tuple[Run, Run]) -> None:
    clear, encrypted = (run.federation.folder for run in both)
    assert all(entry[key] is not None for entry in clear.server.rounds() for key in FIGURES)
    assert all(entry[key] is None for entry in encrypted.server.rounds() for key in FIGURES)
    told = {}
    for folder in (clear, encrypted):
        events = [json.loads(line) for line in folder.server.progress.read_text().splitlines()]
        told[folder] = [event["encrypted_counts"] for event in events if event["event"] == "closed"]
    assert told == {clear: [None, None], encrypted: [3, 3]}


def pieces(run: Run) -> list[bytes]:
    """Every histogram's rows as a message holds them, its sum of losses, and the pooled losses as text."""
    found = []
    for counts in run.histograms:
        found += [rows.astype("<i8").tobytes() for rows in (counts.positives, counts.negatives)]
        found.append(np.float64(counts.loss_sum).tobytes())
    for index in range(0, len(run.histograms), 3):
        each = run.histograms[index : index + 3]
        found.append(repr((each[0] + each[1] + each[2]).loss()).encode())
    return found


def searched(run: Run) -> bytes:
    """All ballots, and all files outside of the hospitals' folders."""
    folder = run.federation.folder
    files = [path for path in folder.path.rglob("*") if path.is_file() and folder.hospitals not in path.parents]
    assert folder.server.metrics in files
    messages = [recorddict_to_proto(ballot.content).SerializeToString() for ballot in run.ballots]
    return b"".join([*messages, *(path.read_bytes() for path in files)])


def test_nothing_that_leaves_a_hospital_holds_its_counts(both: tuple[Run, Run]) -> None:
    clear, encrypted = both
    content = searched(clear)
    assert all(piece in content for piece in pieces(clear)), "else the search means nothing"
    content = searched(encrypted)
    assert not any(piece in content for piece in pieces(encrypted))
    layout = layout_of(encrypted.federation)
    assert len(encrypted.ballots) == 6
    for ballot in encrypted.ballots:
        assert set(ballot.content) == {"vote", "seconds", "releases", ENCRYPTED_COUNTS}
        assert dict(ballot.content.config_records["releases"]) == {"wrong": []}
        assert len(wire.read_chunks(ballot.content, ENCRYPTED_COUNTS)) == layout.plan.chunks
    # Single ballots are kept like updates, so that anybody can add them again; their keys are forgotten.
    chunks = {chunk for ballot in encrypted.ballots for chunk in wire.read_chunks(ballot.content, ENCRYPTED_COUNTS)}
    for index in (1, 2):
        kept = kept_sum(encrypted.federation, index)
        assert kept is not None
        assert not chunks & set(kept.chunks)
        assert len(kept.hospitals) == 3
    stored = {path.read_bytes() for path in encrypted.federation.folder.server.ciphertexts.path.iterdir()}
    assert chunks <= stored


def first_chunk(change: Callable[[bytes], bytes]) -> Callable[[tuple[bytes, ...]], tuple[bytes, ...]]:
    return lambda chunks: (change(chunks[0]), *chunks[1:])


def out_of_range(chunk: bytes) -> bytes:
    return chunk[:800] + b"\xff" * 8 + chunk[808:]


def one_more(chunk: bytes) -> bytes:
    """Well formed, but not what the hospital's vote names."""
    return bytes([chunk[0] ^ 1]) + chunk[1:]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda chunks: chunks[:-1], "ciphertexts where"),
        (lambda chunks: (*chunks, chunks[0]), "ciphertexts where"),
        (lambda _chunks: (), "not those that the vote names"),
        (first_chunk(lambda chunk: chunk[:-1]), "bytes"),
        (first_chunk(out_of_range), "residue"),
        (first_chunk(one_more), "not those that the vote names"),
        (None, "in the clear"),
    ],
    ids=["one too few", "one too many", "none", "short", "residue", "not signed", "clear beside it"],
)
def test_a_ballot_with_other_ciphertexts_is_set_aside(
    next_round: Run, change: Callable[[tuple[bytes, ...]], tuple[bytes, ...]] | None, told: str
) -> None:
    def tamper(node: int, reply: Message) -> Message:
        if node == 2 and "vote" in reply.content:
            if change:
                chunks = change(wire.read_chunks(reply.content, ENCRYPTED_COUNTS))
                reply.content[ENCRYPTED_COUNTS] = wire.chunks_to_record(chunks)
            else:
                reply.content["counts"] = reply.content["seconds"]
        return reply

    federation = next_round.federation
    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    (rejection,) = metrics["rejections"]  # type: ignore[misc]
    assert rejection["reason"] == "MalformedReply"
    assert told in rejection["evidence"]
    assert metrics["accepts"] == 2
    kept = kept_sum(federation, federation.ledger.latest_round())
    assert kept is not None
    assert len(kept.hospitals) == 2
    assert next_round.latest_figures()["val_n"] == next_round.histograms[0].n + next_round.histograms[2].n


def test_counts_that_come_with_a_vote_that_the_ledger_refuses_are_not_added(next_round: Run) -> None:
    """Else whoever sends a second ballot in a hospital's name would spoil the figures of all."""

    def tamper(node: int, reply: Message) -> Message:
        if node == 2 and "vote" in reply.content:
            signed_structs.tamper(reply, "vote", signature=bytes(65))
        return reply

    federation = next_round.federation
    federation.grid.tamper = tamper
    metrics = federation.lead_round()
    assert [rejection["reason"] for rejection in metrics["rejections"]] == ["WrongSigner"]  # type: ignore[attr-defined]
    kept = kept_sum(federation, federation.ledger.latest_round())
    assert kept is not None
    assert len(kept.hospitals) == 2
    assert next_round.latest_figures()["val_n"] == next_round.histograms[0].n + next_round.histograms[2].n


def replaced_counts(run: Run, make: Callable[[CountsLayout], np.ndarray], other_key: bool = False) -> Replaced:
    """A hospital that encrypts fields of its own making, perhaps under another key than the one that it has dealt."""

    def encrypt(_fields: object, plan: PackingPlan, key: RoundKey, seed: bytes) -> tuple[bytes, ...]:
        return encrypt_fields(make(layout_of(run.federation)), plan, RoundKey.generate() if other_key else key, seed)

    return {"encrypt_fields": encrypt}


def without_the_third(node: int, reply: Message) -> Message:
    """Let hospital 3 give no vote, so that the sum is of two."""
    if node == 3 and "vote" in reply.content:
        reply.content = RecordDict()
    return reply


def lying(**places: int) -> Callable[[CountsLayout], np.ndarray]:
    """Fields that are 0 but in some places: `first` and `last` bin of positives, `n`, `loss` (its highest digit)."""

    def make(layout: CountsLayout) -> np.ndarray:
        fields = np.zeros(layout.plan.parameters, np.int64)
        at = {"first": 0, "last": BINS - 1, "n": 2 * BINS, "loss": layout.plan.parameters - 1}
        for name, value in places.items():
            fields[at[name]] = value
        return fields

    return make


def test_a_hospital_whose_lie_shows_spoils_the_figures_and_nothing_else(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    federation = run.federation
    enrolled = sum(member.weight for member in federation.folder.server.load_record().roster)

    def as_many_as_all_have(layout: CountsLayout) -> np.ndarray:
        n = enrolled - run.histograms[0].n
        return lying(last=n, n=n)(layout)

    lies = [
        (without_the_third, replaced_counts(run, as_many_as_all_have), "enrolled"),
        (untouched, replaced_counts(run, lying(first=5)), "add up"),
        (untouched, replaced_counts(run, lying(first=-1, last=1)), "add up"),
        (untouched, replaced_counts(run, lying(last=enrolled, n=enrolled)), "enrolled"),
        (untouched, replaced_counts(run, lying(loss=-1)), "loss"),
        (untouched, replaced_counts(run, lying(last=1, n=1), other_key=True), "another key than the one shared"),
    ]
    for tamper, lie, _ in lies:
        federation.grid.tamper = tamper
        with cheating(federation.grid, {2: lie}):
            assert federation.lead_round()["phase"] == "accepted"
    capsys.readouterr()
    figures = run.figures()
    warnings = [line for line in capsys.readouterr().err.splitlines() if "no validation figures" in line]
    assert len(warnings) == len(lies)
    for found, warning, (*_, told) in zip(figures, warnings, lies, strict=True):
        assert told in warning
        assert found == {"val_n": 0, "val_loss": None, "val_auc": None, "threshold": 0.5, "thresholds": [0.5]}
    conclude(federation.folder, federation.ledger, Stopwatch(), time.perf_counter())
    assert load_card(federation.folder.model).thresholds == (0.5,)
    federation.lead_round()
    assert run.figures()[-1]["val_auc"] is not None, "the next round is sound again"


def test_a_plausible_lie_sets_the_threshold(next_round: Run) -> None:
    """What encryption costs: in the clear a hospital's counts weigh no more than its images; here they share it."""
    federation = next_round.federation
    weights = {member.hospital: member.weight for member in federation.folder.server.load_record().roster}
    room = sum(weights.values()) - sum(len(federation.data.partitions[index].val) for index in (0, 2))
    assert room > weights[HospitalId("hospital-2")]
    with cheating(federation.grid, {2: replaced_counts(next_round, lying(first=room, n=room))}):
        federation.lead_round()
    figures = next_round.latest_figures()
    assert figures["val_n"] == sum(weights.values())
    assert figures["threshold"] < 0.01, "whoever scores at all is called ill"  # type: ignore[operator]


def test_a_hospital_without_a_candidate_adds_nothing(next_round: Run) -> None:
    real = client._decrypt

    def fails_at_two(hospital: client.Hospital, *rest: object) -> object:
        if hospital.membership.hospital == "hospital-2":
            return DecodeFailure("It does not decode."), ()
        return real(hospital, *rest)  # type: ignore[arg-type]

    with mock.patch("client._decrypt", fails_at_two):
        metrics = next_round.federation.lead_round()
    assert (metrics["accepts"], metrics["rejects"]) == (2, 1)
    figures = next_round.latest_figures()
    assert len(next_round.histograms) == 2
    assert figures["val_n"] == next_round.histograms[0].n + next_round.histograms[1].n
    federation = next_round.federation
    kept = kept_sum(federation, federation.ledger.latest_round())
    assert kept is not None
    assert len(kept.hospitals) == 2, "its vote names no counts: a sum with empty ones would be of fewer than it seems"


def test_a_sum_of_too_few_hospitals_is_neither_kept_nor_opened(run: Run) -> None:
    federation = run.federation
    federation.lead_round()
    whole, keys = kept_sum(federation, 1), keys_of(federation)
    releases = federation.folder.server.round_keys.load_releases(1, Purpose.COUNTS)
    assert whole is not None

    def tamper(node: int, reply: Message) -> Message:
        if node > 1 and "vote" in reply.content:
            reply.content = RecordDict()
        return reply

    federation.grid.tamper = tamper
    with pytest.raises(QuorumError):
        federation.lead_round()
    assert kept_sum(federation, 2) is None
    events = [json.loads(line) for line in federation.folder.server.progress.read_text().splitlines()]
    assert events[-1]["encrypted_counts"] == 0
    assert run.figures()[1]["val_auc"] is None

    def refused(hospitals: tuple[Address, ...], index: int = 1) -> str:
        with pytest.raises(VerificationError) as error:
            open_counts(EncryptedCounts(hospitals, whole.chunks), releases, index, 1, 2, federation.ledger, keys)
        return error.value.what

    assert "fewer than" in refused(whole.hospitals[:1])
    assert "not voted" in refused((whole.hospitals[0], whole.hospitals[0]))
    assert "not voted" in refused((*whole.hospitals[:2], Address("0x" + "11" * 20)))
    assert "not voted" in refused(whole.hospitals, 2), "a sum of another round"


def test_a_run_goes_on_after_a_crash_amid_the_votes(run: Run) -> None:
    federation = run.federation
    honest = federation.grid.tamper
    federation.lead_round()
    before = (federation.folder.server.counts.path / "round-0001.json").read_bytes()
    votes = 0

    def crash(node: int, reply: Message) -> Message:
        nonlocal votes
        votes += "vote" in reply.content
        if votes == 3:
            raise InterruptedError
        return reply

    federation.grid.tamper = crash
    with pytest.raises(InterruptedError):
        federation.lead_round()
    assert kept_sum(federation, 2) is None
    federation.grid.tamper = honest
    server = federation.server()
    assert server.decided_rounds() == 1
    federation.lead_round()
    assert (federation.folder.server.counts.path / "round-0001.json").read_bytes() == before
    phases = [entry["phase"] for entry in federation.folder.server.rounds()]
    assert phases == ["accepted", "aborted", "accepted"]
    figures = run.figures()
    assert [found["val_auc"] is not None for found in figures] == [True, False, True]
    assert federation.folder.server.rounds()[1]["val_n"] is None


def test_without_sum_or_key_a_round_has_no_figures_and_the_run_still_ends(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    federation = run.federation
    federation.lead_round()
    path = federation.folder.server.counts.path / "round-0001.json"
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    assert run.figures()[0]["thresholds"] == [0.5]
    assert "is no JSON that Fedward reads" in capsys.readouterr().err
    path.write_bytes(content)
    with mock.patch.object(type(federation.folder.hospital(HospitalId("hospital-1"))), "held_keys", return_value=()):
        assert run.figures()[0]["val_n"] == 0
    assert "There is no channel key" in capsys.readouterr().err
    path.unlink()
    assert run.figures()[0]["val_auc"] is None


def test_fourteen_findings_are_summed_alike(tmp_path: Path, shared_runs: SharedRuns) -> None:
    """Counts as of NIH ChestX-ray14, through the same messages, checks, sum and key."""
    with running(shared_runs.federation(tmp_path / "run", ENCRYPTED)) as run:
        federation = run.federation
        rng = np.random.default_rng(7)
        made: list[ScoreHistogram] = []

        def fourteen(_logits: object, labels: np.ndarray) -> ScoreHistogram:
            n = len(labels)
            bins = rng.integers(0, 2 * BINS, (14, n))
            counts = np.stack([np.bincount(row, minlength=2 * BINS) for row in bins])
            made.append(ScoreHistogram(counts[:, :BINS], counts[:, BINS:], 0.3 * n, n))
            return made[-1]

        lead = federation.server()
        lead.findings = 14
        with (
            mock.patch("client.histogram", fourteen),
            mock.patch.object(Federation, "server", return_value=lead),
        ):
            federation.lead_round()
        kept = kept_sum(federation, 1)
        assert kept is not None
        releases = federation.folder.server.round_keys.load_releases(1, Purpose.COUNTS)
        found = open_counts(kept, releases, 1, 14, 2, federation.ledger, keys_of(federation))
        total = made[0] + made[1] + made[2]
        assert np.array_equal(found.positives, total.positives)
        assert np.array_equal(found.negatives, total.negatives)
        assert found.thresholds() == total.thresholds()
        assert found.auc() == total.auc()
