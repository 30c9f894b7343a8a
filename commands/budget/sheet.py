"""`main.py budget`: the studies in a record and what they have spent together, as a table or JSON."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.table import Table

from commands import console
from fedward.errors import EvidenceError
from fedward.privacy.patient_spending import Spent, worst
from fedward.privacy.record_places import all_records, record_of_source
from fedward.privacy.study_record import Study, StudyRecord
from fedward.types import PrivacyEvent

_KINDS = {"study": "{} hospitals", "alone": "{}, each alone", "pooled": "{} pooled"}


def chosen(data: Path | None, record: Path | None) -> list[StudyRecord]:
    """The records that options name; without any, all of this user's simulations.

    Raises:
        EvidenceError: there is no such record.
    """
    if data:
        found = record_of_source(data)
    elif record:
        found = StudyRecord(record)
    else:
        return all_records()
    if not found.exists():
        raise EvidenceError(
            f"There is no record of studies {f'on {data}' if data else record}.",
            "Nothing was trained on it here, or it was under another path.",
        )
    return [found]


def set_limit(data: Path | None, record: Path | None, limit: float | None, delta: float | None) -> None:
    """Set a limit, a delta, or both; zero takes it away. A source of images that has no record yet gets one.

    Raises:
        EvidenceError: there is no such record, or no such source.
        ResourceError: the record cannot be written.
    """
    if data and data.exists():
        StudyRecord.opened(record_of_source(data).path, str(data.resolve()))
    (found,) = chosen(data, record)
    now = found.limit()
    if limit is not None:
        now = replace(now, epsilon=limit or None)
    if delta is not None:
        now = replace(now, delta=delta or None)
    found.set_limit(now)


def show(records: Sequence[StudyRecord], as_json: bool) -> None:
    """Print each record: its studies, what the most used patient has spent, and the hospital's limit.

    Raises:
        BudgetError: a record is damaged.
    """
    if as_json:
        console.data([_facts(record) for record in records])
        return
    if not records:
        console.out.print("No study has trained on patients' images here.")
    for place, record in enumerate(records):
        if place:
            console.out.print()
        _show(record)


def spent_sentence(spent: Spent) -> str:
    """What was spent on the most used patient, in words that follow "The most used patient:"."""
    counted = f"epsilon {spent.epsilon:.3g} at delta {spent.delta:g}" if spent.epsilon is not None else ""
    if not spent.unbounded:
        return counted or "nothing so far"
    return f"not bounded, for a study added no noise{f'; the others add up to {counted}' if counted else ''}"


def _show(record: StudyRecord) -> None:
    """One record as a table and two lines."""
    limit = record.limit()
    table = Table("study", "trained by", "a round", "rounds", "patients", "epsilon")
    table.title, table.title_justify = f"Studies on {console.plain(record.of)}", "left"
    for group in _by_study(record):
        first, rounds = group[0].entry, sorted({len(study.charges()) for study in group})
        table.add_row(
            f"{console.plain(first.run)}\n{first.began[:16].replace('T', ' ')}",
            console.plain(first.part) if len(group) == 1 else _KINDS[first.kind].format(len(group)),
            _mechanism(first.event),
            str(rounds[0]) if len(rounds) == 1 else f"{rounds[0]} to {rounds[-1]}",
            f"{len({patient for study in group for patient in study.entry.patients}):,}",
            _alone(group, record),
        )
    console.out.print(table)
    console.out.print(f"The most used patient: {spent_sentence(record.spent())}.", soft_wrap=True)
    bound = "none" if limit.epsilon is None else f"epsilon {limit.epsilon:g}"
    console.out.print(
        f"The hospital's limit over all studies: {bound}. Record: {console.plain(str(record.path))}", soft_wrap=True
    )


def _alone(group: Sequence[Study], record: StudyRecord) -> str:
    """The epsilon of one study's releases by themselves."""
    spent = worst([study.use() for study in group], record.delta())
    return "no bound" if spent.unbounded else "-" if spent.epsilon is None else f"{spent.epsilon:.3g}"


def _by_study(record: StudyRecord) -> list[list[Study]]:
    """Parts of one study and kind together, oldest study first."""

    def key(study: Study) -> tuple[str, str, int]:
        return study.entry.began, study.entry.study, list(_KINDS).index(study.entry.kind)

    return [list(group) for _, group in groupby(sorted(record.studies(), key=key), key)]


def _mechanism(event: PrivacyEvent) -> str:
    """A release in words."""
    if event.mode == "none":
        return "no noise"
    noise = f"{event.mode}, {event.unit}\nnoise {event.noise_multiplier:.4g}"
    return noise if event.mode == "update" else f"{noise}\nrate {event.sampling_rate:g}\n{event.steps} steps"


def _facts(record: StudyRecord) -> dict[str, Any]:
    """One record as JSON's types; no patient's digest is among them."""
    limit, spent = record.limit(), record.spent()
    return {
        "record": str(record.path),
        "of": record.of,
        "limit": limit.epsilon,
        "delta": spent.delta,
        "epsilon": None if spent.unbounded else spent.epsilon or 0.0,
        "epsilon_of_private_releases": spent.epsilon,
        "unbounded": spent.unbounded,
        "studies": [
            {
                **{name: getattr(study.entry, name) for name in ("study", "run", "part", "kind", "began")},
                **{name: getattr(study.entry.event, name) for name in ("mode", "unit", "noise_multiplier")},
                **{name: getattr(study.entry.event, name) for name in ("sampling_rate", "steps", "delta")},
                "rounds_asked_for": study.entry.rounds,
                "rounds_charged": len(study.charges()),
                "patients": len(study.entry.patients),
                "epsilon": worst([study.use()], record.delta()).epsilon,
            }
            for study in record.studies()
        ],
    }
