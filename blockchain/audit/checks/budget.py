"""Step 12, privacy: recompute each hospital's epsilon from the releases that it declared on the ledger.

The ledger cannot show whether the noise was really added: for that there is only the hospital's signed word.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from blockchain.audit.checks.rounds import CommittedUpdate, RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Claims
from blockchain.ledger.records import WRONG_PRIVACY_EVENT
from blockchain.signing.abstention import ABSTENTION_BYTES, NOTHING_SPENT
from fedward.errors import FedwardError, VerificationError
from fedward.privacy.accounting import budget_of, epsilon
from fedward.privacy.mechanism import expected_event
from fedward.settings import PrivacySettings, digest_of
from fedward.tables import one_table
from fedward.types import Address, PrivacyEvent

TOLERANCE = 1e-9  # relative: the accountant's own sums differ in the last digits between platforms


def check_privacy(stories: Sequence[RoundStory], claims: Claims, report: Report, names: Mapping[Address, str]) -> None:
    """Recompute every hospital's epsilon, and compare each declared event with the settings.

    Args:
        stories: All rounds. An update that was committed in a rejected or aborted round is spent as well.
        claims: What the run says: its settings, and each hospital's epsilon.
        report: Takes lines of the step `PRIVACY`.
        names: Name of each hospital, for the lines.
    """
    _check_settings(stories, claims, report)
    agreed = _agreed(claims, report)
    expected = expected_event(agreed) if agreed else None
    if expected is not None:
        _check_events(stories, expected, report, names)
    budget = budget_of(agreed) if agreed else math.inf
    _check_epsilons(stories, claims, expected, budget, report, names)


def _check_settings(stories: Sequence[RoundStory], claims: Claims, report: Report) -> None:
    """Check that the run's settings are those that the ledger was created with."""
    if claims.settings is None:
        text = "The settings are not here, so what hospitals had to declare is not known."
        report.missing(Step.PRIVACY, text)
        return
    if not stories:
        report.note(Step.PRIVACY, "No round was opened, so nothing was spent.")
        return
    recorded = stories[0].settings_digest
    try:
        found = digest_of(claims.settings)
    except (TypeError, ValueError, RecursionError) as error:
        report.fail(Step.PRIVACY, f"The settings are damaged: {type(error).__name__}.")
        return
    if found != recorded:
        text = f"The settings have the digest {found.hex()}, the ledger was created with {recorded.hex()}."
        report.fail(Step.PRIVACY, text)
        return
    report.ok(Step.PRIVACY, f"The settings have the digest that the ledger was created with, {recorded.hex()[:16]}….")


def _agreed(claims: Claims, report: Report) -> PrivacySettings | None:
    """What the settings ask of privacy; None where they do not say."""
    if claims.settings is None:
        return None
    privacy: Any = claims.settings.get("privacy")
    if not isinstance(privacy, Mapping):
        report.fail(Step.PRIVACY, "The settings have no table 'privacy'.")
        return None
    try:
        return one_table("privacy", PrivacySettings, privacy)
    except FedwardError as error:
        report.fail(Step.PRIVACY, f"The settings cannot be read: {error.what}")
        return None


def _check_events(
    stories: Sequence[RoundStory], expected: PrivacyEvent, report: Report, names: Mapping[Address, str]
) -> None:
    """Check that each update declares what the settings ask for; of one that was not added, a NOTE is enough."""
    as_asked = 0
    for story in stories:
        for update in story.updates.values():
            if _abstains(update, story):
                continue
            who = names.get(update.hospital, update.hospital)
            if update.event == expected:
                as_asked += 1
                if story.exclusions.get(update.hospital) == WRONG_PRIVACY_EVENT:
                    text = (
                        f"{who}'s update was not added ({WRONG_PRIVACY_EVENT}), but declares what the settings ask for."
                    )
                    report.fail(Step.PRIVACY, text, round_index=story.round_index, hospital=who)
                continue
            differences = _differences(update.event, expected)
            about = {"round_index": story.round_index, "hospital": who}
            if story.is_included(update.hospital):
                report.fail(Step.PRIVACY, f"{who}'s update was added, but declares {differences}.", **about)
            else:
                report.note(Step.PRIVACY, f"{who}'s update was not added; it declares {differences}.", **about)
    if as_asked:
        text = f"{as_asked} updates declare the privacy event that the settings ask for."
        report.ok(Step.PRIVACY, text, checks=as_asked)


