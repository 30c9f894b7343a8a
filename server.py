"""The server's side of a round: open -> verify -> aggregate -> close, then pass on the aggregate and count the votes.

It holds ciphertexts and its own Ethereum key. It cannot decrypt: nothing here imports, reads or receives a key that
encrypts or decrypts, or a model, and no encryption library is needed to check and add ciphertexts.
"""

import functools
import os
import time
from collections.abc import Sequence

from flwr.app import Context, MessageType
from flwr.serverapp import Grid, ServerApp

from blockchain.closed_sums import least_included
from blockchain.leading.dealings import fitting_dealings
from blockchain.leading.endings import too_few_releases, undecided
from blockchain.leading.intake import MALFORMED, Desk, UpdateIntake, VoteIntake
from blockchain.leading.leaving_out import leave_out
from blockchain.leading.releases import collect_releases, name_wrong_releases
from blockchain.leading.server_state import Server
from blockchain.ledger.records import RoundOpening, RoundPhase, RoundRecord
from blockchain.ledger.relay import Relay
from fedward.ciphertexts.aggregation import aggregate
from fedward.ciphertexts.encrypted_counts import EncryptedCounts, counts_layout
from fedward.ciphertexts.packing import round_plan
from fedward.errors import BudgetError, FedwardError, LedgerError, QuorumError
from fedward.folders.round_log import RoundLog
from fedward.folders.server import ServerFolder
from fedward.messages.ballots import Ballot, read_ballot
from fedward.messages.key_sharing import ReleaseRequest
from fedward.messages.replies import Failure, Malformed, Missing
from fedward.messages.submissions import Abstention, Submission, read_reply
from fedward.privacy.mechanism import expected_event
from fedward.settings import from_run_config
from fedward.sharing.sizes import sealed_share_bytes, share_width
from fedward.sharing.terms import Purpose, purposes
from fedward.types import (
    UNKNOWN_ADDRESS,
    Address,
    EncryptedAggregate,
    NodeId,
    Rejection,
)

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Lead rounds until as many as the settings ask for have been decided."""
    settings = from_run_config(context.run_config)
    folder = ServerFolder.own(settings.run.folder, os.environ)
    try:
        lead_rounds(Server.open(grid, folder, settings))
        folder.log_progress("finished")
    except FedwardError as error:
        folder.log_progress("failed", what=error.what, remedy=error.remedy, exit_code=error.exit_code)
        raise


def lead_rounds(server: Server) -> None:
    """Lead rounds until all are decided, a pause is asked for, or too few hospitals have privacy budget left.

    The budget usually covers exactly as many rounds as the settings ask for. It runs out early where a round that was
    interrupted was charged, too.

    Raises:
        BudgetError: there was no budget for even one round.
        FedwardError: as `lead_round`.
    """
    decided, rounds = server.decided_rounds(), server.settings.training.rounds
    server.folder.log_progress("leading", decided=decided)
    opening: RoundOpening | None = None
    while decided < rounds and (opening or not server.folder.pause.exists()):
        try:
            opening = lead_round(server, opening, another=decided + 1 < rounds)
        except BudgetError as spent:
            if not decided:
                raise
            server.folder.log_progress("budget-spent", what=spent.what, decided=decided)
            return
        decided += 1


def lead_round(server: Server, opening: RoundOpening | None = None, another: bool = False) -> RoundOpening | None:
    """Lead one round, stage by stage. A bad update or ballot is set aside and logged; the round goes on without it.

    Args:
        server: Who leads it.
        opening: The round's, where it was opened together with the decision on the one before; None: it is opened now.
        another: Whether another round follows, unless a pause is asked for; it is then opened together with the
            decision on this one.

    Returns:
        The opening of the round that follows; None where none does.

    Raises:
        QuorumError: too few updates were accepted, or too few votes came; the round is aborted.
        FedwardError: the same happened, and all hospitals that failed reported the same kind of error: that error.
    """
    opening = opening or server.ledger.open_round()
    log = RoundLog(server.folder, opening.round_index)
    intake = collect_updates(server, opening, log)
    updates = list(intake.updates.values())
    files = intake.excluded | {update.hospital: update.chunk_files for update in updates}
    try:
        updates, holders = fitting_dealings(server, opening, updates, log)
    except QuorumError as error:
        give_up(server, opening, "too few answers", log)
        if cause := log.common_cause():
            raise cause from error
        raise
    updates = leave_out(server, opening, updates, log)
    needed = least_included(opening, server.settings)
    if len(updates) < needed:
        server.folder.ciphertexts.save_round(opening.round_index, (), files)
        give_up(server, opening, "quorum lost", log)
        raise log.common_cause() or QuorumError(
            f"Round {opening.round_index} got {len(updates)} valid updates of {len(opening.roster)} hospitals, "
            f"{needed} are needed.",
            "See the rejections above, mend those hospitals and continue with --resume.",
        )
    with log.clock.measure("aggregate"):
        total = aggregate(updates, server.folder.ciphertexts.path)
        server.folder.ciphertexts.save_round(opening.round_index, total.chunk_files, files)
    close_submissions(server, opening, total, log)
    request = ReleaseRequest(opening.round_index, Purpose.UPDATES, total.included, total.aggregate_hash)
    released = collect_releases(server, opening, request, holders, log)
    if released < opening.threshold:
        give_up(server, opening, "too few releases", log)
        raise log.common_cause() or too_few_releases(opening, released)
    another = another and not server.folder.pause.exists()
    counts = collect_votes(server, opening, total.included, another, log)
    phase, following = decide(server, opening, another, log)
    release_counts(server, opening, counts, holders, log)
    server.folder.shares.forget()
    server.finish(log, phase.name.lower())
    if phase is RoundPhase.ABORTED:
        raise undecided(server, opening, log)
    return following


def give_up(server: Server, opening: RoundOpening, reason: str, log: RoundLog) -> None:
    """Abort a round on the ledger, and tidy up after it."""
    server.ledger.abort_round(opening.round_index, reason)
    server.folder.shares.forget()
    server.finish(log, "aborted")


def collect_updates(server: Server, opening: RoundOpening, log: RoundLog) -> UpdateIntake:
    """Stage 6, verify: take submissions one at a time; each becomes a `VerifiedUpdate` or a logged `Rejection`."""
    plan = round_plan(server.parameters, len(opening.roster), server.settings)
    holders, share_bytes = (
        len(opening.roster),
        sealed_share_bytes(share_width(len(purposes(server.settings.metrics.encrypted)))),
    )
    read = functools.partial(read_reply, chunk_count=plan.chunks, share_count=holders, share_bytes=share_bytes)
    relay, folder = Relay(server.ledger, opening.submission_deadline), server.folder
    desk = Desk(opening, server.ledger, relay, server.nodes, log)
    promised = expected_event(server.settings.privacy)
    intake = UpdateIntake(desk, folder.ciphertexts.store, folder.shares.store, promised)
    for node, reply in server.ask(MessageType.TRAIN, opening, (), opening.submission_deadline, read, relay):
        match reply:
            case Submission():
                intake.take(node, reply)
            case Abstention():
                intake.abstain(node, reply.signed)
                log.failed(node, reply.failure, server.nodes.hospital(node))
            case _:
                set_aside(server, node, reply, log)
        del reply  # before the next one is fetched: one update is in memory, however many hospitals there are
    relay.finish()
    return intake


def set_aside(server: Server, node: NodeId, reply: Failure | Missing | Malformed, log: RoundLog) -> None:
    """Log a reply that is neither an update nor a vote."""
    match reply:
        case Failure():
            log.failed(node, reply, server.nodes.hospital(node))
        case Missing():
            again = "It asks for aggregates of rounds that were not accepted, or that it was sent already."
            log.rejected(Rejection(UNKNOWN_ADDRESS, MALFORMED, again))
        case Malformed():
            log.rejected(Rejection(UNKNOWN_ADDRESS, MALFORMED, reply.evidence))


def close_submissions(server: Server, opening: RoundOpening, total: EncryptedAggregate, log: RoundLog) -> None:
    """Record the aggregate's hash; before the deadline the contract takes it only if everybody has submitted."""
    if server.ledger.round(opening.round_index).submissions < len(opening.roster):
        wait_until(opening.submission_deadline, log, "submissions")
    # The first reason stands: whoever sends more in a hospital's name cannot change it.
    reasons = {rejection.hospital: rejection.reason for rejection in reversed(log.rejections)}
    server.ledger.close_submissions(opening.round_index, total.aggregate_hash, total.included, reasons)


