"""What each page shows, as plain values for its template."""

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.ledger.events import (
    RoundAborted,
    RoundAccepted,
    RoundEvent,
    RoundRejected,
    SubmissionsClosed,
    UpdateCommitted,
    VoteCast,
)
from commands.view import paging
from commands.view.chain import Chain
from commands.view.damage import told_by
from commands.view.paging import Part
from commands.view.search import MOST, search
from commands.view.shelf import Damaged, Run
from commands.view.telling import Names, fields_of, headline, left_out, text_of, time_of
from fedward.errors import FedwardError
from fedward.figures.score_rows import baseline_rows, test_rows
from fedward.folders.places import summary_file

Query = Mapping[str, str]  # what an address asks for, behind its question mark
TEMPLATES = Path(__file__).parent / "templates"
PICTURES = {  # files of a run that pages show, and what to say of them to who does not see
    "roc.png": "ROC curve on the test images",
    "confusion_matrix.png": "Confusion matrix on the test images",
    "reliability.png": "How probabilities and shares of positive test images agree",
}
_ENDS = (RoundAccepted, RoundRejected, RoundAborted)

_templates = Environment(
    loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_templates.filters["moment"] = time_of


def page(template: str, **values: Any) -> str:
    """A page: a template with values, which are escaped whatever they are."""
    return _templates.get_template(f"{template}.html").render(**values)


def shelf_page(runs: tuple[Run, ...], damaged: tuple[Damaged, ...]) -> str:
    """All runs."""
    rows, broken = [], list(damaged)
    for run in runs:
        try:
            with of_summary(run):
                rows.append(_on_shelf(run))
        except FedwardError as error:
            broken.append(Damaged(run.path, str(error)))
    return page("shelf", rows=rows, damaged=broken, live=any(run.state == "runs" for run in runs))


def _on_shelf(run: Run) -> dict[str, Any]:
    """A run beside others."""
    return {
        "run": run,
        "created": _local(run.record.created),
        "rounds": f"{len(run.rounds)} of {run.wanted}",
        "auc": _figure(at(run.summary, "test", "auc") if run.summary else _latest(run, "val_auc")),
        "of": "test" if run.summary else "validation",
        "epsilon": _epsilon(run),
    }


def run_page(run: Run, query: Query) -> str:
    """One run: where it stands, its figures, its rounds and its settings."""
    with of_summary(run):
        scores = at(run.summary, "scores")
        figures = [*test_rows(scores), *baseline_rows(at(run.summary, "baselines"))] if scores else []
        hospitals, epsilon = _hospitals(run), _epsilon(run)
    part = Part.of("rounds", query.get("rounds", ""), len(run.rounds), paging.ROUNDS)
    return page(
        "run",
        run=run,
        created=_local(run.record.created),
        live=run.state == "runs",
        figures=figures,
        hospitals=hospitals,
        epsilon=epsilon,
        rounds=run.rounds[::-1][part.skip : part.skip + part.size],
        part=part,
        settings=run.record.settings,
    )


def of_summary(run: Run) -> AbstractContextManager[None]:
    """Around what reads a run's summary: see `told_by`."""
    return told_by("The run's summary", summary_file(run.path))


def round_page(run: Run, chain: Chain, index: int) -> str | None:
    """One round: commitments with their ciphertexts, the aggregate, votes and end; None where there is none."""
    events = chain.round(index)
    if not events:
        return None
    names = Names(run)
    files, problem = _files(run, index)
    line = next((entry for entry in run.rounds if entry["round"] == index), None)
    closed = next((event for event in events if isinstance(event, SubmissionsClosed)), None)
    commitments = [
        {
            "hospital": names.of(event.hospital),
            "root": event.update_root.hex(),
            "bytes": f"{event.update_bytes:,}",
            "weight": f"{event.weight:,}",
            "transaction": event.transaction_hash.hex(),
            "added": closed is not None and names.of(event.hospital) in names.mask(closed.included_mask).split(", "),
            "ciphertexts": files.get(str(event.hospital).lower(), ()),
        }
        for event in events
        if isinstance(event, UpdateCommitted)
    ]
    votes = [
        {
            "hospital": names.of(event.hospital),
            "accept": event.accept,
            "candidate": event.candidate_digest.hex(),
            "transaction": event.transaction_hash.hex(),
        }
        for event in events
        if isinstance(event, VoteCast)
    ]
    return page(
        "round",
        run=run,
        live=run.state == "runs",
        index=index,
        end=_end(events),
        commitments=commitments,
        closed=closed,
        aggregate=files.get("", ()),
        left_out=left_out(events, names),
        votes=votes,
        events=_events(events, names),
        line=line,
        problem=problem,
        before=index - 1 if chain.has_round(index - 1) else None,
        after=index + 1 if chain.has_round(index + 1) else None,
    )


def ledger_page(run: Run, chain: Chain, query: Query) -> str:
    """The ledger: its latest events, rounds and blocks; or earlier ones, as an address asks for them."""
    count, rounds = chain.count_events(), chain.count_rounds()
    events = Part.of("events", query.get("events", ""), count, paging.EVENTS)
    blocks = Part.of("blocks", query.get("blocks", ""), chain.height, paging.BLOCKS)
    of_rounds = Part.of("rounds", query.get("rounds", ""), rounds, paging.ROUNDS)
    return page(
        "ledger",
        run=run,
        live=run.state == "runs",
        height=chain.height,
        count=count,
        round_count=rounds,
        head=next((event.ledger_head.hex() for event in chain.events(0, 1)), ""),
        events=_events(chain.events(events.skip, events.size), Names(run)),
        event_part=events,
        rounds=chain.rounds(of_rounds.skip, of_rounds.size)[::-1],
        round_part=of_rounds,
        blocks=chain.blocks(blocks.skip, blocks.size),
        block_part=blocks,
        parts=(events, blocks, of_rounds),
    )


def block_page(run: Run, chain: Chain, number: int) -> str | None:
    """A block and its transactions; None where there is none."""
    block, names = chain.block(number), Names(run)
    if block is None:
        return None
    transactions = [
        {"it": each, "sender": names.of(each.sender), "events": chain.events_of(each.transaction_hash)}
        for each in chain.transactions(number)
    ]
    return page(
        "block",
        run=run,
        live=False,
        block=block,
        transactions=transactions,
        headline=headline,
        before=number - 1 if number > 1 else None,
        after=number + 1 if number < chain.height else None,
    )


def transaction_page(run: Run, chain: Chain, transaction_hash: str) -> str | None:
    """A transaction and the events that it made; None where there is none."""
    try:
        found = chain.transaction(bytes.fromhex(transaction_hash))
    except ValueError:
        found = None
    if found is None:
        return None
    names = Names(run)
    return page(
        "transaction",
        run=run,
        live=False,
        it=found,
        sender=names.of(found.sender),
        to=names.of(found.to or found.created),
        data=found.data.hex(),
        events=_events(chain.events_of(found.transaction_hash), names),
    )


def search_page(run: Run, chain: Chain, query: Query) -> str:
    """What a text means on the ledger."""
    text, wanted = query.get("q", ""), query.get("page", "")
    number = int(wanted) if wanted.isascii() and wanted.isdigit() and len(wanted) < 6 else 1
    hits, more = search(text, chain, Names(run), (max(number, 1) - 1) * MOST)
    part = Part("page", max(number, 1), max(number, 1) + more, MOST)
    return page("search", run=run, live=False, text=text, hits=hits, part=part)


def reading_page(run: Run, done: int, of: int) -> str:
    """How far the index of a ledger is."""
    return page("reading", run=run, live=True, done=done, of=of)


def ciphertext_page(run: Run, index: int, name: str) -> str | None:
    """A ciphertext: whose it is, where in the update or sum, and whether it has the hash that names it."""
    files, _ = _files(run, index)
    names = Names(run)
    places = [
        (names.of(holder) if holder else "the aggregate", place + 1, len(hashes))
        for holder, hashes in files.items()
        for place, each in enumerate(hashes)
        if each == name
    ]
    if not places:
        return None
    try:
        content, problem = RunEvidence(run.path).chunk(name), ""
    except FedwardError as error:
        content, problem = b"", str(error)
    right = hashlib.sha256(content).hexdigest() == name
    return page(
        "ciphertext",
        run=run,
        live=False,
        index=index,
        name=name,
        places=places,
        size=f"{len(content):,}",
        right=right,
        problem=problem,
        start=content[:64].hex(),
    )


def problem_page(title: str, sentence: str) -> str:
    """What went wrong, and what to do."""
    return page("problem", title=title, sentence=sentence, live=False)


def _files(run: Run, index: int) -> tuple[Mapping[str, tuple[str, ...]], str]:
    """Hashes of a round's ciphertexts by the hospital's address, those of the sum under ""; and what is wrong."""
    try:
        files = RunEvidence(run.path).round_files(index)
    except FedwardError as error:
        return {}, str(error)
    return {"": files.aggregate, **{str(who).lower(): hashes for who, hashes in files.updates.items()}}, ""


def _events(events: Any, names: Names) -> list[dict[str, Any]]:
    return [
        {
            "title": headline(event),
            "round": event.round_index if isinstance(event, RoundEvent) else None,
            "block": event.block,
            "transaction": event.transaction_hash.hex(),
            "head": event.ledger_head.hex(),
            "fields": fields_of(event, names),
        }
        for event in events
    ]


def _end(events: tuple[RoundEvent, ...]) -> dict[str, Any]:
    """How a round ended, in words, or that it has not."""
    end = next((event for event in events if isinstance(event, _ENDS)), None)
    if isinstance(end, RoundAborted):
        return {"mood": "gap", "words": f"Aborted: {text_of(end.reason)}"}
    if isinstance(end, RoundAccepted | RoundRejected):
        word = "Accepted" if isinstance(end, RoundAccepted) else "Rejected"
        return {
            "mood": "good" if word == "Accepted" else "bad",
            "words": f"{word}: {end.accepts} for, {end.rejects} against",
        }
    return {"mood": "note", "words": "Not ended yet"}


def _hospitals(run: Run) -> list[dict[str, Any]]:
    """Each hospital beside the others: weight, and its own test figures, where it is known."""
    known = at(run.summary, "scores", "hospitals") or {}
    return [
        {
            "name": member.hospital,
            "weight": f"{member.weight:,}",
            "auc": _figure(at(known, member.hospital, "auc")),
            "accuracy": _figure(at(known, member.hospital, "accuracy")),
            "images": at(known, member.hospital, "n"),
        }
        for member in run.record.roster
    ]


def _latest(run: Run, name: str) -> Any:
    return next((entry[name] for entry in reversed(run.rounds) if entry.get(name) is not None), None)


def _epsilon(run: Run) -> str:
    """What a run has spent of each patient's privacy, as far as it says."""
    spent = at(run.summary, "privacy", "epsilon")
    if spent is not None:
        return f"{spent:.2f}"
    mode = run.record.settings["privacy"]["mode"]
    return "none promised" if mode == "none" else f"at most {run.record.settings['privacy']['target-epsilon']}"


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}"


def at(values: Any, *path: str) -> Any:
    """A value of JSON by its path; None where there is none."""
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def _local(iso: str) -> str:
    """A time of a file, in this machine's time zone."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M %Z}"
    except (ValueError, OverflowError, OSError):
        return iso
