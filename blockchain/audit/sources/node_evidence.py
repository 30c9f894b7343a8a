"""A running node as evidence: its blocks encoded anew, and ciphertexts from a run folder or bundle, where given.

If the accounts of block 0 that the node reports give the state root in that block's header, the blocks are run again as
those of a run folder are, and `live` is false. Otherwise the outcome of the transactions is only the node's word.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import suppress

from eth_utils.crypto import keccak

from blockchain.audit.blocks import decode_block, decode_header, decode_receipts
from blockchain.audit.checks.execution import LEDGER_HEAD_CALL, Execution
from blockchain.audit.history import ExecutedBlock, ledger_events
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.bundle import BundleEvidence
from blockchain.audit.sources.evidence import ClaimedMember, Claims, Genesis, RawBlock
from blockchain.audit.sources.node_blocks import block_of, content, header_of, quantity
from blockchain.audit.sources.node_fetching import NodeFetcher
from blockchain.audit.sources.node_rpc import NodeRpc
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.events import HospitalRegistered, LedgerEvent, RoleAssigned
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.errors import EvidenceError, FedwardError, VerificationError
from fedward.folders.ciphertexts import RoundFiles
from fedward.types import Address, HospitalId

MAX_BLOCKS = 200_000  # a round of five hospitals takes about twenty
MAX_CHAIN_BYTES = 1024 * 1024 * 1024
MAX_ACCOUNTS = 2_000  # whose balance in block 0 is asked for


class NodeEvidence:
    """Evidence from any Ethereum node, with a run folder or bundle for what no chain holds; see `Evidence`.

    Args:
        rpc: The node.
        contract: The ledger.
        store: Where ciphertexts, settings and checkpoints are read from; None: nowhere.
        trust: The hospitals' trust file, for their names.

    Attributes:
        live: Whether the outcome of the transactions is only the node's word; settled by `refresh`.

    Guarantees:
        1. What `genesis`, `blocks` and `checkpoints` give is of one moment, that of the last `refresh`: no hospital's
           checkpoint is of a later block.
    """

    def __init__(
        self,
        rpc: NodeRpc,
        contract: Address,
        store: RunEvidence | BundleEvidence | None = None,
        trust: TrustFile | None = None,
    ) -> None:
        self.live = True
        self.source = f"the node at {rpc.url}" + (f" with {store.source}" if store else "")
        self._rpc = rpc
        self._fetcher = NodeFetcher(rpc)
        self._contract = contract
        self._store = store
        self._trust = trust
        self._chain_id = 0
        self._genesis: Genesis | None = None
        self._blocks: list[RawBlock] = []
        self._parents: list[bytes] = []  # by block, the hash of its parent
        self._told: list[ExecutedBlock] = []
        self._bytes = 0
        self._asked: set[Address] = set()  # for their balance in block 0
        self._balances: dict[Address, int] = {}
        self._reorganizations = 0
        self._checkpoints: tuple[SignedCheckpoint, ...] = ()
        self._checkpoint_problem: FedwardError | None = None
        self._problem: FedwardError | None = EvidenceError("The node was not asked yet.", "Ask it.")

    # ---- fetching -----------------------------------------------------------------------------------------------

    def refresh(self) -> int:
        """Fetch what is new on the chain; returns its height.

        Raises:
            EvidenceError: the node cannot be reached, or does not have what is needed, or too much of it.
            VerificationError: it contradicts itself, or gives no usable answers.
        """
        self._read_checkpoints()  # first: what is signed now is of blocks that the node has now
        try:
            self._chain_id = quantity(self._rpc.ask("eth_chainId"), "The chain's id")
            height = self._fetcher.height()
            if height > MAX_BLOCKS:
                raise EvidenceError(
                    f"The node's chain has {height:,} blocks, more than the {MAX_BLOCKS:,} that are fetched.",
                    "Audit the run's own folder or bundle.",
                )
            if not self._continues():
                self._forget()
            self._fetch(height)
            if not self._is_linked():  # the chain was reorganized while it was read
                self._forget()
                self._fetch(height)
            self._find_accounts()
        except FedwardError as error:
            self._problem = error
            raise
        self._problem = None
        return height

    def block_hash_zero(self) -> bytes:
        """Which chain the node serves: the hash of its block 0 (32 bytes); raises as `refresh`."""
        return bytes(keccak(header_of(self._fetcher.answer(0), 0)))

    def _fetch(self, height: int) -> None:
        """Blocks from the first one that is not here up to a height."""
        if self._genesis is None:
            self._genesis = Genesis(header_of(self._fetcher.answer(0), 0), {})
        for number in range(len(self._blocks) + 1, height + 1):
            raw = self._fetcher.block(number)
            self._bytes += len(raw.block) + sum(len(receipt) for receipt in raw.receipts or ())
            if self._bytes > MAX_CHAIN_BYTES:
                raise EvidenceError(
                    f"The node's blocks have more than {MAX_CHAIN_BYTES:,} bytes.",
                    "Audit the run's own folder or bundle.",
                )
            block = decode_block(raw, any_fork=True)
            self._parents.append(bytes(block.header.parent_hash))
            self._told.append(block.executed(decode_receipts(raw.receipts or ())))
            self._blocks.append(raw)

    def _continues(self) -> bool:
        """Whether the last block that was fetched is still on the node's chain."""
        if not self._blocks:
            return True
        answer = self._rpc.ask("eth_getBlockByNumber", hex(len(self._blocks)), True)
        return answer is not None and block_of(answer, len(self._blocks)) == self._blocks[-1].block

    def _is_linked(self) -> bool:
        """Whether each block names the one before it."""
        if self._genesis is None:
            return False
        hashes = [keccak(self._genesis.header), *(block.block_hash for block in self._told)]
        return self._parents == hashes[:-1]

    def _forget(self) -> None:
        """Forget all blocks, because the node's chain has changed."""
        self._reorganizations += 1
        self._genesis, self._bytes, self.live = None, 0, True
        self._asked, self._balances = set(), {}
        self._blocks.clear()
        self._parents.clear()
        self._told.clear()

    def _find_accounts(self) -> None:
        """Ask for the balances in block 0 of every known account; the header's state root proves whether they are all.

        No answer is trusted: with a balance that is wrong or missing, the root differs.
        """
        if not self.live or self._genesis is None:
            return
        unknown = self._known_accounts() - self._asked
        if not unknown or len(self._asked | unknown) > MAX_ACCOUNTS:
            return
        try:
            header, block_hash = decode_header(self._genesis.header)
            for account in sorted(unknown):
                balance = quantity(self._rpc.ask("eth_getBalance", account, "0x0"), "A balance")
                if balance:
                    self._balances[account] = balance
            state_root = Execution(header, block_hash, self._balances, self._chain_id).state_root
        except FedwardError:  # another fork's header, or a node without old states: then it stays the node's word
            return
        self._asked |= unknown
        if state_root == header.state_root:
            self._genesis = Genesis(self._genesis.header, dict(self._balances))
            self.live = False

    def _known_accounts(self) -> set[Address]:
        """Every account that sent a transaction, or that the ledger or the trust file names."""
        found = {item.sender for block in self._told for item in block.transactions}
        for event in self._events():
            if isinstance(event, HospitalRegistered):
                found.add(event.hospital)
            elif isinstance(event, RoleAssigned):
                found.add(event.account)
        if self._trust:
            found |= {*self._trust.hospitals.values(), *self._trust.witnesses}
        return found

    def _events(self) -> list[LedgerEvent]:
        """The ledger's events as the node's receipts tell them, up to the first that is malformed."""
        found: list[LedgerEvent] = []
        with suppress(VerificationError):  # the audit's own steps will say which
            found.extend(ledger_events(self._told, self._contract))
        return found

    def _read_checkpoints(self) -> None:
        """What the hospitals have signed so far."""
        self._checkpoint_problem = None
        try:
            self._checkpoints = self._store.checkpoints() if self._store else ()
        except FedwardError as error:
            self._checkpoint_problem = error

    # ---- evidence -----------------------------------------------------------------------------------------------

    def check_members(self, report: Report) -> None:
        """Say what was fetched and whether it is the run's, under the step EVIDENCE."""
        if self._problem:
            with report.guarding(Step.EVIDENCE):
                self.refresh()
        if self._problem is None:
            blocks = f"{len(self._blocks) + 1} blocks, each with the hash that its header has"
            text = f"The node at {self._rpc.url} serves chain {self._chain_id}: {blocks}."
            report.ok(Step.EVIDENCE, text, checks=len(self._blocks) + 1)
            if self._reorganizations:
                text = f"The node's chain was replaced {self._reorganizations} times while it was followed."
                report.note(Step.EVIDENCE, text)
            if not self.live:
                text = (
                    f"The node's {len(self._genesis_accounts())} accounts of block 0 give the state root in its header."
                )
                report.note(Step.EVIDENCE, f"{text} So every block is run again here.")
        if self._store is None:
            return
        if isinstance(self._store, BundleEvidence):
            self._store.check_members(report)
        with report.guarding(Step.EVIDENCE):
            self._compare(self._stored_claims(self._store), report)

    def _genesis_accounts(self) -> dict[Address, int]:
        return dict(self._genesis.balances) if self._genesis else {}

    def _compare(self, claims: Claims, report: Report) -> None:
        """Whether the run folder or bundle is of this chain and contract."""
        if self._problem is None and claims.chain_id != self._chain_id:
            text = f"The run is on chain {claims.chain_id}, the node at {self._rpc.url} serves {self._chain_id}."
            report.fail(Step.EVIDENCE, text)
        if claims.contract != self._contract:
            text = f"The run's ledger is {claims.contract}, to be audited is {self._contract}."
            report.fail(Step.EVIDENCE, text)

    def claims(self) -> Claims:
        """What `run.json` claims; without a run folder or bundle, the roster as the chain gives it."""
        if self._store:
            return self._stored_claims(self._store)
        self._check_fetched()
        names = {address: name for name, address in self._trust.hospitals.items()} if self._trust else {}
        members = [
            ClaimedMember(names.get(event.hospital, HospitalId(event.hospital)), event.hospital, event.weight)
            for event in self._events()
            if isinstance(event, HospitalRegistered)
        ]
        return Claims(
            run_id=f"{self._contract} on chain {self._chain_id}",
            chain_id=self._chain_id,
            contract=self._contract,
            settings=None,
            roster=tuple(members),
        )

    def _stored_claims(self, store: RunEvidence | BundleEvidence) -> Claims:
        """What a run folder or bundle says that stays true while the chain grows."""
        told = store.record() if isinstance(store, RunEvidence) else store.claims()
        return dataclasses.replace(
            told, epsilons={}, releases={}, delta=None, height=None, block_hash=None, ledger_head=None
        )

    def genesis(self) -> Genesis:
        """Block 0; with its accounts where they are proven by its state root."""
        self._check_fetched()
        if self._genesis is None:
            raise EvidenceError("The node did not tell block 0.", "Use a node that keeps the whole chain.")
        return self._genesis

    def blocks(self) -> Iterator[RawBlock]:
        """The blocks after block 0, as of the last `refresh`."""
        self._check_fetched()
        yield from self._blocks

    def told(self) -> tuple[ExecutedBlock, ...]:
        """The blocks as the node's receipts tell them, nothing of it checked."""
        self._check_fetched()
        return tuple(self._told)

    def recorded_head(self) -> bytes:
        """The ledger head in the contract's storage after the last block that was fetched, by the node's word."""
        call = {"to": self._contract, "data": "0x" + LEDGER_HEAD_CALL.hex()}
        return content(self._rpc.ask("eth_call", call, hex(len(self._blocks))), "The ledger head", 32)

    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        """The hospitals' checkpoints as of the last `refresh`."""
        if self._checkpoint_problem:
            raise self._checkpoint_problem
        return self._checkpoints

    def round_files(self, round_index: int) -> RoundFiles:
        """Which ciphertexts make up a round, where a run folder or bundle was given."""
        return self._stored().round_files(round_index)

    def chunk(self, name: str) -> bytes:
        """The ciphertext that is stored under a hash, where a run folder or bundle was given."""
        return self._stored().chunk(name)

    def key_files(self) -> tuple[str, ...]:
        """The files about rounds' shared keys, in order; none where only a node was given."""
        return self._store.key_files() if self._store else ()

    def key_file(self, name: str) -> bytes:
        """One of them."""
        return self._stored().key_file(name)

    def _stored(self) -> RunEvidence | BundleEvidence:
        if self._store is None:
            raise EvidenceError("A node holds no ciphertexts.", "Name the run folder or a bundle beside --rpc.")
        return self._store

    def _check_fetched(self) -> None:
        """Raise what the last `refresh` raised, without asking the node again."""
        if self._problem:
            raise self._problem