def collect_votes(
    server: Server, opening: RoundOpening, included: tuple[int, ...], another: bool, log: RoundLog
) -> EncryptedCounts:
    """Pass the aggregate on and relay the hospitals' signed votes to the contract.

    Where everybody has voted and no witness is waited for, the call that ends the round, and opens another where one is
    to follow, goes with the last votes. The counts that came with votes are kept before.

    Returns:
        The sum of the included hospitals' encrypted validation counts; of none where they are not encrypted.
    """
    index = opening.round_index
    read = functools.partial(read_ballot, findings=server.findings)
    deadline = server.ledger.round(index).voting_deadline
    if server.settings.metrics.encrypted:
        layout = counts_layout(server.findings, len(opening.roster), opening.enrolled_total)
        read = functools.partial(read, chunk_count=layout.plan.chunks)
    relay = Relay(server.ledger, deadline)
    members = frozenset(entry.address for entry in opening.roster if entry.index in included)
    desk = Desk(opening, server.ledger, relay, server.nodes, log)
    intake = VoteIntake(desk, members, server.folder.ciphertexts.store)
    for node, reply in server.ask(MessageType.EVALUATE, opening, (index,), deadline, read, relay):
        if isinstance(reply, Ballot):
            intake.take(node, reply)
        else:
            set_aside(server, node, reply, log)
    least, kept = least_included(opening, server.settings), frozenset(intake.taken)
    total = intake.keep(least)
    whole = len(kept) == len(opening.roster) and not lacks_witness(server, index)
    relay.finish(server.ledger.prepare_ending(index, another) if whole else None)
    name_wrong_releases(opening, log)
    return total if kept == frozenset(intake.taken) else intake.keep(least)


