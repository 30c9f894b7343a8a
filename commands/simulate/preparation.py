"""Everything before a simulated federation's first round: keys, partitions, ledger, initial weights, `run.json`.

`simulate` prepares its runs with this module, and so do tests and everything else that simulates hospitals. The caller
starts the node that serves the ledger, after `settle_hospitals`, which makes the accounts that the node has to fund,
and before `found_study`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from blockchain.ledger.ledger import Ledger
from blockchain.own_images import save_images
from commands.simulate.founding import Parties, create_parties, found_consortium
from data_preprocessing import PreparedData
from fedward import settings as setting
from fedward.files import write_atomic
from fedward.folders.arrays import PRIVATE
from fedward.folders.server import RunRecord
from fedward.folders.simulation import SimulationFolder
from fedward.folders.whereabouts import NodeAddress
from fedward.learning.digest import weights_digest
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import Settings, to_tables
from fedward.types import HospitalId, Vector

PACKAGES = ("flwr", "keras", "numpy", "py-evm", "pyfhel", "tensorflow", "tensorflow-cpu", "web3")


@dataclass(frozen=True)
class Study:
    """A consortium that is ready for its first round.

    Attributes:
        ledger: Attached with the server's account.
        initial: float32, shape (parameters,); the weights that all start from.
    """

    ledger: Ledger
    initial: Vector


def settle_hospitals(folder: SimulationFolder, settings: Settings, data: PreparedData) -> Parties:
    """Make every party's keys, and give each hospital its images.

    Args:
        folder: The run's folder, as `SimulationFolder.create` made it.
        settings: They say whether there is a witness, and whether hospitals seal their images.
        data: The hospitals and their images.

    Raises:
        ResourceError: the disk is full.
    """
    hospitals = [partition.hospital for partition in data.partitions]
    parties = create_parties(folder, hospitals, settings.ledger.witness_required)
    for partition in data.partitions:
        own, keys = folder.hospital(partition.hospital), parties.hospitals[partition.hospital]
        save_images(own, partition, keys, settings.image_encryption)
    return parties


def found_study(
    folder: SimulationFolder, settings: Settings, data: PreparedData, parties: Parties, rpc_url: str
) -> Study:
    """Found the consortium on a running node, and write `run.json`.

    Args:
        folder: The run's folder, with the parties' keys and the hospitals' images.
        settings: All settings.
        data: As for `settle_hospitals`.
        parties: What `settle_hospitals` gave; the node has funded them.
        rpc_url: Where the node listens.

    Raises:
        LedgerError: the node cannot be reached, or the contract refused.
        ResourceError: the disk is full.
    """
    spec = ModelSpec(settings.model.name, settings.data.image_size, len(data.findings))
    initial = Classifier(spec, settings.training.seed, settings.model.weights).get_weights()
    ledger, roster = found_consortium(folder, parties, data.partitions, settings, rpc_url, initial)
    write_atomic(folder.path / "manifest.json", json.dumps(data.manifest, indent=2).encode())
    # Names unreadable files, so it belongs to the hospitals: not readable by others.
    write_atomic(folder.hospitals / "preprocessing.json", json.dumps(data.report, indent=2).encode(), PRIVATE)
    record = RunRecord(
        run_id=folder.path.name,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=package_versions(),
        settings=to_tables(settings),
        settings_digest=settings.digest().hex(),
        initial_model_digest=weights_digest(initial).hex(),
        findings=data.findings,
        class_names=data.class_names,
        parameters=len(initial),
        contract=ledger.contract,
        roster=roster,
        witnesses=parties.witnesses(),
        genesis_hash=ledger.genesis_hash().hex(),
    )
    folder.server.save_record(record)
    return Study(ledger, initial)


def point_to_node(
    folder: SimulationFolder, hospitals: Sequence[HospitalId], settings: Settings, rpc_url: str
) -> Settings:
    """Tell every party where the ledger's node listens now: each hospital in its folder, the server by its settings.

    Returns:
        The settings that the server is started with.
    """
    for hospital in hospitals:
        folder.hospital(hospital).save_ledger_node(NodeAddress(rpc_url))
    settings = setting.replace(settings, "run.folder", str(folder.server.path))
    return setting.replace(settings, "run.rpc-url", rpc_url)


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # tensorflow or tensorflow-cpu, whichever this machine has
            continue
    return found
