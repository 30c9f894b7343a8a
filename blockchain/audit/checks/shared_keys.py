"""Step 15, shares: hospitals committed to their shares, the judgment of dealings is right, releases are for one set.

Nobody but hospitals can read a share or a release. What is public is checked: hashes against the ledger, signatures,
the answers' own numbers, whose judgment is repeated, and for which sum each release was signed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.round_keys import RoundKeys
from blockchain.ledger.records import encode_set
from blockchain.signing.answers import sheet_of
from blockchain.signing.releases import is_release
from fedward.errors import QuorumError
from fedward.folders.round_keys import Dealings
from fedward.messages.ballots import NO_COUNTS
from fedward.sharing.answer_sheets import AnswerSheet
from fedward.sharing.judging import judge_dealings
from fedward.sharing.sealed_shares import shares_root
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose, ReleaseTerms
from fedward.types import WRONG_DEALING, Address


@dataclass(frozen=True)
class Place:
    """The ledger that everything must be signed for."""

    chain_id: int
    contract: Address


def check_shared_keys(
    stories: Sequence[RoundStory], keys: RoundKeys, place: Place, report: Report, names: Mapping[Address, str]
) -> None:
    """Check what was kept about each round's shared keys.

    Args:
        stories: All rounds, as the ledger tells them.
        keys: What the source holds.
        place: The ledger.
        report: Takes the lines.
        names: Name of each hospital, for the lines.
    """
    known = {story.round_index for story in stories}
    for index in sorted(set(keys.rounds()) - known):
        report.fail(Step.SHARES, f"There are dealings, releases or counts of round {index}, which never was.")
    for story in stories:
        with report.guarding(Step.SHARES, round_index=story.round_index):
            _check_round(story, keys, place, report, names)


def _check_round(
    story: RoundStory, keys: RoundKeys, place: Place, report: Report, names: Mapping[Address, str]
) -> None:
    about = {"round_index": story.round_index}
    if story.closed is None:
        report.note(Step.SHARES, f"Round {story.round_index} was not closed, so no key of a sum was released.", **about)
        return
    dealings = keys.dealings(story.round_index)
    if _commitments_fit(story, dealings, report, names):
        _repeat_judgment(story, dealings, place, report, names)
    for purpose in Purpose:
        releases = keys.releases(story.round_index, purpose)
        if releases is None:
            if purpose is Purpose.UPDATES:
                _lacking(story, "What hospitals released for the aggregate is not here.", report)
            continue
        _check_releases(story, purpose, releases, place, report, names)


def _commitments_fit(story: RoundStory, dealings: Dealings, report: Report, names: Mapping[Address, str]) -> bool:
    """Whether the lists of sealed shares are those that their dealers committed to, before the challenge."""
    about, fine = {"round_index": story.round_index}, True
    heads = [update.ledger_head for update in story.updates.values()]
    if dealings.ledger_head not in heads:
        text = f"The dealings were tested at head {_short(dealings.ledger_head)}, which is none of the round's."
        report.fail(Step.SHARES, text, **about)
        return False
    before = list(story.updates)[: heads.index(dealings.ledger_head) + 1]
    included = {entry.address for entry in story.roster if entry.index in story.included}
    for hospital in sorted(included - set(dealings.hashes)):
        who = names.get(hospital, hospital)
        report.fail(Step.SHARES, f"{who}'s update was added, but nobody tested its shares.", hospital=who, **about)
        fine = False
    for hospital, listed in dealings.hashes.items():
        who = names.get(hospital, hospital)
        if hospital not in before:
            text = f"{who} is listed as a dealer, and committed to nothing before the challenge."
            report.fail(Step.SHARES, text, hospital=who, **about)
            fine = False
            continue
        root = shares_root([bytes.fromhex(digest) for digest in listed])
        committed = story.updates[hospital].shares_root
        if root != committed or len(listed) != len(story.roster):
            text = (
                f"The {len(listed)} shares listed of {who} have root {_short(root)}, committed was {_short(committed)}."
            )
            report.fail(Step.SHARES, text, hospital=who, **about)
            fine = False
    if fine:
        text = f"The sealed shares of {len(dealings.hashes)} hospitals are those that they committed to."
        report.ok(Step.SHARES, text, **about, checks=len(dealings.hashes))
    return fine


def _repeat_judgment(
    story: RoundStory, dealings: Dealings, place: Place, report: Report, names: Mapping[Address, str]
) -> None:
    """Judge the dealings anew from the signed answers, and compare with whom the round left out for them."""
    about = {"round_index": story.round_index}
    numbers = {entry.address: number for number, entry in enumerate(story.roster, 1)}
    sheets: dict[int, AnswerSheet] = {}
    for sent in dealings.answers:
        who = names.get(sent.signed.answers.hospital, sent.signed.answers.hospital)
        ledger = (place.chain_id, place.contract)
        sheet = sheet_of(sent, ledger, story.round_index, dealings.ledger_head, numbers)
        if sheet is None or numbers[sent.signed.answers.hospital] in sheets:
            said = "are not signed for this round" if sheet is None else "are there more than once"
            report.fail(Step.SHARES, f"Answers in the name of {who} {said}.", hospital=who, **about)
            return
        sheets[numbers[sent.signed.answers.hospital]] = sheet
    dealers = sorted(numbers[hospital] for hospital in dealings.hashes)
    try:
        judgment = judge_dealings(sheets, dealers, story.threshold, len(story.roster))
    except QuorumError as error:
        report.fail(Step.SHARES, f"The round was closed, though {error.what[:1].lower()}{error.what[1:]}", **about)
        return
    wrong = {story.roster[number - 1].address for number in judgment.wrong_dealers}
    left_out = {hospital for hospital, reason in story.exclusions.items() if reason == WRONG_DEALING}
    for hospital in sorted(wrong ^ left_out):
        who = names.get(hospital, hospital)
        said = (
            "was left out for wrong shares, which the answers do not show"
            if hospital in left_out
            else ("was added, though the answers show wrong shares")
        )
        report.fail(Step.SHARES, f"{who}'s update {said}.", hospital=who, **about)
    if wrong == left_out:
        tested = "" if judgment.tested else ", as far as so few answers tell"
        text = f"The answers of {len(sheets)} hospitals give the judgment that the round followed{tested}."
        report.ok(Step.SHARES, text, **about, checks=len(sheets) + len(dealers))


def _check_releases(
    story: RoundStory,
    purpose: Purpose,
    releases: Iterable[SentRelease],
    place: Place,
    report: Report,
    names: Mapping[Address, str],
) -> None:
    """Check that what was released is for the one set that the ledger fixed, and enough to open the sum."""
    about, right = {"round_index": story.round_index}, set[Address]()
    places = {entry.address: entry.index for entry in story.roster}
    sets = set[tuple[bytes, bytes]]()
    for sent in releases:
        said = sent.signed.release
        who = names.get(said.hospital, said.hospital)
        sets.add((said.included_mask, said.sum_hash))
        mask = int.from_bytes(said.included_mask, "big")
        terms = ReleaseTerms(
            place.chain_id,
            place.contract,
            story.round_index,
            said.hospital,
            purpose,
            story.closing_head,
            mask,
            said.sum_hash,
        )
        if said.hospital not in places or said.hospital in right or not is_release(sent.signed, terms, sent.content):
            text = f"A release of {purpose.label} in the name of {who} is not signed for this round."
            report.fail(Step.SHARES, text, hospital=who, **about)
            continue
        problem = _wrong_set(story, purpose, mask, said.sum_hash)
        if problem:
            report.fail(Step.SHARES, f"{who} released {purpose.label} of {problem}.", hospital=who, **about)
            continue
        right.add(said.hospital)
    if len(sets) > 1:
        report.fail(Step.SHARES, f"{purpose.label.capitalize()} were released for {len(sets)} different sums.", **about)
    elif len(right) >= story.threshold:
        text = f"{len(right)} hospitals released their part for this one sum of {purpose.label}"
        text += f"; {story.threshold} open it."
        report.ok(Step.SHARES, text, **about, checks=3 * len(right))
    else:
        text = f"{len(right)} right releases of {purpose.label} are here; {story.threshold} are needed to open the sum."
        _lacking(story, text, report)


def _lacking(story: RoundStory, text: str, report: Report) -> None:
    """Say that releases are not here: evidence is missing, unless the round was aborted, which may have been for that.

    Nothing that the study ends with rests on an aborted round. Its set stands on the ledger; whether enough hospitals
    released for it, so that its sum was opened, only those who have the releases can tell.
    """
    if story.abort_reason is None:
        report.missing(Step.SHARES, text, round_index=story.round_index)
    else:
        report.note(
            Step.SHARES,
            f"{text} The round was aborted ({story.abort_reason}); whether its sum was opened is not told.",
            round_index=story.round_index,
        )


def _wrong_set(story: RoundStory, purpose: Purpose, mask: int, sum_hash: bytes) -> str:
    """How a release's set differs from what the ledger says; empty where it does not."""
    included = encode_set(story.roster, story.included)
    if purpose is Purpose.UPDATES:
        if mask != included:
            return "another set than the ledger's"
        return "another sum than the ledger's" if sum_hash != story.aggregate_hash else ""
    voted = {vote.hospital for vote in story.votes if vote.counts_hash != NO_COUNTS}
    allowed = encode_set(story.roster, (entry.index for entry in story.roster if entry.address in voted)) & included
    return "hospitals whose votes name no counts" if mask & ~allowed or not mask else ""


def _short(word: bytes) -> str:
    return f"{word.hex()[:16]}…"
