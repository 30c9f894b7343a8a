"""What the contract refused a call with, as an error of ours."""

from web3.exceptions import ContractLogicError

from blockchain.ledger.artifact import load_artifact
from fedward.errors import LedgerError


def refusal(error: ContractLogicError) -> LedgerError:
    """The contract's own reason for refusing a call."""
    data = error.data
    if isinstance(data, dict):
        data = data.get("data")
    raw = bytes.fromhex(data[2:]) if isinstance(data, str) and data.startswith("0x") else b""
    name, fields = load_artifact().describe_error(raw)
    detail = f"{name} ({fields})" if name else str(error.message or error)
    return LedgerError(f"The contract refused: {detail}.", "Nothing was recorded; see docs/errors.md.", name)
