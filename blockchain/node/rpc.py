"""The JSON-RPC service: requests from outside become calls of the chain, and results become Ethereum's formats."""

import functools
import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any, NoReturn, TypeVar

from eth.abc import BlockAPI, BlockHeaderAPI
from eth.exceptions import Revert, VMError
from eth_typing import Address

from blockchain.ledger.rpc_codes import OUT_OF_RESOURCES
from blockchain.node.block_builder import GAS_LIMIT
from blockchain.node.chain import CALL_GAS_LIMIT, EmbeddedChain, HandedIn
from blockchain.node.machine import CallRequest, TransactionRefusedError
from blockchain.node.outputs import Outputs
from blockchain.node.rpc_format import block_fields, hex_bytes, hex_int, log_fields, receipt_fields, transaction_fields
from blockchain.node.store import TooManyLogsError
from fedward.errors import FedwardError, ResourceError

MAX_BATCH = 256
MAX_DEPTH = 64
MAX_LOGS = 10_000
MAX_CHOICES = 1_000  # addresses and topics that one query of events may name
# When a batch has used up one of these bounds, its remaining requests are refused. A single request is bounded by its
# method.
BATCH_TIME_S = 5.0  # of the processor
MAX_ANSWER_BYTES = 32 * 1024 * 1024
CLIENT_VERSION = "fedward/py-evm"
SEND = "eth_sendRawTransaction"

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND, INVALID_PARAMS, INTERNAL_ERROR = -32700, -32600, -32601, -32602, -32603
REFUSED, LIMIT_EXCEEDED, REVERTED = -32000, -32005, 3

_log = logging.getLogger(__name__)
_BRACKETS = re.compile(r"[\[\]{}]")
_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")

Json = Any  # what json.loads gives: the shape is what this module checks
Method = Callable[[list[Json]], Json]
_T = TypeVar("_T")


class RpcError(Exception):
    """An answer with an error object.

    Args:
        code: JSON-RPC's or Ethereum's code.
        message: One sentence for the sender of the request.
        data: Further detail, such as what a contract reverted with.
    """

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


