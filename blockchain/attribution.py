"""Who ruins rounds: found from the ledger alone, by leaving out one hospital after the other, and opening no update.

Once a round was rejected, every hospital whose update was in it is a **suspect**. From then on each round leaves out
one suspect, drawn from what all hospitals have committed to in that round: nobody knows who it will be before all have
committed. A round that is rejected clears whoever was left out of it. One that is accepted clears nobody, so that a
culprit who pauses frames nobody. The last suspect is **named** once a round without it was accepted, and suspended for
some rounds; then it may come back.

This rests on one culprit at a time. Two who attack all the time clear each other, and nobody is named; two who also
pause by agreement can get a third one suspended. Everything here follows from recorded events, so that the server,
hospitals and auditors come to the same result.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from blockchain.ledger.records import RoundPhase
from fedward.types import Address

_PURPOSE = b"fedward: who is left out of a round"


@dataclass(frozen=True)
class AttributionRules:
    """What a consortium agreed on; part of its settings.

    Attributes:
        suspension: For how many rounds a named hospital is suspended; 0: nobody is left out, named or suspended.
        patience: After so many accepted rounds an inquiry that named nobody ends.
    """

    suspension: int
    patience: int


@dataclass(frozen=True)
class PastRound:
    """What the ledger tells of a round that has ended.

    Attributes:
        round_index: From 1.
        phase: How it ended.
        included: Places on the roster whose updates were in the sum.
        committed: By place, the Merkle root (32 bytes) of each update that was added, or could have been but for the
            lot and suspensions.
    """

    round_index: int
    phase: RoundPhase
    included: frozenset[int]
    committed: Mapping[int, bytes]


@dataclass(frozen=True)
class Naming:
    """A hospital was named.

    Attributes:
        place: Its place on the roster.
        round_index: The round after which it was.
        rejected: The rejected rounds that led to it, all with its update.
        until: The last round of its suspension.
    """

    place: int
    round_index: int
    rejected: tuple[int, ...]
    until: int


@dataclass(frozen=True)
class Standing:
    """What is known before a round.

    Attributes:
        suspects: Places of those who may have ruined the rejected rounds; empty while there is no inquiry.
        rejected: The rejected rounds of the inquiry.
        accepted_without: Suspects without whom a round was accepted.
        quiet: Accepted rounds since the last rejected one.
        named: All who were named so far, oldest first.
    """

    suspects: frozenset[int] = frozenset()
    rejected: tuple[int, ...] = ()
    accepted_without: frozenset[int] = frozenset()
    quiet: int = 0
    named: tuple[Naming, ...] = field(default=())

    def suspended(self, round_index: int) -> Mapping[int, int]:
        """Who is suspended in a round: places, and the last round of each suspension."""
        running = {each.place: each.until for each in self.named if each.until >= round_index}
        return MappingProxyType(running)


@dataclass(frozen=True)
class Lot:
    """Draws who is left out of rounds of one ledger.

    Attributes:
        chain_id: The ledger's chain.
        contract: Its address.
    """

    chain_id: int
    contract: Address

    def drawn(self, standing: Standing, round_index: int, committed: Mapping[int, bytes]) -> int | None:
        """Who is to be left out of a round: a suspect that has committed to an update, by its place; None: nobody.

        Args:
            standing: Before the round.
            round_index: The round.
            committed: As in `PastRound`. All of them decide, in the order of places: each holds ciphertexts under a
                fresh key, which nobody else can foresee.
        """
        pool = sorted(standing.suspects & committed.keys() - standing.suspended(round_index).keys())
        if not pool:
            return None
        place = f"{self.chain_id}/{self.contract.lower()}/{round_index}".encode()
        hasher = hashlib.sha256(_PURPOSE + place)
        for index in sorted(committed):
            hasher.update(index.to_bytes(2, "big") + committed[index])
        return pool[int.from_bytes(hasher.digest(), "big") % len(pool)]


def fold(rounds: Iterable[PastRound], rules: AttributionRules, lot: Lot) -> Standing:
    """What is known after these rounds: all of a ledger from the first one on, in their order."""
    standing = Standing()
    for past in rounds:
        standing = after(standing, past, rules, lot)
    return standing


def after(standing: Standing, past: PastRound, rules: AttributionRules, lot: Lot) -> Standing:
    """What is known after one more round."""
    if not rules.suspension or past.phase not in (RoundPhase.ACCEPTED, RoundPhase.REJECTED):
        return standing
    drawn = lot.drawn(standing, past.round_index, past.committed)
    left_out = frozenset({drawn} if drawn is not None and drawn not in past.included else ())
    if past.phase is RoundPhase.REJECTED:
        suspects = standing.suspects - left_out if standing.suspects else past.included
        if not suspects:  # the last suspect was left out, and the round was rejected none the less: begin anew
            suspects, standing = past.included, replace(standing, rejected=(), accepted_without=frozenset())
        standing = replace(standing, suspects=suspects, rejected=(*standing.rejected, past.round_index), quiet=0)
    elif standing.suspects:
        quiet = standing.quiet + 1
        standing = replace(standing, accepted_without=standing.accepted_without | left_out, quiet=quiet)
        if quiet >= rules.patience and not _named(standing):
            return Standing(named=standing.named)
    if place := _named(standing):
        (culprit,) = place
        until = past.round_index + rules.suspension
        naming = Naming(culprit, past.round_index, standing.rejected, until)
        return Standing(named=(*standing.named, naming))
    return standing


def _named(standing: Standing) -> frozenset[int]:
    """The last suspect, once a round without it was accepted; else empty."""
    alone = len(standing.suspects) == 1
    return standing.suspects & standing.accepted_without if alone else frozenset()
