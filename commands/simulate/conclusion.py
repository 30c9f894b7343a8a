"""The end of a simulated run: models compared, test split scored, and summary, curves and model file written."""

import time
from collections.abc import Sequence
from typing import Any

from blockchain.consortium.remembering import gather_trust
from blockchain.leading.leaving_out import DUE
from blockchain.ledger.events import UpdateCommitted
from blockchain.ledger.ledger import Ledger
from blockchain.run_end import FinishedHospital, finish, own_test_images, write_image_figures
from commands import console
from commands.simulate import baselines
from commands.simulate.checked_figures import with_figures
from commands.simulate.objections import attack_facts, attribution_facts, gather_objections
from encryption import summarize as summarize_encryption
from fedward import settings as setting
from fedward.ciphertexts.packing import round_plan
from fedward.errors import VerificationError
from fedward.figures.histograms import UNDECIDED
from fedward.figures.plots import plot_all, plot_learning_curves
from fedward.figures.reporting import RunFacts, summarize, write_summary
from fedward.figures.scores import Scores, score, score_findings
from fedward.files import parse_json, read_file
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.learning.digest import weights_digest
from fedward.learning.model import Classifier
from fedward.learning.model_file import save_model
from fedward.learning.stored_model import ModelCard
from fedward.privacy.accounting import epsilon
from fedward.settings import Settings
from fedward.timing import Stopwatch
from fedward.types import HospitalId, ImageSet, Vector

_MOST_BYTES = 64 * 2**20  # of a manifest


def conclude(folder: SimulationFolder, ledger: Ledger, clock: Stopwatch, started: float) -> dict[str, Any]:
    """Write what a finished run leaves behind; returns what `summary.json` holds.

    Args:
        folder: The run's folder; all rounds are decided.
        ledger: The run's ledger.
        clock: Holds the times that were measured before the rounds.
        started: `time.perf_counter()` at the beginning.

    Raises:
        VerificationError: the hospitals ended with different models, or the ledger is not the one that they saw.
    """
    record = folder.server.load_record()
    settings = setting.from_run(record.settings)
    rounds = with_figures(folder, record, ledger, settings)
    if not any(entry["phase"] == "accepted" for entry in rounds):
        console.warn("No round was accepted, so the model is the initial one: see hospitals/*/reports.")
    finished = _finish_all(folder, record, ledger, settings)
    weights = finished[0].model.weights
    gather_trust([(member, folder.hospital(member.hospital)) for member in record.roster]).save(folder.trust)
    card = _card(record, settings, rounds)
    classifier = Classifier(card.spec, settings.training.seed)
    classifier.set_weights(weights)
    save_model(folder.model, classifier, card)
    own = {member.hospital: own_test_images(folder.hospital(member.hospital), settings) for member in record.roster}
    test = ImageSet.joined(list(own.values()))
    logits = classifier.logits(test.pixels())
    scores = score(test, logits, card.thresholds)
    if len(test):
        plot_all(folder.path, test, logits, scores, record.findings, card.thresholds)
    plot_learning_curves(folder.path / "learning_curves.png", rounds, record.findings)
    for entry in rounds:
        clock.add(entry["timing_s"])
    facts = RunFacts(
        run_id=record.run_id,
        hospitals=len(record.roster),
        model={
            "name": card.name,
            "parameters": record.parameters,
            "weights_sha256": weights_digest(weights).hex(),
            "positive": list(record.findings),
            "class_names": list(record.class_names),
        },
        phases=[ledger.round(index).phase.name.lower() for index in range(1, ledger.latest_round() + 1)],
        rejections=sum(each["reason"] not in DUE for entry in rounds for each in entry["rejections"]),
        scores=_all_scores(own, scores, test, logits, card),
        baselines=baselines.summarize(folder, scores.as_dict()),
        privacy=_privacy(finished, settings),
        encryption=_encryption(ledger, record, settings),
        ledger=_ledger_facts(ledger, settings),
        data=_data(folder),
        attack=attack_facts(folder, record.roster),
        attribution=attribution_facts(folder, record.roster, ledger, settings),
        objections=gather_objections(folder, record.roster, ledger),
        seconds=clock.seconds | {"total": time.perf_counter() - started},
    )
    summary = summarize(facts)
    write_summary(folder.summary, summary)
    _write_image_figures(folder, record, settings, classifier, card)
    return summary


