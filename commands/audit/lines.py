"""An audit's report as lines of text: one for each step, and below it lines for rounds and hospitals."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from blockchain.audit.report import Line, Report, Status
from commands.console import printable

COLORS = {Status.OK: "green", Status.FAIL: "red", Status.MISSING: "yellow", Status.NOTE: "cyan"}
_GRAVITY = (Status.FAIL, Status.MISSING, Status.OK, Status.NOTE)


def worst(lines: Sequence[Line]) -> Status:
    """The status that decides: a FAIL before a MISSING before an OK before a NOTE."""
    return next(status for status in _GRAVITY if any(line.status is status for line in lines))


def render_lines(report: Report, every_line: bool) -> Iterator[Text]:
    """A report for people.

    Args:
        report: What to show.
        every_line: Whether a hospital for which every check holds gets a line of its own; else one line per round joins
            them.
    """
    for step, group in groupby(report.in_order(), key=lambda line: line.step):
        lines = list(group)
        if len(lines) == 1 and lines[0].round_index is None and lines[0].hospital is None:
            yield _row(f"{step.number:>2} {step.label:<12}", lines[0].status, lines[0].evidence)
            continue
        yield _row(f"{step.number:>2} {step.label:<12}", worst(lines), summary(lines))
        for line in lines if every_line else fold(lines):
            yield _row(f"     {about(line) or '·':<22}", line.status, line.evidence)
    if report.unverified:
        yield Text(
            printable(f"   Not verified, for nothing on the ledger tells of it: {'; '.join(report.unverified)}.")
        )


def summary(lines: Sequence[Line]) -> str:
    """How many comparisons a step made, and over how many rounds."""
    made = sum(line.checks for line in lines if line.status in (Status.OK, Status.FAIL))
    rounds = len({line.round_index for line in lines if line.round_index is not None})
    bad = sum(line.status in (Status.FAIL, Status.MISSING) for line in lines)
    text = count(made, "check") + (f" in {count(rounds, 'round')}" if rounds else "")
    return f"{text}, {count(bad, 'line')} not OK" if bad else text


def fold(lines: Sequence[Line]) -> list[Line]:
    """Join a round's lines on hospitals for which a step holds into one line, in the place of the first."""
    folded: list[Line] = []
    for _, group in groupby(lines, key=lambda line: line.round_index):
        of_round = list(group)
        good = [line for line in of_round if line.hospital is not None and line.status is Status.OK]
        for line in of_round:
            if len(good) < 2 or line not in good:
                folded.append(line)
            elif line is good[0]:
                folded.append(_together(good))
    return folded


def about(line: Line) -> str:
    """Which round and hospital a line is about."""
    parts = [] if line.round_index is None else [f"round {line.round_index}"]
    return ", ".join([*parts, *([line.hospital] if line.hospital is not None else [])])


def verdict(report: Report) -> Text:
    """The last line: how many checks held, or the first thing that does not."""
    status, title, detail = headline(report)
    return Text(printable(f"{title}: {detail}"), style=f"bold {COLORS[status]}")


def headline(report: Report) -> tuple[Status, str, str]:
    """How the audit ended in a word or two, with the figure or the first finding that decided it."""
    for status, title in ((Status.FAIL, "not verified"), (Status.MISSING, "incomplete")):
        first = next((line for line in report.in_order() if line.status is status), None)
        if first is not None:
            where = ", ".join(filter(None, (f"step {first.step.number} {first.step.label}", about(first))))
            return status, title, f"{where}: {first.evidence}"
    if report.exit_code:
        return Status.MISSING, "incomplete", "nothing was checked"
    return Status.OK, "verified", count(report.checks_run, "check")


def count(number: int, noun: str) -> str:
    """A number and its noun: 1 check, 2,000 checks."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _together(good: Sequence[Line]) -> Line:
    """One line in place of those of several hospitals for which everything holds."""
    first, checks = good[0], sum(line.checks for line in good)
    who = count(len({line.hospital for line in good}), "hospital")
    evidence = f"{count(checks, 'check')}, such as: {first.evidence}"
    return Line(first.step, Status.OK, evidence, first.round_index, who, checks)


def _row(place: str, status: Status, evidence: str) -> Text:
    """One line as text; control characters in its evidence cannot move the cursor or change colors."""
    return Text.assemble(printable(place), "  ", (f"{status.value:<7}", COLORS[status]), "  ", printable(evidence))
