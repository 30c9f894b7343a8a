"""`CheckedVM`: py-evm under Cancun rules with a bound on processor time, for transactions and calls; refusals.

Gas does not bound time here: py-evm takes 7 minutes for 30 million gas of one hash function that Ethereum prices for
faster machines. So whatever runs has a bound on processor time as well. Other nodes would not find that a transaction
runs out of time, so this outcome never enters a block: the transaction is refused, or the call is answered with an
error.

A virtual machine that is stopped for a moment, or a collection of garbage, makes a thread's clock jump, and an honest
call must not be refused for it. So what passes between two looks at the clock counts at most as long as the work that
was paid for in between can take.
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
# A precompiled contract runs to its end without a look at the time, so inputs of the slow ones are bounded: in bytes of
# pairs of curve points (0.4 s each), and in rounds of a hash function (14 microseconds each).
MOST_PAIRING_BYTES = 4 * 192
MOST_BLAKE2_ROUNDS = 20_000
# What a unit of gas takes at most: two and a half times the 20 microseconds that the cheapest operation takes here, for
# slower machines.
MOST_S_PER_GAS = 50e-6

# The clock is looked at before every operation that costs so much gas, and else once for so many operations, which
# take 20 microseconds each.
_DEAR, _LOOK_EVERY = 100, 64
_PAIRING, _BLAKE2 = (RawAddress(bytes(19) + bytes([number])) for number in (8, 9))
_PRECOMPILES: dict[RawAddress, Callable[[ComputationAPI], ComputationAPI]] = CancunComputation.get_precompiles()


class TransactionRefusedError(Exception):
    """A transaction that cannot enter any block, and why, in the words that Ethereum clients expect."""


def _pairing(computation: ComputationAPI) -> ComputationAPI:
    """The precompiled pairing check, for at most `MOST_PAIRING_BYTES`."""
    if len(computation.msg.data_as_bytes) > MOST_PAIRING_BYTES:
        raise TransactionRefusedError("this node checks a pairing of at most 4 pairs of points")
    return _PRECOMPILES[_PAIRING](computation)


def _blake2(computation: ComputationAPI) -> ComputationAPI:
    """The precompiled compression function of BLAKE2b, for at most `MOST_BLAKE2_ROUNDS`."""
    if int.from_bytes(computation.msg.data_as_bytes[:4], "big") > MOST_BLAKE2_ROUNDS:
        raise TransactionRefusedError(f"this node runs at most {MOST_BLAKE2_ROUNDS} rounds of BLAKE2b")
    return _PRECOMPILES[_BLAKE2](computation)


class _BoundedComputation(CancunComputation):
    """Cancun's rules, with a bound on processor time."""

    _precompiles = {**_PRECOMPILES, _PAIRING: _pairing, _BLAKE2: _blake2}  # noqa: RUF012  py-evm's own way
    state: "_CheckedState"
    _unlooked = 0  # cheap operations since the last look at the clock

    def consume_gas(self, amount: int, reason: str) -> None:
        """Pay for an operation, and check the time: every operation pays before it does anything else.

        Looking at the clock takes as long as a cheap operation, so it is done once for many of those.
        """
        self._unlooked += 1
        if amount >= _DEAR or self._unlooked >= _LOOK_EVERY:
            self._unlooked = 0
            self.state.look_at_clock()
        self.state.unlooked_gas += amount
        meter = self._gas_meter
        if 0 <= amount <= meter.gas_remaining:
            meter.gas_remaining -= amount
        else:
            meter.consume_gas(amount, reason)  # which raises what py-evm raises


class _CheckedExecutor(CancunTransactionExecutor):
    """Cancun's rules, without recovering the signer again (5 ms each): `submit` did that already."""

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
    unlooked_gas = 0  # paid since the last look at the clock; an operation pays before it runs
    _ran_s = -inf
    _looked_s = 0.0

    def start_clock(self) -> None:
        """Let what runs next take `RUN_TIME_S` of this thread's time."""
        self._ran_s, self._looked_s, self.unlooked_gas = 0.0, time.thread_time(), 0

    def look_at_clock(self) -> None:
        """Count the time since the last look, but no more than what was paid for in between can take.

        Raises:
            TransactionRefusedError: what runs has taken longer than `RUN_TIME_S`.
        """
        now_s = time.thread_time()
        self._ran_s += min(now_s - self._looked_s, self.unlooked_gas * MOST_S_PER_GAS)
        self._looked_s, self.unlooked_gas = now_s, 0
        if self._ran_s > RUN_TIME_S:
            raise TransactionRefusedError(f"execution takes longer than {RUN_TIME_S:g} s of this node's processor")


class CheckedVM(CancunVM):
    """The machine that builds blocks and runs calls; py-evm's own CancunVM accepts the blocks that it builds."""

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
    """A refusal by py-evm in the words that Ethereum clients look for."""
    text = str(error)
    if "afford" in text or "balance" in text or "funds" in text:
        return f"insufficient funds for gas * price + value: {text}"
    return text
