"""Part of step 8: whoever was left out of a round by lot, or suspended, was so as the rules of attribution say."""

from collections.abc import Mapping, Sequence

from blockchain.attribution import AttributionRules, Lot, Naming, PastRound, Standing, after
from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Claims
from blockchain.ledger.records import LEFT_OUT, SUSPENDED
from fedward.types import Address, HospitalId

_NOBODY = AttributionRules(suspension=0, patience=1)


def check_left_out(
    stories: Sequence[RoundStory], claims: Claims, place: Lot, report: Report, names: Mapping[Address, HospitalId]
) -> None:
    """Follow the search for whoever ruined rounds, and compare with it whom the server left out for it.

    Args:
        stories: The rounds as the ledger tells them.
        claims: What the run says: its settings.
        place: The ledger's lot.
        report: Takes lines of the step `RULES`.
        names: Hospitals by address.
    """
    if claims.settings is None:
        return  # the check of agreed rules says so
    rules, standing = _rules(claims), Standing()
    for story in stories:
        _compare(story, standing, place, report, names)
        then = after(standing, _past(story), rules, place)
        for naming in then.named[len(standing.named) :]:
            _tell(naming, story, report, names)
        standing = then


def _rules(claims: Claims) -> AttributionRules:
    """The agreed rules; studies of earlier versions had none, and left nobody out."""
    agreed = (claims.settings or {}).get("attribution", {})
    suspension, patience = agreed.get("suspension"), agreed.get("patience")
    if type(suspension) is int and type(patience) is int and suspension >= 0 and patience > 0:
        return AttributionRules(suspension, patience)
    return _NOBODY


def _past(story: RoundStory) -> PastRound:
    return PastRound(story.round_index, story.outcome, frozenset(story.included), _committed(story))


def _committed(story: RoundStory) -> dict[int, bytes]:
    """What was committed to, of those whose updates were added or left out by the rules of attribution."""
    places = {entry.address: entry.index for entry in story.roster}
    return {
        places[update.hospital]: update.update_root
        for update in story.updates.values()
        if places[update.hospital] in story.included or story.exclusions.get(update.hospital) in (LEFT_OUT, SUSPENDED)
    }


def _compare(
    story: RoundStory, standing: Standing, lot: Lot, report: Report, names: Mapping[Address, HospitalId]
) -> None:
    """Compare one round's exclusions with what was known before it."""
    if story.closed is None:
        return
    suspended = standing.suspended(story.round_index)
    drawn = lot.drawn(standing, story.round_index, _committed(story))
    due = {SUSPENDED: frozenset(suspended), LEFT_OUT: frozenset() if drawn is None else frozenset({drawn})}
    for entry in story.roster:
        who, reason = names.get(entry.address, entry.address), story.exclusions.get(entry.address)
        about = {"round_index": story.round_index, "hospital": who}
        if reason in due and entry.index not in due[reason]:
            report.fail(
                Step.RULES, f"{who} was left out ({reason}), which does not follow from the rounds before.", **about
            )
        elif reason in due:
            report.ok(Step.RULES, f"{who} was left out ({reason}), as follows from the rounds before.", **about)
        elif entry.index in due[SUSPENDED] and entry.index in story.included:
            report.fail(Step.RULES, f"{who} is suspended, but its update was added.", **about)
        elif entry.index == drawn and entry.index in story.included:
            # Where too few would be left, nobody is left out; how many are needed may have been another setting's word.
            report.note(Step.RULES, f"The lot fell on {who}, but its update was added.", **about)


def _tell(naming: Naming, story: RoundStory, report: Report, names: Mapping[Address, HospitalId]) -> None:
    """Say who was named, and why."""
    addresses = {entry.index: entry.address for entry in story.roster}
    if naming.place not in addresses:
        return  # it was revoked meanwhile
    who = names.get(addresses[naming.place], addresses[naming.place])
    rounds = ", ".join(map(str, naming.rejected))
    text = f"{who} was in all rejected rounds ({rounds}), and is suspended until round {naming.until}."
    report.note(Step.RULES, text, round_index=story.round_index, hospital=who)
