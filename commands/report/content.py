"""What a run's report says, as plain values for its template."""

from collections.abc import Mapping
from typing import Any

from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.ledger.events import (
    RoundAborted,
    RoundAccepted,
    RoundEvent,
    RoundRejected,
    SubmissionsClosed,
    UpdateCommitted,
    VoteCast,
)
from commands.report.data_by_hospital import data_by_hospital
from commands.view.chain import Chain
from commands.view.shelf import Run
from commands.view.telling import Names, left_out, text_of
from fedward.figures.reporting import epsilon_text, positive_text
from fedward.figures.score_rows import baseline_rows, figure

_FIGURES = {
    "auc": "AUC",
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall (sensitivity)",
    "specificity": "Specificity",
    "f1": "F1",
}
_ENDS = {RoundAccepted: "accepted", RoundRejected: "rejected", RoundAborted: "aborted"}


def page_values(run: Run, summary: Mapping[str, Any], chain: Chain) -> dict[str, Any]:
    """All values that the template shows.

    Args:
        run: A finished run.
        summary: What its `summary.json` holds.
        chain: Its ledger.
    """
    names, pooled = Names(run), summary["scores"]["pooled"]
    return {
        "run_id": run.name,
        "created": run.record.created,
        "positive": positive_text(summary["model"]),
        "headline": _headline(summary, pooled),
        "details": _details(run, summary),
        "data": data_by_hospital(run, summary),
        "training": _training(run),
        "figures": figure_rows(pooled),
        "findings": _by_finding(summary),
        "baselines": baseline_rows(summary["baselines"]),
        "privacy": _privacy(run, summary),
        "rounds": [round_values(line, chain.round(line["round"]), names) for line in run.rounds],
        "hospitals": [str(member.hospital) for member in run.record.roster],
        "objections": summary["objections"],
        "attack": summary["attack"],
        "named": summary["attribution"]["named"],
        "ledger": _ledger(run, summary),
        "settings": run.record.settings,
        "drawn": run.record.settings["data"]["source"] == "synthetic",
    }


def _headline(summary: Mapping[str, Any], pooled: dict[str, Any]) -> list[tuple[str, str]]:
    """The figures that stand first."""
    rounds, privacy = summary["rounds"], summary["privacy"]
    return [
        (figure(pooled, "auc"), "AUC on test images"),
        (figure(pooled, "accuracy"), "accuracy"),
        (f"{rounds['accepted']} of {rounds['opened']}", "rounds accepted"),
        (str(summary["hospitals"]), "hospitals"),
        ("none" if privacy["epsilon"] is None else epsilon_text(privacy), "differential privacy"),
    ]


