"""A hospital's side of a round: train -> privatize -> encrypt -> commit, then decrypt -> detect -> vote -> evaluate.

Flower calls `take_part` when a round opens and `judge` when the round's sum can be opened. Between them it calls
`answer`, about the shares of keys that the others dealt, and `release`, for this hospital's part of the sum's key. All
of them work on the hospital's own folder and check what the server tells them against the ledger. The process remembers
nothing between messages, since several hospitals may share it. A hospital answers one message at a time, so that a
message that comes twice leads to one update and one vote.
"""

import functools
import os
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from blockchain.catch_up import MissingAggregates, candidate_model, catch_up
from blockchain.closed_sums import check_opening
from blockchain.consortium.held_keys import HeldKeys
from blockchain.consortium.remembering import checked_standing, remember
from blockchain.identity import Identity
from blockchain.key_sharing import answer_dealings, check_released, deal_keys, encrypt_counts, keep, release_sum
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundOpening, RoundPhase, RoundRecord
from blockchain.own_images import load_images
from blockchain.signing.abstention import sign_abstention
from blockchain.signing.signatures import Verdict, commit, sign_vote
from encryption import encrypt
from fedward.backdoor.detectors import configured_detectors, detect
from fedward.backdoor.inspection import Inspection
from fedward.backdoor.preparing import keep_measures, keep_own_update, prepare_inspection
from fedward.ciphertexts.packing import round_plan
from fedward.ciphertexts.public_polynomials import round_seed
from fedward.dataset.trained_images import note_trained
from fedward.errors import BudgetError, EncryptionError, VerificationError
from fedward.figures.histograms import ScoreHistogram, empty_histogram, histogram
from fedward.files import sha256
from fedward.folders.hospital import Candidate, HospitalFolder, Membership, model_bytes, roster_digest
from fedward.folders.outgoing_log import leaving
from fedward.folders.own_folder import own_folder
from fedward.learning.weight_shapes import ModelSpec
from fedward.messages import wire
from fedward.messages.ballots import Ballot, Counts, ballot_to_records, counts_hash
from fedward.messages.key_sharing import answers_to_records, read_dealt, read_request, release_to_records
from fedward.messages.replies import missing_reply
from fedward.messages.signed import write_signed
from fedward.messages.submissions import Submission, TrainingReport, abstention_reply, submission_to_records
from fedward.privacy.accounting import PrivacyLedger, budget_of
from fedward.privacy.mechanism import expected_event, privatize
from fedward.seeding import public_rng
from fedward.settings import Settings, from_run_config
from fedward.sharing.signed import SentSum
from fedward.sharing.sizes import sealed_share_bytes, share_width
from fedward.sharing.terms import Purpose, purposes
from fedward.timing import Stopwatch
from fedward.types import (
    DecodeFailure,
    DetectorReport,
    GlobalModel,
    ModelUpdate,
    Partition,
    SampledUpdate,
    SignedCommitment,
    SignedVote,
)
from fedward.voting.verdict import SALT_BYTES, accepts, evidence_hash, kept_salt, report_bytes

if TYPE_CHECKING:
    from fedward.learning.model import Classifier

app = ClientApp()

VOTED = (RoundPhase.ACCEPTED, RoundPhase.REJECTED, RoundPhase.ABORTED)
NO_CANDIDATE = b"\xff" * 32  # candidate digest in votes on an aggregate that does not decode: no model's digest


@app.train()
@leaving
def take_part(message: Message, context: Context) -> Message:
    """Answer the opening of a round with a signed, encrypted update, or with the reason why not."""
    return answer_opening(Hospital, message, context)


@app.query("answers")
@leaving
def answer(message: Message, context: Context) -> Message:
    """Answer about the shares that all hospitals dealt, or say why not."""
    with closing(Hospital.open(context)) as hospital, hospital.folder.locked():
        width = share_width(len(purposes(hospital.settings.metrics.encrypted)))
        dealt = read_dealt(message, sealed_share_bytes(width))
        opening, _ = hospital.join_round(dealt.round_index, RoundPhase.OPEN)
        sent = answer_dealings(hospital.folder, hospital.ledger, opening, hospital.identity, dealt, width)
        return Message(answers_to_records(sent), reply_to=message)


@app.query("release")
@leaving
def release(message: Message, context: Context) -> Message:
    """Release this hospital's part of the key of a sum that the ledger has fixed, or say why not."""
    with closing(Hospital.open(context)) as hospital, hospital.folder.locked():
        request = read_request(message)
        phases = VOTED if request.purpose == Purpose.COUNTS else (RoundPhase.VOTING,)
        opening, record = hospital.join_round(request.round_index, *phases)
        sent = release_sum(
            hospital.folder, hospital.ledger, opening, record, hospital.identity, request, hospital.settings
        )
        remember(hospital.folder, hospital.ledger, hospital.identity)
        return Message(release_to_records(sent), reply_to=message)


