"""The server's side of a round: open -> verify -> aggregate -> close, then pass on the aggregate and count the votes.

It holds ciphertexts and its own Ethereum key. It cannot decrypt: nothing here imports, reads or receives a key that
encrypts or decrypts, or a model, and no encryption library is needed to check and add ciphertexts.
"""

import functools
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from flwr.app import Context, Message, MessageType
from flwr.serverapp import Grid, ServerApp

from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import REFUSED_WHEN_COMMITTED, RoundOpening, RoundPhase, RoundRecord
from blockchain.signing.abstention import is_abstention
from blockchain.verification import verify
from fedward.ciphertexts.aggregation import aggregate
from fedward.ciphertexts.encrypted_counts import EncryptedCounts, RunningSum, counts_layout
from fedward.ciphertexts.packing import round_plan
from fedward.errors import BudgetError, FedwardError, LedgerError, QuorumError
from fedward.folders.round_log import RoundLog
from fedward.folders.server import ServerFolder
from fedward.messages import wire
from fedward.messages.ballots import Ballot, read_ballot
from fedward.messages.exchange import exchange
from fedward.messages.nodes import Nodes
from fedward.messages.replies import Failure, Malformed, Missing
from fedward.messages.submissions import Abstention, Submission, read_reply
from fedward.privacy.mechanism import expected_event
from fedward.settings import Settings, from_run_config
from fedward.types import (
    ABSTAINED,
    UNKNOWN_ADDRESS,
    Address,
    EncryptedAggregate,
    NodeId,
    Rejection,
    SignedCommitment,
    StoredUpdate,
    VerifiedUpdate,
)

