"""The project's file of a study on separate hosts, for what was made in one folder."""

from pathlib import Path

from fedward import settings as setting
from fedward.folders.server import RunRecord
from fedward.hosts.project import Deployed, Place, Project, Study


def write_project(record: RunRecord, path: Path) -> None:
    """The project's file of a study like that run."""
    digests = record.settings_digest, record.initial_model_digest, "0" * 64
    deployed = Deployed(record.contract, 190826, record.genesis_hash, *digests, "none", record.witnesses)
    study = Study("trial", tuple(one.hospital for one in record.roster), record.findings, record.class_names)
    Project(study, Place("localhost", 9443), setting.from_run(record.settings), deployed).save(path)
