"""The audit's page: it names nothing outside itself, runs nothing, and shows what hostile parties wrote as text."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from blockchain.audit.auditor import AuditResult
from blockchain.audit.checks.rounds import Attestation, CommittedUpdate, Moment, RecordedVote, RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import ClaimedMember, Claims
from blockchain.ledger.records import RosterEntry, RoundPhase
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint
from commands.audit.lines import fold, headline, render_lines
from commands.audit.page import render_page
from commands.audit.trust_source import Origin, TrustSource
from fedward.types import Address, HospitalId, PrivacyEvent

HOSTILE = "<script>alert('x')</script><img src=\"https://evil.example/a.png\" onerror='x()'>"
FIRST, SECOND, WITNESS, CONTRACT = (Address("0x" + digit * 40) for digit in "1234")
EVENT = PrivacyEvent("update", "hospital", 1.0, 1.25, 1, 0.5, 1e-5)
HANDED_IN = TrustSource(Origin.HANDED_IN, "from/hospital-2.json")
ROOT, BASE, AGGREGATE = bytes([0xAA]) * 32, bytes([0xBB]) * 32, bytes([0xCC]) * 32


class Page(HTMLParser):
    """What a browser would make of the page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(filter(None, self.words))


def story(
    outcome: RoundPhase = RoundPhase.ACCEPTED, timestamp: int = 1_700_000_000, reason: str = "MalformedCiphertext"
) -> RoundStory:
    """A round of two hospitals, of which the second's update is not added."""
    told = RoundStory(
        round_index=1,
        settings_digest=bytes(32),
        opened=Moment(7, timestamp),
        base_id=BASE,
        context_fingerprint=bytes(32),
        roster=(RosterEntry(0, FIRST, 100), RosterEntry(1, SECOND, 250)),
        enrolled_total=350,
        submission_deadline=timestamp + 900,
        threshold=2,
        closed=Moment(9, timestamp + 5),
        aggregate_hash=AGGREGATE,
        included=(0,),
        included_weight=100,
        exclusions={SECOND: reason},
        ended=Moment(12, timestamp + 9),
        outcome=outcome,
    )
    for hospital, weight in ((FIRST, 100), (SECOND, 250)):
        moment, words = Moment(8, timestamp + 2), (bytes(32), bytes(32), bytes(32))
        told.updates[hospital] = CommittedUpdate(hospital, moment, ROOT, 393_216, ROOT, weight, EVENT, words[0])
        told.votes.append(RecordedVote(hospital, Moment(10, timestamp + 6), hospital == FIRST, *words))
    told.witnesses.append(Attestation(WITNESS, Moment(11, timestamp + 7), AGGREGATE))
    return told


def result(report: Report | None = None, name: str = "hospital-1", **changes: object) -> AuditResult:
    """An audit with one round."""
    if report is None:
        report = Report()
        report.ok(Step.EVIDENCE, "It is whole.", checks=1234)
        report.ok(Step.PRIVACY, "Epsilon 4.2 follows from 1 event.", hospital=name)
    members = (ClaimedMember(HospitalId(name), FIRST, 100), ClaimedMember(HospitalId("hospital-2"), SECOND, 250))
    claims = Claims(name, 190826, CONTRACT, None, members, {HospitalId(name): 4.2}, {}, 1e-5, 12, ROOT, BASE)
    checkpoint = SignedCheckpoint(Checkpoint(190826, CONTRACT, FIRST, 1, 12, ROOT, BASE), bytes(65))
    names = {FIRST: HospitalId(name), SECOND: HospitalId("hospital-2")}
    made = AuditResult("the run folder r", report, claims, names, [story()], [checkpoint])
    for field, value in changes.items():
        setattr(made, field, value)
    return made


def test_the_page_shows_the_round_with_all_that_is_on_the_ledger() -> None:
    html = render_page(result())
    shown = Page(html).text
    for words in (
        *("Verified 1,235 checks", "Round 1 accepted", "1 of 2 hospitals included; 1 accept, 1 reject"),
        *("2023-11-14 22:13:20 (block 7)", "2023-11-14 22:13:25 (block 9)", "2023-11-14 22:13:29 (block 12)"),
        *(
            "hospital-1",
            "hospital-2",
            "393,216",
            "100 of 350",
            "included",
            "excluded : MalformedCiphertext",
            "reject",
            "witness",
        ),
        *("noise multiplier 1.25, clip norm 0.5, 1 step, delta 1e-05", "4.2", "Epsilon 4.2 follows from 1 event."),
    ):
        assert words in shown, words
    for word in (ROOT, BASE, AGGREGATE):
        assert f'title="0x{word.hex()}"' in html
        assert f"0x{word.hex()}" not in shown