def release_counts(
    server: Server, opening: RoundOpening, counts: EncryptedCounts, holders: Sequence[Address], log: RoundLog
) -> None:
    """Have hospitals release the key of the sum of a round's encrypted counts: now its set is fixed.

    A sum of too few hospitals would show single ones: nobody is asked for its key.
    """
    if not server.settings.metrics.encrypted:
        return
    enough = len(counts.hospitals) >= least_included(opening, server.settings)
    if enough:
        places = tuple(sorted(entry.index for entry in opening.roster if entry.address in counts.hospitals))
        request = ReleaseRequest(opening.round_index, Purpose.COUNTS, places, counts.root())
        enough = collect_releases(server, opening, request, holders, log) >= opening.threshold
    log.encrypted_counts(len(counts.hospitals) if enough else 0)


def decide(
    server: Server, opening: RoundOpening, another: bool, log: RoundLog
) -> tuple[RoundPhase, RoundOpening | None]:
    """Let the contract count the votes; before the deadline it does so only if everybody has voted.

    Anybody may ask the contract to count, so somebody may have been first.

    Returns:
        How the round ended; and, where another is to follow and this one was not aborted, the opening of that one.
    """
    index = opening.round_index
    record = server.ledger.round(index)
    if record.phase is RoundPhase.VOTING and record.accepts + record.rejects < len(opening.roster):
        wait_until(record.voting_deadline, log, "votes")
    try:
        return _end_round(server, index, another)
    except LedgerError as error:
        if error.reason != "WitnessMissing":
            raise
    wait_for_witness(server, record, log)
    return _end_round(server, index, another)


def lacks_witness(server: Server, round_index: int) -> bool:
    """Whether a round that is voted on still needs the attestation of a witness."""
    return server.settings.ledger.witness_required and not server.ledger.round(round_index).witnesses


def wait_for_witness(server: Server, record: RoundRecord, log: RoundLog) -> None:
    """Wait until a witness has attested to a round's aggregate, or the time to do so is over."""
    log.waiting("attestations", record.voting_deadline)
    while time.time() < record.voting_deadline + 1 and lacks_witness(server, record.round_index):
        time.sleep(server.settings.speed.poll_interval_s)


def wait_until(deadline: int, log: RoundLog, what: str) -> None:
    """Sleep until a deadline of the ledger (Unix seconds) has passed."""
    log.waiting(what, deadline)
    time.sleep(max(0.0, deadline + 1 - time.time()))


def _end_round(server: Server, round_index: int, another: bool) -> tuple[RoundPhase, RoundOpening | None]:
    """Have the contract count the votes, unless somebody did so before, and open another round where one follows."""
    if another:
        return server.ledger.finalize_and_open(round_index)
    try:
        return server.ledger.finalize_round(round_index), None
    except LedgerError as error:
        if error.reason != "RoundNotVoting":
            raise
        return server.ledger.round(round_index).phase, None
