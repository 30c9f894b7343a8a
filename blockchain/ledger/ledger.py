"""`Ledger`: what parties send to the contract at any Ethereum node's URL: rounds, commitments, votes, attestations."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from blockchain.identity import Identity
from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.connection import Connection
from blockchain.ledger.encoding import (
    as_address,
    check_address,
    decode_mask,
    encode_commitment,
    encode_mask,
    encode_reason,
    encode_vote,
)
from blockchain.ledger.flights import Call, Flight
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.ledger.reader import WITNESS_ROLE, LedgerReader
from blockchain.ledger.records import LedgerHead, LedgerRules, RosterEntry, RoundOpening, RoundPhase, RoundRecord
from fedward.errors import LedgerError, VerificationError
from fedward.folders.whereabouts import NodeAddress
from fedward.settings import LedgerSettings
from fedward.types import Address, SignedCommitment, SignedVote

ENDING_GAS = 350_000  # ending a round and opening the next one uses less, also with 128 hospitals (docs/gas.md)

__all__ = ["Ledger", "LedgerHead", "LedgerRules", "RosterEntry", "RoundOpening", "RoundPhase", "RoundRecord"]


class Ledger(LedgerReader):
    """One deployed contract, and the account that its transactions are sent from.

    Every method raises `LedgerError`. Where the contract refused, `reason` is the contract's custom error, and nothing
    was recorded; where the node could not be reached, there is no `reason`. Safe to use from several threads.

    Guarantees:
        1. A method that records something returns only once the transaction is in a block; but for `push`.
    """

    def __init__(self, connection: Connection, identity: Identity | None) -> None:
        super().__init__(connection)
        self._identity = identity

    @classmethod
    def deploy(
        cls,
        rpc_url: str,
        account: Identity,
        settings: LedgerSettings,
        settings_digest: bytes,
        initial_model_digest: bytes,
        outbox: Path | None = None,
    ) -> "Ledger":
        """Put a new contract on the chain; the account becomes its admin, registrar and aggregator.

        Args:
            rpc_url: The node.
            account: Who pays; must have funds.
            settings: The rules of every round.
            settings_digest: 32 bytes; digest of the settings that carry guarantees.
            initial_model_digest: 32 bytes; digest of the weights that the first round starts from.
            outbox: The account's own folder, where transactions are kept until they are certain to stay on the chain;
                None: a transaction whose answer is lost with the process is not sent again.

        Raises:
            LedgerError: the node is of another chain or cannot be reached, or the contract refused the rules.
        """
        connection = Connection(rpc_url, None, TransactionOutbox(outbox) if outbox else None)
        if connection.chain_id != settings.chain_id:
            raise LedgerError(
                f"The node at {connection.url} serves chain {connection.chain_id}, not {settings.chain_id}.",
                f"Correct run.rpc-url, or --set ledger.chain-id={connection.chain_id}.",
            )
        rules = dataclasses.astuple(_agreed_rules(settings))
        connection.deploy(account, settings_digest, initial_model_digest, rules)
        return cls(connection, account)

    @classmethod
    def attach(
        cls,
        node: str | NodeAddress,
        contract: Address,
        account: Identity | None = None,
        chain_id: int | None = None,
        outbox: Path | None = None,
    ) -> "Ledger":
        """Use a contract that is on the chain already.

        Args:
            node: Its URL, or that with what opens it.
            contract: The contract's address.
            account: The account that transactions are sent from; None: for reading only.
            chain_id: The id that the chain must have; None: any.
            outbox: As for `deploy`; what an earlier process left in it is sent again, and waited for, before this
                returns.

        Raises:
            LedgerError: the node cannot be reached, or other code than this version's lies at the address, or the
                outbox is another account's.
            VerificationError: the node serves another chain.
        """
        connection = Connection(node, contract, TransactionOutbox(outbox) if outbox else None)
        if chain_id is not None and connection.chain_id != chain_id:
            connection.close()
            raise VerificationError(
                f"The node at {connection.url} serves chain {connection.chain_id}, not {chain_id}.",
                "Correct the node's address; sign nothing for a chain that you did not join.",
            )
        code = connection.code
        if outbox and account:
            connection.settle(account.address)
            _, code = connection.chain_and_code()  # the kept transactions may have made it
        if not load_artifact().is_code(code):
            raise LedgerError(
                f"There is no update ledger of this version at {contract} on the node at {connection.url}.",
                "Check the contract's address and the node.",
            )
        return cls(connection, account)

    def check_rules(self, settings: LedgerSettings, told: LedgerRules | None = None) -> None:
        """Check that the contract's rules are those of the settings that a hospital agreed to; the server is not asked.

        Args:
            settings: What was agreed on.
            told: The contract's rules, where they were read already.

        Raises:
            VerificationError: the chain id or one of the contract's rules differs.
        """
        agreed, rules = _agreed_rules(settings), told or self.rules()
        if self.chain_id != settings.chain_id or rules != agreed:
            raise VerificationError(
                f"The ledger on chain {self.chain_id} has {rules}, the settings call for "
                f"chain {settings.chain_id} and {agreed}.",
                "Do not take part; this is not the ledger that was agreed on.",
            )

    def _transact(self, function: str, *arguments: Any) -> None:
        """Send a transaction from this ledger's account."""
        self._connection.transact(self._account(function), function, *arguments)

    def _account(self, function: str) -> Identity:
        """Who pays."""
        if self._identity is None:
            raise LedgerError(f"{function} needs an account, this ledger was attached for reading.", "Attach with one.")
        return self._identity

    # ---- roster and key -----------------------------------------------------------------------------------------

    def register(self, hospital: Address, weight: int, x25519_key: bytes, dealer: bool = False) -> None:
        """Put a hospital on the roster, if asked as the dealer; starts a new key epoch where this one has its key."""
        self._transact("register", check_address(hospital, "hospital"), weight, x25519_key, dealer)

    def revoke(self, hospital: Address) -> None:
        """Take a hospital off the roster and start a new key epoch."""
        self._transact("revoke", check_address(hospital, "hospital"))

    def start_key_epoch(self) -> None:
        """As registrar or dealer, give up the key of this epoch, because it was lost or disclosed."""
        self._transact("startKeyEpoch")

    def rotate_key(self, x25519_key: bytes) -> None:
        """As a hospital, replace the key (32 bytes) that consortium keys are sealed to."""
        self._transact("rotateKey", x25519_key)

    def name_dealer(self, hospital: Address) -> None:
        """Name a dealer after the last one was revoked."""
        self._transact("nameDealer", check_address(hospital, "hospital"))

    def set_context(self, fingerprint: bytes) -> None:
        """As the dealer, name the key of this epoch (32 bytes), once."""
        self._transact("setContext", fingerprint)

    def admit_witness(self, witness: Address) -> None:
        """Let an account attest to aggregates, from the next round on."""
        self._transact("grantRole", WITNESS_ROLE, check_address(witness, "witness"))

    def fund(self, account: Address, wei: int) -> None:
        """Let an account have at least so many wei, from this ledger's account, so that it can pay for transactions."""
        self._connection.fund(self._account("fund"), check_address(account, "account"), wei)

    # ---- many at once ------------------------------------------------------------------------------------------

    def prepare(self, signed: SignedCommitment | SignedVote) -> Call:
        """Try to relay what a hospital signed, after the last block; nothing is sent before `push`."""
        function, arguments = _relayed(signed)
        return self._connection.prepare(self._account(function), function, *arguments)

    def push(self, calls: Sequence[Call]) -> list[Flight]:
        """Hand prepared calls to the node, in this order and without waiting for their blocks."""
        return self._connection.push(self._account("Relaying"), calls)

    def landed(self, flights: Sequence[Flight]) -> dict[Flight, LedgerError | None]:
        """Those of the pushed calls that are in blocks now, each with the contract's refusal, or None."""
        return self._connection.landed(flights)

    def await_landing(self, flights: Sequence[Flight]) -> None:
        """Wait until pushed calls are in blocks."""
        self._connection.await_landing(flights)

    # ---- a round ------------------------------------------------------------------------------------------------

    def open_round(self) -> RoundOpening:
        """Open the next round."""
        self._transact("openRound")
        return self.opening(self.latest_round())

    def submit_for(self, signed: SignedCommitment) -> None:
        """Relay a hospital's signed commitment."""
        function, arguments = _relayed(signed)
        self._transact(function, *arguments)

    def close_submissions(
        self,
        round_index: int,
        aggregate_hash: bytes,
        included: tuple[int, ...],
        reasons: Mapping[Address, str],
    ) -> None:
        """Record the aggregate, once all hospitals have submitted or the deadline has passed.

        Args:
            round_index: The open round.
            aggregate_hash: 32 bytes; Merkle root of the aggregate's chunk hashes.
            included: Places on the roster whose updates were added.
            reasons: Why each other submitted update was not added, by hospital, in up to 31 ASCII characters; where a
                reason is not given, "NotVerified" is recorded. Reasons of hospitals that are included or have not
                submitted are ignored.
        """
        submitted = decode_mask(self._round_fields(round_index)["submittedMask"])
        members = self._connection.call("roster")
        exclusions = [
            (index, encode_reason(reasons.get(as_address(members[index][0]), "NotVerified")))
            for index in submitted
            if index not in included
        ]
        self._transact("closeSubmissions", round_index, aggregate_hash, encode_mask(included), exclusions)

    def cast_vote_for(self, signed: SignedVote) -> None:
        """Relay a hospital's signed vote."""
        function, arguments = _relayed(signed)
        self._transact(function, *arguments)

    def attest(self, round_index: int, aggregate_hash: bytes) -> None:
        """As a witness, attest that the included updates add up to this aggregate (32 bytes)."""
        self._transact("attest", round_index, aggregate_hash)

    def finalize_round(self, round_index: int) -> RoundPhase:
        """End a round that was voted on, and return how it ended."""
        self._transact("finalizeRound", round_index)
        return self.round(round_index).phase

    def prepare_ending(self, round_index: int, another: bool) -> Call:
        """What ends a round and, where another is to follow, opens it: to be pushed behind the last votes.

        It is not tried, since the contract would refuse it until those are counted; nothing is recorded where it does.
        """
        function = "finalizeAndOpen" if another else "finalizeRound"
        return self._connection.untried(self._account(function), ENDING_GAS, function, round_index)

    def finalize_and_open(self, round_index: int) -> tuple[RoundPhase, RoundOpening | None]:
        """End a round that was voted on and open the next one, in one transaction.

        Anybody may end a round, so somebody may have been first; then only the next round is opened.

        Returns:
            How the round ended; and the next round's opening, None where the round was aborted: then none is opened.

        Raises:
            LedgerError: as everywhere; `reason` is "WitnessMissing" where only a witness's attestation is awaited, and
                "OutcomeStillOpen" where votes to come could change the outcome.
        """
        try:
            self._transact("finalizeAndOpen", round_index)
        except LedgerError as error:
            if error.reason != "RoundNotVoting":
                raise
            phase = self.round(round_index).phase
            if phase not in (RoundPhase.ACCEPTED, RoundPhase.REJECTED):
                return phase, None
            opened = self.latest_round() > round_index  # by this very transaction, where its answer was lost
            return phase, self.opening(round_index + 1) if opened else self.open_round()
        phase = self.round(round_index).phase
        return phase, None if phase is RoundPhase.ABORTED else self.opening(round_index + 1)

    def abort_round(self, round_index: int, reason: str) -> None:
        """End a round without a decision; of the reason the first 31 ASCII characters are recorded."""
        self._transact("abortRound", round_index, encode_reason(reason))


def _relayed(signed: SignedCommitment | SignedVote) -> tuple[str, tuple[Any, bytes]]:
    """The contract's function that takes what a hospital signed, with its arguments."""
    if isinstance(signed, SignedCommitment):
        return "submitUpdateFor", (encode_commitment(signed.commitment), signed.signature)
    return "castVoteFor", (encode_vote(signed.vote), signed.signature)


def _agreed_rules(settings: LedgerSettings) -> LedgerRules:
    """The rules that settings call for, in the contract's order."""
    return LedgerRules(
        settings.min_included,
        settings.reject_quorum,
        settings.min_votes,
        settings.release_threshold,
        settings.submission_timeout_s,
        settings.voting_timeout_s,
        settings.witness_required,
    )
