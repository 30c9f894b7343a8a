"""`HistoryChecker`: the audit's steps over the chain itself: genesis, headers, roots, senders, execution.

Block by block, each step compares what a header or body says with what was computed here. It reports only the first
difference, and how many follow. Where a block contradicts itself its transactions still run, on the computed state, so
that one step's failure does not decide the next step's result; only a block that is not the next one ends the
execution.
"""

from eth.abc import BlockHeaderAPI
from eth.constants import BLANK_ROOT_HASH
from eth.vm.forks.cancun import CancunVM
from eth.vm.forks.london.headers import calculate_expected_base_fee_per_gas
from eth_utils.exceptions import ValidationError

from blockchain.audit.blocks import (
    BLOB_TYPE,
    DecodedBlock,
    decode_block,
    decode_header,
    decode_receipts,
    in_short,
    root_of,
)
from blockchain.audit.checks.execution import Execution
from blockchain.audit.checks.genesis import check_accounts, check_block_zero, check_contract
from blockchain.audit.checks.tally import Tally
from blockchain.audit.history import ExecutedBlock
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Evidence, Genesis, RawBlock
from blockchain.ledger.artifact import load_artifact
from blockchain.node.block_builder import GAS_LIMIT
from fedward.errors import VerificationError
from fedward.progress import Progress, silent
from fedward.types import Address

# What other code may use in all: some minutes of computing. Anybody may run code on a chain; an audit has to end.
_MOST_GAS_BESIDE = 20 * GAS_LIMIT
_MIN_GAS_LIMIT = 5_000  # what every client asks of a header at least


