"""A consortium on an embedded node, for the tests of the ledger: who signs, what they sign, and a clock to move."""

import dataclasses
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from blockchain.identity import Identity
from blockchain.ledger.connection import Connection
from blockchain.ledger.events import LedgerEvent, contract_fields
from blockchain.ledger.fold import fold
from blockchain.ledger.ledger import Ledger, RoundOpening, RoundPhase
from blockchain.node.embedded import RunningNode, start_node
from blockchain.signing.signatures import Verdict, sign_commitment, sign_vote
from fedward.errors import LedgerError
from fedward.settings import LedgerSettings
from fedward.types import Commitment, PrivacyEvent, SignedCommitment, SignedVote

CHAIN_ID = 190826
SETTINGS_DIGEST, MODEL_DIGEST, FINGERPRINT = bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32
CANDIDATE = bytes([4]) * 32
WEIGHTS = (100, 250, 50, 400, 7)
RULES = LedgerSettings(
    chain_id=CHAIN_ID,
    min_included=2,
    reject_quorum=0,
    min_votes=0,
    release_threshold=0,
    submission_timeout_s=600,
    voting_timeout_s=300,
    witness_required=False,
)
EVENT = PrivacyEvent("update", "hospital", 1.0, 1.1, 1, 0.5, 1e-5)


class Clock:
    """The wall clock, what a test adds to it, and half a second for each look at it.

    The chain looks at least twice a block, and its blocks are a second apart: so it never waits for this clock.
    """

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        self.ahead_s += 0.5
        return time.time() + self.ahead_s


@dataclass
class Chain:
    """A node and people with money on it; contracts come and go."""

    node: RunningNode
    clock: Clock
    server: Identity
    founder: Identity
    stranger: Identity
    people: tuple[Identity, ...]

    @property
    def everybody(self) -> list[Identity]:
        return [self.server, self.founder, self.stranger, *self.people]


@contextmanager
def running_chain(same_people: "Chain | None" = None) -> Iterator[Chain]:
    """A node of its own, with new people or those of another chain."""
    with tempfile.TemporaryDirectory() as folder:
        names = ("server", "founder", "stranger", *(f"hospital-{number}" for number in range(1, 6)))
        everybody = same_people.everybody if same_people else [Identity.create(Path(folder) / name) for name in names]
        with chain_in(Path(folder) / "ledger", everybody, Clock()) as chain:
            yield chain


@contextmanager
def chain_in(folder: Path, everybody: Sequence[Identity], clock: Clock) -> Iterator[Chain]:
    """The chain in a folder, which has money for everybody if it is new."""
    server, founder, stranger, *people = everybody
    funded = [identity.address for identity in everybody]
    with start_node(folder, CHAIN_ID, funded, clock=clock) as node:
        yield Chain(node, clock, server, founder, stranger, tuple(people))


