"""A run's `report.html`: one file that needs nothing else, the same for the same run; hostile texts stay texts."""

import base64
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from command_line import run_here
from shared_runs import SharedRuns

from blockchain.ledger.events import RoundAccepted
from commands.report.data_by_hospital import few
from commands.report.writing import render_report
from commands.view.following import whole_ledger
from commands.view.shelf import read_run

HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """The elements of a page, what they would load or open, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.places: list[str] = []
        self.events: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value for name, value in attrs if name in ("href", "src", "action") and value]
        self.events += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def run(shared_runs: SharedRuns) -> Path:
    """A finished run of two private rounds, to read."""
    return shared_runs.concluded() / "run"


@pytest.fixture(scope="module")
def text(run: Path) -> str:
    return render_report(run)


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


def rewrite(path: Path, change: Any) -> None:
    fields = json.loads(path.read_bytes())
    change(fields)
    path.write_text(json.dumps(fields))


def test_it_needs_nothing_else_and_has_the_runs_pictures(text: str, run: Path) -> None:
    page = Page(text)
    assert not {"script", "iframe", "object", "link", "base", "form", "a"} & set(page.tags)
    assert page.events == []
    pictures = [base64.b64decode(each.removeprefix("data:image/png;base64,"), validate=True) for each in page.places]
    names = ("learning_curves.png", "roc.png", "confusion_matrix.png", "reliability.png")
    assert pictures == [(run / name).read_bytes() for name in names]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:;" in text
    assert not re.search(r"url\(|@import|https?://", text)


def test_it_says_what_the_run_and_its_ledger_say(text: str, run: Path) -> None:
    summary = json.loads((run / "summary.json").read_bytes())
    pooled = summary["scores"]["pooled"]
    low, high = pooled["intervals"]["auc"]
    assert f"{pooled['auc']:.4f} (95 % {low:.4f} to {high:.4f})" in text
    assert f"at delta {summary['privacy']['delta']:g}" in text
    for words in ("Intended use", "Factors", "Metrics", "Ethical considerations", "not for diagnosis"):
        assert words in text
    for value in (summary["model"]["weights_sha256"], summary["ledger"]["head"], read_run(run).record.genesis_hash):
        assert value in text
    with whole_ledger(read_run(run)) as chain:
        ends = [event for event in chain.events(0, 1000) if isinstance(event, RoundAccepted)]
    assert len(ends) == 2
    for event in ends:
        assert event.transaction_hash.hex() in text
        assert event.candidate_digest.hex() in text
        assert f"{event.accepts} for, 0 against" in text


def test_the_same_run_has_the_same_report(text: str, copy: Path, run: Path) -> None:
    assert render_report(copy) == text
    done = run_here("export", run, "--report", "--out", copy / "report.html", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["bytes"] == len(text.encode())
    assert (copy / "report.html").read_text() == text


def test_hostile_names_are_shown_as_text(copy: Path) -> None:
    def change(fields: Any) -> None:
        fields["run_id"] = HOSTILE
        fields["findings"] = fields["class_names"] = [HOSTILE, "b"]
        fields["settings"]["data"]["source"] = HOSTILE + "\u202e"

    def change_summary(fields: Any) -> None:
        fields["model"]["name"] = fields["model"]["positive"][0] = HOSTILE
        fields["scores"]["findings"] = dict.fromkeys((HOSTILE, "b"), fields["scores"]["pooled"])
        fields["objections"] = [{"round": 1, "phase": "accepted", "hospitals": {HOSTILE: [HOSTILE]}}]
        fields["attack"] = {"attack": HOSTILE, "hospitals": [HOSTILE], "first_round": HOSTILE}
        fields["data"] |= {"layout": HOSTILE, "told_by": {HOSTILE: 1}, "left_out": {HOSTILE: 3}}

    rewrite(copy / "server" / "run.json", change)
    rewrite(copy / "summary.json", change_summary)
    metrics = copy / "server" / "metrics.jsonl"
    lines = [json.loads(line) | {"rejections": [{"hospital": HOSTILE, "reason": HOSTILE}], "failures": [HOSTILE]}
             for line in metrics.read_text().splitlines()]  # fmt: skip
    metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = render_report(copy)
    page = Page(text)
    assert "script" not in page.tags
    assert sum(word.count(HOSTILE) for word in page.words) > 20
    assert "\u202e" not in text


def test_a_hospital_of_a_hostile_name_is_refused(copy: Path, tmp_path: Path) -> None:
    rewrite(copy / "server" / "run.json", lambda fields: fields["roster"][0].update(hospital=HOSTILE))
    done = run_here("export", copy, "--report", "--out", tmp_path / "out.html")
    assert done.returncode == 7
    assert "must be a hospital's name" in done.stderr


def test_small_counts_are_not_told(copy: Path) -> None:
    assert [few(count) for count in (0, 1, 9, 10, 1234)] == ["0", "fewer than 10", "fewer than 10", "10", "1,234"]
    summary = json.loads((copy / "summary.json").read_bytes())
    small = min(each["patients"] for each in summary["scores"]["hospitals"].values())
    assert small < 10, "the run has a hospital that the rule is about"

    def change(fields: Any) -> None:
        for splits in fields["hospitals"].values():
            splits["test"] = {"images": 7, "patients": 7, "by_class": {"normal": 3, "opacity": 4}}

    rewrite(copy / "manifest.json", change)
    row = re.search(r"<tr><td class=\"words\">hospital-1</td>.*?</tr>", render_report(copy))
    assert row is not None
    assert "fewer than 10" in row[0]
    assert ">7<" not in row[0]
    assert row[0].endswith('<td class="wide">-</td><td class="wide">-</td></tr>')


def test_what_is_missing_or_damaged_gets_a_sentence(copy: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    (copy / "roc.png").write_bytes(b"<svg onload=alert(1)>")
    done = run_here("export", copy, "--report", "--out", out)
    assert done.returncode == 7
    assert "is no picture" in done.stderr
    (copy / "roc.png").unlink()
    rewrite(copy / "summary.json", lambda fields: fields.pop("scores"))
    done = run_here("export", copy, "--report", "--out", out)
    assert done.returncode == 7
    assert "is malformed" in done.stderr
    (copy / "summary.json").unlink()
    done = run_here("export", copy, "--report", "--out", out)
    assert done.returncode == 8
    assert "has not ended" in done.stderr
    assert run_here("export", copy, "--report", "--with-ciphertexts", "--out", out).returncode == 2
    assert not out.exists()