def _abstains(update: CommittedUpdate, story: RoundStory) -> bool:
    """Whether a commitment is an abstention: too short to hold a ciphertext, and not added."""
    nothing = update.update_bytes == ABSTENTION_BYTES and update.event == NOTHING_SPENT
    return nothing and not story.is_included(update.hospital)


def _differences(declared: PrivacyEvent, asked: PrivacyEvent) -> str:
    """In which attributes two events differ, with both values."""
    found, wanted = dataclasses.asdict(declared), dataclasses.asdict(asked)
    return ", ".join(
        f"{name.replace('_', ' ')} {found[name]} where the settings have {wanted[name]}"
        for name in found
        if found[name] != wanted[name]
    )


def _check_epsilons(
    stories: Sequence[RoundStory],
    claims: Claims,
    expected: PrivacyEvent | None,
    budget: float,
    report: Report,
    names: Mapping[Address, str],
) -> None:
    """Recompute and compare, hospital by hospital; `budget` is the epsilon that none may exceed."""
    declared: dict[Address, list[PrivacyEvent]] = {member.address: [] for member in claims.roster}
    for story in stories:
        for entry in story.roster:
            declared.setdefault(entry.address, [])
        for update in story.updates.values():
            if not _abstains(update, story):
                declared[update.hospital].append(update.event)
    stated: dict[Address, _Stated] = {}
    known = {member.hospital: member.address for member in claims.roster}
    for hospital, value in claims.epsilons.items():
        if known.get(hospital) in declared:
            stated[known[hospital]] = _Stated(value, claims.releases.get(hospital, 0))
        else:
            text = f"The run states an epsilon of {value} for {hospital}, which took part in no round."
            report.fail(Step.PRIVACY, text, hospital=hospital)
    for address, events in declared.items():
        word, who = stated.get(address), names.get(address, address)
        withheld = _withheld(events, word, expected)
        private = sum(event.mode != "none" for event in events)
        if word is not None and 0 < word.releases < private:
            text = f"The run states {word.releases} releases of {who}, {private} are on the ledger."
            report.fail(Step.PRIVACY, text, hospital=who)
        if withheld:
            # A release is charged before it leaves, and stays spent if it is late, lost, or cut short by a crash.
            text = f"{who} has spent {len(withheld)} more releases than reached the ledger; its epsilon covers them."
            report.note(Step.PRIVACY, text, hospital=who)
        if word is None and stated and any(event.mode != "none" for event in events):
            text = f"The run states epsilons, and none for {who}: its privacy record is not here."
            report.missing(Step.PRIVACY, text, hospital=who)
        found = _check_epsilon(events + withheld, word.epsilon if word else None, claims.delta, report, who)
        if found is not None and math.isfinite(budget):
            _check_budget(found, budget, report, who)


@dataclasses.dataclass(frozen=True)
class _Stated:
    """The epsilon that a run states for a hospital, and how many releases it is for; 0: as many as were committed."""

    epsilon: float
    releases: int


def _withheld(
    committed: list[PrivacyEvent], stated: _Stated | None, expected: PrivacyEvent | None
) -> list[PrivacyEvent]:
    """The releases that a hospital charged and that are not on the ledger: each as the settings' privacy event."""
    private = [event for event in committed if event.mode != "none"]
    kind = expected or (private[-1] if private else None)
    if stated is None or kind is None or kind.mode == "none":
        return []
    return [kind] * max(0, stated.releases - len(private))


