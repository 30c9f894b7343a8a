"""Step 14, model: stated thresholds and validation figures, against those that the hospitals' counts give."""

from collections.abc import Mapping, Sequence
from typing import Any

from blockchain.audit.checks.counts import CheckedCounts
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.released import ReleasedFolder
from fedward.figures.histograms import UNDECIDED
from fedward.figures.validation import FIGURES, differing_figure
from fedward.learning.stored_model import ModelCard

_SHOWN = 3  # thresholds


def check_thresholds(card: ModelCard, accepted: Sequence[RoundStory], counts: CheckedCounts, report: Report) -> None:
    """Compare the thresholds in a model's card with those that follow from the counts of the last accepted round."""
    last = accepted[-1].round_index if accepted else 0
    figures = counts.figures.get(last) if accepted else {"thresholds": None}
    if figures is None:
        report.not_verified(f"model.keras: decision thresholds ({_why_not(last, counts)})")
        return
    right = figures["thresholds"] or (UNDECIDED,) * len(card.findings)
    if differing_figure({"thresholds": card.thresholds}, {"thresholds": right}):
        text = f"The card of model.keras states thresholds {_some(card.thresholds)}; "
        report.fail(Step.MODEL, f"{text}the counts that hospitals signed in their votes make them {_some(right)}.")
    else:
        text = f"The decision thresholds of model.keras, {_some(right)}, follow from the hospitals' counts."
        report.ok(Step.MODEL, text, checks=len(right))


def check_metrics(folder: ReleasedFolder, stories: Sequence[RoundStory], counts: CheckedCounts, report: Report) -> None:
    """Compare the validation figures of every round in the server's `metrics.jsonl` with those of the kept counts."""
    lines = folder.metrics()
    by_index, right = {story.round_index: story for story in stories}, 0
    for line in lines:
        index = line.get("round")
        story = by_index.get(index) if isinstance(index, int) and not isinstance(index, bool) else None
        if story is None:
            text = f"metrics.jsonl tells of a round {index!r:.20}, which is not on the ledger."
            report.fail(Step.MODEL, text)
            continue
        right += _is_right(line, story, counts, report)
    told = [line.get("round") for line in lines]
    for index, story in by_index.items():
        if told.count(index) > 1 or (folder.finished and story.ended and not told.count(index)):
            text = f"metrics.jsonl has {told.count(index)} lines about round {index}."
            report.missing(Step.MODEL, text, round_index=index)
    if right:
        text = f"The validation figures of {right} rounds in metrics.jsonl follow from the hospitals' counts."
        report.ok(Step.MODEL, text, checks=right * len(FIGURES))


def _is_right(line: Mapping[str, Any], story: RoundStory, counts: CheckedCounts, report: Report) -> bool:
    """Whether a round's line states what the ledger and the counts say; what cannot be told is listed."""
    index, outcome = story.round_index, story.outcome.name.lower()
    if line.get("phase") != outcome:
        text = (
            f"metrics.jsonl states that round {index} was {line.get('phase')!r:.20}, on the ledger it is {outcome!r}."
        )
        report.fail(Step.MODEL, text, round_index=index)
    figures = counts.figures.get(index)
    if figures is None:
        report.not_verified(f"metrics.jsonl: validation figures of round {index} ({_why_not(index, counts)})")
        return False
    name = differing_figure(line, figures)
    if name:
        text = f"metrics.jsonl states {name} {line.get(name)!r:.80} for round {index}; "
        text += f"the counts that hospitals signed in their votes make it {figures[name]!r:.80}."
        report.fail(Step.MODEL, text, round_index=index)
    return name is None


def _why_not(round_index: int, counts: CheckedCounts) -> str:
    """Why a round's figures are not computed again."""
    if round_index in counts.encrypted:
        return f"the counts of round {round_index} are encrypted, and only hospitals can open their sum"
    return f"there are no counts of round {round_index} that the votes name"


def _some(thresholds: Sequence[float]) -> str:
    return ", ".join(f"{each:.6g}" for each in thresholds[:_SHOWN]) + (", …" if len(thresholds) > _SHOWN else "")
