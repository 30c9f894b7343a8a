"""While a hospital serves: compare what it is shown of the ledger with what others signed, and with a second node."""

import json
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from typing import Any

from blockchain.consortium.forks import fork_at_second_node, fork_seen_by, read_others_checkpoint
from blockchain.consortium.remembering import last_checkpoint
from blockchain.ledger.ledger import Ledger
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.checked_json import read_json, to_json
from fedward.errors import EvidenceError, FedwardError, VerificationError
from fedward.files import write_atomic
from fedward.folders.whereabouts import NodeAddress
from fedward.hosts.gateway_client import GatewayClient
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.remote_board import RemoteBoard
from fedward.messages.signed import write_signed
from fedward.timing import utc_now
from fedward.types import Address

INTERVAL_S = 10.0
_PRIVATE = 0o600


class ForkWatch:
    """Looks for forks of the ledger, again and again, beside what the hospital does.

    Args:
        kit: The hospital's.
        say: Tells people what happens, a sentence at a time.
    """

    def __init__(self, kit: HospitalKit, say: Callable[[str], None]) -> None:
        self._kit = kit
        self._say = say
        self._left = b""  # the checkpoint that lies at the server
        self._said = ""

    def start(self) -> None:
        """Look from now on, in a thread that ends with the process."""
        threading.Thread(target=self._go_on, daemon=True).start()

    def _go_on(self) -> None:
        pause = threading.Event()
        while not pause.wait(INTERVAL_S):
            try:
                self.look()
            except FedwardError as error:
                self._tell(f"Checkpoints could not be compared: {error.what}")

    def look(self) -> None:
        """Leave this hospital's last checkpoint for the others, and compare theirs with what it is shown.

        A fork that is found is written into the hospital's folder, which from then on signs nothing.

        Raises:
            FedwardError: the server or a node cannot be reached, or a file is damaged.
        """
        folder = self._kit.hospital
        own = last_checkpoint(folder)
        if own is None or folder.fork.exists():
            return
        joined = folder.membership()
        attached = Ledger.attach(folder.ledger_node(), joined.contract, None, joined.chain_id)
        with closing(attached) as ledger, GatewayClient.of(self._kit) as client:
            board = RemoteBoard(client)
            self._leave(own, board)
            roster = [one.address for one in ledger.roster() if one.address != own.checkpoint.hospital]
            others = left_by(roster, board.load_checkpoint, self._tell)
            reason = fork_seen_by(others, ledger)
        if reason is None and self._kit.second_node.exists():
            reason = self._ask_second_node(own)
        if reason is not None:
            found = {
                "found": utc_now(),
                "reason": reason,
                "own": to_json(own),
                "others": [to_json(one) for one in others],
            }
            self._keep(found)

    def _leave(self, own: SignedCheckpoint, board: RemoteBoard) -> None:
        """Leave this hospital's checkpoint for the others, where it is a new one."""
        content = write_signed(own)
        if content != self._left:
            board.save_checkpoint(own.checkpoint.hospital, content)
            self._left = content

    def _ask_second_node(self, own: SignedCheckpoint) -> str | None:
        """What shows that the second node has other blocks; None where nothing does."""
        remedy = "Correct it, or remove it if there is no second node."
        node = read_json(NodeAddress, self._kit.second_node, "The second node's address", remedy)
        seen = own.checkpoint
        with closing(Ledger.attach(node, seen.contract, None, seen.chain_id)) as second:
            return fork_at_second_node(own, second)

    def _keep(self, found: dict[str, Any]) -> None:
        path = self._kit.hospital.fork
        write_atomic(path, (json.dumps(found, indent=1) + "\n").encode(), _PRIVATE)
        self._say(f"THE LEDGER WAS FORKED. {found['reason']} This hospital signs nothing more; see {path}.")

    def _tell(self, sentence: str) -> None:
        """Say a sentence, unless it was the last that was said."""
        if sentence != self._said:
            self._said = sentence
            self._say(sentence)


def left_by(
    hospitals: Iterable[Address], load: Callable[[Address], bytes], tell: Callable[[str], None]
) -> list[SignedCheckpoint]:
    """The checkpoints that hospitals have left, of whom each has signed its own.

    Whoever left something else is told of, and hides nothing by it that another one has signed.

    Args:
        hospitals: Whose.
        load: Reads what one has left.
        tell: Takes a sentence for people.
    """
    found = []
    for hospital in hospitals:
        try:
            found.append(read_others_checkpoint(load(hospital), hospital))
        except EvidenceError:  # it has left none yet
            continue
        except VerificationError as error:
            tell(error.what)
    return found
