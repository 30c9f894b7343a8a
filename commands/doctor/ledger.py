"""Checks of the ledger as a hospital reaches it: it is the project's, and its roster and key are the agreed ones."""

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.encoding import as_address
from commands.doctor.finding import Finding, failure, fine, watch
from commands.doctor.gateway import Gateway
from fedward.errors import LedgerError
from fedward.files import parse_json
from fedward.folders.hospital import roster_digest
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Deployed

_STOP = "Do not take part; ask the administrator, over the telephone, which ledger the study has."
_AT_THE_SERVER = "Ask the administrator to run `doctor` at the server."
_NO_KEY = bytes(32)


@dataclass(frozen=True)
class LedgerThere:
    """The ledger behind the gateway.

    Attributes:
        gateway: Where it is asked.
        token: The hospital's.
        deployed: What the project's file says of it.
    """

    gateway: Gateway
    token: str
    deployed: Deployed

    def ask(self, method: str, *parameters: object) -> Any:
        """The result of a JSON-RPC call.

        Raises:
            LedgerError: the gateway does not let the token in, or there is no usable answer.
            ResourceError: the gateway is not reached.
        """
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        answer = self.gateway.ask("POST", "/ledger", body, headers)
        if answer.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise LedgerError(
                "The gateway does not let this hospital's token in.",
                "Ask the administrator whether this hospital was admitted, by the request of this kit, or was revoked.",
            )
        if answer.status != HTTPStatus.OK:
            raise LedgerError(
                f"The gateway answered a question to the ledger with HTTP {answer.status}.", _AT_THE_SERVER
            )
        try:
            content = parse_json(answer.body)
        except ValueError as error:
            raise _unusable() from error
        if not isinstance(content, dict) or "result" not in content:
            raise _unusable()
        return content["result"]

    def view(self, name: str) -> Any:
        """What one of the contract's views without arguments returns; raises as `ask`."""
        shape = load_artifact().views[name]
        call = {"to": self.deployed.contract, "data": f"0x{shape.encode(()).hex()}"}
        try:
            return shape.decode_from_outside(_bytes(self.ask("eth_call", call, "latest")))
        except ValueError as error:
            raise _unusable() from error


def check_ledger(ledger: LedgerThere) -> Finding:
    """With the hospital's token the ledger is reached, and it is the project's: chain, block 0, contract."""
    deployed = ledger.deployed
    try:
        chain_id = int(ledger.ask("eth_chainId"), 16)
        genesis = str(ledger.ask("eth_getBlockByNumber", "0x0", False)["hash"]).removeprefix("0x")
    except (KeyError, TypeError, ValueError) as error:
        raise _unusable() from error
    if chain_id != deployed.chain_id:
        return failure(f"The ledger is chain {chain_id}, the project's is {deployed.chain_id}.", _STOP)
    if genesis != deployed.genesis_hash:
        return failure(f"Block 0 of the ledger is {genesis[:64]}, the project's is {deployed.genesis_hash}.", _STOP)
    if not load_artifact().is_code(_bytes(ledger.ask("eth_getCode", deployed.contract, "latest"))):
        return failure(f"There is no update ledger of this version at {deployed.contract}.", _STOP)
    return fine(f"The ledger is the project's: contract {deployed.contract} on chain {chain_id}.")


def check_agreed_roster(ledger: LedgerThere, kit: HospitalKit) -> Finding:
    """The hospitals on the ledger are those that this hospital agreed to."""
    members = [(as_address(account), int(weight)) for account, weight, active in ledger.view("roster") if active]
    if roster_digest(members) != kit.hospital.membership().roster_digest:
        return failure(
            f"The {len(members)} hospitals on the ledger are not those that this hospital agreed to.",
            f"Ask the administrator who came or went, then agree to it: main.py agree {kit.path}",
        )
    return fine(f"The {len(members)} hospitals on the ledger are those that this hospital agreed to.")


def check_key_in_force(ledger: LedgerThere, kit: HospitalKit) -> Finding:
    """The channel key that this hospital took last is the one that the ledger names."""
    epoch, fingerprint, _ = ledger.view("keyContext")
    if fingerprint == _NO_KEY:
        return watch(f"The channel key of epoch {epoch} was not dealt yet.", "Wait for the dealer to run `agree`.")
    if kit.hospital.held_keys()[-1].fingerprint != fingerprint:
        return failure(
            f"This hospital has not taken the channel key of epoch {epoch}.", f"Take it: main.py agree {kit.path}"
        )
    return fine(f"The channel key here is the ledger's, of epoch {epoch}.")


def _bytes(answer: object) -> bytes:
    """Bytes as JSON-RPC writes them."""
    try:
        return bytes.fromhex(str(answer).removeprefix("0x"))
    except ValueError as error:
        raise _unusable() from error


def _unusable() -> LedgerError:
    return LedgerError("The ledger behind the gateway gave no usable answer.", _AT_THE_SERVER)
