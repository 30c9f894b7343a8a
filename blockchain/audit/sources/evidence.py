"""`Evidence`: what an audit reads of a run: blocks, claims, ciphertexts, checkpoints. None of it is trusted."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Protocol

from blockchain.ledger.json_fields import Account, HospitalName
from blockchain.signing.checkpoints import SignedCheckpoint
from fedward.checked_json import Readable
from fedward.folders.ciphertexts import CiphertextSource
from fedward.tables import Between
from fedward.types import Address, Whole, Word

MAX_RELEASES = 100_000  # of one hospital

Amount = Annotated[float, Between(0, 1e300)]
Tables = Mapping[str, Mapping[str, bool | int | float | str]]  # of settings


@dataclass(frozen=True)
class Genesis:
    """Block 0, and the accounts that it funds.

    Attributes:
        header: RLP of the header.
        balances: Wei by account; block 0 of the embedded node has neither code nor storage.
    """

    header: bytes
    balances: Mapping[Address, int]


@dataclass(frozen=True)
class RawBlock:
    """A block after block 0, undecoded.

    Attributes:
        number: The number that was asked for; the header must have the same.
        block: RLP of header, transactions, uncles and withdrawals, as the chain stores and hashes it.
        receipts: The receipts as they enter the receipt root (typed), where the source has them; None: only running the
            block tells its outcome.
    """

    number: int
    block: bytes
    receipts: tuple[bytes, ...] | None = None


@dataclass(frozen=True)
class ClaimedMember:
    """A hospital, as the run lists it."""

    hospital: HospitalName
    address: Account
    weight: Whole


@dataclass(frozen=True)
class Claims:
    """What the run says of itself; the manifest of a bundle holds it so (see `fedward.checked_json`).

    Attributes:
        run_id: Its name.
        chain_id, contract: Its ledger.
        settings: The tables behind the settings digest (`Settings.guaranteed`), or None where the run does not give
            them.
        roster: Its hospitals, in the ledger's order.
        epsilons: By hospital, the epsilon that it states; empty where it states none, as for privacy mode none.
        releases: By hospital, how many releases that epsilon covers, committed or not; at least 1.
        delta: The delta of these epsilons; None where the run states no epsilon.
        height, block_hash, ledger_head: Where it says the ledger ends; None where it does not say.
    """

    run_id: Annotated[str, Readable(255)]
    chain_id: Whole
    contract: Account
    settings: Tables | None
    roster: tuple[ClaimedMember, ...]
    epsilons: Mapping[HospitalName, Amount] = field(default_factory=dict)
    releases: Mapping[HospitalName, Annotated[int, Between(0, MAX_RELEASES)]] = field(default_factory=dict)
    delta: Amount | None = None
    height: Whole | None = None
    block_hash: Word | None = None
    ledger_head: Word | None = None


class Evidence(CiphertextSource, Protocol):
    """One source of evidence: a run folder, a bundle, or a node.

    Every method raises `EvidenceError` where something is missing and `VerificationError` where it is damaged;
    whatever the bytes are, nothing else.
    """

    source: str  # for people: "the run folder runs/x"
    live: bool  # blocks come from a running node, so execution is the node's word

    def claims(self) -> Claims:
        """What the run says of itself."""

    def genesis(self) -> Genesis:
        """Block 0."""

    def blocks(self) -> Iterator[RawBlock]:
        """The blocks from 1 on, in order, up to the last that there is."""

    def checkpoints(self) -> tuple[SignedCheckpoint, ...]:
        """The hospitals' checkpoints as far as they came with this source."""