def _write_image_figures(
    folder: SimulationFolder, record: RunRecord, settings: Settings, classifier: Classifier, card: ModelCard
) -> None:
    """Let every hospital measure its image encryption, one after the other, where the settings encrypt images."""
    if not settings.image_encryption.at_rest:
        return
    for member in record.roster:
        own = folder.hospital(member.hospital)
        with console.bar(f"Image encryption of {member.hospital}") as report:
            reason = write_image_figures(own, settings, classifier, card.thresholds, report)
        if reason:
            console.warn(f"No figures of image encryption: {reason}")
    console.note(f"Of image encryption: {folder.hospitals}/*/image-encryption.json; its picture opens by `unseal`.")


def _finish_all(
    folder: SimulationFolder, record: RunRecord, ledger: Ledger, settings: Settings
) -> list[FinishedHospital]:
    """Finish the run at every hospital, in roster order, and compare their models."""
    finished = [
        finish(folder.hospital(member.hospital), ledger, settings, folder.server.load_sum) for member in record.roster
    ]
    if len({hospital.model_digest() for hospital in finished}) > 1:
        shown = ", ".join(
            f"{member.hospital} {hospital.model_digest().hex()[:8]}"
            for member, hospital in zip(record.roster, finished, strict=True)
        )
        raise VerificationError(f"The hospitals ended with different models: {shown}.", "Do not use any of them.")
    return finished


def _data(folder: SimulationFolder) -> dict[str, Any]:
    """What the run's manifest says of the images, in counts."""
    content = read_file(folder.path / "manifest.json", _MOST_BYTES, "The manifest", "Preprocess the images again.")
    manifest = parse_json(content)
    return {
        "layout": manifest.get("layout"),
        "positive": manifest.get("positive", {}),
        "patients": manifest.get("patients"),
        "told_by": manifest.get("patient_ids", {}).get("told_by", {}),
        "left_out": manifest.get("left_out", {}),
        "partly_used": manifest.get("partly_used", {}),
    }


def _card(record: RunRecord, settings: Settings, rounds: list[dict[str, Any]]) -> ModelCard:
    """The model's card; its thresholds are those calibrated in the last accepted round."""
    calibrated = [entry["thresholds"] for entry in rounds if entry["phase"] == "accepted"]
    if calibrated and not calibrated[-1]:
        console.warn(f"Of the last accepted round there are no validation figures; the threshold is {UNDECIDED}.")
    thresholds = calibrated[-1] if calibrated and calibrated[-1] else [UNDECIDED] * len(record.findings)
    return ModelCard.of(settings, record.findings, record.class_names, thresholds)


def _all_scores(
    own: dict[HospitalId, ImageSet], scores: Scores, test: ImageSet, logits: Vector, card: ModelCard
) -> dict[str, Any]:
    """The pooled figures, those of each hospital's own test images, and those of each finding."""
    hospitals, start = {}, 0
    for hospital, images in own.items():
        hospitals[hospital] = score(images, logits[start : start + len(images)], card.thresholds).as_dict()
        start += len(images)
    return {
        "pooled": scores.as_dict(),
        "hospitals": hospitals,
        "findings": score_findings(test, logits, card.thresholds, card.findings),
    }


def _privacy(finished: Sequence[FinishedHospital], settings: Settings) -> dict[str, Any]:
    """Mode, unit and the largest epsilon that any hospital has spent."""
    epsilons = [value for value in (epsilon(hospital.spent) for hospital in finished) if value is not None]
    units = {event.unit for hospital in finished for event in hospital.spent if event.mode != "none"}
    return {
        "mode": settings.privacy.mode,
        "unit": units.pop() if units else None,
        "epsilon": max(epsilons) if epsilons else None,
        "delta": settings.privacy.delta if epsilons else None,
    }


def _encryption(ledger: Ledger, record: RunRecord, settings: Settings) -> dict[str, Any]:
    """Facts of the packing plan, with the size of the updates that the hospitals committed to."""
    plan = round_plan(record.parameters, len(ledger.opening(ledger.latest_round()).roster), settings)
    # The largest: a hospital without budget abstains, and commits to a few bytes in place of an update.
    committed = max((event.update_bytes for event in ledger.events(UpdateCommitted)), default=0)
    return dict(summarize_encryption(plan, committed, ledger.latest_round()))


def _ledger_facts(ledger: Ledger, settings: Settings) -> dict[str, Any]:
    """Where the ledger stands at the end."""
    head = ledger.head()
    return {
        "chain_id": settings.ledger.chain_id,
        "contract": ledger.contract,
        "height": head.height,
        "head": head.ledger_head.hex(),
        "submissions": ledger.submission_count(),
        "votes": ledger.vote_count(),
    }
