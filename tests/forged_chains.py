"""Chains as a server could forge them that owns the only node: linked anew, executed anew, or on rules of its own.

A chain is a list of blocks as RLP has them; every function returns another list and leaves its own as it was.
"""

import copy
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

import rlp
from eth.abc import VirtualMachineAPI
from eth.chains.base import MiningChain
from eth.db.atomic import AtomicDB
from eth.vm.forks.cancun.transactions import CancunTransactionBuilder
from eth_abi.abi import encode
from eth_typing import Address as RawAddress
from eth_utils.address import to_canonical_address, to_checksum_address
from eth_utils.crypto import keccak

from blockchain.audit.blocks import decode_header, root_of
from blockchain.audit.sources.evidence import Genesis
from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.fold import EMPTY_HEAD, fold
from blockchain.node.block_builder import GAS_LIMIT
from blockchain.node.machine import CheckedVM
from fedward.types import Address

PARENT, STATE, TRANSACTION_ROOT, RECEIPT_ROOT, NUMBER, TIMESTAMP, EXTRA = 0, 3, 4, 5, 8, 11, 12  # places in a header
HEADER, TRANSACTIONS = 0, 1  # places in a block

Body = list[Any]  # header, transactions, uncles and withdrawals, as RLP has them


class Beginning(Protocol):
    """What a chain is mined from."""

    @property
    def genesis(self) -> Genesis:
        """Block 0."""

    @property
    def chain_id(self) -> int:
        """The chain's id."""

    @property
    def contract(self) -> Address:
        """Where the ledger lies."""


@dataclass(frozen=True)
class Mined:
    """A chain that follows from its transactions by somebody's rules.

    Attributes:
        bodies: The blocks from 1 on.
        heads: The ledger head after each, by number.
        receipts: Of each block, encoded.
    """

    bodies: list[Body]
    heads: Mapping[int, bytes]
    receipts: list[tuple[bytes, ...]]


def block_hash(body: Body) -> bytes:
    return bytes(keccak(rlp.encode(body[HEADER])))


def linked(bodies: Sequence[Body]) -> list[Body]:
    """Every header names the hash of the one before it, and the root of its own transactions."""
    made = copy.deepcopy(list(bodies))
    for body in made:
        encoded = [item if isinstance(item, bytes) else rlp.encode(item) for item in body[TRANSACTIONS]]
        body[HEADER][TRANSACTION_ROOT] = root_of(encoded)
    for before, body in itertools.pairwise(made):
        body[HEADER][PARENT] = block_hash(before)
    return made


def renumbered(bodies: Sequence[Body]) -> list[Body]:
    """Blocks in the order given, numbered from 1, dated as the first of them were, and linked."""
    made = copy.deepcopy(list(bodies))
    dates = sorted(body[HEADER][TIMESTAMP] for body in made)
    for number, (body, date) in enumerate(zip(made, dates, strict=True), start=1):
        body[HEADER][NUMBER], body[HEADER][TIMESTAMP] = rlp.encode(number).lstrip(b"\x80"), date
    return linked(made)