@app.evaluate()
@leaving
def judge(message: Message, context: Context) -> Message:
    """Answer an aggregate with a signed vote and validation counts, or with the reason why not."""
    return answer_aggregate(Hospital, message, context)


def answer_opening(kind: type["Hospital"], message: Message, context: Context) -> Message:
    """What `take_part` does, for an honest hospital or for another that a simulation has."""
    try:
        with closing(kind.open(context)) as hospital, hospital.folder.locked():
            index, aggregates = wire.read_round(message), wire.read_aggregates(message)
            try:
                submission = make_submission(hospital, index, aggregates)
                reply = Message(submission_to_records(submission), reply_to=message)
            except BudgetError as error:
                reply = abstention_reply(message, error, abstain(hospital, index))
            remember(hospital.folder, hospital.ledger, hospital.identity)
    except MissingAggregates as missing:
        return missing_reply(message, missing.rounds)
    return reply


def answer_aggregate(kind: type["Hospital"], message: Message, context: Context) -> Message:
    """What `judge` does, for an honest hospital or for another that a simulation has."""
    try:
        with closing(kind.open(context)) as hospital, hospital.folder.locked():
            ballot = make_ballot(hospital, wire.read_round(message), wire.read_aggregates(message))
            remember(hospital.folder, hospital.ledger, hospital.identity)
        return Message(ballot_to_records(ballot), reply_to=message)
    except MissingAggregates as missing:
        return missing_reply(message, missing.rounds)


@dataclass(frozen=True)
class Hospital:
    """All that is needed to answer one message, read anew from the hospital's disk for each message."""

    folder: HospitalFolder
    membership: Membership
    settings: Settings
    identity: Identity
    keys: HeldKeys
    ledger: Ledger

    @classmethod
    def open(cls, context: Context) -> "Hospital":
        """Find this node's folder and read it.

        Raises:
            UsageError: this node does not say which folder is its hospital's.
            VerificationError: the server sent other settings than the hospital joined under, or its ledger is another.
            EvidenceError: a file of the folder is missing or damaged.
        """
        settings = from_run_config(context.run_config)
        folder = own_folder(context.node_config, os.environ)
        membership = folder.membership()
        if settings.digest().hex() != membership.settings_digest:
            raise VerificationError(
                f"The server sent other settings than those that {membership.hospital} joined under.",
                "Do not take part; ask the consortium which settings hold.",
            )
        identity = Identity.load(folder.identity)
        ledger = Ledger.attach(folder.ledger_node(), membership.contract, identity, membership.chain_id)
        return cls(folder, membership, settings, identity, HeldKeys(folder), ledger)

    def close(self) -> None:
        """Close the connection to the ledger's node."""
        self.ledger.close()

    @functools.cached_property
    def partition(self) -> Partition:
        """The hospital's images, read when they are first needed: a round that it refuses costs no reading.

        Raises:
            DataError: the file is missing or damaged, or is sealed and does not open.
        """
        return load_images(self.folder, self.settings.image_encryption, self.identity)

    def join_round(self, round_index: int, *phases: RoundPhase) -> tuple[RoundOpening, RoundRecord]:
        """Check that a round is the one that this hospital should work on now; returns what the ledger says of it.

        Raises:
            VerificationError: the ledger is not the one that this hospital joined and last saw, its rules are others
                than those of the settings, another round or phase is current, the round's key is not the latest that
                the hospital took, the roster is not the one that it joined, or the node tells a total weight or
                threshold that does not follow from both.
        """
        standing = checked_standing(self.folder, self.membership, self.ledger, self.settings.ledger, round_index)
        latest, (opening, record) = standing.latest_round, standing.opening_and_round()
        # A decided round is the last but one as soon as its decision opens the next.
        recent = (latest - 1, latest) if record.phase in VOTED else (latest,)
        if round_index not in recent or record.phase not in phases:
            raise VerificationError(
                f"The server asks about round {round_index}, which is {record.phase.name.lower()} on the ledger, "
                f"whose last round is {latest}.",
                "Compare this hospital's checkpoints with the others'.",
            )
        if opening.context_fingerprint != self.keys.fingerprint:
            raise VerificationError(
                f"Round {round_index} is under another key than the latest that {self.membership.hospital} has taken.",
                "Take the dealer's key of this epoch first; if there is none, do not take part.",
            )
        if roster_digest((entry.address, entry.weight) for entry in opening.roster) != self.membership.roster_digest:
            raise VerificationError(
                f"The roster of round {round_index} is not the one that {self.membership.hospital} joined.",
                "Ask the consortium who was added, removed or given another weight.",
            )
        check_opening(opening, self.settings)
        return opening, record

    def seed(self, opening: RoundOpening, purpose: Purpose) -> bytes:
        """The seed of a round's public polynomials."""
        place = (self.ledger.chain_id, self.ledger.contract, opening.round_index, opening.ledger_head)
        return round_seed(*place, purpose.name)

    def classifier(self) -> "Classifier":
        """This process's classifier of the right shape, with whatever weights it last had."""
        from fedward.learning.model import shared_classifier  # TensorFlow is loaded only by messages that need it

        spec = ModelSpec(self.settings.model.name, self.settings.data.image_size, len(self.partition.findings))
        return shared_classifier(spec)

    def train(self, model: GlobalModel, round_index: int) -> ModelUpdate | SampledUpdate:
        """Stage 2, train."""
        from fedward.local_update import local_update  # see `classifier`

        return local_update(self.partition, model, self.classifier(), self.settings, round_index)

    def detect(self, inspection: Inspection) -> tuple[DetectorReport, ...]:
        """Stage 9, detect."""
        return detect(inspection, configured_detectors(self.settings.detectors))