app = ServerApp()
Reply = TypeVar("Reply")
Files = dict[Address, tuple[Path, ...]]
CATCH_UP_ROUNDS = 4  # aggregates that one message carries to a hospital that was away: memory stays bounded
MALFORMED = "MalformedReply"  # reason of a rejection: the reply cannot be read
NOT_WITNESSED = "NotWitnessed"  # the contract's reason for an abort


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Lead rounds until as many as the settings ask for have been decided."""
    settings = from_run_config(context.run_config)
    folder = ServerFolder(Path(settings.run.folder))
    try:
        lead_rounds(Server.open(grid, folder, settings))
        folder.log_progress("finished")
    except FedwardError as error:
        folder.log_progress("failed", what=error.what, remedy=error.remedy, exit_code=error.exit_code)
        raise


@dataclass
class Server:
    """What the server works with. What must survive its process is on the ledger or in the server's folder."""

    grid: Grid
    folder: ServerFolder
    settings: Settings
    ledger: Ledger
    nodes: Nodes
    findings: int
    parameters: int

    @classmethod
    def open(cls, grid: Grid, folder: ServerFolder, settings: Settings) -> "Server":
        """Read the folder, reach the ledger and wait for the hospitals."""
        record, account = folder.load_record(), Identity.load(folder.identity)
        ledger = Ledger.attach(settings.run.rpc_url, record.contract, account, outbox=folder.transactions)
        nodes = Nodes(grid)
        nodes.wait_for(len(ledger.roster()), settings.ledger.min_included)
        return cls(grid, folder, settings, ledger, nodes, len(record.findings), record.parameters)

    def decided_rounds(self) -> int:
        """Count the rounds that ended as accepted or rejected, after tidying up what a crash left.

        A round that is still open is aborted, and not counted. A round whose line of metrics was not written when the
        round ended gets one now.
        """
        latest = self.ledger.latest_round()
        if latest and self.ledger.round(latest).phase in (RoundPhase.OPEN, RoundPhase.VOTING):
            self.ledger.abort_round(latest, "interrupted")
        phases = {index: self.ledger.round(index).phase for index in range(1, latest + 1)}
        logged = {entry["round"] for entry in self.folder.rounds()}
        for index in sorted(phases.keys() - logged):
            self.finish(RoundLog(self.folder, index), phases[index].name.lower())
        return sum(phase in (RoundPhase.ACCEPTED, RoundPhase.REJECTED) for phase in phases.values())

    def finish(self, log: RoundLog, phase: str) -> None:
        """Write down how a round ended, and where the ledger then stood."""
        head = self.ledger.head()
        log.finish(phase, head.height, head.ledger_head)

    def messages(self, kind: str, nodes: Iterable[NodeId], round_index: int, needed: Sequence[int]) -> list[Message]:
        """Messages that tell nodes about a round, with the aggregates of the needed rounds in memory only once."""
        aggregates = {index: self.folder.ciphertexts.load_aggregate(index) for index in needed}
        content = wire.round_records(round_index, aggregates)
        return [Message(content, dst_node_id=node, message_type=kind, group_id=str(round_index)) for node in nodes]

    def ask(
        self, kind: str, opening: RoundOpening, needed: Sequence[int], deadline: int, read: Callable[[Message], Reply]
    ) -> Iterator[tuple[NodeId, Reply]]:
        """Send all nodes the same message and hand out their replies one at a time, until a deadline (Unix seconds).

        A node that connects meanwhile is asked, too: a hospital may reconnect under another number. Asking ends before
        the deadline once everybody has replied, or once the ledger has taken something of every hospital on the roster.

        A hospital that was away replies which rounds' aggregates it lacks. It is asked again with some of these, as
        long as its replies show that it gets further. A reply that shows no progress is handed out, as `Missing`.

        Args:
            kind: Flower's message type, which names the hospital's function.
            opening: The round that the message is about.
            needed: Rounds whose aggregates everybody gets.
            deadline: Until when replies are waited for.
            read: Turns a reply into what is handed out; called once for each reply.
        """
        round_index, roster = opening.round_index, {entry.address for entry in opening.roster}
        reached: dict[int, int] = {}  # by node: the earliest round that its last reply named as missing

        def follow_up(node: NodeId, reply: Reply) -> Message | None:
            if not isinstance(reply, Missing):
                return None
            earlier = sorted({index for index in reply.rounds if 0 < index < round_index})
            accepted = [index for index in earlier if self.ledger.round(index).phase is RoundPhase.ACCEPTED]
            if not accepted or accepted[0] <= reached.get(node, 0):
                return None
            reached[node] = accepted[0]
            return self.messages(kind, [node], round_index, [*accepted[:CATCH_UP_ROUNDS], *needed])[0]

        def to_newcomers() -> list[Message]:
            new = self.nodes.newly_to_ask(roster)
            return self.messages(kind, new, round_index, needed) if new else []

        self.nodes.ask_anew()
        # No variable holds the messages: it would keep the aggregate in memory for as long as replies are awaited.
        interval_s, timeout_s = self.settings.speed.poll_interval_s, max(0.0, deadline - time.time())
        replies = exchange(self.grid, to_newcomers(), interval_s, timeout_s, read, follow_up, to_newcomers)
        for node, reply in replies:
            yield node, reply
            del reply  # the caller drops the reply, too, before the next one is fetched
            if self.nodes.heard_from(roster):
                return


def lead_rounds(server: Server) -> None:
    """Lead rounds until all are decided, or too few hospitals have privacy budget left: then the model stays as it is.

    The budget usually covers exactly as many rounds as the settings ask for. It runs out early where a round that was
    interrupted was charged, too.

    Raises:
        BudgetError: there was no budget for even one round.
        FedwardError: as `lead_round`.
    """
    decided = server.decided_rounds()
    server.folder.log_progress("leading", decided=decided)
    while decided < server.settings.training.rounds:
        try:
            lead_round(server)
        except BudgetError as spent:
            if not decided:
                raise
            server.folder.log_progress("budget-spent", what=spent.what, decided=decided)
            return
        decided = server.decided_rounds()


