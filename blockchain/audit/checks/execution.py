"""Execution: runs a chain's recorded transactions again with py-evm, in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import rlp
from eth.abc import BlockHeaderAPI, ReceiptAPI, VirtualMachineAPI
from eth.chains.base import Chain
from eth.db.atomic import AtomicDB
from eth.typing import AccountDetails, HeaderParams
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.cancun.blocks import CancunBlock
from eth_typing import Address as RawAddress
from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from blockchain.audit.blocks import MALFORMED, REMEDY, DecodedBlock, in_short, root_of
from fedward.errors import VerificationError
from fedward.types import Address

LEDGER_HEAD_CALL = keccak(text="ledgerHead()")[:4]
_CALL_GAS = 1_000_000
_ANYBODY = RawAddress(bytes(20))


@dataclass(frozen=True)
class Outcome:
    """The result of running a block again.

    Attributes:
        receipts: Of each transaction; None where it could not run.
        refusals: Why a transaction could not run, by its place.
        state_root, receipts_root: 32 bytes each.
        bloom: Bloom filter over the logs, 2,048 bits.
        gas_used: Of the whole block.
    """

    receipts: tuple[ReceiptAPI | None, ...]
    refusals: Mapping[int, str]
    state_root: bytes
    receipts_root: bytes
    bloom: int
    gas_used: int


class Execution:
    """Accounts and storage, computed from block 0 on by running the transactions; no header is trusted for them.

    Args:
        header: Block 0's; its state root is not trusted.
        block_hash: Its hash.
        balances: Wei of each account in block 0.
        chain_id: The chain id that the contract's code sees.

    Raises:
        VerificationError: the accounts are malformed.
    """

    def __init__(
        self, header: BlockHeaderAPI, block_hash: bytes, balances: Mapping[Address, int], chain_id: int
    ) -> None:
        chain = Chain.configure("AuditedChain", vm_configuration=((0, CancunVM),), chain_id=chain_id)
        try:
            accounts: dict[RawAddress, AccountDetails] = {
                to_canonical_address(address): {"balance": balance, "nonce": 0, "code": b"", "storage": {}}
                for address, balance in balances.items()
            }
            fields: dict[str, HeaderParams] = {
                "gas_limit": header.gas_limit,
                "timestamp": header.timestamp,
                "base_fee_per_gas": header.base_fee_per_gas,
            }
            self._chain = chain.from_genesis(AtomicDB(), fields, accounts)
        except MALFORMED as error:
            raise VerificationError("The accounts of block 0 are malformed.", REMEDY) from error
        self.state_root = bytes(self._chain.get_canonical_head().state_root)
        self._last = header
        self._last_hash = block_hash
        self._remember(header, block_hash)

    def run(self, block: DecodedBlock) -> Outcome:
        """Run a block's transactions on the state so far; those that cannot run are skipped.

        Raises:
            VerificationError: py-evm failed; the state is as before the block, and no later block can run.
        """
        try:
            return self._run(block)
        except Exception as error:  # what it runs comes from outside, and may break any assumption of py-evm's
            what = f"Block {block.header.block_number} cannot be run: {in_short(error)}."
            raise VerificationError(what, REMEDY) from error

    def _run(self, block: DecodedBlock) -> Outcome:
        """As `run`."""
        header = block.header.copy(state_root=self.state_root, parent_hash=self._last_hash, gas_used=0, bloom=0)
        vm = cast(CancunVM, self._chain.get_vm(header))
        vm.block_preprocessing(CancunBlock(header, transactions=[], uncles=[], withdrawals=[]))
        receipts: list[ReceiptAPI | None] = []
        refusals: dict[int, str] = {}
        for place, signed in enumerate(block.transactions):
            receipts.append(None)
            if signed.transaction is None or signed.sender is None:
                refusals[place] = "it cannot be read, or nobody signed it"
                continue
            try:
                receipt, _ = vm.apply_transaction(header, signed.transaction)
            except ValidationError as error:
                refusals[place] = in_short(error)
                continue
            header = vm.add_receipt_to_header(header, receipt)
            receipts[place] = receipt
        vm.state.persist()
        self.state_root = bytes(vm.state.state_root)
        self._last, self._last_hash = block.header, block.block_hash
        self._remember(block.header, block.block_hash)
        root = root_of([receipt.encode() for receipt in receipts if receipt])
        return Outcome(tuple(receipts), refusals, self.state_root, root, header.bloom, header.gas_used)

    def code(self, address: Address) -> bytes:
        """Code of an account after the last block."""
        return bytes(self._vm().state.get_code(to_canonical_address(address)))

    def ledger_head(self, contract: Address) -> bytes | None:
        """The result of the contract's `ledgerHead()` after the last block; None where the call fails."""
        to = to_canonical_address(contract)
        vm = self._vm()
        try:
            computation = vm.execute_bytecode(
                origin=_ANYBODY,
                gas_price=0,
                gas=_CALL_GAS,
                to=to,
                sender=_ANYBODY,
                value=0,
                data=LEDGER_HEAD_CALL,
                code=vm.state.get_code(to),
            )
        except Exception:  # the code may be anybody's; see `run`
            return None
        output = bytes(computation.output)
        return output if computation.is_success and len(output) == 32 else None

    def _vm(self) -> VirtualMachineAPI:
        """A machine on the last block's state, at its time."""
        return self._chain.get_vm(self._last.copy(state_root=self.state_root))

    def _remember(self, header: BlockHeaderAPI, block_hash: bytes) -> None:
        """Let later code ask for this block's hash."""
        self._chain.chaindb.db[block_hash] = rlp.encode(header)
