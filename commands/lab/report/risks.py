"""What remains, in plain words: sentences that follow from what was measured, and from what was not."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from commands.audit.trust_source import Origin, TrustSource
from commands.lab.report.findings import NOT_MEASURED, OF_METHOD, Area, Known, last_accepted, model_step_fails

_HIGH_EPSILON = 3.0  # from here on e^epsilon is above 20


def risks_of(known: Known, areas: Sequence[Area], source: TrustSource) -> tuple[str, ...]:
    """Residual risks, the worst first."""
    return (*_of_record(known, source), *_of_privacy(known), *_of_attacks(known), *_of_gaps(areas))


def unmeasured(areas: Sequence[Area]) -> tuple[str, ...]:
    """What was not measured, by area."""
    return tuple(f"{area.name}: {line.what}" for area in areas for line in area.lines if line.basis == NOT_MEASURED)


def _of_record(known: Known, source: TrustSource) -> Iterator[str]:
    report, story = known.audit.report, last_accepted(known.audit.stories)
    if report.exit_code == 7 or model_step_fails(known):
        yield "The audit contradicts this run. Do not use the model before that is explained."
    elif report.exit_code:
        yield "The audit lacks evidence, so the history behind the model is not established."
    if story is not None and story.candidate_digest != known.facts.model.weights_sha256:
        yield "The model that this run names is not the one that the ledger accepted last."
    if source.origin is not Origin.HANDED_IN:
        yield "Nobody outside of this run vouched for its history: whoever made the folder could have invented it."


def _of_privacy(known: Known) -> Iterator[str]:
    privacy = known.facts.privacy
    if privacy.epsilon is None:
        yield (
            "Training adds no noise. Encryption hides single updates from the server, but every hospital sees each"
            " round's model, and no bound limits what it tells of a patient who was trained on."
        )
    elif privacy.epsilon >= _HIGH_EPSILON:
        yield (
            f"Epsilon {privacy.epsilon:.3g} is a weak promise: evidence that somebody was trained on may become"
            f" e^{privacy.epsilon:.3g} times as strong. What attackers of today find is less, as far as measured."
        )
    for result in known.results.get("membership", ()):
        for row in result.summary["rows"]:
            if row["preset"] and row["stated"] is None and row["verdict"] == "LEAK" and privacy.epsilon is None:
                case = f"{row['name']}, AUC {_best(row):.3f}"
                yield f"In a lab, attackers told who was trained on without noise ({case})."
            if row["preset"] and row["verdict"] == "BROKEN" and row["noise"] == 1:
                yield f"More than the stated epsilon was found of {row['name']}: its guarantee does not hold."
    yield "A server and all hospitals but one, together, see the update of that one as if it were not encrypted."


def _best(row: Mapping[str, Any]) -> float:
    """The larger AUC of a row's attackers."""
    return max(float(row[name]["auc"]) for name in ("by_scores", "by_weights") if row[name])


def _of_attacks(known: Known) -> Iterator[str]:
    if "robustness" in known.results:
        yield (
            "Whoever can change an image before diagnosis may turn it over; the table of evasion says by how much it"
            " takes. People see nothing of it: keep images from their device to the model under access control."
        )
    if known.facts.rounds.rejected or known.facts.objections:
        yield "Hospitals objected to candidates of this run. Find out why before the model is used."
    yield "A hospital that poisons slowly, below what detectors notice, is not ruled out by any result here."


def _of_gaps(areas: Sequence[Area]) -> Iterator[str]:
    missing = unmeasured(areas)
    if missing:
        yield f"Not measured, and therefore not known: {'; '.join(missing)}."
    if any(line.basis == OF_METHOD for area in areas for line in area.lines):
        yield (
            "Results of the method come from models that a lab trained with its own settings and images. This run's"
            " model may do better or worse."
        )
