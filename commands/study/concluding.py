"""The end of a study at one hospital: its model as a file, its trust file, and the scores on its own test images."""

import json
from contextlib import closing
from typing import Any

from blockchain.consortium.key_exchange import check_ledger
from blockchain.consortium.remembering import own_trust
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundPhase
from blockchain.run_end import finish, own_test_images, write_image_figures
from commands import console
from commands.agree.agreed_roster import vouched_for
from commands.passwords import use_password_of
from fedward.errors import EvidenceError, UsageError
from fedward.figures.histograms import UNDECIDED
from fedward.figures.scores import score
from fedward.files import write_atomic
from fedward.hosts.hospital_kit import HospitalKit
from fedward.learning.digest import weights_digest
from fedward.learning.model import Classifier
from fedward.learning.model_file import save_model
from fedward.learning.stored_model import ModelCard
from fedward.privacy.accounting import epsilon
from fedward.sharing.signed import SentSum

ENDED = (RoundPhase.ACCEPTED, RoundPhase.REJECTED, RoundPhase.ABORTED)


def conclude_hospital(kit: HospitalKit, as_json: bool) -> None:
    """Write what a hospital keeps of a study: model.keras, trust.json and summary.json in its kit.

    Raises:
        UsageError: a round is running.
        VerificationError: the ledger or its roster is not the one that this hospital agreed to and last saw.
        EvidenceError: this hospital missed the last accepted round, or has agreed to no roster.
        LedgerError: the server cannot be reached.
    """
    use_password_of(kit.path)
    project, folder = kit.load_project(), kit.hospital
    membership, identity = folder.membership(), Identity.load(folder.identity)
    attached = Ledger.attach(folder.ledger_node(), membership.contract, identity, membership.chain_id)
    with folder.locked(), closing(attached) as ledger:
        check_ledger(folder, membership, ledger)
        phases = [ledger.round(index).phase for index in range(1, ledger.latest_round() + 1)]
        if phases and phases[-1] in (RoundPhase.OPEN, RoundPhase.VOTING):
            raise UsageError(
                f"Round {len(phases)} is running: this hospital's part of it is not forgotten before its end.",
                "Conclude when the study is done, or stopped.",
            )
        done = finish(folder, ledger, project.settings, _not_here)
        height = ledger.head().height
    write_trust(kit)
    findings = project.study.findings
    # Validation counts are at the server, so no threshold is calibrated here.
    card = ModelCard.of(project.settings, findings, project.study.class_names, (UNDECIDED,) * len(findings))
    classifier = Classifier(card.spec, project.settings.training.seed)
    classifier.set_weights(done.model.weights)
    save_model(kit.path / "model.keras", classifier, card)
    test = own_test_images(folder, project.settings)
    found = score(test, classifier.logits(test.pixels()), card.thresholds)
    summary: dict[str, Any] = {
        "study": project.study.name,
        "hospital": membership.hospital,
        "rounds": {phase.name.lower(): phases.count(phase) for phase in ENDED},
        "ledger_height": height,
        "weights_sha256": weights_digest(done.model.weights).hex(),
        "epsilon": epsilon(done.spent),
        "test": found.as_dict(),
    }
    write_atomic(kit.path / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    if project.settings.image_encryption.at_rest:
        with console.bar("Image encryption") as report:
            reason = write_image_figures(folder, project.settings, classifier, card.thresholds, report)
        if reason:
            console.warn(f"No figures of image encryption: {reason}")
    if as_json:
        console.data(summary)
        return
    console.out.print(f"Model:          {kit.path / 'model.keras'}", soft_wrap=True)
    console.out.print(f"Weights' hash:  {summary['weights_sha256']}  (the same at every hospital)", soft_wrap=True)
    auc = found.as_dict()["auc"]
    shown = "not defined, for they are of one class" if auc is None else f"{auc:.4f}"
    console.out.print(f"AUC on this hospital's {len(test)} test images: {shown}")


def write_trust(kit: HospitalKit) -> None:
    """Write what this hospital vouches for, from its own folder alone: ledger, hospitals, and what it saw.

    Raises:
        EvidenceError: it has agreed to no roster, or its folder is damaged.
        VerificationError: its list of rosters is not the one that it agreed to.
    """
    path = kit.path / "trust.json"
    own_trust(kit.hospital, vouched_for(kit)).save(path)
    console.note(f"For an auditor: {path}")


def _not_here(round_index: int) -> SentSum:
    """A hospital that missed a round gets its sum with the next round, and not from here."""
    raise EvidenceError(
        f"This hospital missed round {round_index}.", "Keep it running for one more round, which brings it."
    )
