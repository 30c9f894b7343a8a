"""Find the hospital's folder of a Flower node: whoever runs the node names it, never the server."""

from collections.abc import Mapping
from pathlib import Path

from fedward.errors import UsageError
from fedward.folders.hospital import HospitalFolder

HOSPITAL_FOLDER = "hospital-folder"  # in Flower's node config, which a hospital gives when it starts its SuperNode
# In the environment of a simulation's processes: where the simulated hospitals' folders lie. Flower tells a simulated
# node a number only, and nothing else that whoever starts it could choose.
SIMULATED_HOSPITALS = "FEDWARD_SIMULATED_HOSPITALS"


def own_folder(node_config: Mapping[str, object], environment: Mapping[str, str]) -> HospitalFolder:
    """The folder of the hospital that a node belongs to.

    Args:
        node_config: Flower's configuration of this node.
        environment: Environment variables of this process.

    Raises:
        UsageError: neither says which folder it is.
    """
    own, number = node_config.get(HOSPITAL_FOLDER), node_config.get("partition-id")
    simulated = environment.get(SIMULATED_HOSPITALS)
    if own:
        return HospitalFolder(Path(str(own)))
    if simulated and isinstance(number, int):
        return HospitalFolder(Path(simulated) / f"hospital-{number + 1}")
    raise UsageError(
        "This node does not say which folder is its hospital's.",
        f"Start it with --node-config '{HOSPITAL_FOLDER}=\"/path/to/the/folder\"'.",
    )
