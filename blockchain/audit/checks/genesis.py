"""How a chain begins: checks of block 0, of its accounts, and of the contract's deployment."""

from collections.abc import Iterable

from eth.abc import BlockHeaderAPI
from eth.constants import BLANK_ROOT_HASH
from eth_utils.crypto import keccak

from blockchain.audit.checks.execution import Execution
from blockchain.audit.checks.tally import Tally, shown
from blockchain.audit.history import ExecutedBlock
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Genesis
from blockchain.ledger.artifact import load_artifact
from fedward.types import Address


def check_block_zero(report: Report, block_hash: bytes, trusted: bytes | None) -> None:
    """Check that block 0 is the one in the hospitals' trust file; without that file nothing can tell."""
    if trusted is None:
        report.missing(
            Step.GENESIS,
            f"Block 0 is {shown(block_hash)}; whether it is the hospitals' cannot be known from the evidence itself: "
            "give their trust file with --trust.",
        )
    elif trusted == block_hash:
        report.ok(Step.GENESIS, f"Block 0 is {shown(block_hash)}, as the trust file says.")
    else:
        report.fail(Step.GENESIS, f"Block 0 is {shown(block_hash)}, but the trust file says {shown(trusted)}.")


def check_accounts(report: Report, header: BlockHeaderAPI, genesis: Genesis, state_root: bytes) -> None:
    """Check that block 0's state root is the one that its funded accounts give."""
    tally = Tally()
    tally.compare("The number of block 0", header.block_number, 0)
    tally.compare("The transaction root of block 0", header.transaction_root, BLANK_ROOT_HASH)
    tally.compare("The state root of block 0", header.state_root, state_root)
    tally.tell(report, Step.GENESIS, f"Its state is that of its {len(genesis.balances)} accounts.")


def check_contract(
    report: Report, contract: Address, blocks: Iterable[ExecutedBlock], execution: Execution | None
) -> None:
    """Check that the ledger's code is this version's, and find the transaction that deployed it.

    Args:
        report: Takes the line.
        contract: Where the ledger lies.
        blocks: All blocks whose outcome is known.
        execution: The state after them; None where they were not run: then only the deployment's own data tell.
    """
    creating = (item for block in blocks for item in block.transactions if item.created == contract)
    creation = next((item for item in creating if item.succeeded), None)
    code = execution.code(contract) if execution else None
    artifact = load_artifact()
    if code and not artifact.is_code(code):
        report.fail(
            Step.GENESIS,
            f"The code at {contract} (hash {shown(keccak(code))}) is not this version's contract (hash "
            f"{shown(keccak(artifact.deployed))} before its constants are filled in).",
        )
    elif creation is None or code == b"":
        report.missing(Step.GENESIS, f"No transaction of the blocks at hand deploys the contract {contract}.")
    elif not creation.data.startswith(artifact.bytecode):
        # The same code could have been put there by another constructor, with roles and storage of its own.
        report.fail(
            Step.GENESIS,
            f"The contract was deployed in block {creation.block} by code with the hash "
            f"{shown(keccak(creation.data[: len(artifact.bytecode)]))}, but this version's has "
            f"{shown(keccak(artifact.bytecode))}.",
        )
    else:
        report.ok(
            Step.GENESIS,
            f"The contract is this version's, deployed by {creation.sender} in block {creation.block} with "
            f"transaction {shown(creation.transaction_hash)}.",
        )