def _check_epsilon(
    events: list[PrivacyEvent], stated: float | None, stated_delta: float | None, report: Report, who: str
) -> float | None:
    """Compare one hospital's epsilon with the one that the run states for it; returns what it comes to."""
    private = [event for event in events if event.mode != "none"]
    try:
        found = recomputed_epsilon(private)
    except VerificationError as error:
        report.fail(Step.PRIVACY, f"{who}: {error.what}", hospital=who)
        return None
    if found is None:
        if stated is None or (not events and stated == 0):
            text = f"{who}: no differential privacy was declared, in {len(events)} events."
            report.ok(Step.PRIVACY, text, hospital=who)
        else:
            text = f"The run states an epsilon of {stated} for {who}, whose events declare no differential privacy."
            report.fail(Step.PRIVACY, text, hospital=who)
        return None
    delta, units = max(event.delta for event in private), "/".join(sorted({event.unit for event in private}))
    text = f"epsilon {found:.6g} at delta {delta:g}, unit {units}, from {len(private)} events"
    unprotected = len(events) - len(private)
    if unprotected:
        warning = f"{who} committed {unprotected} updates without differential privacy: no epsilon covers these."
        report.note(Step.PRIVACY, warning, hospital=who)
    if stated is None:
        report.ok(Step.PRIVACY, f"{who}: {text}; the run states none.", hospital=who)
    elif not math.isclose(stated, found, rel_tol=TOLERANCE):
        wrong = f"The run states an epsilon of {stated!r} for {who}, the recorded events give {found!r} ({text})."
        report.fail(Step.PRIVACY, wrong, hospital=who)
    elif stated_delta is None or not math.isclose(stated_delta, delta, rel_tol=TOLERANCE):
        wrong = f"The run states its epsilons at delta {stated_delta}, {who}'s events have delta {delta!r}."
        report.fail(Step.PRIVACY, wrong, hospital=who)
    else:
        report.ok(Step.PRIVACY, f"{who}: {text}, as the run states.", hospital=who, checks=2)
    return found


def _check_budget(found: float, budget: float, report: Report, who: str) -> None:
    """Whether a hospital kept within the budget that all agreed on."""
    if found > budget * (1 + TOLERANCE):
        text = f"{who} has spent epsilon {found:.6g}, more than the budget of {budget:g} that the settings have."
        report.fail(Step.PRIVACY, text, hospital=who)
    else:
        report.ok(Step.PRIVACY, f"{who} kept within the budget of epsilon {budget:g}.", hospital=who)


def recomputed_epsilon(events: list[PrivacyEvent]) -> float | None:
    """The epsilon of the events that a hospital declared; None when none is private.

    Raises:
        VerificationError: an event has no finite epsilon, such as one without any noise.
    """
    for event in events:
        if event.mode != "none" and not _is_bounded(event):
            raise VerificationError(
                f"An event declares noise multiplier {event.noise_multiplier}, sampling rate {event.sampling_rate}, "
                f"{event.steps} steps and delta {event.delta}: these give no finite epsilon.",
                "Do not count on any privacy of that update.",
            )
    try:
        with np.errstate(all="ignore"):
            found = epsilon(events)
    except (ArithmeticError, ValueError) as error:
        raise _no_epsilon() from error
    if found is not None and not math.isfinite(found):
        raise _no_epsilon()
    return found


def _is_bounded(event: PrivacyEvent) -> bool:
    """Whether the accountant can compute an epsilon for an event."""
    return event.noise_multiplier > 0 and 0 < event.sampling_rate <= 1 and event.steps > 0 and 0 < event.delta < 1


def _no_epsilon() -> VerificationError:
    return VerificationError(
        "The recorded events give no finite epsilon.", "Do not count on any privacy of these updates."
    )