def make_submission(hospital: Hospital, round_index: int, aggregates: wire.Aggregates) -> Submission:
    """Train, privatize, encrypt and commit: stages 2 to 5. A round that was answered before gets the same bytes again.

    Guarantees:
        1. The privacy budget is charged after training and before the update is used for anything. So every outcome
           costs, also an update that is refused.
        2. When two messages ask for the same round at once, the hospital trains, is charged and sends once: the
           caller holds the folder's lock.
    """
    settings, clock = hospital.settings, Stopwatch()
    opening, record = hospital.join_round(round_index, RoundPhase.OPEN)
    stored = hospital.folder.load_submission(round_index)
    if stored and stored.signed.commitment.ledger_head == opening.ledger_head:
        return Submission(stored.signed, stored.chunks, stored.sealed_shares, report=None, seconds={})
    check_released(hospital.folder, hospital.ledger, opening, record)
    model = _catch_up(hospital, opening, aggregates)
    plan = round_plan(len(model.weights), len(opening.roster), settings)
    event, spending = expected_event(settings.privacy), PrivacyLedger(hospital.folder.privacy_record)
    if event.mode != "none":
        declared = hospital.ledger.privacy_events(hospital.identity.address)
        spending.check_whole({index for index, release in declared.items() if release.mode != "none"})
    spending.check(event, budget_of(settings.privacy))
    rounding = public_rng("round", settings.training.seed, hospital.membership.hospital, round_index)

    note_trained(hospital.folder.path, hospital.partition.train.images)
    with clock.measure("train"):
        update = hospital.train(model, round_index)
    with clock.measure("privatize"):
        spending.charge(round_index, event, opening.ledger_head)
        private = privatize(update, settings.privacy)
    keep_own_update(hospital.folder, round_index, private.delta)
    with clock.measure("encrypt"):
        weight = hospital.membership.weight
        dealing = deal_keys(hospital.folder, hospital.ledger, opening, hospital.identity, settings.metrics.encrypted)
        key, seed = dealing.keys[Purpose.UPDATES], hospital.seed(opening, Purpose.UPDATES)
        encrypted = encrypt(private, weight, opening.enrolled_total, plan, key, seed, rounding)
        key.forget()
    with clock.measure("commit"):
        signed = commit(encrypted, dealing.root(), opening, hospital.ledger, hospital.identity)
        keep(hospital.folder, signed, encrypted, dealing)
    # The training loss is computed from patients' images without noise: it leaves only where privacy is off.
    loss = update.loss if isinstance(update, ModelUpdate) and settings.privacy.mode == "none" else None
    report = TrainingReport(loss, encrypted.saturated)
    return Submission(signed, encrypted.chunks, dealing.sealed, report, _tellable(clock, settings))


def _catch_up(hospital: Hospital, opening: RoundOpening, aggregates: wire.Aggregates) -> GlobalModel:
    """The model that a round starts from."""
    work = (hospital.folder, hospital.ledger, hospital.keys, hospital.settings)
    return catch_up(*work, opening.base_id, aggregates, before=opening.round_index)


def _tellable(clock: Stopwatch, settings: Settings) -> dict[str, float]:
    """Seconds by stage, without those that tell what the settings hide: who was sampled, how many images there are."""
    hidden = {"train", "privatize"} if settings.privacy.mode != "none" else set()
    if settings.metrics.encrypted:
        hidden |= {"detect", "evaluate"}
    return {stage: seconds for stage, seconds in clock.seconds.items() if stage not in hidden}


