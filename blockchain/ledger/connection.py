"""`Connection` to one Ethereum node over HTTP with web3; every way in which it can fail is a `LedgerError`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import requests
from eth_abi.exceptions import DecodingError, EncodingError
from hexbytes import HexBytes
from requests.adapters import HTTPAdapter
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import (
    BlockNotFound,
    ContractLogicError,
    InvalidAddress,
    MismatchedABI,
    Web3Exception,
    Web3RPCError,
    Web3TypeError,
    Web3ValidationError,
    Web3ValueError,
)
from web3.middleware import ExtraDataToPOAMiddleware
from web3.types import BlockIdentifier, FilterParams, LogReceipt, TxParams, TxReceipt

from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.encoding import MISFIT
from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.node_url import is_loopback, shown_url, without_path
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.ledger.refusals import refusal
from blockchain.ledger.rpc_codes import OUT_OF_RESOURCES
from blockchain.ledger.sender import Sender
from fedward.errors import LedgerError, ResourceError
from fedward.types import Address

TIMEOUT_S = 60.0
LOG_PAGE_BLOCKS = 2_000

_MISFITS = (
    DecodingError,
    EncodingError,
    InvalidAddress,
    MismatchedABI,
    Web3TypeError,
    Web3ValidationError,
    Web3ValueError,
    TypeError,
)


class Connection:
    """Calls, transactions and events of the update ledger's contract on one node.

    Safe to use from several threads; transactions of one connection go out one after the other.

    Args:
        url: Where the node answers JSON-RPC.
        contract: The contract's address; None before it is deployed.
        outbox: Keeps transactions until they are certain to stay on the chain; None: they are not kept.

    Raises:
        LedgerError: the node does not answer, or `contract` is no address.
    """

    def __init__(self, url: str, contract: Address | None, outbox: TransactionOutbox | None = None) -> None:
        self.url = shown_url(url)
        self._asked_url = url
        self._session = requests.Session()
        self._session.trust_env = not is_loopback(url)  # a proxy would look for this machine's port at its own
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=32)
        self._session.mount("http://", adapter)
        self._session.mount("https://", adapter)
        self._web3 = Web3(HTTPProvider(url, request_kwargs={"timeout": TIMEOUT_S}, session=self._session))
        # It asks for the chain's id once more before the first call, to compare it with one that our calls do not name.
        self._web3.middleware_onion.remove("validation")
        self._web3.ens = None  # only addresses are passed: web3 must look no name up
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)  # a longer extraData
        self._contract = self._bind(contract) if contract else None
        with self._reaching():
            self.chain_id = int(self._web3.eth.chain_id)
        self._sender = Sender(self._web3, self.chain_id, outbox)

    def close(self) -> None:
        """Close the connections to the node."""
        self._session.close()

    def _bind(self, address: Address) -> Contract:
        """The contract's interface at an address."""
        try:
            checksummed = Web3.to_checksum_address(address)
        except (TypeError, ValueError) as error:
            raise LedgerError(
                f"{address!r} is no address of a contract.", "Give 0x and 40 hexadecimal digits.", MISFIT
            ) from error
        return self._web3.eth.contract(address=checksummed, abi=load_artifact().abi)

    @property
    def contract(self) -> Contract:
        """The contract."""
        if self._contract is None:
            raise LedgerError("No contract has been deployed yet.", "Deploy one first.")
        return self._contract

    # ---- reading ------------------------------------------------------------------------------------------------

    def call(self, function: str, *arguments: Any, block: BlockIdentifier = "latest") -> Any:
        """Result of one of the contract's views after a block.

        Raises:
            LedgerError: the node does not answer, or the contract refused.
        """
        with self._reaching():
            return self.contract.functions[function](*arguments).call(block_identifier=block)

    def calls(self, *views: tuple[Any, ...], block: BlockIdentifier = "latest") -> list[Any]:
        """Results of several views after a block, in one request; each is a function with its arguments.

        Raises:
            LedgerError: as `call`.
        """
        with self._reaching(), self._web3.batch_requests() as batch:
            for function, *arguments in views:
                batch.add(self.contract.functions[function](*arguments).call(block_identifier=block))
            return list(batch.execute())

    def code(self) -> bytes:
        """The code at the contract's address."""
        with self._reaching():
            return bytes(self._web3.eth.get_code(self.contract.address))

    def latest_block(self) -> tuple[int, bytes]:
        """Height and hash of the last block."""
        with self._reaching():
            block = self._web3.eth.get_block("latest")
            return int(block["number"]), bytes(block["hash"])

    def block(self, height: int) -> bytes | None:
        """Hash of the block at a height; None where the chain does not reach so far."""
        with self._reaching():
            try:
                return bytes(self._web3.eth.get_block(height)["hash"])
            except BlockNotFound:
                return None

    def logs(self, topics: Sequence[Sequence[bytes]] = ()) -> Iterator[LogReceipt]:
        """The contract's events in the order of the chain.

        Args:
            topics: For each place among an event's topics, the values that are wanted there; an empty place, or none
                given: any.
        """
        last, _ = self.latest_block()
        wanted = [[HexBytes(choice) for choice in choices] or None for choices in topics]
        for first in range(0, last + 1, LOG_PAGE_BLOCKS):
            with self._reaching():
                page = self._web3.eth.get_logs(
                    FilterParams(
                        address=self.contract.address,
                        fromBlock=first,
                        toBlock=min(last, first + LOG_PAGE_BLOCKS - 1),
                        topics=wanted,
                    )
                )
            yield from page

    # ---- writing ------------------------------------------------------------------------------------------------

    def deploy(self, identity: Identity, *arguments: Any) -> Address:
        """Deploy the contract and use it from here on; returns its address."""
        artifact = load_artifact()
        with self._reaching():
            factory = self._web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
            data = factory.constructor(*arguments).data_in_transaction
        receipt = self._send(identity, TxParams({"data": data}), "The deployment of the contract")
        address = Address(str(receipt["contractAddress"]))
        self._contract = self._bind(address)
        return address

    def transact(self, identity: Identity, function: str, *arguments: Any) -> TxReceipt:
        """Run one of the contract's functions in a transaction; returns its receipt once it is in a block.

        Raises:
            LedgerError: the node does not answer, or the contract refused; then nothing was recorded, and `reason`
                names the contract's custom error.
        """
        return self._send(identity, self._fields(function, arguments), f"The ledger's {function}")

    def prepare(self, identity: Identity, function: str, *arguments: Any) -> Call:
        """Try one of the contract's functions after the last block; what it returns is for `push`.

        Raises:
            LedgerError: as `transact`.
        """
        fields = self._fields(function, arguments)
        with self._reaching():
            return self._sender.prepare(identity, fields, f"The ledger's {function}")

    def push(self, identity: Identity, calls: Sequence[Call]) -> list[Flight]:
        """Hand transactions to the node, in this order and without waiting for their blocks.

        Raises:
            LedgerError: the node does not answer, or refused one.
        """
        with self._reaching():
            return self._sender.push(identity, calls)

    def landed(self, flights: Sequence[Flight]) -> dict[Flight, LedgerError | None]:
        """Those of the pushed transactions that are in blocks now, each with the contract's refusal, or None.

        Raises:
            LedgerError: the node does not answer.
        """
        with self._reaching():
            return self._sender.landed(flights)

    def await_landing(self, flights: Sequence[Flight]) -> None:
        """Wait until pushed transactions are in blocks.

        Raises:
            LedgerError: one is in no block for long, or the node does not answer.
        """
        with self._reaching():
            self._sender.await_landing(flights)

    def _fields(self, function: str, arguments: Sequence[Any]) -> TxParams:
        """A transaction that calls one of the contract's functions."""
        with self._reaching():
            data = self.contract.encode_abi(function, list(arguments))
        return TxParams({"to": self.contract.address, "data": data})

    def settle(self, account: Address | None = None) -> tuple[bytes, ...]:
        """Send again the outbox's transactions that the chain does not have: after a crash, or a reorganization.

        `deploy` and `transact` do this first. Call `settle` to do it without a new transaction.

        Args:
            account: The account that all of them must be from; None: any account.

        Returns:
            Hashes of the transactions that were sent again, in order; they are in blocks now.

        Raises:
            LedgerError: the node does not answer, another transaction took the nonce of a kept one, or the outbox is
                damaged or belongs to another chain or account.
            ResourceError: another process is sending from the outbox.
        """
        with self._reaching():
            return self._sender.settle(account)

    def _send(self, identity: Identity, fields: TxParams, what: str) -> TxReceipt:
        """Send a transaction and wait for it."""
        with self._reaching():
            return self._sender.send(identity, fields, what)

    # ---- failing ------------------------------------------------------------------------------------------------

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Turn every failure of the node, the way to it or the contract into a `LedgerError`."""
        try:
            yield
        except requests.RequestException as error:
            raise LedgerError(
                f"The ledger node at {self.url} cannot be reached: {without_path(_shortly(error), self._asked_url)}.",
                "Start the node, or correct its address: run.rpc-url, or a hospital's ledger.json.",
            ) from error
        except ContractLogicError as error:
            raise refusal(error) from error
        except Web3RPCError as error:
            answered = (error.rpc_response or {}).get("error", {})
            message = answered.get("message", str(error))
            if answered.get("code") == OUT_OF_RESOURCES:
                raise ResourceError(
                    f"The ledger node at {self.url} cannot go on: {message}", "Nothing was recorded; then retry."
                ) from error
            raise LedgerError(
                f"The ledger node at {self.url} refused a request: {message}.",
                "Check the account's funds and that the node belongs to this ledger.",
            ) from error
        except _MISFITS as error:
            raise LedgerError(
                f"A value does not fit the contract at {self.url}: {_shortly(error)}.",
                "Check the values, and that this address holds this version's contract.",
                MISFIT,
            ) from error
        except (Web3Exception, ValueError, KeyError) as error:
            raise LedgerError(
                f"The ledger node at {self.url} gave no usable answer: {_shortly(error)}.",
                "Check that it is an Ethereum JSON-RPC endpoint.",
            ) from error


def _shortly(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