@dataclass(frozen=True)
class RpcService:
    """Answers JSON-RPC requests from one chain."""

    chain: EmbeddedChain
    outputs: Outputs = field(default_factory=Outputs)

    def answer(self, body: bytes) -> bytes:
        """Answer a request or a batch; whatever the body is, the answer is JSON, or empty for notifications only."""
        try:
            request = _parse(body)
        except ValueError:
            return _encode(_error(None, RpcError(PARSE_ERROR, f"the body is not JSON of at most {MAX_DEPTH} levels")))
        if not isinstance(request, list):
            return self._answer_one(request)
        if not request or len(request) > MAX_BATCH:
            problem = f"a batch holds 1 to {MAX_BATCH} requests, this one holds {len(request)}"
            return _encode(_error(None, RpcError(INVALID_REQUEST, problem)))
        answers, size, began_s = list[bytes](), 0, time.thread_time()
        handed_in: dict[int, HandedIn | Exception] = {}
        for place, item in enumerate(request):
            spent = size > MAX_ANSWER_BYTES or time.thread_time() - began_s > BATCH_TIME_S
            if not spent and place not in handed_in:
                handed_in |= self._hand_in(request, place)
            answers.append(self._answer_one(item, spent, handed_in.get(place)))
            size += len(answers[-1])
        told = [answer for answer in answers if answer]
        return b"[" + b",".join(told) + b"]" if told else b""

    def _hand_in(self, batch: list[Json], start: int) -> dict[int, HandedIn | Exception]:
        """Hand in the transactions that stand one after the other in a batch, so that one block can hold them all.

        Returns:
            By place in the batch, the transactions that were handed in, or why one was not.
        """
        found: dict[int, HandedIn | Exception] = {}
        for place, item in enumerate(batch[start:], start):
            if _unfit(item) or item["method"] != SEND or not isinstance(params := item.get("params", []), list):
                break
            found[place] = _tried(functools.partial(self._take_transaction, params))
        return found

    def _answer_one(self, request: Json, spent: bool = False, handed_in: HandedIn | Exception | None = None) -> bytes:
        """Answer one request, or refuse it where its batch is `spent`; empty for a notification.

        What it sends may be `handed_in` already; an error there says why it could not be.
        """
        if problem := _unfit(request):
            return _encode(_error(None, RpcError(INVALID_REQUEST, problem)))
        request_id = request.get("id")

        def answer() -> bytes:
            if isinstance(handed_in, HandedIn):
                result: Json = hex_bytes(self.chain.await_block(handed_in))
            else:
                result = self._call(request, spent)
            return _encode({"jsonrpc": "2.0", "id": request_id, "result": result})

        found = handed_in if isinstance(handed_in, Exception) else _tried(answer)
        if isinstance(found, Exception):
            _log.debug("%s failed.", request["method"][:64], exc_info=found)
            found = _encode(_error(request_id, _as_rpc_error(found)))
        return found if "id" in request else b""

    def _call(self, request: Mapping[str, Json], spent: bool) -> Json:
        """Find the method and run it."""
        if spent:
            raise RpcError(LIMIT_EXCEEDED, "the batch took too long or has too large an answer: ask for less")
        params = request.get("params", [])
        if not isinstance(params, list):
            raise RpcError(INVALID_PARAMS, "params is a list")
        method = self._methods().get(request["method"])
        if method is None:
            raise RpcError(METHOD_NOT_FOUND, f"the method {request['method'][:64]} is not available")
        return method(params)

    def _methods(self) -> dict[str, Method]:
        """Every method by name."""
        return {
            "web3_clientVersion": lambda _: CLIENT_VERSION,
            "net_version": lambda _: str(self.chain.chain_id),
            "net_listening": lambda _: True,
            "eth_chainId": lambda _: hex_int(self.chain.chain_id),
            "eth_syncing": lambda _: False,
            "eth_accounts": lambda _: [],
            "eth_blockNumber": lambda _: hex_int(self.chain.head().block_number),
            "eth_gasPrice": lambda _: hex_int(self.chain.next_header().base_fee_per_gas),
            "eth_maxPriorityFeePerGas": lambda _: hex_int(0),
            "eth_getBalance": self._get_balance,
            "eth_getTransactionCount": self._get_transaction_count,
            "eth_getCode": self._get_code,
            "eth_getStorageAt": self._get_storage_at,
            "eth_call": self._eth_call,
            "eth_estimateGas": self._estimate_gas,
            SEND: self._send_raw_transaction,
            "eth_getBlockByNumber": self._get_block_by_number,
            "eth_getBlockByHash": self._get_block_by_hash,
            "eth_getTransactionByHash": self._get_transaction_by_hash,
            "eth_getTransactionReceipt": self._get_transaction_receipt,
            "eth_getLogs": self._get_logs,
        }

    # ---- accounts and calls -------------------------------------------------------------------------------------

    def _get_balance(self, params: list[Json]) -> str:
        return hex_int(self.chain.read_account(_address(params, 0), self._header(params, 1))[0])

    def _get_transaction_count(self, params: list[Json]) -> str:
        return hex_int(self.chain.read_account(_address(params, 0), self._header(params, 1))[1])

    def _get_code(self, params: list[Json]) -> str:
        return hex_bytes(self.chain.read_account(_address(params, 0), self._header(params, 1))[2])

    def _get_storage_at(self, params: list[Json]) -> str:
        slot = int(_text(params, 1, _DATA_OR_QUANTITY), 16)
        word = self.chain.read_storage(_address(params, 0), slot, self._header(params, 2))
        return hex_bytes(word.to_bytes(32, "big"))

    def _eth_call(self, params: list[Json]) -> str:
        request, header = _call_request(params), self._call_header(params)
        return hex_bytes(self.outputs.of(bytes(header.hash), request, lambda: self._run(request, header)[0]))

    def _estimate_gas(self, params: list[Json]) -> str:
        """An upper estimate from one run: gas taken before refunds, and what EIP-150 keeps back from inner calls."""
        _, gas = self._run(_call_request(params), self._call_header(params))
        return hex_int(min(GAS_LIMIT, gas * 64 // 63 + 2_300))

    def _run(self, request: CallRequest, header: BlockHeaderAPI) -> tuple[bytes, int]:
        """Output of a call, and the gas that it took; a call that fails is answered with an error."""
        computation, gas = self.chain.call(request, header)
        if not computation.is_error:
            return bytes(computation.output), gas
        if isinstance(computation.error, Revert):  # which carries what the contract reverted with
            raise RpcError(REVERTED, "execution reverted", hex_bytes(computation.output))
        raise RpcError(REFUSED, f"execution failed: {computation.error}")

    def _send_raw_transaction(self, params: list[Json]) -> str:
        return hex_bytes(self.chain.await_block(self._take_transaction(params)))

    def _take_transaction(self, params: list[Json]) -> HandedIn:
        return self.chain.hand_in(_bytes(params, 0))

    # ---- the chain ----------------------------------------------------------------------------------------------

    def _get_block_by_number(self, params: list[Json]) -> Json:
        block = self.chain.block_by_number(self._number(params, 0))
        return self._block(block, params)

    def _get_block_by_hash(self, params: list[Json]) -> Json:
        return self._block(self.chain.block_by_hash(_bytes(params, 0, 32)), params)

    def _block(self, block: BlockAPI | None, params: list[Json]) -> Json:
        """A block as JSON, with whole transactions where the second parameter says so, else with their hashes."""
        if block is None:
            return None
        if len(params) > 1 and params[1] is True:
            whole = [transaction_fields(found, self.chain.chain_id) for found in self.chain.transactions(block)]
            return block_fields(block, whole)
        return block_fields(block, [hex_bytes(transaction.hash) for transaction in block.transactions])

    def _get_transaction_by_hash(self, params: list[Json]) -> Json:
        found = self.chain.find_transaction(_bytes(params, 0, 32))
        return found and transaction_fields(found, self.chain.chain_id)

    def _get_transaction_receipt(self, params: list[Json]) -> Json:
        found = self.chain.find_transaction(_bytes(params, 0, 32))
        return found and receipt_fields(found, self.chain.receipts(found.block))

    def _get_logs(self, params: list[Json]) -> Json:
        query = params[0] if params and isinstance(params[0], dict) else {}
        if query.get("blockHash") is not None:
            block = self.chain.block_by_hash(_bytes([query["blockHash"]], 0, 32))
            if block is None:
                raise RpcError(REFUSED, "unknown block")
            blocks = (int(block.number), int(block.number))
        else:
            blocks = (self._number([query.get("fromBlock")], 0), self._number([query.get("toBlock")], 0))
        addresses = [_bytes([item], 0, 20) for item in _choices(query.get("address"))]
        places = query.get("topics") or []
        if not isinstance(places, list) or len(places) > 4:
            raise RpcError(INVALID_PARAMS, "topics is a list of at most four places")
        topics = [[_bytes([item], 0, 32) for item in _choices(place)] for place in places]
        if len(addresses) + sum(map(len, topics)) > MAX_CHOICES:
            raise RpcError(INVALID_PARAMS, f"a query names at most {MAX_CHOICES} addresses and topics")
        logs = self.chain.find_logs(blocks, addresses, topics, MAX_LOGS)
        hashes = {log.block: self._block_hash(log.block) for log in logs}
        return [log_fields(log, hashes[log.block]) for log in logs]

    def _block_hash(self, number: int) -> bytes:
        """Hash of a block that is known to exist."""
        block = self.chain.block_by_number(number)
        if block is None:
            raise RpcError(INTERNAL_ERROR, f"block {number} is missing")
        return bytes(block.hash)

    def _number(self, params: list[Json], place: int) -> int:
        """The block number that a parameter gives as number or name; the latest where none is given."""
        tag = params[place] if place < len(params) else None
        if tag in (None, "latest", "pending", "safe", "finalized"):
            return int(self.chain.head().block_number)
        return 0 if tag == "earliest" else int(_text([tag], 0, _QUANTITY), 16)

    def _header(self, params: list[Json], place: int) -> BlockHeaderAPI:
        """Header of the block that a parameter names, as number, name or object (EIP-1898)."""
        tag = params[place] if place < len(params) else None
        if isinstance(tag, dict) and "blockHash" in tag:
            block = self.chain.block_by_hash(_bytes([tag["blockHash"]], 0, 32))
        else:
            number = tag.get("blockNumber") if isinstance(tag, dict) else tag
            block = self.chain.block_by_number(self._number([number], 0))
        if block is None:
            raise RpcError(REFUSED, "unknown block")
        return block.header

    def _call_header(self, params: list[Json]) -> BlockHeaderAPI:
        """As `_header`, but "pending" is the block to come, with its time."""
        if len(params) > 1 and params[1] == "pending":
            return self.chain.next_header()
        return self._header(params, 1)


_DATA_OR_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")


def _parse(body: bytes) -> Json:
    """Read JSON that is not nested too deeply; ValueError where it is none.

    py-evm raises the process's recursion limit. With the json module alone, a body of nothing but brackets would
    therefore overflow the stack and end the process.
    """
    text = body.decode()
    outside = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])
    depth = 0
    for bracket in _BRACKETS.findall(outside):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_DEPTH:
            raise ValueError("nested too deeply")
    return json.loads(text, parse_constant=_refuse_constant)


