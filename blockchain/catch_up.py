"""Catch-up: how a hospital brings the model on its disk up to the model in force, by opening accepted aggregates.

No aggregate that the server sends is trusted. Its hash must be the one recorded on the ledger, and the base id that the
hospital derives from the accepted rounds must equal the one that the contract computed.
"""

from collections.abc import Mapping, Sequence

from blockchain.closed_sums import ClosedSum, SumOpener, check_opening, least_included
from blockchain.ledger.fold import next_base_id
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundOpening, RoundPhase, RoundRecord
from blockchain.signing.signatures import recover_vote_signer
from fedward.ciphertexts.packing import dequantize, round_plan
from fedward.errors import VerificationError
from fedward.files import sha256
from fedward.folders.hospital import Candidate, HospitalFolder, MeanUpdate, model_bytes
from fedward.learning.server_step import server_optimizer, take_step
from fedward.settings import Settings
from fedward.sharing.signed import SentSum
from fedward.sharing.terms import Purpose
from fedward.types import Address, GlobalModel, Vote

MOST_TOGETHER = 32  # rounds that are asked about in one request


class MissingAggregates(Exception):  # noqa: N818 - a request, not an error
    """The hospital was away and needs the aggregates of these accepted rounds before it can train or vote."""

    def __init__(self, rounds: Sequence[int]) -> None:
        super().__init__(f"rounds {list(rounds)}")
        self.rounds = tuple(rounds)


def candidate_model(
    model: GlobalModel,
    sent: SentSum,
    opening: RoundOpening,
    record: RoundRecord,
    opener: SumOpener,
    settings: Settings,
) -> tuple[Candidate, tuple[int, ...]]:
    """Stage 8, decrypt: make the candidate, by opening a round's aggregate and applying it to the model in force.

    Args:
        model: The model that the round started from.
        sent: The aggregate's ciphertexts and the releases for it, as handed out by the server.
        opening: How the ledger opened the round: its roster.
        record: What the ledger says of it: the aggregate's hash and included weight.
        opener: Decrypts the aggregate.
        settings: The packing plan and the server optimizer follow from them.

    Returns:
        The candidate, and the places of hospitals whose releases were wrong.

    Raises:
        VerificationError: the ciphertexts are not those that the ledger recorded, the aggregate holds too few updates
            to be opened, or the node tells weights or a threshold that do not follow from the roster.
        EncryptionError: the aggregate does not decode to sums that honest hospitals can have made, or too few hospitals
            released their part of its key.
        EvidenceError: the hospital lacks the channel key of this round, or the model's moments are not those of the
            server optimizer.
    """
    round_index = opening.round_index
    _check_weights(opening, record, settings)
    if len(record.included) < least_included(opening, settings):
        raise VerificationError(
            f"The aggregate of round {round_index} holds {len(record.included)} updates, "
            f"fewer than the {least_included(opening, settings)} that are needed.",
            "Do not decrypt it: it would show single hospitals' updates.",
        )
    closed = ClosedSum(opening, Purpose.UPDATES, record.included, sent.chunks, sent.releases)
    if closed.root() != record.aggregate_hash:
        raise VerificationError(
            f"The aggregate of round {round_index} is not the one on the ledger.", "Ask the server for it again."
        )
    plan = round_plan(len(model.weights), len(opening.roster), settings)
    opened = opener.open(closed, plan)
    mean_update = dequantize(opened.sums, plan, record.included_weight, opening.enrolled_total)
    moved = take_step(model, mean_update, server_optimizer(settings.server_optimizer))
    weights = {entry.index: entry.weight for entry in opening.roster if entry.index in record.included}
    shares = {place: weight / record.included_weight for place, weight in weights.items()}
    return Candidate(round_index, record.aggregate_hash, *moved, MeanUpdate(mean_update, shares)), opened.wrong


