"""Which of Flower's nodes are connected, and which hospital each has shown itself to be.

Flower gives a process a number when it connects, and perhaps another one when it connects again; a number proves
nothing. A hospital is known by its signature: what the ledger took from it binds the node that sent it.
"""

import time
from collections.abc import Collection

from flwr.serverapp import Grid

from fedward.errors import QuorumError
from fedward.types import Address, NodeId

CONNECT_TIMEOUT_S = 120.0  # for all hospitals to be there before the first round
_LOOK_S = 0.2


class Nodes:
    """Looks nodes up whenever it is asked, and remembers who they turned out to be."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._hospitals: dict[NodeId, Address] = {}
        self._asked: set[NodeId] = set()
        self._heard: set[Address] = set()

    def wait_for(self, expected: int, minimum: int) -> None:
        """Wait until so many nodes are connected.

        Args:
            expected: All hospitals; for fewer it waits no longer than `CONNECT_TIMEOUT_S`.
            minimum: As many as a round needs.

        Raises:
            QuorumError: fewer than the minimum have connected in time.
        """
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while (count := len(list(self._grid.get_node_ids()))) < expected and time.monotonic() < deadline:
            time.sleep(_LOOK_S)
        if count < minimum:
            raise QuorumError(
                f"{count} of {expected} hospitals have connected, {minimum} are needed.", "Start the others and retry."
            )

    def ask_anew(self) -> None:
        """Another question is to be put to everybody."""
        self._asked.clear()
        self._heard.clear()

    def newly_to_ask(self, roster: Collection[Address]) -> list[NodeId]:
        """The connected nodes that were not asked yet, and count as asked now.

        Those of hospitals that are not on the roster are left out; a node of which nothing is known is not.
        """
        connected = (NodeId(node) for node in self._grid.get_node_ids())
        new = [node for node in connected if node not in self._asked and self._hospitals.get(node) in {None, *roster}]
        self._asked.update(new)
        return new

    def bind(self, node: NodeId, hospital: Address) -> None:
        """A node has answered with what the ledger took as this hospital's."""
        self._hospitals[node] = hospital
        self._heard.add(hospital)

    def heard_from(self, roster: Collection[Address]) -> bool:
        """Whether every hospital on the roster has answered what was asked last."""
        return self._heard >= set(roster)

    def hospital(self, node: NodeId) -> Address | None:
        """Which hospital a node has shown itself to be; None before it has."""
        return self._hospitals.get(node)