def abstain(hospital: Hospital, round_index: int) -> SignedCommitment:
    """Sign that this hospital gives no update, so that nobody waits for it: what it does once its budget is spent."""
    opening, _ = hospital.join_round(round_index, RoundPhase.OPEN)
    return sign_abstention(opening, hospital.membership.weight, hospital.ledger, hospital.identity)


def make_ballot(hospital: Hospital, round_index: int, aggregates: wire.Aggregates) -> Ballot:
    """Decrypt, detect, vote and evaluate: stages 8 to 11.

    An aggregate that is on the ledger but decodes to no model gets a vote against it.
    """
    settings, clock = hospital.settings, Stopwatch()
    opening, record = hospital.join_round(round_index, RoundPhase.VOTING)
    check_released(hospital.folder, hospital.ledger, opening, record)
    model = _catch_up(hospital, opening, aggregates)

    with clock.measure("decrypt"):
        candidate, wrong = _decrypt(hospital, model, opening, record, aggregates)
    if isinstance(candidate, DecodeFailure):
        # No encrypted ones: a server chooses for whom a sum decodes, and empty counts would leave others' alone.
        counts = Counts(None if settings.metrics.encrypted else empty_histogram(len(hospital.partition.findings)))
        signed = _vote(hospital, record, candidate, NO_CANDIDATE, counts)
        return Ballot(signed, counts.histogram, _tellable(clock, settings), counts.encrypted, wrong)
    work = (hospital.folder, hospital.partition, hospital.classifier)
    place = next(entry.index for entry in opening.roster if entry.address == hospital.identity.address)
    inspection = prepare_inspection(*work, model, candidate, settings.training.rounds, place)
    with clock.measure("detect"):
        reports = hospital.detect(inspection)
    with clock.measure("evaluate"):
        counts = _counts(hospital, opening, histogram(inspection.candidate_logits, inspection.validation.labels), clock)
    with clock.measure("vote"):
        hospital.folder.save_candidate(candidate)
        keep_measures(hospital.folder, candidate, inspection)
        signed = _vote(hospital, record, reports, sha256(model_bytes(candidate)), counts)
    return Ballot(signed, counts.histogram, _tellable(clock, settings), counts.encrypted, wrong)


def _counts(hospital: Hospital, opening: RoundOpening, counts: ScoreHistogram, clock: Stopwatch) -> Counts:
    """A hospital's validation counts; where they are encrypted, nothing else tells of them."""
    if not hospital.settings.metrics.encrypted:
        return Counts(counts)
    with clock.measure("encrypt"):
        # The server cannot cap counts that it does not see.
        capped, seed = counts.capped(hospital.membership.weight), hospital.seed(opening, Purpose.COUNTS)
        chunks = encrypt_counts(hospital.folder, opening, capped, seed)
    return Counts(None, chunks)


def _vote(
    hospital: Hospital,
    record: RoundRecord,
    found: tuple[DetectorReport, ...] | DecodeFailure,
    digest: bytes,
    counts: Counts,
) -> SignedVote:
    """Sign a vote and keep it with its evidence; asked again, sign the same vote with the same salt.

    Raises:
        VerificationError: this hospital has signed another vote on this round; that one and its evidence stay.
    """
    index, sharing = record.round_index, hospital.folder.sharing
    salt = kept_salt(hospital.folder.load_report(index)) or os.urandom(SALT_BYTES)
    content = report_bytes(index, found, salt)
    counted = counts_hash(counts.histogram, counts.encrypted)
    verdict = Verdict(accepts(found), digest, counted, evidence_hash(content))
    signed = sign_vote(verdict, record, hospital.ledger, hospital.identity)
    if sharing.vote(index) not in (None, write_signed(signed)):
        raise VerificationError(
            f"This hospital has voted otherwise on round {index} before.",
            "It votes once; ask the server what it sent the first time.",
        )
    hospital.folder.save_report(index, content)  # before the vote: a crash between them must not lose the salt
    sharing.vote_once(index, write_signed(signed))
    return signed


def _decrypt(
    hospital: Hospital, model: GlobalModel, opening: RoundOpening, record: RoundRecord, aggregates: wire.Aggregates
) -> tuple[Candidate | DecodeFailure, tuple[int, ...]]:
    """The candidate, or why there is none: the aggregate is the one on the ledger, but does not decode.

    With it the places of hospitals whose releases were wrong.
    """
    sent = aggregates.get(opening.round_index, SentSum((), ()))
    try:
        return candidate_model(model, sent, opening, record, hospital.keys, hospital.settings)
    except EncryptionError as error:
        return DecodeFailure(str(error)), ()
