"""The machine that runs transactions and calls, what it is given, and how it says no: py-evm under Cancun rules.

Gas is no measure of time here: py-evm takes 7 minutes for 30 million gas of one hash function that Ethereum prices for
faster machines. So whatever runs has a bound on the processor's time as well. Running out of it is no outcome that
other nodes would find, so it never enters a block: the transaction is refused, or the call answered with an error.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from eth.abc import BlockAPI, ComputationAPI, SignedTransactionAPI
from eth.constants import CREATE_CONTRACT_ADDRESS
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.computation import CancunComputation
from eth.vm.forks.cancun.state import CancunState, CancunTransactionExecutor
from eth.vm.forks.shanghai.constants import MAX_INITCODE_SIZE
from eth_typing import Address as RawAddress
from eth_utils.exceptions import ValidationError

RUN_TIME_S = 2.0  # of the processor; deploying our contract takes 0.05 s
# A precompiled contract runs to its end without asking for the time. The largest inputs of those that take long, in
# bytes of pairs of curve points (0.4 s each) and in rounds of a hash function (14 microseconds each):
MOST_PAIRING_BYTES = 4 * 192
MOST_BLAKE2_ROUNDS = 20_000

_PAIRING, _BLAKE2 = (RawAddress(bytes(19) + bytes([number])) for number in (8, 9))
_PRECOMPILES: dict[RawAddress, Callable[[ComputationAPI], ComputationAPI]] = CancunComputation.get_precompiles()


class TransactionRefusedError(Exception):
    """A transaction that cannot enter any block, and why, in the words that Ethereum clients expect."""


def _pairing(computation: ComputationAPI) -> ComputationAPI:
    """The precompiled pairing check, for few points."""
    if len(computation.msg.data_as_bytes) > MOST_PAIRING_BYTES:
        raise TransactionRefusedError("this node checks a pairing of at most 4 pairs of points")
    return _PRECOMPILES[_PAIRING](computation)


def _blake2(computation: ComputationAPI) -> ComputationAPI:
    """The precompiled compression function of BLAKE2b, for few rounds."""
    if int.from_bytes(computation.msg.data_as_bytes[:4], "big") > MOST_BLAKE2_ROUNDS:
        raise TransactionRefusedError(f"this node runs at most {MOST_BLAKE2_ROUNDS} rounds of BLAKE2b")
    return _PRECOMPILES[_BLAKE2](computation)


class _BoundedComputation(CancunComputation):
    """Cancun's rules, for a bounded time."""

    _precompiles = {**_PRECOMPILES, _PAIRING: _pairing, _BLAKE2: _blake2}  # noqa: RUF012  py-evm's own way
    state: "_CheckedState"

    def consume_gas(self, amount: int, reason: str) -> None:
        """Pay for an operation, as every operation does before anything else."""
        if time.thread_time() > self.state.deadline_s:
            raise TransactionRefusedError(f"execution takes longer than {RUN_TIME_S:g} s of this node's processor")
        super().consume_gas(amount, reason)


class _CheckedExecutor(CancunTransactionExecutor):
    """Cancun's rules, less a second and third recovery of the signer: `submit` recovered it already (5 ms each)."""

    def validate_transaction(self, transaction: SignedTransactionAPI) -> None:
        if transaction.gas < transaction.intrinsic_gas:
            raise ValidationError(f"intrinsic gas too low: have {transaction.gas}, want {transaction.intrinsic_gas}")
        # EIP-3860. py-evm finds this out only when the sender has paid, and then by an error that ends the block.
        if transaction.to == CREATE_CONTRACT_ADDRESS and len(transaction.data) > MAX_INITCODE_SIZE:
            raise ValidationError(
                f"max initcode size exceeded: code size {len(transaction.data)}, limit {MAX_INITCODE_SIZE}"
            )
        self.vm_state.validate_transaction(transaction)


class _CheckedState(CancunState):
    """State on which checked transactions run."""

    transaction_executor_class = _CheckedExecutor
    computation_class = _BoundedComputation
    deadline_s = inf

    def start_clock(self) -> None:
        """Let what runs next take `RUN_TIME_S` of this thread's time."""
        self.deadline_s = time.thread_time() + RUN_TIME_S


class CheckedVM(CancunVM):
    """The machine that builds blocks and runs calls; what it builds, py-evm's own CancunVM accepts."""

    _state_class = _CheckedState
    state: _CheckedState


@dataclass(frozen=True)
class CallRequest:
    """A message to run without a transaction.

    Attributes:
        sender: 20 bytes.
        to: 20 bytes, or empty to create a contract.
        data: Input.
        value: Wei.
        gas: Limit, at most `CALL_GAS_LIMIT`.
    """

    sender: RawAddress
    to: RawAddress
    data: bytes
    value: int
    gas: int


@dataclass(frozen=True)
class MinedTransaction:
    """A transaction with its place in the chain, and the 20 bytes of its sender."""

    transaction: SignedTransactionAPI
    block: BlockAPI
    index: int
    sender: RawAddress


def in_client_words(error: ValidationError) -> str:
    """py-evm's reason in the words that clients look for."""
    text = str(error)
    if "afford" in text or "balance" in text or "funds" in text:
        return f"insufficient funds for gas * price + value: {text}"
    return text