def lead_round(server: Server) -> None:
    """Lead one round, stage by stage. A bad update or ballot is set aside and logged; the round goes on without it.

    Raises:
        QuorumError: too few updates were accepted, or too few votes came; the round is aborted.
        FedwardError: the same happened, and all hospitals that failed reported the same kind of error: that error.
    """
    opening = server.ledger.open_round()
    log = RoundLog(server.folder, opening.round_index)
    excluded: Files = {}
    updates = collect_updates(server, opening, excluded, log)
    files = excluded | {update.hospital: update.chunk_files for update in updates}
    if len(updates) < server.settings.ledger.min_included:
        server.folder.ciphertexts.save_round(opening.round_index, (), files)
        server.ledger.abort_round(opening.round_index, "quorum lost")
        server.finish(log, "aborted")
        raise log.common_cause() or QuorumError(
            f"Round {opening.round_index} got {len(updates)} valid updates of {len(opening.roster)} hospitals, "
            f"{server.settings.ledger.min_included} are needed.",
            "See the rejections above, mend those hospitals and continue with --resume.",
        )
    with log.clock.measure("aggregate"):
        total = aggregate(updates, server.folder.ciphertexts.path)
        server.folder.ciphertexts.save_round(opening.round_index, total.chunk_files, files)
    close_submissions(server, opening, total, log)
    collect_votes(server, opening, log)
    phase = decide(server, opening, log)
    server.finish(log, phase.name.lower())
    if phase is RoundPhase.ABORTED:
        raise undecided(server, opening, log)


def collect_updates(server: Server, opening: RoundOpening, excluded: Files, log: RoundLog) -> list[VerifiedUpdate]:
    """Stage 6, verify: take submissions one at a time; each becomes a `VerifiedUpdate` or a logged `Rejection`."""
    plan = round_plan(server.parameters, len(opening.roster), server.settings)
    read = functools.partial(read_reply, chunk_count=plan.chunks)
    updates: dict[Address, VerifiedUpdate] = {}
    for node, reply in server.ask(MessageType.TRAIN, opening, (), opening.submission_deadline, read):
        match reply:
            case Submission():
                take_submission(server, opening, node, reply, updates, excluded, log)
            case Abstention():
                relay_abstention(server, opening, node, reply.signed, log)
                log.failed(node, reply.failure, server.nodes.hospital(node))
            case _:
                set_aside(server, node, reply, log)
        del reply  # before the next one is fetched: one update is in memory, however many hospitals there are
    return list(updates.values())


def take_submission(
    server: Server,
    opening: RoundOpening,
    node: NodeId,
    submission: Submission,
    updates: dict[Address, VerifiedUpdate],
    excluded: Files,
    log: RoundLog,
) -> None:
    """Move a submission's ciphertexts to the disk and verify it there; a verified one joins the round's updates."""
    event = expected_event(server.settings.privacy)
    with log.clock.measure("verify"):
        files = tuple(server.folder.ciphertexts.store(chunk) for chunk in submission.chunks)
        stored = StoredUpdate(submission.signed.commitment.hospital, files, submission.signed)
        verdict = verify(stored, opening, event, server.ledger)
    if isinstance(verdict, Rejection):
        log.rejected(verdict)
        if verdict.reason in REFUSED_WHEN_COMMITTED:
            excluded.setdefault(verdict.hospital, files)  # they show an auditor whether it was refused rightly
    elif verdict.hospital in updates:
        log.rejected(Rejection(verdict.hospital, "AlreadySubmitted", "Its update of this round is already here."))
    else:
        updates[verdict.hospital] = verdict
        server.nodes.bind(node, verdict.hospital)
        log.submitted(verdict.hospital, submission)


def relay_abstention(
    server: Server, opening: RoundOpening, node: NodeId, signed: SignedCommitment, log: RoundLog
) -> None:
    """Record a hospital's signed abstention on the ledger, so that nobody waits for its update."""
    if not is_abstention(signed.commitment, frozenset(entry.address for entry in opening.roster)):
        return
    hospital = signed.commitment.hospital
    try:
        server.ledger.submit_for(signed)
    except LedgerError as error:
        if not error.reason:  # the ledger is gone, which is no fault of the hospital's
            raise
        log.rejected(Rejection(hospital, error.reason, error.what))
    else:
        server.nodes.bind(node, hospital)
        log.rejected(Rejection(hospital, ABSTAINED, "It gives no update; why is told among the failures."))


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


