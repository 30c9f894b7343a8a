"""`Connection` to one Ethereum node over HTTP with web3; every way in which it can fail is a `LedgerError`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from eth_abi.exceptions import DecodingError, EncodingError
from hexbytes import HexBytes
from requests.adapters import HTTPAdapter
from web3 import HTTPProvider, Web3
from web3.contract import Contract
from web3.exceptions import (
    BadResponseFormat,
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
from web3.types import FilterParams, LogReceipt, TxParams, TxReceipt

from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.batches import Question, ask_together, result_of
from blockchain.ledger.encoding import MISFIT, as_address
from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.node_url import is_loopback, shown_url, without_path
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.ledger.refusals import refusal
from blockchain.ledger.rpc_codes import OUT_OF_RESOURCES
from blockchain.ledger.sender import Sender
from fedward.errors import LedgerError, ResourceError
from fedward.folders.whereabouts import NodeAddress
from fedward.types import Address

TIMEOUT_S = 60.0
LOG_PAGE_BLOCKS = 2_000

Block = int | bytes | str  # a height, a hash of 32 bytes, or "latest"

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
        node: Where the node answers JSON-RPC: a URL, or one with what opens it.
        contract: The contract's address; None before it is deployed.
        outbox: Keeps transactions until they are certain to stay on the chain; None: they are not kept.

    Attributes:
        url: As it may be shown.
        chain_id: The chain's id.
        code: What lay at the contract's address when the connection was made; nothing without a contract.

    Raises:
        LedgerError: the node does not answer, or `contract` is no address, or a token would travel unencrypted.
        UsageError: the token's file is missing, or other users may read it.
    """

    def __init__(
        self, node: str | NodeAddress, contract: Address | None, outbox: TransactionOutbox | None = None
    ) -> None:
        where = NodeAddress(node) if isinstance(node, str) else node
        self.url = shown_url(where.url)
        self._asked_url = where.url
        self._session = _session(where)
        # Named with each request: the environment's REQUESTS_CA_BUNDLE would take the place of the session's.
        options = {"timeout": TIMEOUT_S} | ({"verify": where.certificate} if where.certificate else {})
        self._web3 = Web3(HTTPProvider(where.url, request_kwargs=options, session=self._session))
        # It asks for the chain's id once more before the first call, to compare it with one that our calls do not name.
        self._web3.middleware_onion.remove("validation")
        self._web3.ens = None  # only addresses are passed: web3 must look no name up
        self._web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)  # a longer extraData
        self._interface: Contract | None = None
        self._address = _checked(contract) if contract else None
        if contract:
            self.chain_id, self.code = self.chain_and_code()
        else:
            with self._reaching():
                self.chain_id, self.code = int(self._web3.eth.chain_id), b""
        self._sender = Sender(self._web3, self.chain_id, outbox)

    def close(self) -> None:
        """Close the connections to the node."""
        self._session.close()

    @property
    def contract(self) -> Address:
        """The contract's address."""
        if self._address is None:
            raise LedgerError("No contract has been deployed yet.", "Deploy one first.")
        return self._address

    # ---- reading ------------------------------------------------------------------------------------------------

    def call(self, function: str, *arguments: Any, block: Block = "latest") -> Any:
        """Result of one of the contract's views after a block.

        Raises:
            LedgerError: the node does not answer, or the contract refused.
        """
        return self.calls((function, *arguments), block=block)[0]

    def calls(self, *views: tuple[Any, ...], block: Block = "latest") -> list[Any]:
        """Results of several views after a block, in one request; each is a function with its arguments.

        With the block's hash, all are of one moment, also where the last blocks are replaced meanwhile.

        Raises:
            LedgerError: as `call`.
        """
        shapes, tag = load_artifact().views, _block_tag(block)
        with self._reaching():
            inputs = [f"0x{shapes[function].encode(arguments).hex()}" for function, *arguments in views]
            outputs = self._ask([("eth_call", [{"to": self.contract, "data": data}, tag]) for data in inputs])
            return [shapes[view[0]].decode(_bytes(output)) for view, output in zip(views, outputs, strict=True)]

    def chain_and_code(self) -> tuple[int, bytes]:
        """The chain's id, and the code at the contract's address, in one request."""
        with self._reaching():
            chain_id, code = self._ask([("eth_chainId", []), ("eth_getCode", [self.contract, "latest"])])
            return int(chain_id, 16), _bytes(code)

    def latest_block(self) -> tuple[int, bytes]:
        """Height and hash of the last block."""
        return self.latest_and_blocks()[0]

    def block(self, height: int) -> bytes | None:
        """Hash of the block at a height; None where the chain does not reach so far."""
        with self._reaching():
            (found,) = self._ask([_block(height)])
            return _height_and_hash(found)[1] if found else None

    def latest_and_blocks(self, *heights: int) -> tuple[tuple[int, bytes], list[bytes | None]]:
        """What `latest_block` tells, and what `block` tells of each of these heights, in one request."""
        with self._reaching():
            last, *others = self._ask([_block("latest"), *map(_block, heights)])
            return _height_and_hash(last), [_height_and_hash(found)[1] if found else None for found in others]

    def _ask(self, questions: Sequence[Question]) -> list[Any]:
        """The results of several questions, as JSON, in one request."""
        return [result_of(answer) for answer in ask_together(self._web3, questions)]

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
                        address=Web3.to_checksum_address(self.contract),
                        fromBlock=first,
                        toBlock=min(last, first + LOG_PAGE_BLOCKS - 1),
                        topics=wanted,
                    )
                )
            yield from page

    def inputs(self, transactions: Sequence[bytes]) -> list[bytes]:
        """What these transactions called the contract with, in one request; empty where the node has no such one.

        Args:
            transactions: Their hashes, 32 bytes each.
        """
        with self._reaching():
            found = self._ask([("eth_getTransactionByHash", [f"0x{each.hex()}"]) for each in transactions])
            return [_bytes(one["input"]) if one else b"" for one in found]

    # ---- writing ------------------------------------------------------------------------------------------------

    def deploy(self, identity: Identity, *arguments: Any) -> Address:
        """Deploy the contract and use it from here on; returns its address."""
        artifact = load_artifact()
        with self._reaching():
            factory = self._web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode)
            data = factory.constructor(*arguments).data_in_transaction
        receipt = self._send(identity, TxParams({"data": data}), "The deployment of the contract")
        self._interface, self._address = None, _checked(Address(str(receipt["contractAddress"])))
        return self.contract

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

    def untried(self, identity: Identity, gas: int, function: str, *arguments: Any) -> Call:
        """One of the contract's functions for `push`, with so much gas and without a trial run.

        It may be pushed behind calls without which the contract would refuse it.
        """
        payer = TxParams({"value": Web3.to_wei(0, "wei"), "from": Web3.to_checksum_address(identity.address)})
        return Call(payer | self._fields(function, arguments), gas, f"The ledger's {function}")

    def fund(self, identity: Identity, recipient: Address, wei: int) -> None:
        """Send an account so much that it has this many wei; nothing where it has them.

        Raises:
            LedgerError: the node does not answer, or the sender's account has too little.
        """
        with self._reaching():
            to = Web3.to_checksum_address(recipient)
            missing = wei - self._web3.eth.get_balance(to)
        if missing > 0:
            self._send(identity, TxParams({"to": to, "value": Web3.to_wei(missing, "wei")}), f"funding {recipient}")

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
        address = Web3.to_checksum_address(self.contract)
        with self._reaching():
            if self._interface is None:  # making it takes as long as a few requests
                self._interface = self._web3.eth.contract(address=address, abi=load_artifact().abi)
            data = self._interface.encode_abi(function, list(arguments))
        return TxParams({"to": address, "data": data})

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