def test_nothing_hostile_becomes_markup_wherever_it_stands() -> None:
    report = Report()
    report.fail(Step.RULES, HOSTILE, round_index=1, hospital=HOSTILE)
    report.ok(Step.PRIVACY, HOSTILE, hospital=HOSTILE)
    aborted = story(RoundPhase.ABORTED, reason=HOSTILE)
    aborted.abort_reason = HOSTILE
    page = Page(render_page(result(report, HOSTILE, source=HOSTILE, stories=[story(), aborted])))
    assert page.text.count("<script>") > 8
    assert not {tag for tag, _ in page.tags} & {"script", "img", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        assert not set(attributes) & {"src", "href", "srcset", "style", "action"}, tag


def test_the_page_needs_nothing_from_outside() -> None:
    html = render_page(result())
    assert not re.search(r"https?:|//[a-z]|url\(|@import", html)
    policies = [attributes for tag, attributes in Page(html).tags if "http-equiv" in attributes]
    assert policies[0]["content"] == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_page_can_be_made_of_nothing() -> None:
    report = Report()
    report.fail(Step.EVIDENCE, "It is no bundle.")
    page = Page(render_page(AuditResult("x.zip", report)))
    assert "Not verified" in page.text
    assert "Round" not in page.text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (HANDED_IN, "trust file from/hospital-2.json, which was handed in"),
        (TrustSource(Origin.OWN, "run/trust.json"), "run/trust.json, which is the run's own word on itself"),
        (TrustSource(), "nobody's word: the whole history may be invented"),
    ],
)
def test_the_page_says_whose_word_it_rests_on(source: TrustSource, words: str) -> None:
    html = render_page(result(), source)
    assert words in Page(html).text
    assert ('class="verdict MISSING"' in html) == (source.origin is not Origin.HANDED_IN)


def test_a_trust_file_in_the_run_is_the_runs_own_however_it_is_named(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    run.mkdir()
    other.mkdir()
    assert TrustSource.of((), run) == TrustSource.of((), None) == TrustSource()
    (run / "trust.json").touch()
    assert TrustSource.of((), run) == TrustSource(Origin.OWN, str(run / "trust.json"))
    own, handed_in = other / ".." / "run" / "trust.json", other / "trust.json"
    assert TrustSource.of((own,), run).origin is Origin.OWN
    assert TrustSource.of((handed_in,), run).to_json() == {"origin": "handed-in", "file": str(handed_in)}
    assert TrustSource.of((run / "trust.json",), None).origin is Origin.HANDED_IN
    both = TrustSource.of((own, handed_in), run)
    assert (both.origin, both.file) == (Origin.HANDED_IN, f"{own}, {handed_in}"), "not only the run's own word"


def test_times_off_the_calendar_are_shown_as_they_are() -> None:
    assert f"{2**64 - 1} s" in Page(render_page(result(stories=[story(timestamp=2**64 - 1)]))).text


@pytest.mark.parametrize("outcome", list(RoundPhase))
def test_every_outcome_has_its_word(outcome: RoundPhase) -> None:
    assert outcome.name.lower() in Page(render_page(result(stories=[story(outcome)]))).text


def test_hospitals_for_which_all_holds_share_a_line_and_no_finding_is_folded_away() -> None:
    report = Report()
    for hospital in ("hospital-1", "hospital-2", "hospital-3"):
        report.ok(Step.SIGNATURES, f"{hospital} signed.", round_index=1, hospital=hospital, checks=2)
    report.fail(Step.SIGNATURES, "It is forged.", round_index=1, hospital="hospital-4")
    report.ok(Step.SIGNATURES, "Only one.", round_index=2, hospital="hospital-1")
    folded = fold(report.lines)
    assert [(line.round_index, line.hospital, line.status.value) for line in folded] == [
        (1, "3 hospitals", "OK"),
        (1, "hospital-4", "FAIL"),
        (2, "hospital-1", "OK"),
    ]
    assert sum(line.checks for line in folded) == report.checks_run
    assert len(list(render_lines(report, every_line=True))) == 1 + len(report.lines)
    assert len(list(render_lines(report, every_line=False))) == 1 + len(folded)
    assert headline(report)[1:] == ("not verified", "step 9 signatures, round 1, hospital-4: It is forged.")


def test_a_line_of_text_moves_no_cursor_and_has_no_markup() -> None:
    report = Report()
    report.fail(Step.RULES, "\x1b[2J\r[red]x\n", round_index=1, hospital="h\x07")
    lines = [line.plain for line in render_lines(report, every_line=False)]
    assert all(line.isprintable() for line in lines)
    assert "[red]x" in lines[1]