def catch_up(
    folder: HospitalFolder,
    ledger: Ledger,
    opener: SumOpener,
    settings: Settings,
    base_id: bytes,
    aggregates: Mapping[int, SentSum],
    before: int | None = None,
) -> GlobalModel:
    """Apply every aggregate accepted since the hospital's model, until the model has the wanted base id.

    Args:
        folder: The hospital's folder; its model is replaced round by round.
        ledger: Tells what was accepted.
        opener: Decrypts the aggregates.
        settings: The packing plan and the server optimizer follow from them.
        base_id: The base id to arrive at: what the contract computed for the current round.
        aggregates: Ciphertexts and releases by round, as far as they were sent.
        before: The round that starts from the model with this base id: only earlier ones are asked for. None: the
            round after the latest.

    Returns:
        The model in force.

    Raises:
        MissingAggregates: the aggregates of accepted rounds were not sent, and are not on the disk as a candidate.
        VerificationError: the ledger's history does not lead from the hospital's model to the base id, an aggregate
            makes another model than the votes name, too few hospitals signed votes for it, or the node tells weights
            or a threshold that do not follow from a round's roster.
        EvidenceError: the hospital lacks the channel key of a round, because it never took the key of that epoch.
    """
    model, candidate = folder.load_model(), folder.load_candidate()
    if model.base_id == base_id:
        return model
    ahead = _accepted_since(ledger, model.base_id, before or ledger.latest_round() + 1)
    for position, (opening, record) in enumerate(ahead):
        index = opening.round_index
        _check_weights(opening, record, settings)  # before a base id is made of them, and kept
        _check_votes(folder, ledger, record, settings)
        if candidate and _was_voted_for(candidate, record):
            made = candidate
        elif index not in aggregates:
            raise MissingAggregates([missing.round_index for missing, _ in ahead[position:]])
        else:
            made, _ = candidate_model(model, aggregates[index], opening, record, opener, settings)
        if not _was_voted_for(made, record):
            raise VerificationError(
                f"What the aggregate of round {index} makes here is not the model that was voted for.",
                "Do not take part; compare this hospital's model with the others'.",
            )
        model = GlobalModel(made.weights, next_base_id(model.base_id, record), made.moments)
        folder.measures.accept(index, sha256(model_bytes(made)))
        folder.save_model(model)
        if model.base_id == base_id:
            return model
    raise _history_differs()


def _check_votes(folder: HospitalFolder, ledger: Ledger, record: RoundRecord, settings: Settings) -> None:
    """Check that hospitals have signed what a node says of an accepted round: the rule of the contract, by signatures.

    A node could say so of a round that was rejected, with a sum of the server's making. Counted is who is on the roster
    that this hospital has agreed to. Votes against a candidate can be withheld; votes for it cannot be made up.

    Raises:
        VerificationError: too few signed votes are for the candidate.
    """
    known, votes = set(folder.sealing_keys()), dict[Address, Vote]()
    for signed in ledger.signed_votes(record.round_index):
        said = signed.vote
        right = (said.round_index, said.aggregate_hash) == (record.round_index, record.aggregate_hash)
        if right and said.hospital in known and recover_vote_signer(signed) == said.hospital:
            votes[said.hospital] = said
    agreeing = sum(said.accept and said.candidate_digest == record.candidate_digest for said in votes.values())
    least = settings.ledger.min_votes or len(known) // 2 + 1
    if len(votes) < least or 2 * agreeing <= len(votes):
        raise VerificationError(
            f"The node says that round {record.round_index} was accepted; of {len(votes)} votes that hospitals on the "
            f"roster signed, {agreeing} are for its candidate.",
            "Do not take part; point this hospital at another node of the ledger.",
        )


def _was_voted_for(made: Candidate, record: RoundRecord) -> bool:
    """Whether a candidate is the one that a round accepted: the base id alone does not tell the weights."""
    return (made.aggregate_hash, sha256(model_bytes(made))) == (record.aggregate_hash, record.candidate_digest)


def _check_weights(opening: RoundOpening, record: RoundRecord, settings: Settings) -> None:
    """Check what a node tells of a round's weights and threshold against its roster.

    Raises:
        VerificationError: they do not follow from the roster.
    """
    check_opening(opening, settings)
    weights = {entry.index: entry.weight for entry in opening.roster}
    if record.included_weight != sum(weights.get(place, 0) for place in record.included):
        raise VerificationError(
            f"The node says that the aggregate of round {opening.round_index} has weight {record.included_weight}, "
            "which its hospitals' weights do not add up to.",
            "Do not take part; point this hospital at another node of the ledger.",
        )


def _accepted_since(ledger: Ledger, base_id: bytes, before: int) -> list[tuple[RoundOpening, RoundRecord]]:
    """The rounds accepted since the model with this base id came into force, oldest first.

    Args:
        ledger: Tells of the rounds.
        base_id: Of the model.
        before: Only rounds before this one are looked at.

    Raises:
        VerificationError: no round ever started from that model.
    """
    accepted: list[tuple[RoundOpening, RoundRecord]] = []
    together = 1  # as a rule it is the last round; a hospital that was away for long asks about more at a time
    while before > 1:
        first = max(1, before - together)
        for opening, record in reversed(ledger.openings_and_rounds(*range(first, before))):
            if record.phase is RoundPhase.ACCEPTED:
                accepted.insert(0, (opening, record))
            if record.base_id == base_id:
                return accepted
        before, together = first, min(2 * together, MOST_TOGETHER)
    raise _history_differs()


def _history_differs() -> VerificationError:
    return VerificationError(
        "The ledger's history does not lead from this hospital's model to the model in force.",
        "Compare this hospital's checkpoints with the others': the ledger may have been rewritten.",
    )