def _session(node: NodeAddress) -> requests.Session:
    """A session that opens a node."""
    session = requests.Session()
    session.trust_env = not is_loopback(node.url)  # a proxy would look for this machine's port at its own
    session.auth = node.bearer()
    if session.auth and not node.url.startswith("https://") and not is_loopback(node.url):
        raise LedgerError(
            f"The token for {shown_url(node.url)} would travel unencrypted.",
            "Correct the URL: it begins with https://.",
        )
    if node.certificate and not Path(node.certificate).is_file():
        raise LedgerError(f"There is no certificate at {node.certificate}.", "Restore it, or correct ledger.json.")
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=32)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def _shortly(error: Exception) -> str:
    """The first line of an error, without its full stop."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")


def _checked(contract: Address) -> Address:
    """A contract's address with EIP-55's upper and lower case."""
    try:
        return as_address(contract)
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"{contract!r} is no address of a contract.", "Give 0x and 40 hexadecimal digits.", MISFIT
        ) from error


def _block_tag(block: Block) -> Any:
    """A block as JSON-RPC names it."""
    if isinstance(block, bytes):
        return {"blockHash": f"0x{block.hex()}"}
    return block if isinstance(block, str) else hex(block)


def _block(block: int | str) -> Question:
    """The question for a block by its height, without its transactions."""
    return "eth_getBlockByNumber", [_block_tag(block), False]


def _height_and_hash(block: Any) -> tuple[int, bytes]:
    """Of a block as JSON."""
    if not isinstance(block, dict):
        raise BadResponseFormat("a block is no object")
    return int(block["number"], 16), _bytes(block["hash"])


def _bytes(text: Any) -> bytes:
    """Bytes in an answer."""
    if not isinstance(text, str):
        raise BadResponseFormat("bytes are no text")
    return bytes.fromhex(text.removeprefix("0x"))
