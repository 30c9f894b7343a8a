"""The end of a run at one hospital: the last model, a signed checkpoint, checked validation counts, its test images.

Each function takes one hospital's own folder. A simulation calls them for one hospital after the other and compares the
results; on separate hosts every hospital calls them itself.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blockchain.catch_up import MissingAggregates, catch_up
from blockchain.closed_sums import least_included
from blockchain.consortium.held_keys import HeldKeys
from blockchain.consortium.remembering import check_remembered, remember
from blockchain.identity import Identity
from blockchain.key_sharing import forget_rounds
from blockchain.ledger.ledger import Ledger
from blockchain.own_images import image_key, load_images
from blockchain.pooled_counts import check_counts_kept, open_counts
from fedward.adversarial.configured import configured_encryption
from fedward.adversarial.victim import Victim
from fedward.ciphertexts.encrypted_counts import EncryptedCounts
from fedward.cloaking.own_figures import measure_encryption
from fedward.cloaking.own_picture import draw
from fedward.dataset.at_rest import write_sealed
from fedward.errors import DataError
from fedward.figures.histograms import ScoreHistogram
from fedward.files import sha256, write_atomic
from fedward.folders.arrays import PRIVATE
from fedward.folders.ciphertexts import CiphertextSource
from fedward.folders.hospital import HospitalFolder, model_bytes
from fedward.folders.round_counts import RoundCounts
from fedward.learning.model import Classifier
from fedward.privacy.accounting import PrivacyLedger
from fedward.progress import Progress, silent
from fedward.settings import Settings
from fedward.sharing.signed import SentRelease, SentSum
from fedward.types import GlobalModel, ImageSet, PrivacyEvent


@dataclass(frozen=True)
class FinishedHospital:
    """What a hospital has at the end of a run.

    Attributes:
        model: The model in force.
        spent: Every release that its privacy record lists.
    """

    model: GlobalModel
    spent: tuple[PrivacyEvent, ...]

    def model_digest(self) -> bytes:
        """32 bytes; equal at hospitals that hold the same model."""
        return sha256(model_bytes(self.model))


def finish(
    folder: HospitalFolder, ledger: Ledger, settings: Settings, aggregate_of: Callable[[int], SentSum]
) -> FinishedHospital:
    """Catch up to the model in force, check and sign where the ledger ends, and forget the rounds' keys.

    Args:
        folder: The hospital's own.
        ledger: All rounds on it are decided.
        settings: The settings that the hospital joined under.
        aggregate_of: Fetches a round's aggregate, with the releases for it, from the server; its hash is compared with
            the ledger.

    Raises:
        VerificationError: the ledger is not the one that the hospital saw, or an aggregate is not the ledger's.
        EvidenceError: a file of the folder is missing or damaged, or an aggregate cannot be had.
        BudgetError: the privacy record is damaged.
        LedgerError: the node cannot be reached.
    """
    keys, base_id = HeldKeys(folder), ledger.base_id()
    try:
        model = catch_up(folder, ledger, keys, settings, base_id, {})
    except MissingAggregates as missing:
        aggregates = {index: aggregate_of(index) for index in missing.rounds}
        model = catch_up(folder, ledger, keys, settings, base_id, aggregates)
    check_remembered(folder, ledger)
    remember(folder, ledger, Identity.load(folder.identity))
    forget_rounds(folder)
    return FinishedHospital(model, tuple(PrivacyLedger(folder.privacy_record).spent()))


def validation_counts(
    folder: HospitalFolder,
    kept: RoundCounts,
    source: CiphertextSource,
    releases: Callable[[], Sequence[SentRelease]],
    round_index: int,
    findings: int,
    ledger: Ledger,
    settings: Settings,
) -> ScoreHistogram | None:
    """A round's pooled validation counts, after a check that they are those that the votes on the ledger name.

    Args:
        folder: The hospital's own.
        kept: What the server kept of the counts.
        source: Where the ciphertexts of encrypted ones are.
        releases: Fetches what hospitals released for the encrypted sum; called only where there is one.
        round_index: The round.
        findings: Number of findings.
        ledger: Where roster and votes are recorded.
        settings: The settings that the hospital joined under.

    Returns:
        The counts, opened where they are encrypted; None where there are none, or too few hospitals' to be opened.

    Raises:
        EvidenceError: counts are missing, or the hospital never took the key of that round's epoch.
        VerificationError: the server kept other counts than the votes name.
        EncryptionError: the encrypted sum does not open to counts that honest hospitals can have.
    """
    check_counts_kept(kept, round_index, source, ledger)
    opening = ledger.opening(round_index)
    if not settings.metrics.encrypted:
        return kept.pooled({entry.address: entry.weight for entry in opening.roster})
    if not kept.total:
        return None
    counts = EncryptedCounts(tuple(kept.encrypted), tuple(source.chunk(name) for name in kept.total))
    opener, least = HeldKeys(folder), least_included(opening, settings)
    return open_counts(counts, releases(), round_index, findings, least, ledger, opener)


def own_test_images(folder: HospitalFolder, settings: Settings) -> ImageSet:
    """The hospital's own test split.

    Raises:
        DataError: the partition is missing or damaged, or is sealed and does not open.
    """
    return load_images(folder, settings.image_encryption).test


def write_image_figures(
    folder: HospitalFolder,
    settings: Settings,
    classifier: Classifier,
    thresholds: tuple[float, ...],
    report: Progress = silent,
) -> str | None:
    """Write what image encryption is worth at this hospital: figures in the clear, and a picture that is sealed.

    Args:
        folder: The hospital's own.
        settings: They say whether images are encrypted, and how.
        classifier: With the run's last weights.
        thresholds: Scores from which on a finding is called, one a finding.
        report: Told which stage is done.

    Returns:
        Why there is nothing to write; None where it was written, or settings do not ask for it.

    Raises:
        DataError: the partition is missing or damaged, or does not open.
        UsageError: the hospital's keys cannot be read.
        ResourceError: the disk is full.

    Guarantees:
        1. Of the images, nothing is written in the clear: the figures are means and shares.
    """
    encryption = configured_encryption(settings.image_encryption)
    if encryption is None:
        return None
    identity = Identity.load(folder.identity)
    partition = load_images(folder, settings.image_encryption, identity)
    victim, seed = Victim(classifier, thresholds), settings.training.seed
    try:
        figures, shown = measure_encryption(partition, victim, encryption, seed, report)
    except DataError as error:
        return error.what
    write_atomic(folder.image_figures, (json.dumps(figures, indent=2) + "\n").encode(), PRIVATE)
    write_sealed(folder.sealed_picture, draw(shown, encryption.name), image_key(partition.hospital, identity))
    return None
