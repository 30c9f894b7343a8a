"""Which Flower nodes are connected, and which hospital each of them is, as its signed messages have proved.

Flower gives a process a number when it connects, and perhaps another number when it reconnects; a number proves
nothing. A signature does: once the ledger takes what a hospital has signed, the Flower node that sent it counts as that
hospital's.
"""

import time
from collections.abc import Collection

from flwr.serverapp import Grid

from fedward.errors import QuorumError
from fedward.types import Address, NodeId

CONNECT_TIMEOUT_S = 120.0  # for all hospitals to be there before the first round
_LOOK_S = 0.2


class Nodes:
    """Looks up the connected nodes whenever asked, and remembers which hospital each node turned out to be."""

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._hospitals: dict[NodeId, Address] = {}
        self._asked: set[NodeId] = set()
        self._seen: set[NodeId] = set()  # whoever was connected, since this process began
        self._heard: set[Address] = set()

    def wait_for(self, expected: int, minimum: int) -> None:
        """Wait until so many nodes are connected.

        Args:
            expected: Number of all hospitals; where fewer connect, waiting ends after `CONNECT_TIMEOUT_S`.
            minimum: Number of hospitals that a round needs.

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
        """Start another question to everybody: forget who was asked the last one, and who answered it."""
        self._asked.clear()
        self._heard.clear()

    def newly_to_ask(self, roster: Collection[Address]) -> list[NodeId]:
        """The connected nodes that were not asked yet; from now on they count as asked.

        Nodes of hospitals that are not on the roster, or that have answered already, are left out. A node whose
        hospital is not known yet is asked. A node that was away since it was asked is asked anew: a process that was
        killed has taken the question with it.
        """
        connected = {NodeId(node) for node in self._grid.get_node_ids()}
        self._seen |= connected
        self._asked &= connected
        open_to = {None, *roster} - self._heard
        new = [node for node in sorted(connected - self._asked) if self._hospitals.get(node) in open_to]
        self._asked.update(new)
        return new

    def may_return(self, roster: Collection[Address]) -> bool:
        """Whether a node was connected once and is not now, and may be that of a hospital that has not answered."""
        connected = {NodeId(node) for node in self._grid.get_node_ids()}
        self._seen |= connected
        here = {self._hospitals.get(node) for node in connected}
        missing: set[Address | None] = {None, *roster} - self._heard - (here - {None})
        return missing != {None} and any(self._hospitals.get(node) in missing for node in self._seen - connected)

    def is_connected(self, node: NodeId) -> bool:
        """Whether a node is connected now."""
        return node in set(self._grid.get_node_ids())

    def bind(self, node: NodeId, hospital: Address) -> None:
        """Remember that a node is this hospital's: it has sent what the ledger took as signed by this hospital."""
        self._hospitals[node] = hospital
        self._heard.add(hospital)

    def heard_from(self, roster: Collection[Address]) -> bool:
        """Whether every hospital on the roster has answered what was asked last."""
        return self._heard >= set(roster)

    def hospital(self, node: NodeId) -> Address | None:
        """Which hospital a node has shown itself to be; None before it has."""
        return self._hospitals.get(node)

    def known(self) -> dict[NodeId, Address]:
        """The connected nodes that have shown which hospital they are.

        Several may be one hospital's: it reconnected, or another node repeats what that hospital signed. Whatever is
        sent to a hospital goes to all of them, and whatever they answer must be signed by the hospital.
        """
        connected = set(self._grid.get_node_ids())
        return {node: hospital for node, hospital in self._hospitals.items() if node in connected}
