"""What `main.py status` says of the search for whoever ruins rounds: who is suspended, and who is suspected."""

from collections.abc import Mapping
from typing import Any

from blockchain.leading.leaving_out import ledger_standing
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import LEFT_OUT, RoundPhase
from fedward.settings import Settings
from fedward.types import Address


def suspicions(ledger: Ledger, settings: Settings, names: Mapping[Address, str]) -> dict[str, Any]:
    """Who is suspended, from which round until which, and where the search stands, all of it told by the ledger.

    Args:
        ledger: The study's.
        settings: Have the consortium's rules.
        names: The hospitals', by address.

    Returns:
        For JSON: `suspended`, with the first and the last round of each; `suspects`; `rejected`, the rounds that they
        are suspected of; `left_out`, who was left out by lot since the first of them, by round.
    """
    standing, latest = ledger_standing(ledger, settings), ledger.latest_round()
    if not latest:
        return {"suspended": [], "suspects": [], "rejected": [], "left_out": []}
    opening, record = ledger.opening_and_round(latest)
    ended = record.phase in (RoundPhase.ACCEPTED, RoundPhase.REJECTED, RoundPhase.ABORTED)
    current = latest + 1 if ended else latest
    of = {entry.index: names.get(entry.address, entry.address) for entry in opening.roster}
    suspended = standing.suspended(current)
    searched = range(standing.rejected[0], latest + 1) if standing.suspects else ()
    lots = ((index, place) for index in searched for place, why in ledger.exclusions(index).items() if why == LEFT_OUT)
    return {
        "suspended": [
            {"hospital": of[each.place], "first": each.round_index + 1, "last": each.until}
            for each in standing.named
            if suspended.get(each.place) == each.until
        ],
        "suspects": [of[place] for place in sorted(standing.suspects)],
        "rejected": list(standing.rejected),
        "left_out": [{"round": index, "hospital": of[place]} for index, place in lots],
    }


def told(found: Mapping[str, Any]) -> list[str]:
    """The same in sentences; none where nobody is suspended or suspected."""
    sentences = [
        f"{each['hospital']} ruined rounds, and is suspended from round {each['first']} to {each['last']}."
        for each in found["suspended"]
    ]
    if found["suspects"]:
        rounds, suspects = (", ".join(map(str, found[key])) for key in ("rejected", "suspects"))
        sentences.append(f"Whoever ruined round {rounds} is looked for among {suspects}.")
        out = ", ".join(f"{each['hospital']} (round {each['round']})" for each in found["left_out"])
        sentences.append(f"Left out by lot so far: {out or 'nobody'}.")
    return sentences
