"""What the server takes in from hospitals in one phase of a round: updates, abstentions and votes.

What a hospital signed is tried on the ledger as soon as it comes, and sent there together with others' (`Relay`). It
counts once its transaction is in a block: then an update becomes a `VerifiedUpdate`, and a vote is logged.
"""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import REFUSED_WHEN_COMMITTED, RoundOpening
from blockchain.ledger.relay import Relay
from blockchain.signing.abstention import is_abstention
from blockchain.verification import ExaminedUpdate, examine, verify
from fedward.ciphertexts.encrypted_counts import EncryptedCounts, RunningSum
from fedward.errors import LedgerError
from fedward.folders.round_counts import PlainCounts, RoundCounts
from fedward.folders.round_log import RoundLog
from fedward.messages.ballots import Ballot
from fedward.messages.nodes import Nodes
from fedward.messages.submissions import Submission, TrainingReport
from fedward.types import (
    ABSTAINED,
    UNKNOWN_ADDRESS,
    Address,
    NodeId,
    PrivacyEvent,
    Rejection,
    SignedCommitment,
    SignedVote,
    StoredUpdate,
    VerifiedUpdate,
)

MALFORMED = "MalformedReply"  # reason of a rejection: the reply cannot be read
Files = dict[Address, tuple[Path, ...]]
Outcome = Callable[[LedgerError | None], None]


@dataclass(frozen=True)
class Desk:
    """Where both kinds of intake work: one phase of one round.

    Attributes:
        opening: The round.
        ledger: Tries and records what hospitals signed.
        relay: Sends it; its `finish` must be called before anything is read from the intake.
        nodes: Learns which hospital a node is.
        log: The round's.
    """

    opening: RoundOpening
    ledger: Ledger
    relay: Relay
    nodes: Nodes
    log: RoundLog

    def hand_over(self, node: NodeId, signed: SignedCommitment | SignedVote, hospital: Address, told: Outcome) -> bool:
        """Have recorded what a hospital signed; `told` learns the outcome, at once where the contract refuses it.

        Returns:
            Whether the contract takes it in a trial run; then it is on its way.

        Raises:
            LedgerError: the ledger is gone, which is no fault of the hospital's.
        """
        try:
            call = self.ledger.prepare(signed)
        except LedgerError as error:
            if not error.reason:
                raise
            told(error)
            return False
        self.relay.add(call, told)
        self.nodes.bind(node, hospital)
        return True


@dataclass(frozen=True)
class UpdateIntake:
    """Stage 6, verify: each submission becomes a `VerifiedUpdate` or a logged `Rejection`.

    Attributes:
        desk: Where it works.
        keep, keep_share: Write a ciphertext, or a sealed share, to the disk.
        promised: The privacy event that the settings call for.
        updates: What was verified, by hospital.
        excluded: Ciphertexts of updates that were refused though committed, by hospital: they show an auditor whether
            it was done rightly.
    """

    desk: Desk
    keep: Callable[[bytes], Path]
    keep_share: Callable[[bytes], Path]
    promised: PrivacyEvent
    updates: dict[Address, VerifiedUpdate] = field(default_factory=dict)
    excluded: Files = field(default_factory=dict)

    def take(self, node: NodeId, submission: Submission) -> None:
        """Move a submission to the disk, examine it there, and have its commitment recorded."""
        desk = self.desk
        with desk.log.clock.measure("verify"):
            files = tuple(self.keep(chunk) for chunk in submission.chunks)
            shares = tuple(self.keep_share(sealed) for sealed in submission.sealed_shares)
            stored = StoredUpdate(submission.signed.commitment.hospital, files, shares, submission.signed)
            examined = examine(stored, desk.opening, self.promised, desk.ledger)
        if isinstance(examined, Rejection):
            desk.log.rejected(examined)
            return
        if examined.fault:  # told now: what others send later in the hospital's name must not stand before it
            desk.log.rejected(examined.fault)
        else:
            desk.nodes.bind(node, stored.hospital)
        told = functools.partial(self._keep, examined, submission.report, submission.seconds)  # without its ciphertexts
        if examined.call:
            desk.relay.add(examined.call, told)
        else:
            told(None)

    def _keep(
        self,
        examined: ExaminedUpdate,
        report: TrainingReport | None,
        seconds: dict[str, float],
        refusal: LedgerError | None,
    ) -> None:
        """Verify an update whose commitment is in a block; a verified one joins the round's updates."""
        log, verdict = self.desk.log, verify(examined, refusal, self.desk.ledger)
        if isinstance(verdict, Rejection):
            if verdict is not examined.fault:
                log.rejected(verdict)
            if verdict.reason in REFUSED_WHEN_COMMITTED:
                self.excluded.setdefault(verdict.hospital, examined.stored.chunk_files)
        elif verdict.hospital in self.updates:
            log.rejected(Rejection(verdict.hospital, "AlreadySubmitted", "Its update of this round is already here."))
        else:
            self.updates[verdict.hospital] = verdict
            log.submitted(verdict.hospital, report, seconds)

    def abstain(self, node: NodeId, signed: SignedCommitment) -> None:
        """Have a hospital's signed abstention recorded, so that nobody waits for its update."""
        hospital, roster = signed.commitment.hospital, {entry.address for entry in self.desk.opening.roster}

        def told(refusal: LedgerError | None) -> None:
            why = "It gives no update; why is told among the failures."
            self.desk.log.rejected(
                Rejection(hospital, *(refusal.reason, refusal.what) if refusal else (ABSTAINED, why))
            )

        if is_abstention(signed.commitment, frozenset(roster)):
            self.desk.hand_over(node, signed, hospital, told)


