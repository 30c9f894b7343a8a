"""What each page shows, as plain values for its template."""

import hashlib
from collections.abc import Mapping
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
from commands.view.chain import Chain
from commands.view.search import MOST, search
from commands.view.shelf import Damaged, Run
from commands.view.telling import Names, fields_of, headline, left_out, text_of, time_of
from fedward.errors import FedwardError
from fedward.figures.score_rows import baseline_rows, test_rows

TEMPLATES = Path(__file__).parent / "templates"
PICTURES = {  # files of a run that pages show, and what to say of them to who does not see
    "roc.png": "ROC curve on the test images",
    "confusion_matrix.png": "Confusion matrix on the test images",
    "reliability.png": "How probabilities and shares of positive test images agree",
}
_LATEST_EVENTS = 50  # on the page of the ledger; the others are found by block, round or search
_LATEST_BLOCKS = 100
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
    rows = [
        {
            "run": run,
            "created": _local(run.record.created),
            "rounds": f"{len(run.rounds)} of {run.wanted}",
            "auc": _figure(at(run.summary, "test", "auc") if run.summary else _latest(run, "val_auc")),
            "of": "test" if run.summary else "validation",
            "epsilon": _epsilon(run),
        }
        for run in runs
    ]
    return page("shelf", rows=rows, damaged=damaged, live=any(run.state == "runs" for run in runs))


def run_page(run: Run) -> str:
    """One run: where it stands, its figures, its rounds and its settings."""
    scores = (run.summary or {}).get("scores")
    rows = [*test_rows(scores), *baseline_rows((run.summary or {}).get("baselines"))] if scores else []
    return page(
        "run",
        run=run,
        created=_local(run.record.created),
        live=run.state == "runs",
        figures=rows,
        hospitals=_hospitals(run),
        epsilon=_epsilon(run),
        settings=run.record.settings,
    )


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
        before=index - 1 if chain.round(index - 1) else None,
        after=index + 1 if chain.round(index + 1) else None,
    )


def ledger_page(run: Run, chain: Chain) -> str:
    """The ledger: its latest events and blocks."""
    events = chain.events[::-1][:_LATEST_EVENTS]
    return page(
        "ledger",
        run=run,
        live=run.state == "runs",
        height=len(chain.blocks),
        count=len(chain.events),
        head=chain.events[-1].ledger_head.hex() if chain.events else "",
        events=_events(events, Names(run)),
        rounds=chain.rounds(),
        blocks=chain.blocks[::-1][:_LATEST_BLOCKS],
    )


def block_page(run: Run, chain: Chain, number: int) -> str | None:
    """A block and its transactions; None where there is none."""
    block, names = chain.block(number), Names(run)
    if block is None:
        return None
    transactions = [
        {"it": each, "sender": names.of(each.sender), "events": chain.events_of(each.transaction_hash)}
        for each in block.transactions
    ]
    return page(
        "block",
        run=run,
        live=False,
        block=block,
        transactions=transactions,
        headline=headline,
        before=number - 1 if number > 1 else None,
        after=number + 1 if number < len(chain.blocks) else None,
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


def search_page(run: Run, chain: Chain, text: str) -> str:
    """What a text means on the ledger."""
    hits = search(text, chain, Names(run))
    return page("search", run=run, live=False, text=text, hits=hits, most=MOST)


def ciphertext_page(run: Run, index: int, name: str) -> str | None:
    """A ciphertext: whose it is, where in the update or sum, and whether it has the hash that names it."""
    files, _ = _files(run, index)
    names = Names(run)
    places = [
        (names.of(holder) if holder else "the aggregate", place + 1, len(hashes))  # type: ignore[arg-type]
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
    except ValueError:
        return iso
