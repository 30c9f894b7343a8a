"""Why a round ended without a decision: the errors that say so."""

from blockchain.leading.server_state import Server
from blockchain.ledger.records import RoundOpening
from fedward.errors import FedwardError, QuorumError
from fedward.folders.round_log import RoundLog

NOT_WITNESSED, DIGESTS_DIFFER = "NotWitnessed", "DigestsDiffer"  # the contract's reasons for an abort


def undecided(server: Server, opening: RoundOpening, log: RoundLog) -> FedwardError:
    """The error that says why the votes did not decide a round."""
    index, reason = opening.round_index, server.ledger.abort_reason(opening.round_index)
    if reason == NOT_WITNESSED:
        return QuorumError(
            f"Round {index} was not decided: the votes carry it, but the required attestation of a witness is missing.",
            "See what the witness says: if its sum differs, do not go on; else start it and continue with --resume.",
        )
    if reason == DIGESTS_DIFFER:
        return QuorumError(
            f"Round {index} was not decided: hospitals accepted different models, and none has more than half.",
            "One sum makes one model: compare versions and models of those hospitals, then continue with --resume.",
        )
    return log.common_cause() or QuorumError(
        f"Round {index} was not decided ({reason}): too few votes, or no majority, of {len(opening.roster)}.",
        "See the warnings above, mend those hospitals and continue with --resume.",
    )


def too_few_releases(opening: RoundOpening, released: int) -> QuorumError:
    """The error for a round whose sum cannot be opened."""
    return QuorumError(
        f"Round {opening.round_index} was closed, but {released} of {len(opening.roster)} hospitals released "
        f"their part of its key, {opening.threshold} are needed.",
        "See the warnings above, start those hospitals again and continue with --resume.",
    )