def mined(bodies: Sequence[Body], beginning: Beginning, machine: type[VirtualMachineAPI] = CheckedVM) -> Mined:
    """Run the transactions of these blocks at their dates, and make all headers anew from what comes out."""
    header, genesis_hash = decode_header(beginning.genesis.header)
    kind = MiningChain.configure("Forger", vm_configuration=((0, machine),), chain_id=beginning.chain_id)
    fields: Any = {name: getattr(header, name) for name in ("gas_limit", "timestamp", "base_fee_per_gas")}
    accounts: Any = {
        to_canonical_address(address): {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
        for address, balance in beginning.genesis.balances.items()
    }
    chain = kind.from_genesis(AtomicDB(), fields, accounts)
    assert chain.get_canonical_head().hash == genesis_hash
    made: list[Body] = []
    heads: dict[int, bytes] = {}
    told: list[tuple[bytes, ...]] = []
    head, own = EMPTY_HEAD, to_canonical_address(beginning.contract)
    for number, body in enumerate(bodies, start=1):
        transactions = [CancunTransactionBuilder.deserialize(item) for item in body[TRANSACTIONS]]
        date = int.from_bytes(body[HEADER][TIMESTAMP], "big")
        filling = chain.create_header_from_parent(chain.get_canonical_head(), timestamp=date, gas_limit=GAS_LIMIT)
        vm, receipts = chain.get_vm(filling), []
        for transaction in transactions:
            receipt, _ = vm.apply_transaction(filling, transaction)
            filling = vm.add_receipt_to_header(filling, receipt)
            receipts.append(receipt)
        filled = vm.set_block_transactions_and_withdrawals(vm.get_block(), filling, transactions, receipts)
        block = vm.mine_block(filled).block
        chain.persist_block(block)  # type: ignore[attr-defined]
        logs = [log for receipt in receipts for log in receipt.logs if log.address == own]
        topics = ((tuple(topic.to_bytes(32, "big") for topic in log.topics), bytes(log.data)) for log in logs)
        head = heads[number] = fold(topics, head)
        told.append(tuple(receipt.encode() for receipt in receipts))
        made.append(cast(Body, rlp.decode(rlp.encode(block))))
    return Mined(made, heads, told)


def sent_again(transaction: bytes, sender: Identity, **changes: Any) -> bytes:
    """The same transaction, some fields of it changed, signed by its sender."""
    old = CancunTransactionBuilder.decode(transaction)
    fields = {
        "type": 2,
        "chainId": old.chain_id,
        "nonce": old.nonce,
        "maxFeePerGas": old.max_fee_per_gas,
        "maxPriorityFeePerGas": old.max_priority_fee_per_gas,
        "gas": old.gas,
        "value": old.value,
        "data": bytes(old.data),
        **({"to": to_checksum_address(old.to)} if old.to else {}),
    }
    return bytes(sender.sign_transaction(fields | changes).raw_transaction)


def input_of(transaction: bytes) -> bytes:
    return bytes(CancunTransactionBuilder.decode(transaction).data)


def call(function: str, arguments: Sequence[Any]) -> bytes:
    """A call's input."""
    named = load_artifact().signatures("function").items()
    selector, kinds = next((key, kinds) for key, (name, kinds) in named if name == function)
    return selector + encode(kinds, arguments)


def nonce_of(transaction: bytes) -> int:
    return int(CancunTransactionBuilder.decode(transaction).nonce)


def sender_of(transaction: bytes) -> bytes:
    return bytes(CancunTransactionBuilder.decode(transaction).sender)


def unchecked(code: bytes, error: str) -> bytes:
    """The contract's code in which the last check that ends in an error always passes.

    The compiler writes a check as ISZERO PUSH2 target JUMPI, and the error's selector soon after; NOT in ISZERO's
    place leaves something that is not zero of whatever was tested.
    """
    selector = next(key for key, (name, _) in load_artifact().signatures("error").items() if name == error)
    word = int.from_bytes(selector, "big")
    zeros = (word & -word).bit_length() - 1  # the compiler pushes it without them, and shifts
    place = code.rindex(b"\x63" + (word >> zeros).to_bytes(4, "big"))
    jump = max(
        at for at in range(place - 60, place) if code[at] == 0x15 and code[at + 1] == 0x61 and code[at + 4] == 0x57
    )
    return code[:jump] + b"\x19" + code[jump + 1 :]


def lenient_machine(error: str) -> type[VirtualMachineAPI]:
    """Cancun's rules, but the ledger's code, which stays on the chain as it is, runs without one of its checks."""

    class LenientState(CheckedVM._state_class):  # type: ignore[valid-type, misc]
        def get_code(self, address: RawAddress) -> bytes:
            code = bytes(super().get_code(address))
            return unchecked(code, error) if load_artifact().is_code(code) else code

    class LenientVM(CheckedVM):
        _state_class = LenientState

    return LenientVM