@dataclass(frozen=True)
class TakenCounts:
    """The validation counts that came with a vote: in the clear, or as ciphertexts that are on the disk."""

    plain: PlainCounts | None
    files: tuple[Path, ...]


@dataclass(frozen=True)
class VoteIntake:
    """Votes go to the contract; those that it takes are logged, and the counts that came with them kept.

    Attributes:
        desk: Where it works.
        members: The hospitals whose encrypted counts are added: those that the round's sum includes.
        store: Writes a ciphertext to the disk.
        taken: By hospital: what came with its vote, where the contract takes that, in a trial run or in a block.
    """

    desk: Desk
    members: frozenset[Address]
    store: Callable[[bytes], Path]
    taken: dict[Address, TakenCounts] = field(default_factory=dict)

    def take(self, node: NodeId, ballot: Ballot) -> None:
        """Have a signed vote recorded."""
        desk, vote = self.desk, ballot.signed.vote
        seconds, wrong = ballot.seconds, ballot.wrong_releases  # the ballot's ciphertexts must not wait in memory

        def told(refusal: LedgerError | None) -> None:
            if refusal:
                self.taken.pop(vote.hospital, None)
                desk.log.rejected(Rejection(vote.hospital, refusal.reason, refusal.what))
            else:
                desk.log.voted(vote, seconds, wrong)

        roster = {entry.address for entry in desk.opening.roster}
        if vote.hospital not in roster or vote.round_index != desk.opening.round_index:
            desk.log.rejected(Rejection(UNKNOWN_ADDRESS, "NotOnRoster", "A vote is not this round's or no member's."))
        elif ballot.counts_hash() != vote.counts_hash:
            what = "Validation counts are not those that the vote names."
            desk.log.rejected(Rejection(UNKNOWN_ADDRESS, MALFORMED, what))
        elif vote.hospital in self.taken:
            desk.log.rejected(Rejection(vote.hospital, "AlreadyVoted", "Its vote of this round is already here."))
        elif desk.hand_over(node, ballot.signed, vote.hospital, told):
            self.taken[vote.hospital] = TakenCounts(
                PlainCounts.of(ballot.histogram) if ballot.histogram else None,
                tuple(self.store(chunk) for chunk in ballot.encrypted if vote.hospital in self.members),
            )

    def keep(self, least: int) -> EncryptedCounts:
        """Keep what came with the votes that the contract takes, so that anybody can pool it again.

        Args:
            least: The fewest hospitals whose encrypted counts may be opened together; no smaller sum is kept.

        Returns:
            The sum of the encrypted counts; of none where they are in the clear. Memory holds it and one ballot.
        """
        running = RunningSum()
        for hospital, counts in self.taken.items():
            if counts.files:
                running.add(hospital, tuple(file.read_bytes() for file in counts.files))
        total = running.total()
        chunks = total.chunks if len(total.hospitals) >= least else ()
        self.desk.log.keep_counts(
            RoundCounts(
                {hospital: counts.plain for hospital, counts in self.taken.items() if counts.plain},
                {hospital: _names(counts.files) for hospital, counts in self.taken.items() if counts.files},
                _names(tuple(self.store(chunk) for chunk in chunks)),
            )
        )
        return total


def _names(files: Sequence[Path]) -> tuple[str, ...]:
    """The SHA-256 of ciphertexts on the disk, by which they are named."""
    return tuple(file.name for file in files)
