"""The twin's tally: how the votes that are in, and those that may still come, end a round."""

from blockchain.twin.values import ABORTED, ACCEPTED, REJECTED, ModelRound, Refused


def find_outcome(number: int, current: ModelRound, timestamp: int, witness_required: bool) -> int:
    """How a round that is voted on ends now.

    Args:
        number: Its number.
        current: The round.
        timestamp: Unix seconds of the block in which it is to end.
        witness_required: Whether it is accepted only with an attestation.

    Returns:
        Its phase: accepted, rejected or aborted.

    Raises:
        Refused: votes still to come could change the outcome, or an attestation may still come.
    """
    rejects, votes = current.rejects, current.accepts + current.rejects
    in_time = timestamp <= current.voting_deadline
    # Judge the round for every way in which the hospitals that have not voted yet may still vote. Their accepting votes
    # for another candidate than the leading one bring no further outcome: another candidate needs at least as many of
    # them to be carried, and below the reject quorum they stand against it as rejecting votes do.
    to_come = current.roster_mask.bit_count() - votes if in_time else 0
    outcomes = {
        _judge(current, votes + more_agreeing + more_rejects, current.agreeing + more_agreeing, rejects + more_rejects)
        for more_agreeing in range(to_come + 1)
        for more_rejects in range(to_come - more_agreeing + 1)
    }
    if rejects >= current.reject_quorum:
        return REJECTED
    if len(outcomes) > 1:
        raise Refused("OutcomeStillOpen", number, current.voting_deadline, timestamp)
    outcome = outcomes.pop()
    if outcome == ACCEPTED and witness_required and current.witnesses == 0:
        if in_time:
            raise Refused("WitnessMissing", number, current.voting_deadline, timestamp)
        return ABORTED
    return outcome


def abort_reason(current: ModelRound) -> str:
    """Why a round that its votes, or the want of a witness, ended as aborted was not accepted."""
    votes = current.accepts + current.rejects
    if votes < current.min_votes:
        return "TooFewVotes"
    if current.accepts <= current.rejects:
        return "NoMajority"
    return "DigestsDiffer" if 2 * current.agreeing <= votes else "NotWitnessed"


def _judge(current: ModelRound, votes: int, agreeing: int, rejects: int) -> int:
    """How a round ends with so many votes, of which so many accept the same candidate, and so many reject."""
    if rejects >= current.reject_quorum:
        return REJECTED
    if votes >= current.min_votes and 2 * agreeing > votes:
        return ACCEPTED
    return ABORTED