def _details(run: Run, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Model details: what it is, and by what it is known."""
    model, findings = summary["model"], summary["scores"]["findings"]
    thresholds = ", ".join(f"{name} {figure(found, 'threshold')}" for name, found in findings.items())
    size = run.record.settings["data"]["image-size"]
    versions = ", ".join(f"{name} {version}" for name, version in run.record.versions.items())
    return [
        ("Architecture", f"{model['name']}, {model['parameters']:,} weights"),
        ("Input", f"a gray chest X-ray of {size} by {size} pixels, values 0 to 1"),
        ("Output", f"a score of each finding: {', '.join(run.record.findings)}"),
        ("Told from", ", ".join(run.record.class_names)),
        ("Decision thresholds", f"{thresholds}; chosen on validation images"),
        ("Trained by", f"federated learning, begun {run.record.created}"),
        ("Made with", versions),
        ("Digest of the weights (SHA-256)", model["weights_sha256"]),
        ("Digest of the initial model", run.record.initial_model_digest),
        ("Digest of the agreed settings", run.record.settings_digest),
    ]


def _training(run: Run) -> list[tuple[str, str]]:
    """The settings of training that a reader asks for first; all of them are listed below."""
    settings = run.record.settings
    wanted = {
        "Rounds": ("training", "rounds"),
        "Local epochs": ("training", "local-epochs"),
        "Batch size": ("training", "batch-size"),
        "Learning rate": ("training", "learning-rate"),
        "Seed": ("training", "seed"),
        "Server optimizer": ("server-optimizer", "name"),
        "Detectors": ("detectors", "names"),
        "Encryption preset": ("encryption", "preset"),
        "Image encryption": ("image-encryption", "method"),
    }
    # Settings of earlier versions lack some.
    return [(name, str(settings.get(table, {}).get(key, "-"))) for name, (table, key) in wanted.items()]


def figure_rows(scores: dict[str, Any]) -> list[tuple[str, str]]:
    """Each figure of a set of images, with its interval or why it has none."""
    rows = [(title, figure(scores, name, with_interval=True)) for name, title in _FIGURES.items()]
    rows += [("Brier score", figure(scores, "brier")), ("Calibration error (ECE)", figure(scores, "ece"))]
    return [("Images", f"{scores['n']} of {scores['patients']} patients"), *rows]


def _by_finding(summary: Mapping[str, Any]) -> list[dict[str, str]]:
    """Of several findings, each by itself."""
    findings = summary["scores"]["findings"]
    if len(findings) < 2:
        return []
    wanted = ("auc", "recall", "specificity")
    return [
        {"name": name} | {key: figure(found, key, with_interval=True) for key in wanted}
        for name, found in findings.items()
    ]


def _privacy(run: Run, summary: Mapping[str, Any]) -> dict[str, Any]:
    """What was promised, and what of it each hospital has spent."""
    privacy, settings = summary["privacy"], run.record.settings["privacy"]
    claims = RunEvidence(run.path).claims()
    return {
        "mode": privacy["mode"],
        "unit": privacy["unit"],
        "epsilon": None if privacy["epsilon"] is None else epsilon_text(privacy),
        "settings": [] if privacy["mode"] == "none" else list(settings.items()),
        "spent": [
            {
                "hospital": str(member.hospital),
                "epsilon": f"{claims.epsilons[member.hospital]:.4f}",
                "releases": claims.releases.get(member.hospital, "-"),
            }
            for member in run.record.roster
            if member.hospital in claims.epsilons
        ],
    }


def round_values(line: Mapping[str, Any], events: tuple[RoundEvent, ...], names: Names) -> dict[str, Any]:
    """One round: how it ended, who committed and voted what, and where the ledger says so."""
    end = next((event for event in events if type(event) in _ENDS), None)
    closed = next((event for event in events if isinstance(event, SubmissionsClosed)), None)
    votes = [event for event in events if isinstance(event, VoteCast)]
    return {
        "index": line["round"],
        "phase": line["phase"],
        "why": text_of(end.reason) if isinstance(end, RoundAborted) else "",
        "submitted": line["submitted"],
        "train_loss": _digits(line["train_loss"]),
        "val_loss": _digits(line["val_loss"]),
        "val_auc": _digits(line["val_auc"]),
        "set_aside": [f"{each['hospital']}: {each['reason']}" for each in line["rejections"]]
        + [str(each) for each in line["failures"]],
        "left_out": left_out(events, names),
        "committed": [
            (names.of(event.hospital), event.update_root.hex())
            for event in events
            if isinstance(event, UpdateCommitted)
        ],
        "votes": [(names.of(vote.hospital), vote.accept, vote.evidence_hash.hex()) for vote in votes],
        "supporters": sum(vote.accept for vote in votes),
        "opponents": [names.of(vote.hospital) for vote in votes if not vote.accept],
        "aggregate": closed.aggregate_hash.hex() if closed else "",
        "candidate": end.candidate_digest.hex() if isinstance(end, RoundAccepted) else "",
        "block": end.block if end else None,
        "transaction": end.transaction_hash.hex() if end else "",
    }


def _ledger(run: Run, summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Where the evidence is, and who is who on it."""
    ledger, record = summary["ledger"], run.record
    return [
        ("Chain", str(ledger["chain_id"])),
        ("Contract", ledger["contract"]),
        ("Block 0", record.genesis_hash),
        ("Height", str(ledger["height"])),
        ("Ledger head", ledger["head"]),
        ("Submissions and votes", f"{ledger['submissions']} and {ledger['votes']}"),
        *((str(member.hospital), f"{member.address}, {member.weight:,} training images") for member in record.roster),
        *((f"witness {place}", str(address)) for place, address in enumerate(record.witnesses, 1)),
    ]


def _digits(value: Any) -> str:
    return "-" if value is None else f"{value:.4f}"
