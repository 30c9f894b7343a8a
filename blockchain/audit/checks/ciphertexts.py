"""Steps 10 and 11, ciphertexts and addition: stored ciphertexts are the committed ones, and add up to the aggregate.

No key is needed: hashes identify the bytes, and adding ciphertexts is exact and gives the same bytes in any order. What
the ciphertexts contain is not checked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.claims import is_hash
from blockchain.audit.sources.evidence import Evidence
from blockchain.ledger.records import CHUNK_MISMATCH, LEFT_OUT, MALFORMED_CIPHERTEXT, SUSPENDED, WRONG_PRIVACY_EVENT
from blockchain.signing.abstention import ABSTENTION_BYTES, NOTHING_SPENT
from fedward.ciphertexts.serialized import (
    CHUNK_BYTES,
    add_ciphertexts,
    check_stored,
    sum_ciphertexts,
)
from fedward.errors import EncryptionError, EvidenceError, FedwardError
from fedward.files import merkle_root, sha256
from fedward.folders.ciphertexts import RoundFiles
from fedward.types import ABSTAINED, WRONG_DEALING, Address

SHOWN_DIGITS = 16  # of a hash in a line


@dataclass
class _Stored:
    """A list of ciphertexts under check: an update's, or the aggregate's.

    Attributes:
        title: For people: "hospital-1's update".
        names: Hexadecimal hash of each ciphertext, as listed.
        faithful: Whether the list itself is what the ledger recorded.
        missing: Number of ciphertexts that are not there.
        problem: The first thing that is wrong with one that is there.
        excluded: Whether the ledger says that it was committed, and refused.
        malformed: Of an excluded update, the first thing that makes a committed ciphertext none that can be added.
    """

    title: str
    names: tuple[str, ...]
    faithful: bool = True
    missing: int = 0
    problem: str = ""
    excluded: bool = False
    malformed: str = ""

    def read(self, evidence: Evidence, position: int) -> bytes | None:
        """One ciphertext, checked; None where it is missing or wrong, which is then noted in this object."""
        try:
            chunk = check_stored(evidence.chunk(self.names[position]), self.names[position])
        except EvidenceError:
            self.missing += 1
        except EncryptionError as error:
            told = f"ciphertext {position + 1} of {len(self.names)}: {error.what}"
            if self.excluded:
                self.malformed = self.malformed or told
            else:
                self.problem = self.problem or told
        except FedwardError as error:
            self.problem = self.problem or f"ciphertext {position + 1} of {len(self.names)}: {error.what}"
        else:
            return chunk
        return None

    @property
    def whole(self) -> bool:
        """Whether this is the recorded list, and every ciphertext of it is there and right."""
        return self.faithful and not self.missing and not self.problem


@dataclass
class _Round:
    """The ciphertexts found for a round, and the hashes of their sums.

    Attributes:
        updates: By hospital, each committed update whose list is the committed one.
        included: Those of them that the ledger says are in the aggregate, all of them or none.
        aggregate: The stored aggregate; None where the list is not the recorded one.
        sums: SHA-256 of the sum at each position, as far as all summands were there.
    """

    updates: dict[Address, _Stored] = field(default_factory=dict)
    included: list[_Stored] = field(default_factory=list)
    aggregate: _Stored | None = None
    sums: list[bytes] = field(default_factory=list)


def check_round(story: RoundStory, evidence: Evidence, report: Report, names: Mapping[Address, str]) -> None:
    """Check a round's stored ciphertexts against the ledger, and add the included ones again.

    Each ciphertext is read once, and once more where a sum differs from the recorded one. One running sum and one
    ciphertext are in memory, however many there are.

    Args:
        story: The round, as the ledger tells it.
        evidence: Where the ciphertexts are.
        report: Takes lines of the steps `CIPHERTEXTS` and `ADDITION`.
        names: Name of each hospital, for the lines.
    """
    about = {"round_index": story.round_index}
    if not story.updates and story.closed is None:
        report.note(Step.CIPHERTEXTS, f"Nothing was committed in round {story.round_index}.", **about)
        return
    try:
        files = evidence.round_files(story.round_index)
    except EvidenceError as error:
        _tell_nothing_listed(story, report, error.what)
        return
    except FedwardError as error:
        report.fail(Step.CIPHERTEXTS, str(error), **about)
        if story.closed:
            report.missing(Step.ADDITION, "The sum cannot be made: the list of ciphertexts is damaged.", **about)
        return
    at_hand = _match_lists(story, files, report, names)
    _read_and_add(at_hand, evidence)
    _tell_ciphertexts(story, at_hand, report, names)
    for hospital in story.exclusions:
        _tell_exclusion(story, hospital, at_hand.updates.get(hospital), report, names)
    _tell_addition(story, at_hand, evidence, report)


def _tell_nothing_listed(story: RoundStory, report: Report, what: str) -> None:
    """Report that the source does not say which ciphertexts the round has."""
    about = {"round_index": story.round_index}
    if story.closed is None:
        committed = f"{len(story.updates)} updates were committed, none was added, and their ciphertexts are not here"
        report.note(Step.CIPHERTEXTS, f"Round {story.round_index} got no aggregate: {committed}.", **about)
        return
    report.missing(Step.CIPHERTEXTS, f"No ciphertext of round {story.round_index} can be checked: {what}", **about)
    report.missing(Step.ADDITION, f"The sum of round {story.round_index} cannot be made without them.", **about)


def _match_lists(story: RoundStory, files: RoundFiles, report: Report, names: Mapping[Address, str]) -> _Round:
    """Compare the lists of ciphertexts with what the ledger recorded, before any ciphertext is read."""
    at_hand = _Round()
    for hospital in files.updates:
        if hospital not in story.updates:
            who = names.get(hospital, hospital)
            text = f"The run lists ciphertexts of {who}, which committed to nothing in this round."
            report.fail(Step.CIPHERTEXTS, text, round_index=story.round_index, hospital=who)
    for hospital, update in story.updates.items():
        who = names.get(hospital, hospital)
        about = {"round_index": story.round_index, "hospital": who}
        listed = files.updates.get(hospital, ())
        excluded = hospital in story.exclusions
        if not listed:
            if not excluded:
                _tell_unlisted(story, hospital, who, report)
            continue
        stored = _Stored(f"{who}'s update", listed, excluded=excluded)
        problem = _list_problem(listed, update.update_root, update.update_bytes)
        if problem and excluded:
            continue  # what the hospital really sent is not known: `_tell_exclusion` says so
        if problem:
            report.fail(Step.CIPHERTEXTS, f"{stored.title} is not the committed one: {problem}.", **about)
            continue
        at_hand.updates[hospital] = stored
    included = [at_hand.updates.get(update.hospital) for update in story.included_updates]
    if all(included):
        at_hand.included = [stored for stored in included if stored]
    if story.aggregate_hash is not None:
        at_hand.aggregate = _match_aggregate(story, files.aggregate, story.aggregate_hash, report)
    return at_hand


def _match_aggregate(story: RoundStory, listed: tuple[str, ...], recorded: bytes, report: Report) -> _Stored | None:
    """The stored aggregate, if its list is the recorded one."""
    about = {"round_index": story.round_index}
    if not listed:
        report.missing(Step.CIPHERTEXTS, "The ciphertexts of the aggregate are not listed.", **about)
        return None
    problem = _list_problem(listed, recorded, None)
    if problem:
        report.fail(Step.CIPHERTEXTS, f"The stored aggregate is not the recorded one: {problem}.", **about)
        return None
    return _Stored("the aggregate", listed)


def _tell_unlisted(story: RoundStory, hospital: Address, who: str, report: Report) -> None:
    """Report a committed update without listed ciphertexts: MISSING where the update was added, else a NOTE."""
    about = {"round_index": story.round_index, "hospital": who}
    if story.is_included(hospital):
        report.missing(Step.CIPHERTEXTS, f"The ciphertexts of {who}'s update are not listed.", **about)
        return
    why = "the round was aborted" if story.ended else "the round is open"
    text = f"{who}'s update was committed but not added ({why}); its ciphertexts are not here."
    report.note(Step.CIPHERTEXTS, text, **about)


def _tell_exclusion(
    story: RoundStory, hospital: Address, stored: _Stored | None, report: Report, names: Mapping[Address, str]
) -> None:
    """Check a recorded reason to leave out a committed update against what was committed.

    A server may name any reason. Where the committed ciphertexts are here, they confirm or refute what it says of
    them; where they are not, nobody can tell.
    """
    reason, update, who = story.exclusions[hospital], story.updates[hospital], names.get(hospital, hospital)
    about = {"round_index": story.round_index, "hospital": who}
    left_out = f"{who}'s update was committed but not added ({reason})"
    if reason == ABSTAINED:
        if (update.update_bytes, update.event) == (ABSTENTION_BYTES, NOTHING_SPENT):
            report.note(Step.CIPHERTEXTS, f"{left_out}: what it committed to is no update.", **about)
        else:
            report.fail(Step.CIPHERTEXTS, f"{left_out}, yet it committed to {update.update_bytes} bytes.", **about)
    elif reason == WRONG_DEALING:
        report.note(Step.CIPHERTEXTS, f"{left_out}; step {Step.SHARES.number} judges its shares anew.", **about)
    elif reason in (LEFT_OUT, SUSPENDED):
        report.note(Step.CIPHERTEXTS, f"{left_out}; step {Step.RULES.number} follows from what.", **about)
    elif reason == WRONG_PRIVACY_EVENT:
        report.note(Step.CIPHERTEXTS, f"{left_out}; step {Step.PRIVACY.number} compares what it declares.", **about)
    elif stored is None or not stored.whole:
        text = f"{left_out}. That cannot be checked: the ciphertexts that it committed to are not here."
        report.missing(Step.CIPHERTEXTS, text, **about)
    elif reason == MALFORMED_CIPHERTEXT and stored.malformed:
        report.ok(Step.CIPHERTEXTS, f"{left_out}, rightly: {stored.malformed}", **about)
    elif reason in (MALFORMED_CIPHERTEXT, CHUNK_MISMATCH):
        text = f"{left_out}, but its {len(stored.names)} ciphertexts are here as committed"
        text += f", only malformed: {stored.malformed}" if stored.malformed else ", and all are well formed."
        report.fail(Step.CIPHERTEXTS, text, **about)
    else:
        report.missing(Step.CIPHERTEXTS, f"{left_out}. Nothing on the ledger or in its bytes shows that.", **about)


def _list_problem(names: Sequence[str], root: bytes, length: int | None) -> str:
    """How a list of hashes differs from the recorded one, by Merkle root and total length; empty if it does not."""
    if not all(map(is_hash, names)):
        return "its list holds something else than hashes"
    listed = merkle_root([bytes.fromhex(name) for name in names])
    if listed != root:
        return f"its hashes have the Merkle root {_short(listed)}, the ledger holds {_short(root)}"
    stored = len(names) * CHUNK_BYTES
    if length is not None and stored != length:
        return f"{len(names)} ciphertexts have {stored} bytes, the ledger holds {length}"
    return ""


def _read_and_add(at_hand: _Round, evidence: Evidence) -> None:
    """Read every listed ciphertext once, position by position, and hash the sum of the included ones."""
    lists = [*at_hand.updates.values(), *([at_hand.aggregate] if at_hand.aggregate else [])]
    summands = {id(stored) for stored in at_hand.included}
    others = [stored for stored in lists if id(stored) not in summands]
    for position in range(max((len(stored.names) for stored in lists), default=0)):
        added = list[_Stored]()
        total = sum_ciphertexts(_read_all(at_hand.included, evidence, position, added))
        if added and len(added) == len(at_hand.included):
            at_hand.sums.append(sha256(total))
        for _ in _read_all(others, evidence, position, []):
            pass  # reading them compares them with what was committed


def _read_all(lists: Sequence[_Stored], evidence: Evidence, position: int, found: list[_Stored]) -> Iterator[bytes]:
    """The ciphertexts at a position that are there and right; `found` gets the list that each belongs to."""
    for stored in lists:
        chunk = stored.read(evidence, position) if position < len(stored.names) else None
        if chunk is not None:
            found.append(stored)
            yield chunk


def _tell_ciphertexts(story: RoundStory, at_hand: _Round, report: Report, names: Mapping[Address, str]) -> None:
    """A line for each update and the aggregate; one for all where every ciphertext is missing."""
    lists: list[tuple[_Stored, str | None, bytes]] = [
        (stored, names.get(hospital, hospital), story.updates[hospital].update_root)
        for hospital, stored in at_hand.updates.items()
    ]
    if at_hand.aggregate and story.aggregate_hash:
        lists.append((at_hand.aggregate, None, story.aggregate_hash))
    total = sum(len(stored.names) for stored, _, _ in lists)
    absent = sum(stored.missing for stored, _, _ in lists)
    if lists and absent == total:
        text = (
            f"{absent} of {total} ciphertexts of round {story.round_index} are missing: this source has none of them."
        )
        report.missing(Step.CIPHERTEXTS, text, round_index=story.round_index)
        return
    for stored, who, root in lists:
        about = {"round_index": story.round_index, "hospital": who}
        count = len(stored.names)
        if stored.problem:
            report.fail(Step.CIPHERTEXTS, f"{_capital(stored.title)}, {stored.problem}", **about)
        if stored.missing:
            text = f"{stored.missing} of {count} ciphertexts of {stored.title} are missing."
            report.missing(Step.CIPHERTEXTS, text, **about)
        if stored.whole:
            text = f"{_capital(stored.title)}: {count} ciphertexts, root {_short(root)}, as on the ledger."
            report.ok(Step.CIPHERTEXTS, text, **about, checks=2 * count + 2)


def _tell_addition(story: RoundStory, at_hand: _Round, evidence: Evidence, report: Report) -> None:
    """Report whether the sums are the recorded ones."""
    about = {"round_index": story.round_index}
    recorded, included = story.aggregate_hash, story.included_updates
    if recorded is None:
        text = f"Round {story.round_index} recorded no aggregate ({story.abort_reason or 'it is open'})."
        report.note(Step.ADDITION, text, **about)
        return
    counts = sorted({len(stored.names) for stored in at_hand.included})
    if len(counts) > 1:
        text = f"The included updates have {counts} ciphertexts: they have no sum, yet one is recorded."
        report.fail(Step.ADDITION, text, **about)
        return
    if not counts or len(at_hand.sums) != counts[0]:
        absent = sum(stored.missing for stored in at_hand.included)
        why = f"{absent} of their ciphertexts are missing" if absent else "not all of them are here as committed"
        report.missing(Step.ADDITION, f"The {len(included)} included updates cannot be added: {why}.", **about)
        return
    found = merkle_root(at_hand.sums)
    if found == recorded:
        text = f"{len(included)} updates of {counts[0]} ciphertexts add up to the recorded {_short(recorded)}."
        report.ok(Step.ADDITION, text, **about, checks=counts[0] + 1)
        return
    text = (
        f"Round {story.round_index}: the {len(included)} included updates add up to {_short(found)}, "
        f"the ledger holds {_short(recorded)}{_explain(at_hand, evidence)}."
    )
    report.fail(Step.ADDITION, text, **about)


def _explain(at_hand: _Round, evidence: Evidence) -> str:
    """Where the stored aggregate differs from the sum, and which single update explains the difference, if one does."""
    aggregate = at_hand.aggregate
    if aggregate is None:
        return "; the recorded aggregate's own ciphertexts are not here to compare with"
    if len(aggregate.names) != len(at_hand.sums):
        return f"; the recorded aggregate has {len(aggregate.names)} ciphertexts, the updates {len(at_hand.sums)}"
    position = next(k for k, digest in enumerate(at_hand.sums) if digest.hex() != aggregate.names[k])
    where = f"; they differ first in ciphertext {position + 1} of {len(at_hand.sums)}"
    recorded = aggregate.read(evidence, position)
    summands = [stored.read(evidence, position) for stored in at_hand.included]
    if recorded is None or None in summands:
        return where
    total = sum_ciphertexts(chunk for chunk in summands if chunk)
    for stored in at_hand.updates.values():
        chunk = stored.read(evidence, position) if position < len(stored.names) else None
        if chunk is None:
            continue
        if add_ciphertexts(recorded, chunk) == total:
            return f"{where}, where {stored.title} is left out of the recorded aggregate"
        if add_ciphertexts(total, chunk) == recorded:
            again = " once more" if stored in at_hand.included else ""
            return f"{where}, where {stored.title} was added{again} to the recorded aggregate"
    return f"{where}, by no single update of the round: a foreign ciphertext was added, or several were changed"


def _capital(text: str) -> str:
    """A title at the beginning of a sentence; hospitals' names stay as they are."""
    return text.replace("the ", "The ", 1) if text.startswith("the ") else text


def _short(word: bytes) -> str:
    """The beginning of a hash, enough to find it."""
    return f"{word.hex()[:SHOWN_DIGITS]}…"
