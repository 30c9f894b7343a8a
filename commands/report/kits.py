"""What the report of a party on a host of its own says: what its kit holds, and in words what it does not hold."""

from collections.abc import Mapping
from typing import Any

from blockchain.consortium.remembering import own_trust
from commands.agree.agreed_roster import vouched_for
from commands.report.content import figure_rows, round_values
from commands.report.data_by_hospital import LEAST
from commands.view.following import whole_ledger
from commands.view.shelf import read_run
from commands.view.telling import Names
from fedward.files import parse_json, read_file
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Project
from fedward.hosts.server_kit import ServerKit
from fedward.privacy.accounting import PrivacyLedger, epsilon
from fedward.settings import to_tables

_MOST_BYTES = 64 * 2**20  # of a summary

_NOT_AT_SERVER = (
    "The model, its figures on test images, and curves: the server has no key, and adds updates that it cannot read. "
    "Each hospital's own report has the figures on its own test images.",
    "Images, and how many there are by class, patient or split: only how many each hospital declared to train on.",
    "What each hospital has spent of its privacy budget in all: its own record says it.",
    "Validation figures, where hospitals encrypt their counts (metrics.encrypted).",
)
_NOT_AT_HOSPITAL = (
    "Figures on other hospitals' images, and on all together: each hospital keeps its own. Those below are of one "
    "hospital, and may be far from the others'.",
    "Validation figures by round, and a threshold chosen on all hospitals' validation images: their counts go to "
    "the server. Figures below are at the threshold of the summary.",
    "The ledger, so no votes, commitments and ends of rounds of others: the server's report has them. What this "
    "hospital saw of it, and signed, stands below.",
    "Other hospitals' images, classes and counts.",
)


def server_values(kit: ServerKit) -> dict[str, Any]:
    """All values that the template shows of a server's kit.

    Raises:
        FedwardError: something in the kit is missing or damaged.
    """
    run, project = read_run(kit.path), kit.load_project()
    names = Names(run)
    with whole_ledger(run) as chain:
        rounds = [round_values(line, chain.round(line["round"]), names) for line in run.rounds]
    accepted = [line for line in run.rounds if line["phase"] == "accepted"]
    areas = [line["val_auc"] for line in accepted if line["val_auc"] is not None]
    record = run.record
    return {
        **_common(project, f"the server of {record.run_id}", _NOT_AT_SERVER),
        "begun": record.created,
        "headline": [
            (f"{len(accepted)} of {len(run.rounds)}", "rounds accepted"),
            (str(run.wanted), "rounds wanted"),
            (str(len(record.roster)), "hospitals"),
            (f"{areas[-1]:.4f}" if areas else "not known", "validation AUC of the last accepted round"),
        ],
        "facts": [
            ("Study", record.run_id),
            ("Finds", ", ".join(record.findings)),
            ("Told from", ", ".join(record.class_names)),
            ("Weights", f"{record.parameters:,}"),
            ("Made with", ", ".join(f"{name} {version}" for name, version in record.versions.items())),
            ("Digest of the initial model", record.initial_model_digest),
        ],
        "parties": [
            *((str(one.hospital), f"{one.address}, {one.weight:,} training images declared") for one in record.roster),
            *((f"witness {place}", str(address)) for place, address in enumerate(record.witnesses, 1)),
        ],
        "rounds": rounds,
    }


def hospital_values(kit: HospitalKit) -> dict[str, Any]:
    """All values that the template shows of a hospital's kit.

    Raises:
        FedwardError: something in the kit is missing or damaged.
    """
    project, member = kit.load_project(), kit.hospital.membership()
    trust = own_trust(kit.hospital, vouched_for(kit))
    path, summary = kit.path / "summary.json", None
    if path.exists():
        summary = parse_json(read_file(path, _MOST_BYTES, "The hospital's summary", "Run conclude again."))
    spent = PrivacyLedger(kit.hospital.privacy_record).spent()
    used = epsilon(spent)
    delta = project.settings.privacy.delta
    return {
        **_common(project, f"{member.hospital} in {project.study.name}", _NOT_AT_HOSPITAL),
        "begun": None,
        "headline": [
            (_area(summary), "AUC on this hospital's test images"),
            (str(summary["rounds"]["accepted"]) if summary else "not concluded", "rounds accepted"),
            (str(len(trust.hospitals)), "hospitals agreed to"),
            (f"epsilon {used:.4f}" if used is not None else "none", "spent of differential privacy here"),
        ],
        "facts": [
            ("Study", project.study.name),
            ("Finds", ", ".join(project.study.findings)),
            ("Told from", ", ".join(project.study.class_names)),
            ("Training images declared", f"{member.weight:,}"),
            ("Releases of this hospital", f"{len(spent)}, accounted at delta {delta:g}"),
            ("Digest of the weights (SHA-256)", summary["weights_sha256"] if summary else "conclude writes them"),
            ("Digest of the initial model", project.require_deployed().model_digest),
        ],
        "figures": _figures(summary),
        "parties": [
            *((str(name), str(address)) for name, address in trust.hospitals.items()),
            *((f"witness {place}", str(address)) for place, address in enumerate(trust.witnesses, 1)),
        ],
        "seen": [
            (each.checkpoint.round_index, each.checkpoint.height, each.checkpoint.ledger_head.hex())
            for each in trust.checkpoints
        ],
    }


def _common(project: Project, title: str, missing: tuple[str, ...]) -> dict[str, Any]:
    """What both pages have, from the file that all parties agreed to."""
    deployed = project.require_deployed()
    return {
        "title": title,
        "missing": missing,
        "figures": [],
        "rounds": [],
        "seen": [],
        "ledger": [
            ("Chain", str(deployed.chain_id)),
            ("Contract", str(deployed.contract)),
            ("Block 0", deployed.genesis_hash),
            ("Digest of the agreed settings", deployed.settings_digest),
            ("Digest of the code that hospitals run", deployed.bundle),
        ],
        "settings": to_tables(project.settings),
    }


def _figures(summary: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Figures on the hospital's own test images, unless these are so few that they tell of single people."""
    if summary is None:
        return [("On test images", "none yet: main.py conclude measures them")]
    if not _enough(summary):
        return [("On test images", f"not told, for there are fewer than {LEAST} images or patients")]
    rows: list[tuple[str, str]] = figure_rows(summary["test"])
    return [*rows, ("Decision threshold", f"{summary['test']['threshold']:g}")]


def _area(summary: Mapping[str, Any] | None) -> str:
    if summary is None:
        return "not measured"
    area = summary["test"]["auc"] if _enough(summary) else None
    return "not told" if area is None else f"{area:.4f}"


def _enough(summary: Mapping[str, Any]) -> bool:
    test = summary["test"]
    return bool(test["n"] >= LEAST and test["patients"] >= LEAST)