class HistoryChecker:
    """Checks a chain from block 0 to its end, and keeps the outcome of its transactions.

    Args:
        evidence: Where the blocks come from.
        report: Takes the lines of the steps genesis to execution.
        chain_id: What every transaction must be signed for.
        contract: Where the ledger lies.
        trusted_genesis: Hash of block 0 as the trust file has it, or None.
        progress: Told the number of blocks done.

    Attributes:
        genesis_hash: Of block 0, or None where it could not be read; after `run`.
        block_hashes: By number, block 0 included, as far as blocks could be read; after `run`.

    Guarantees:
        1. Whatever the bytes of the blocks are, `run` ends with lines, and raises nothing.
        2. Without a FAIL line of these steps, and where the evidence is not a live node, the returned transactions,
           outcomes and events are those that the trusted block 0 and the blocks after it lead to.
    """

    def __init__(
        self,
        evidence: Evidence,
        report: Report,
        chain_id: int,
        contract: Address,
        trusted_genesis: bytes | None,
        progress: Progress = silent,
    ) -> None:
        self._evidence = evidence
        self._report = report
        self._chain_id = chain_id
        self._contract = contract
        self._trusted_genesis = trusted_genesis
        self._progress = progress
        self._headers, self._roots, self._senders, self._executed = Tally(), Tally(), Tally(), Tally()
        self._execution: Execution | None = None
        self._stopped = ""  # why no further block is run
        self._previous: tuple[BlockHeaderAPI, bytes] | None = None
        self._next_number = 1
        self._read = self._transactions = self._with_receipts = self._ran = 0
        self._without_receipts = 0
        self._beside = 0  # gas spent on other code than the known contract's
        self._known_code = False
        self._read_to_the_end = False
        self.genesis_hash: bytes | None = None
        self.block_hashes: dict[int, bytes] = {}

    def run(self) -> list[ExecutedBlock]:
        """Check everything, and return the blocks whose outcome is known, in order."""
        with self._report.guarding(Step.GENESIS):
            self._check_genesis(self._evidence.genesis())
        raw_blocks: list[RawBlock] = []
        with self._report.guarding(Step.EVIDENCE):
            raw_blocks.extend(self._evidence.blocks())
            self._read_to_the_end = True
        done: list[ExecutedBlock] = []
        for index, raw in enumerate(raw_blocks):
            block = self._read_block(raw)
            if block:
                self._check_transactions(block)
                executed = self._given_outcome(raw, block) if self._evidence.live else self._run_block(raw, block)
                done.extend(executed)
            self._progress(index + 1, len(raw_blocks))
        check_contract(self._report, self._contract, done, self._execution)
        self._tell()
        return done

    @property
    def complete(self) -> bool:
        """Whether every block of the source was read, and the outcome of each is known; after `run`."""
        return self._read_to_the_end and not self._stopped and not self._without_receipts

    def contract_head(self) -> bytes | None:
        """The contract's `ledgerHead()` after the last block; None where not every block could be run."""
        if self._execution is None or self._stopped:
            return None
        return self._execution.ledger_head(self._contract)

    def _check_genesis(self, genesis: Genesis) -> None:
        """Block 0, and the state that everything else starts from."""
        header, block_hash = decode_header(genesis.header, any_fork=self._evidence.live)
        self.genesis_hash = self.block_hashes[0] = block_hash
        self._previous = header, block_hash
        check_block_zero(self._report, block_hash, self._trusted_genesis)
        if not self._evidence.live:
            self._execution = Execution(header, block_hash, genesis.balances, self._chain_id)
            check_accounts(self._report, header, genesis, self._execution.state_root)

    # ---- a block ------------------------------------------------------------------------------------------------

    def _read_block(self, raw: RawBlock) -> DecodedBlock | None:
        """Decode a block and check that it follows from the one before; None where it cannot be read."""
        expected, self._next_number = self._next_number, raw.number + 1
        try:
            block = decode_block(raw, any_fork=self._evidence.live)
        except VerificationError as error:
            self._stop(error.what)
            self._headers.require(False, error.what)
            self._previous = None
            return None
        number, parent = block.header.block_number, self._previous
        linked = parent is not None and block.header.parent_hash == parent[1]
        moved = number != expected and not linked  # else it is the next block, whatever is wrong with it
        if moved:
            self._stop(f"Block {expected} is not there: block {number} is in its place.")
            place = f"In the place of block {expected} is block {number}"
            self._headers.require(False, f"{place}: one was left out, put in, or moved.")
        else:
            self._headers.compare(f"The number of block {expected}", number, expected)
            if parent is not None:
                self._headers.compare(f"The parent of block {number}", block.header.parent_hash, parent[1])
                self._check_header(block, parent[0])
        position = number if moved else expected
        self._read += 1
        self._next_number = position + 1
        self._previous = block.header, block.block_hash
        self.block_hashes.setdefault(position, block.block_hash)
        return block

    def _check_header(self, block: DecodedBlock, parent: BlockHeaderAPI) -> None:
        """Check a header against its parent's."""
        header, number = block.header, block.header.block_number
        if self._evidence.live:  # the fork's other rules are left to the node
            self._headers.require(
                header.timestamp >= parent.timestamp, f"Block {number} is dated before the block before it."
            )
            return
        try:
            CancunVM.validate_header(header, parent)
            problem = ""
        except ValidationError as error:
            problem = in_short(error)
        self._headers.require(not problem, f"The header of block {number} breaks the rules: {problem}")
        self._headers.require(block.extras == 0, f"Block {number} has {block.extras} uncles or withdrawals.")
        sound = header.gas_limit >= _MIN_GAS_LIMIT and header.gas_used <= header.gas_limit
        self._headers.require(sound, f"Block {number} has used {header.gas_used} gas of {header.gas_limit}.")
        if parent.gas_limit >= _MIN_GAS_LIMIT:
            fee = calculate_expected_base_fee_per_gas(parent)
            self._headers.compare(f"The base fee of block {number}", header.base_fee_per_gas, fee)
        blobs = (header.blob_gas_used, header.excess_blob_gas, header.withdrawals_root)
        self._headers.compare(f"The blob gas and withdrawals of block {number}", blobs, (0, 0, BLANK_ROOT_HASH))

    def _check_transactions(self, block: DecodedBlock) -> None:
        """Check that the body matches the header's root, and that each transaction is signed for this chain."""
        number = block.header.block_number
        root = root_of([signed.encoded for signed in block.transactions])
        self._roots.compare(f"The transaction root of block {number}", block.header.transaction_root, root)
        for place, signed in enumerate(block.transactions):
            name = f"Transaction {place} of block {number}"
            transaction = signed.transaction
            self._transactions += 1
            if transaction is None or signed.sender is None:
                self._senders.require(False, f"{name} is malformed, or nobody's signature fits it.")
                continue
            self._senders.compare(f"The chain id of {name[0].lower()}{name[1:]}", transaction.chain_id, self._chain_id)
            self._senders.require(transaction.type_id != BLOB_TYPE, f"{name} carries blobs.")

    # ---- outcomes -----------------------------------------------------------------------------------------------

    def _run_block(self, raw: RawBlock, block: DecodedBlock) -> list[ExecutedBlock]:
        """Run a block again; nothing where the execution has ended."""
        header, number = block.header, block.header.block_number
        if self._execution is None or self._stopped:
            return []
        if header.gas_limit > GAS_LIMIT or self._beside > _MOST_GAS_BESIDE:
            what = (
                f"Block {number} asks for up to {header.gas_limit:,} gas, a block of this chain has {GAS_LIMIT:,}."
                if header.gas_limit > GAS_LIMIT
                else f"The blocks before {number} spend more than {_MOST_GAS_BESIDE:,} gas on code beside the ledger's."
            )
            self._executed.require(False, what)
            self._stop(what)
            return []
        try:
            outcome = self._execution.run(block)
        except VerificationError as error:
            self._executed.require(False, error.what)
            self._stop(error.what)
            return []
        if not outcome.refusals:  # else a transaction has no receipt, and all of these differ for that reason
            self._roots.compare(f"The receipt root of block {number}", header.receipt_root, outcome.receipts_root)
            if raw.receipts is not None:  # execution does not need them, but a live audit reads them
                told = root_of(list(raw.receipts))
                self._roots.compare(f"The root of the receipts told of block {number}", told, outcome.receipts_root)
            self._roots.compare(f"The log filter of block {number}", header.bloom, outcome.bloom)
            self._roots.compare(f"The gas used by block {number}", header.gas_used, outcome.gas_used)
        for place, reason in outcome.refusals.items():
            self._executed.require(False, f"Transaction {place} of block {number} cannot run: {reason}.")
        self._executed.compare(f"The state root of block {number}", header.state_root, outcome.state_root)
        executed = block.executed(outcome.receipts)
        if not self._is_the_ledgers(executed):
            self._beside += outcome.gas_used
        self._with_receipts += 1
        self._ran += len(executed.transactions)
        return [executed]

    def _is_the_ledgers(self, block: ExecutedBlock) -> bool:
        """Whether nothing but the known contract ran in a block, whose code says how much each call can cost."""
        if any(self._contract not in (each.to, each.created) for each in block.transactions):
            return False
        if not self._known_code and self._execution is not None:
            code = self._execution.code(self._contract)
            self._known_code = bool(code) and load_artifact().is_code(code)
        return self._known_code

    def _given_outcome(self, raw: RawBlock, block: DecodedBlock) -> list[ExecutedBlock]:
        """Take the outcome from a node's receipts, which the header must name."""
        number = block.header.block_number
        if raw.receipts is None:
            self._without_receipts += 1
            return []
        self._roots.compare(
            f"The receipt root of block {number}", block.header.receipt_root, root_of(list(raw.receipts))
        )
        try:
            receipts = decode_receipts(raw.receipts)
        except VerificationError as error:
            self._roots.require(False, f"Block {number}: {error.what}")
            return []
        count = len(block.transactions)
        self._roots.compare(f"The number of receipts of block {number}", len(receipts), count)
        gas = receipts[-1].gas_used if receipts else 0
        self._roots.compare(f"The gas used by block {number}", block.header.gas_used, gas)
        bloom = 0
        for receipt in receipts:
            bloom |= receipt.bloom
        self._roots.compare(f"The log filter of block {number}", block.header.bloom, bloom)
        self._with_receipts += 1
        return [block.executed(receipts)]

    def _stop(self, reason: str) -> None:
        """Run no further block; the first reason stays."""
        self._stopped = self._stopped or reason

    # ---- lines --------------------------------------------------------------------------------------------------

    def _tell(self) -> None:
        """The lines of the steps from headers on."""
        if self._read == 0 and not self._headers.first:
            self._report.missing(Step.HEADERS, "There is no block after block 0.")
        last = self._next_number - 1
        self._headers.tell(
            self._report, Step.HEADERS, f"{self._read} blocks, each the child of the one before it, up to {last}."
        )
        self._roots.tell(
            self._report,
            Step.ROOTS,
            f"{self._read} blocks hold the transactions that their headers name, {self._with_receipts} of them were "
            "checked for their receipts too.",
        )
        if self._without_receipts:
            self._report.missing(Step.ROOTS, f"{self._without_receipts} blocks came without their receipts.")
        self._senders.tell(
            self._report,
            Step.SENDERS,
            f"{self._transactions} transactions, each signed, and for chain {self._chain_id}.",
        )
        self._executed.tell(
            self._report,
            Step.EXECUTION,
            f"{self._ran} transactions in {self._with_receipts} blocks were run again and gave every recorded state.",
        )
        if self._evidence.live:
            self._report.note(
                Step.EXECUTION,
                "No transaction was run again: that they lead to the recorded outcomes, and what the contract's "
                "storage holds, is this node's word, for the accounts of its block 0 cannot be proven from it.",
            )
        elif self._execution is None:
            self._report.missing(Step.EXECUTION, "Nothing could be run without the accounts of block 0.")
        elif self._stopped and not self._executed.first:
            self._report.missing(Step.EXECUTION, f"Not every block could be run. {self._stopped}")