def _tried(action: Callable[[], _T]) -> _T | Exception:
    """What an action gives, or what it raises: py-evm's errors over what strangers send are of any kind."""
    try:
        return action()
    except Exception as error:
        return error


def _unfit(request: Json) -> str:
    """What keeps a value from being a request; empty where nothing does."""
    if not isinstance(request, dict) or not isinstance(request.get("method"), str):
        return "a request is an object with a method"
    request_id = request.get("id")
    if not isinstance(request_id, str | int | float | None) or request_id in (inf, -inf):
        return "an id is a number, a text or null"
    return ""


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN and Infinity: Python reads them, but they are no JSON, and no answer could repeat them."""
    raise ValueError(name)


def _text(params: list[Json], place: int, pattern: re.Pattern[str]) -> str:
    """A text parameter that matches a pattern."""
    value = params[place] if place < len(params) else None
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise RpcError(INVALID_PARAMS, f"parameter {place + 1} is missing or malformed")
    return value


def _bytes(params: list[Json], place: int, length: int | None = None) -> bytes:
    """A parameter that is 0x and hexadecimal bytes."""
    content = bytes.fromhex(_text(params, place, _DATA)[2:])
    if length is not None and len(content) != length:
        raise RpcError(INVALID_PARAMS, f"parameter {place + 1} has {len(content)} bytes, not {length}")
    return content


def _address(params: list[Json], place: int) -> Address:
    """A parameter that is an account."""
    return Address(_bytes(params, place, 20))


def _choices(value: Json) -> list[Json]:
    """One value, a list of alternatives, or none for any."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _call_request(params: list[Json]) -> CallRequest:
    """Read what `eth_call` and `eth_estimateGas` are to run."""
    fields = params[0] if params and isinstance(params[0], dict) else None
    if fields is None:
        raise RpcError(INVALID_PARAMS, "parameter 1 is an object")
    data = fields.get("input", fields.get("data", "0x"))
    gas = int(_text([fields["gas"]], 0, _QUANTITY), 16) if fields.get("gas") else CALL_GAS_LIMIT
    return CallRequest(
        sender=_address([fields["from"]], 0) if fields.get("from") else Address(bytes(20)),
        to=_address([fields["to"]], 0) if fields.get("to") else Address(b""),
        data=_bytes([data], 0),
        value=int(_text([fields.get("value", "0x0")], 0, _QUANTITY), 16),
        gas=min(gas, CALL_GAS_LIMIT),
    )


def _as_rpc_error(error: Exception) -> RpcError:
    """The error answer for a failure."""
    match error:
        case RpcError():
            return error
        case TransactionRefusedError():
            return RpcError(REFUSED, str(error))
        case TooManyLogsError():
            return RpcError(LIMIT_EXCEEDED, f"{error}: ask for fewer blocks")
        case ResourceError():
            return RpcError(OUT_OF_RESOURCES, str(error))
        case FedwardError():
            return RpcError(INTERNAL_ERROR, str(error))
        case VMError():
            return RpcError(REFUSED, f"execution failed: {error}")
    return RpcError(INTERNAL_ERROR, f"the node failed over this request ({type(error).__name__})")


def _error(request_id: Json, error: RpcError) -> Json:
    """An error answer."""
    fields: dict[str, Json] = {"code": error.code, "message": error.message}
    if error.data is not None:
        fields["data"] = error.data
    return {"jsonrpc": "2.0", "id": request_id, "error": fields}


def _encode(answer: Json) -> bytes:
    return json.dumps(answer, separators=(",", ":"), allow_nan=False).encode()
