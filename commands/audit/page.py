"""The page of an audit, as one self-contained HTML file: verdict, steps, and rounds as the ledger records them.

Everything on it is written by Jinja2 with escaping on, and the page forbids scripts and every outside resource: what
hostile parties put on a ledger or into a run is shown, never run.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from blockchain.audit.auditor import AuditResult
from blockchain.audit.checks.rounds import Moment, RoundStory
from blockchain.audit.report import Report, Status, Step
from blockchain.ledger.records import RoundPhase
from commands.audit.lines import count, headline, summary, worst
from commands.audit.trust_source import Origin, TrustSource
from commands.console import printable
from fedward.types import PrivacyEvent

TEMPLATES = Path(__file__).parent / "templates"
MEANINGS = {
    Status.OK: "Nothing contradicts the ledger, and all evidence that a full verification needs was there.",
    Status.FAIL: "Something contradicts the ledger. Do not use the model before this is explained.",
    Status.MISSING: "Nothing contradicts the ledger, but evidence that a full verification needs is missing.",
}
NOBODY = TrustSource()
_DIGITS = 12  # of a shortened hash
_MOODS = {RoundPhase.ACCEPTED: "good", RoundPhase.REJECTED: "bad", RoundPhase.ABORTED: "gap"}


def render_page(result: AuditResult, source: TrustSource = NOBODY) -> str:
    """Render the page of an audit as HTML, with the origin of the trust file.

    Guarantees:
        1. It names no outside resource, and has no script.
        2. Whatever the names, reasons and sentences in the result are, none of them becomes markup, and none has a
           character that cannot be seen or that turns the direction of what follows.
    """
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    environment.filters |= {"short": _short, "full": _full}
    environment.tests["hashlike"] = lambda value: isinstance(value, bytes) or str(value).startswith("0x")
    return environment.get_template("audit.html").render(page=_page(result, source))


def _page(result: AuditResult, source: TrustSource) -> dict[str, Any]:
    """All values that the template shows."""
    report, claims = result.report, result.claims
    status, title, detail = headline(report)
    return {
        "run_id": claims.run_id if claims else result.source,
        "source": result.source,
        "status": status.value,
        "title": title.capitalize(),
        "detail": detail,
        "meaning": MEANINGS[status],
        "trust": source.sentence,
        "trust_is_outside": source.origin is Origin.HANDED_IN,
        "figures": _figures(result),
        "ledger": _ledger(result),
        "steps": _steps(report),
        "unverified": report.unverified,
        "rounds": [_round(story, result.names) for story in result.stories],
        "budgets": _budgets(result),
        "checkpoints": _checkpoints(result),
        "checkpoint_step": Step.CHECKPOINTS.number,
    }


def _figures(result: AuditResult) -> list[tuple[str, str]]:
    """The counts at the top."""
    stories = result.stories
    outcomes = [story.outcome for story in stories]
    numbers = {
        "checks": result.report.checks_run,
        "rounds": len(stories),
        "accepted": outcomes.count(RoundPhase.ACCEPTED),
        "rejected": outcomes.count(RoundPhase.REJECTED),
        "aborted": outcomes.count(RoundPhase.ABORTED),
        "submissions": sum(len(story.updates) for story in stories),
        "votes": sum(len(story.votes) for story in stories),
        "attestations": sum(len(story.witnesses) for story in stories),
        "checkpoints": len(result.checkpoints),
    }
    return [(f"{number:,}", words) for words, number in numbers.items()]


def _ledger(result: AuditResult) -> list[tuple[str, Any]]:
    """Which ledger the run claims, and where it ends."""
    claims = result.claims
    if claims is None:
        return []
    told = {
        "Chain": claims.chain_id,
        "Contract": claims.contract,
        "Height": claims.height,
        "Last block": claims.block_hash,
        "Ledger head": claims.ledger_head,
    }
    return [(name, value) for name, value in told.items() if value is not None]


def _steps(report: Report) -> list[dict[str, Any]]:
    """The steps with their lines; those that do not hold are shown open."""
    shown = []
    for step, group in groupby(report.in_order(), key=lambda line: line.step):
        lines = list(group)
        status = worst(lines)
        shown.append(
            {
                "number": step.number,
                "label": step.label,
                "question": step.question,
                "status": status.value,
                "open": status in (Status.FAIL, Status.MISSING),
                "summary": lines[0].evidence if len(lines) == 1 else summary(lines),
                "lines": lines,
            }
        )
    return shown


def _round(story: RoundStory, names: Mapping[Any, str]) -> dict[str, Any]:
    """One entry of the timeline."""
    decided = story.outcome in _MOODS
    return {
        "index": story.round_index,
        "outcome": story.outcome.name.lower() if decided else f"not decided ({story.outcome.name.lower()})",
        "mood": _MOODS.get(story.outcome, ""),
        "why": story.abort_reason or _tally(story),
        "opened": _time(story.opened),
        "closed": _time(story.closed),
        "decided": _time(story.ended),
        "base_id": story.base_id,
        "aggregate": story.aggregate_hash,
        "weight": f"{story.included_weight:,} of {story.enrolled_total:,}",
        "submissions": [
            {
                "hospital": names.get(update.hospital, update.hospital),
                "address": update.hospital,
                "clock": _clock(update.at),
                "time": _time(update.at),
                "root": update.update_root,
                "size": f"{update.update_bytes:,}",
                "weight": f"{update.weight:,}",
                "privacy": describe_event(update.event),
                "included": story.is_included(update.hospital) if story.closed else None,
                "reason": story.exclusions.get(update.hospital, "no reason was recorded"),
            }
            for update in story.updates.values()
        ],
        "votes": [
            {
                "hospital": names.get(vote.hospital, vote.hospital),
                "address": vote.hospital,
                "clock": _clock(vote.at),
                "time": _time(vote.at),
                "accept": vote.accept,
                "candidate": vote.candidate_digest,
                "evidence": vote.evidence_hash,
            }
            for vote in story.votes
        ],
        "witnesses": [
            {
                "address": each.witness,
                "clock": _clock(each.at),
                "time": _time(each.at),
                "aggregate": each.aggregate_hash,
            }
            for each in story.witnesses
        ],
    }


def _tally(story: RoundStory) -> str:
    """Who was included, and how they voted."""
    accepts = sum(vote.accept for vote in story.votes)
    parts = [f"{len(story.included)} of {count(len(story.roster), 'hospital')} included"] if story.closed else []
    if story.votes:
        parts.append(f"{accepts} accept, {len(story.votes) - accepts} reject")
    return "; ".join(parts)


def describe_event(event: PrivacyEvent) -> str:
    """A privacy event in one sentence."""
    if event.mode == "none":
        return "none"
    rate = "" if event.sampling_rate == 1 else f", sampling rate {event.sampling_rate:g}"
    return (
        f"{event.mode}, per {event.unit}: noise multiplier {event.noise_multiplier:g}, clip norm {event.clip_norm:g}, "
        f"{count(event.steps, 'step')}{rate}, delta {event.delta:g}"
    )


def _budgets(result: AuditResult) -> list[dict[str, Any]]:
    """For each hospital the epsilon that the run states, beside the one that its recorded events give."""
    claims = result.claims
    if claims is None:
        return []
    lines = [line for line in result.report.in_order() if line.step is Step.PRIVACY and line.hospital is not None]
    return [
        {
            "hospital": member.hospital,
            "updates": sum(member.address in story.updates for story in result.stories),
            "epsilon": f"{claims.epsilons[member.hospital]:.4g}" if member.hospital in claims.epsilons else "none",
            "delta": "none" if claims.delta is None else f"{claims.delta:g}",
            "lines": [line for line in lines if line.hospital in (member.hospital, member.address)],
        }
        for member in claims.roster
    ]


def _checkpoints(result: AuditResult) -> list[dict[str, Any]]:
    """The checkpoints by height, then hospital."""
    seen = sorted(result.checkpoints, key=lambda each: (each.checkpoint.height, each.checkpoint.hospital))
    return [
        {
            "hospital": result.names.get(each.checkpoint.hospital, each.checkpoint.hospital),
            "address": each.checkpoint.hospital,
            "round": each.checkpoint.round_index,
            "height": f"{each.checkpoint.height:,}",
            "block_hash": each.checkpoint.block_hash,
            "ledger_head": each.checkpoint.ledger_head,
            "signature": each.signature,
        }
        for each in seen
    ]


def _time(moment: Moment | None) -> str:
    """A block's time in UTC; a contract takes any number of seconds, so one off the calendar is shown as it is."""
    if moment is None:
        return "not recorded"
    try:
        return f"{datetime.fromtimestamp(moment.timestamp, UTC):%Y-%m-%d %H:%M:%S} (block {moment.block:,})"
    except (ValueError, OverflowError, OSError):
        return f"{moment.timestamp} s (block {moment.block:,})"


def _clock(moment: Moment) -> str:
    """The time of day alone: the day stands in the round's head."""
    try:
        return f"{datetime.fromtimestamp(moment.timestamp, UTC):%H:%M:%S}"
    except (ValueError, OverflowError, OSError):
        return f"{moment.timestamp} s"


def _full(value: bytes | str) -> str:
    """A hash or address, whole."""
    return f"0x{value.hex()}" if isinstance(value, bytes) else value


def _short(value: bytes | str) -> str:
    """The beginning of a hash or address."""
    whole = _full(value)
    return whole if len(whole) <= _DIGITS + 3 else f"{whole[: _DIGITS + 2]}…"
