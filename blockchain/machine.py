"""The machine that builds blocks: py-evm's Cancun rules, without recovering a signer that is known already."""

from eth.abc import SignedTransactionAPI
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.state import CancunState, CancunTransactionExecutor
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
