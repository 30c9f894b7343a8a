"""Leave out of a round who is suspended, and who is drawn by lot while the hospitals look for whoever ruins rounds."""

from collections.abc import Collection, Sequence

from blockchain.attribution import AttributionRules, Lot, PastRound, Standing, fold
from blockchain.closed_sums import least_included
from blockchain.leading.server_state import Server
from blockchain.ledger.events import UpdateCommitted
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import LEFT_OUT, SUSPENDED, RoundOpening
from fedward.folders.round_log import RoundLog
from fedward.settings import Settings
from fedward.types import Rejection, VerifiedUpdate

DUE = (LEFT_OUT, SUSPENDED)  # reasons that say nothing against an update
_TOGETHER = 32  # rounds that are asked about in one request


def attribution_rules(settings: Settings) -> AttributionRules:
    """The consortium's rules."""
    return AttributionRules(settings.attribution.suspension, settings.attribution.patience)


def leave_out(
    server: Server, opening: RoundOpening, updates: Sequence[VerifiedUpdate], log: RoundLog
) -> list[VerifiedUpdate]:
    """The updates without those of suspended hospitals, and without that of the hospital on which the lot falls.

    The others are logged as rejected, with the reason. The lot leaves nobody out where too few would be left to open
    their sum.
    """
    rules, index = attribution_rules(server.settings), opening.round_index
    if not rules.suspension:
        return list(updates)
    standing = server_standing(server, index - 1)
    suspended = standing.suspended(index)
    for update in updates:
        if update.roster_index in suspended:
            until = f"It is suspended until round {suspended[update.roster_index]}."
            log.left_out(Rejection(update.hospital, SUSPENDED, until))
    kept = [update for update in updates if update.roster_index not in suspended]
    roots = committed_in(server.ledger, opening, {update.roster_index for update in updates})
    drawn = lot_of(server.ledger).drawn(standing, index, roots)
    if drawn is None or len(kept) <= least_included(opening, server.settings):
        return kept
    for update in kept:
        if update.roster_index == drawn:
            why = f"By lot, to find out who ruined round {', '.join(map(str, standing.rejected))}."
            log.left_out(Rejection(update.hospital, LEFT_OUT, why))
    return [update for update in kept if update.roster_index != drawn]


def server_standing(server: Server, rounds: int) -> Standing:
    """What is known after so many rounds; the server remembers what it has read of them."""
    server.past += past_rounds(server.ledger, len(server.past) + 1, rounds)
    return fold(server.past[:rounds], attribution_rules(server.settings), lot_of(server.ledger))


def ledger_standing(ledger: Ledger, settings: Settings) -> Standing:
    """What is known after all rounds of a ledger that have ended."""
    rounds = past_rounds(ledger, 1, ledger.latest_round())
    return fold(rounds, attribution_rules(settings), lot_of(ledger))


def past_rounds(ledger: Ledger, first: int, last: int) -> list[PastRound]:
    """What the ledger tells of rounds that have ended, the first and last included."""
    found = []
    for start in range(first, last + 1, _TOGETHER):
        together = range(start, min(last, start + _TOGETHER - 1) + 1)
        for opening, record in ledger.openings_and_rounds(*together):
            index, counted = record.round_index, set(record.included)
            if record.included:
                counted |= {place for place, reason in ledger.exclusions(index).items() if reason in DUE}
            roots = committed_in(ledger, opening, counted)
            found.append(PastRound(index, record.phase, frozenset(record.included), roots))
    return found


def committed_in(ledger: Ledger, opening: RoundOpening, counted: Collection[int]) -> dict[int, bytes]:
    """By place on the roster, the Merkle root of what hospitals committed to in a round; of those that count."""
    places = {entry.address: entry.index for entry in opening.roster}
    committed = ledger.events(UpdateCommitted, opening.round_index)
    return {places[event.hospital]: event.update_root for event in committed if places[event.hospital] in counted}


def lot_of(ledger: Ledger) -> Lot:
    """The lot of a ledger."""
    return Lot(ledger.chain_id, ledger.contract)