@dataclass
class Consortium:
    """One deployed contract, its roster, and its current round."""

    chain: Chain
    ledger: Ledger
    hospitals: tuple[Identity, ...]
    opening: RoundOpening | None = None
    connections: list[Connection] = field(default_factory=list)

    @classmethod
    def found(cls, chain: Chain, size: int = 3, rules: LedgerSettings = RULES, context: bool = True) -> "Consortium":
        ledger = Ledger.deploy(chain.node.url, chain.server, rules, SETTINGS_DIGEST, MODEL_DIGEST)
        self = cls(chain, ledger, chain.people[:size])
        for index, hospital in enumerate(self.hospitals):
            ledger.register(hospital.address, WEIGHTS[index], hospital.x25519_public_key, dealer=index == 0)
        if context:
            self.send(self.hospitals[0], "setContext", FINGERPRINT)
        return self

    def close(self) -> None:
        """Whatever a test did: the ledger head equals the fold of the events."""
        assert fold(self.ledger.raw_events()) == self.ledger.head().ledger_head
        self.ledger.close()
        for connection in self.connections:
            connection.close()

    def send(self, identity: Identity, function: str, *arguments: Any) -> int:
        """Call any function as anybody; returns the gas."""
        connection = Connection(self.chain.node.url, self.ledger.contract)
        self.connections.append(connection)
        return int(connection.transact(identity, function, *arguments)["gasUsed"])

    def events(self) -> list[LedgerEvent]:
        return list(self.ledger.history())

    def last(self, name: str) -> dict[str, Any]:
        """Fields of the last event, which must have this name and carry the ledger's head."""
        event = self.events()[-1]
        assert event.name == name
        assert event.ledger_head == self.ledger.head().ledger_head
        return recorded(event)

    def open_round(self) -> RoundOpening:
        self.opening = self.ledger.open_round()
        return self.opening

    def commitment(self, index: int, **changes: Any) -> Commitment:
        assert self.opening
        commitment = Commitment(
            chain_id=self.ledger.chain_id,
            contract=self.ledger.contract,
            round_index=self.opening.round_index,
            hospital=self.hospitals[index].address,
            ledger_head=self.opening.ledger_head,
            base_id=self.opening.base_id,
            context_fingerprint=self.opening.context_fingerprint,
            update_root=secrets.token_bytes(32),
            update_bytes=800_000,
            shares_root=secrets.token_bytes(32),
            weight=WEIGHTS[index],
            event=EVENT,
        )
        return dataclasses.replace(commitment, **changes)

    def signed(self, index: int, **changes: Any) -> SignedCommitment:
        return sign_commitment(self.commitment(index, **changes), self.hospitals[index])

    def submit(self, *indices: int) -> None:
        for index in indices or range(len(self.hospitals)):
            self.ledger.submit_for(self.signed(index))

    def close_submissions(self, included: tuple[int, ...] | None = None) -> bytes:
        assert self.opening
        aggregate = secrets.token_bytes(32)
        everybody = tuple(range(len(self.hospitals)))
        self.ledger.close_submissions(self.opening.round_index, aggregate, included or everybody, {})
        return aggregate

    def ballot(self, index: int, accept: bool, candidate: bytes = CANDIDATE, **changes: Any) -> SignedVote:
        assert self.opening
        record = self.ledger.round(self.opening.round_index)
        verdict = Verdict(accept, candidate, bytes([index]) * 32, bytes([9]) * 32)
        return sign_vote(verdict, dataclasses.replace(record, **changes), self.ledger, self.hospitals[index])

    def vote(self, *verdicts: bool | bytes, first: int = 0) -> None:
        """Vote in the order of the roster: against, for the one candidate, or for another of this digest."""
        for index, verdict in enumerate(verdicts, start=first):
            candidate = verdict if isinstance(verdict, bytes) else CANDIDATE
            self.ledger.cast_vote_for(self.ballot(index, bool(verdict), candidate))

    def to_voting(self) -> bytes:
        self.open_round()
        self.submit()
        return self.close_submissions()

    def finalize(self) -> RoundPhase:
        assert self.opening
        return self.ledger.finalize_round(self.opening.round_index)

    def pass_deadline(self) -> None:
        """Move the clock past every deadline of the current round."""
        assert self.opening
        record = self.ledger.round(self.opening.round_index)
        latest = max(record.submission_deadline, record.voting_deadline)
        self.chain.clock.ahead_s += max(0.0, latest + 1 - self.chain.clock())


def as_founded(_consortium: Consortium) -> None:
    """Nothing more is done."""


@dataclass
class Foundings:
    """Consortia to go on with: each is founded once, and tests get copies of its chain, which takes a quarter as long.

    Attributes:
        place: A folder for them.
        everybody: The people of all of their chains.
    """

    place: Path
    everybody: Sequence[Identity]
    made: dict[tuple[int, LedgerSettings, str], "Made"] = field(default_factory=dict)

    @contextmanager
    def consortium(
        self,
        size: int = 3,
        rules: LedgerSettings = RULES,
        then: Callable[[Consortium], object] = as_founded,
    ) -> Iterator[Consortium]:
        """A consortium on a node of its own.

        Args:
            size: How many hospitals.
            rules: The ledger's.
            then: A named function: what else was done to it when it was made.
        """
        key = size, rules, then.__qualname__
        if key not in self.made:
            self.made[key] = self._make(self.place / str(len(self.made)), size, rules, then)
        made, clock = self.made[key], Clock()
        clock.ahead_s = made.moment - time.time()
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(made.folder, Path(folder) / "ledger")
            with chain_in(Path(folder) / "ledger", self.everybody, clock) as chain:
                ledger = Ledger.attach(chain.node.url, made.first.ledger.contract, chain.server)
                copy = Consortium(chain, ledger, made.first.hospitals, made.first.opening)
                yield copy
                copy.close()

    def _make(self, folder: Path, size: int, rules: LedgerSettings, then: Callable[[Consortium], object]) -> "Made":
        clock = Clock()
        with chain_in(folder, self.everybody, clock) as chain:
            first = Consortium.found(chain, size, rules)
            then(first)
            first.close()
        return Made(first, folder, clock())


@dataclass(frozen=True)
class Made:
    """A consortium whose node was stopped: what it was, where its chain lies, and what time it was then."""

    first: Consortium
    folder: Path
    moment: float


def recorded(event: LedgerEvent) -> dict[str, Any]:
    """An event's fields as eth_abi gives them, without the ledger head: addresses in lower case, structs as tuples."""
    plain = {key: value.lower() if isinstance(value, str) else value for key, value in contract_fields(event).items()}
    plain |= {"rules": dataclasses.astuple(plain["rules"])} if "rules" in plain else {}
    return {key: value for key, value in plain.items() if key != "ledgerHead"}


@contextmanager
def refused(name: str, *details: object) -> Iterator[None]:
    """The contract refuses with exactly this custom error, and these fields."""
    with pytest.raises(LedgerError) as caught:
        yield
    assert caught.value.reason == name, caught.value.what
    for detail in details:
        assert (f"0x{detail.hex()}" if isinstance(detail, bytes) else str(detail)) in caught.value.what