def collect_votes(server: Server, opening: RoundOpening, log: RoundLog) -> None:
    """Pass the aggregate on and relay the hospitals' signed votes to the contract."""
    index, counts = opening.round_index, RunningSum()
    read = functools.partial(read_ballot, findings=server.findings)
    deadline = server.ledger.round(index).voting_deadline
    if server.settings.metrics.encrypted:
        layout = counts_layout(server.findings, len(opening.roster), opening.enrolled_total)
        read = functools.partial(read, chunk_count=layout.plan.chunks)
    for node, reply in server.ask(MessageType.EVALUATE, opening, (index,), deadline, read):
        if isinstance(reply, Ballot):
            take_ballot(server, opening, node, reply, counts, log)
        else:
            set_aside(server, node, reply, log)
    keep_counts(server, opening, counts.total(), log)


def take_ballot(
    server: Server, opening: RoundOpening, node: NodeId, ballot: Ballot, counts: RunningSum, log: RoundLog
) -> None:
    """Relay a signed vote to the contract; where the contract takes it, its encrypted counts are added."""
    vote = ballot.signed.vote
    if vote.hospital not in {entry.address for entry in opening.roster} or vote.round_index != opening.round_index:
        log.rejected(Rejection(UNKNOWN_ADDRESS, "NotOnRoster", "A vote is not this round's or no member's."))
        return
    try:
        server.ledger.cast_vote_for(ballot.signed)
    except LedgerError as error:
        if not error.reason:  # the ledger is gone, which is no fault of the vote's
            raise
        log.rejected(Rejection(vote.hospital, error.reason, error.what))
        return
    server.nodes.bind(node, vote.hospital)
    log.voted(ballot)
    if server.settings.metrics.encrypted:
        counts.add(vote.hospital, ballot.encrypted)


def keep_counts(server: Server, opening: RoundOpening, counts: EncryptedCounts, log: RoundLog) -> None:
    """Keep the sum of a round's encrypted counts; a sum of too few hospitals would show single ones and is dropped."""
    if not server.settings.metrics.encrypted:
        return
    enough = len(counts.hospitals) >= server.settings.ledger.min_included
    if enough:
        server.folder.save_counts(opening.round_index, counts)
    log.encrypted_counts(len(counts.hospitals) if enough else 0)


def decide(server: Server, opening: RoundOpening, log: RoundLog) -> RoundPhase:
    """Let the contract count the votes; before the deadline it does so only if everybody has voted.

    Anybody may ask the contract to count, so somebody may have been first.
    """
    index = opening.round_index
    record = server.ledger.round(index)
    if record.phase is RoundPhase.VOTING and record.accepts + record.rejects < len(opening.roster):
        wait_until(record.voting_deadline, log, "votes")
    try:
        return _count_votes(server, index)
    except LedgerError as error:
        if error.reason != "WitnessMissing":
            raise
    wait_for_witness(server, record, log)
    return _count_votes(server, index)


def undecided(server: Server, opening: RoundOpening, log: RoundLog) -> FedwardError:
    """The error that says why the votes did not decide a round."""
    index, reason = opening.round_index, server.ledger.abort_reason(opening.round_index)
    if reason == NOT_WITNESSED:
        return QuorumError(
            f"Round {index} was not decided: the votes carry it, but the required attestation of a witness is missing.",
            "See what the witness says: if its sum differs, do not go on; else start it and continue with --resume.",
        )
    return log.common_cause() or QuorumError(
        f"Round {index} was not decided ({reason}): too few votes, or no majority, of {len(opening.roster)}.",
        "See the warnings above, mend those hospitals and continue with --resume.",
    )


def wait_for_witness(server: Server, record: RoundRecord, log: RoundLog) -> None:
    """Wait until a witness has attested to a round's aggregate, or the time to do so is over."""
    log.waiting("attestations", record.voting_deadline)
    while time.time() < record.voting_deadline + 1 and not server.ledger.round(record.round_index).witnesses:
        time.sleep(server.settings.speed.poll_interval_s)


def wait_until(deadline: int, log: RoundLog, what: str) -> None:
    """Sleep until a deadline of the ledger (Unix seconds) has passed."""
    log.waiting(what, deadline)
    time.sleep(max(0.0, deadline + 1 - time.time()))


def _count_votes(server: Server, round_index: int) -> RoundPhase:
    """Have the contract count the votes, unless somebody did so before; returns how the round ended."""
    try:
        return server.ledger.finalize_round(round_index)
    except LedgerError as error:
        if error.reason != "RoundNotVoting":
            raise
        return server.ledger.round(round_index).phase
