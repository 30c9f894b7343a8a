"""Run a witness on a host of its own: it follows the ledger, adds each round again, and attests."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import NoReturn

from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.witness import follow
from fedward.errors import LedgerError
from fedward.hosts.gateway_client import GatewayClient, ledger_node
from fedward.hosts.remote_ciphertexts import RemoteCiphertexts
from fedward.hosts.witness_kit import WitnessKit

INTERVAL_S = 1.0
_AGAIN_S = 5.0


def serve_witness(kit: WitnessKit, say: Callable[[str], None]) -> NoReturn:
    """Attest to each round that comes to the vote, until this process is interrupted.

    What it costs is a round's own updates, however many rounds there were.

    Args:
        kit: The witness's; it has joined a study.
        say: Tells people what happens, a sentence at a time.

    Raises:
        UsageError: the kit is not complete, its password is missing, or the server does not know its token.
        VerificationError: the server shows another chain than the study's.
        KeyboardInterrupt: on Ctrl-C, and on SIGTERM under `fedward.entry`.
    """
    project = kit.load_project()
    deployed, server, identity = project.require_deployed(), project.server, Identity.load(kit.identity)

    def attested(round_index: int) -> None:
        say(f"The witness attested to round {round_index}.")

    said = ""
    while True:
        try:
            attached = Ledger.attach(ledger_node(kit), deployed.contract, identity, deployed.chain_id)
            with closing(attached) as ledger, GatewayClient.of(kit) as client:
                say(f"The witness {identity.address} follows the study at {server.host}:{server.port}.")
                follow(ledger, RemoteCiphertexts(client), threading.Event(), INTERVAL_S, say, attested)
        except LedgerError as error:  # the server is away
            if str(error) != said:
                said = str(error)
                say(f"The witness waits for the server. {error}")
        time.sleep(_AGAIN_S)
