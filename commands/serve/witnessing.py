"""Run a witness on a host of its own: it follows the ledger, adds each round again, and attests."""

import threading
from collections.abc import Callable
from contextlib import closing
from typing import NoReturn

from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.witness import follow
from fedward.errors import FedwardError
from fedward.folders.whereabouts import NodeAddress
from fedward.hosts.gateway_client import LEDGER_PATH, GatewayClient, base_url
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
        UsageError: the kit is not complete, or its password is missing.
        VerificationError: the server shows another chain than the study's.
        KeyboardInterrupt: on Ctrl-C, and on SIGTERM under `fedward.entry`.
    """
    project = kit.load_project()
    deployed, server = project.require_deployed(), project.server
    identity, token = Identity.load(kit.identity), kit.load_token()
    node = NodeAddress(base_url(server) + LEDGER_PATH, str(kit.authority.resolve()), str(kit.token.resolve()))
    said = ""
    while True:
        try:
            attached = Ledger.attach(node, deployed.contract, identity, deployed.chain_id)
            with closing(attached) as ledger, closing(GatewayClient(base_url(server), kit.authority, token)) as client:
                say(f"The witness {identity.address} follows the study at {server.host}:{server.port}.")
                said = ""
                attested = lambda index: say(f"The witness attested to round {index}.")  # noqa: E731
                follow(ledger, RemoteCiphertexts(client), threading.Event(), INTERVAL_S, say, attested)
        except FedwardError as error:
            if str(error) != said:
                said = str(error)
                say(f"The witness waits for the server. {error}")
        threading.Event().wait(_AGAIN_S)
