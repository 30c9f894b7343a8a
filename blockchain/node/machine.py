"""The machine that builds blocks, what it is given to run, and how it says no: py-evm under Cancun rules."""

from dataclasses import dataclass

from eth.abc import BlockAPI, SignedTransactionAPI
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.state import CancunState, CancunTransactionExecutor
from eth_typing import Address as RawAddress
from eth_utils.exceptions import ValidationError


class _CheckedExecutor(CancunTransactionExecutor):
    """Cancun's rules, less a second and third recovery of the signer: `submit` recovered it already (5 ms each)."""

    def validate_transaction(self, transaction: SignedTransactionAPI) -> None:
        if transaction.gas < transaction.intrinsic_gas:
            raise ValidationError(f"intrinsic gas too low: have {transaction.gas}, want {transaction.intrinsic_gas}")
        self.vm_state.validate_transaction(transaction)


class _CheckedState(CancunState):
    """State on which checked transactions run."""

    transaction_executor_class = _CheckedExecutor


class CheckedVM(CancunVM):
    """The machine that builds blocks; what it builds, py-evm's own CancunVM accepts."""

    _state_class = _CheckedState


class TransactionRefusedError(Exception):
    """A transaction that cannot enter any block, and why, in the words that Ethereum clients expect."""


@dataclass(frozen=True)
class CallRequest:
    """A message to run without a transaction.

    Attributes:
        sender: 20 bytes.
        to: 20 bytes, or empty to create a contract.
        data: Input.
        value: Wei.
        gas: Limit, at most `GAS_LIMIT`.
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
