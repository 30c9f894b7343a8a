"""The ledger as everybody else uses it: rounds, commitments and votes on the contract, at any Ethereum node's URL."""

from collections.abc import Iterator, Mapping
from typing import Any

from eth_utils.address import to_checksum_address
from web3.types import LogReceipt

from blockchain.artifact import load_artifact
from blockchain.connection import Connection
from blockchain.encoding import (
    check_address,
    decode_event,
    decode_mask,
    decode_reason,
    encode_commitment,
    encode_mask,
    encode_reason,
    encode_vote,
)
from blockchain.fold import LedgerEvent
from blockchain.identity import Identity
from blockchain.records import LedgerHead, LedgerRules, RosterEntry, RoundOpening, RoundPhase, RoundRecord
from fedward.errors import LedgerError, VerificationError
from fedward.settings import LedgerSettings
from fedward.types import Address, PrivacyEvent, SignedCommitment, SignedVote

__all__ = ["Ledger", "LedgerHead", "LedgerRules", "RosterEntry", "RoundOpening", "RoundPhase", "RoundRecord"]


class Ledger:
    """One deployed contract, and the account that transactions are sent from.

    Every method raises `LedgerError`: with a `reason`, the contract's custom error, where the contract refused (then
    nothing was recorded); without, where the node could not be reached. Safe to use from several threads.

    Attributes:
        chain_id: The chain's id.
        contract: The contract's address.

    Guarantees:
        1. A method that records something returns once it is in a block.
    """

    def __init__(self, connection: Connection, identity: Identity | None) -> None:
        self._connection = connection
        self._identity = identity
        self.chain_id: int = connection.chain_id
        self.contract = Address(str(connection.contract.address))

    @classmethod
    def deploy(
        cls,
        rpc_url: str,
        account: Identity,
        settings: LedgerSettings,
        settings_digest: bytes,
        initial_model_digest: bytes,
    ) -> "Ledger":
        """Put a new contract on the chain; the account becomes its admin, registrar and aggregator.

        Args:
            rpc_url: The node.
            account: Who pays; must have funds.
            settings: The rules of every round.
            settings_digest: 32 bytes; digest of the settings that carry guarantees.
            initial_model_digest: 32 bytes; digest of the weights that the first round starts from.

        Raises:
            LedgerError: the node is of another chain or cannot be reached, or the contract refused the rules.
        """
        connection = Connection(rpc_url, None)
        if connection.chain_id != settings.chain_id:
            raise LedgerError(
                f"The node at {rpc_url} serves chain {connection.chain_id}, not {settings.chain_id}.",
                f"Correct run.rpc-url, or --set ledger.chain-id={connection.chain_id}.",
            )
        rules = (
            settings.min_included,
            settings.reject_quorum,
            settings.min_votes,
            settings.submission_timeout_s,
            settings.voting_timeout_s,
        )
        connection.deploy(account, settings_digest, initial_model_digest, rules)
        return cls(connection, account)

    @classmethod
    def attach(
        cls, rpc_url: str, contract: Address, account: Identity | None = None, chain_id: int | None = None
    ) -> "Ledger":
        """Use a contract that is on the chain already.

        Args:
            rpc_url: The node.
            contract: The contract's address.
            account: Who transactions are sent from; None: for reading only.
            chain_id: The id that the chain must have; None: any.

        Raises:
            LedgerError: the node cannot be reached, or other code than this version's lies at the address.
            VerificationError: the node serves another chain.
        """
        connection = Connection(rpc_url, contract)
        if chain_id is not None and connection.chain_id != chain_id:
            connection.close()
            raise VerificationError(
                f"The node at {rpc_url} serves chain {connection.chain_id}, not {chain_id}.",
                "Correct run.rpc-url; sign nothing for a chain that you did not join.",
            )
        if not load_artifact().is_code(connection.code()):
            raise LedgerError(
                f"There is no update ledger of this version at {contract} on the node at {rpc_url}.",
                "Check the contract's address and the node.",
            )
        return cls(connection, account)

    def check_rules(self, settings: LedgerSettings) -> None:
        """Make sure that this is the ledger that the settings describe: what a hospital agreed to, not the server.

        Raises:
            VerificationError: chain id or one of the contract's rules is another.
        """
        agreed = LedgerRules(
            settings.min_included,
            settings.reject_quorum,
            settings.min_votes,
            settings.submission_timeout_s,
            settings.voting_timeout_s,
        )
        if self.chain_id != settings.chain_id or self.rules() != agreed:
            raise VerificationError(
                f"The ledger on chain {self.chain_id} has {self.rules()}, the settings call for "
                f"chain {settings.chain_id} and {agreed}.",
                "Do not take part; this is not the ledger that was agreed on.",
            )

    def close(self) -> None:
        """Close the connections to the node."""
        self._connection.close()

    def _transact(self, function: str, *arguments: Any) -> None:
        """Send a transaction from this ledger's account."""
        if self._identity is None:
            raise LedgerError(f"{function} needs an account, this ledger was attached for reading.", "Attach with one.")
        self._connection.transact(self._identity, function, *arguments)

    # ---- roster and key -----------------------------------------------------------------------------------------

    def register(self, hospital: Address, weight: int, x25519_key: bytes, dealer: bool = False) -> None:
        """Put a hospital on the roster; one of them is the dealer."""
        self._transact("register", check_address(hospital, "hospital"), weight, x25519_key, dealer)

    def revoke(self, hospital: Address) -> None:
        """Take a hospital off the roster and start a new key epoch."""
        self._transact("revoke", check_address(hospital, "hospital"))

    def set_context(self, fingerprint: bytes) -> None:
        """As the dealer, name the key of this epoch (32 bytes), once."""
        self._transact("setContext", fingerprint)

    def sealing_keys(self) -> dict[Address, bytes]:
        """The last X25519 public key of everybody who was ever on the roster."""
        keys = {}
        for event in self.events():
            if event.name in ("HospitalRegistered", "KeyRotated"):
                keys[_address(event.values["hospital"])] = bytes(event.values["x25519Key"])
        return keys

    def dealer(self) -> Address | None:
        """Who makes the consortium's keys; None while nobody is named."""
        address = _address(self._connection.call("keyContext")[2])
        return address if int(address, 16) else None

    def context_fingerprint(self) -> bytes:
        """32 bytes; the key of this epoch, zeros while it is not set."""
        return bytes(self._connection.call("keyContext")[1])

    # ---- a round ------------------------------------------------------------------------------------------------

    def open_round(self) -> RoundOpening:
        """Open the next round."""
        self._transact("openRound")
        return self.opening(self.latest_round())

    def opening(self, round_index: int) -> RoundOpening:
        """What was fixed when a round was opened."""
        fields = self._round_fields(round_index)
        members, active = self._connection.call("roster"), decode_mask(fields["rosterMask"])
        return RoundOpening(
            round_index=round_index,
            ledger_head=bytes(fields["openingHead"]),
            base_id=bytes(fields["baseId"]),
            context_fingerprint=bytes(fields["contextFingerprint"]),
            roster=tuple(RosterEntry(index, _address(members[index][0]), int(members[index][1])) for index in active),
            enrolled_total=int(fields["enrolledTotal"]),
            submission_deadline=int(fields["submissionDeadline"]),
        )

    def submit_for(self, signed: SignedCommitment) -> None:
        """Relay a hospital's signed commitment."""
        self._transact("submitUpdateFor", encode_commitment(signed.commitment), signed.signature)

    def close_submissions(
        self,
        round_index: int,
        aggregate_hash: bytes,
        included: tuple[int, ...],
        reasons: Mapping[Address, str],
    ) -> None:
        """Record the aggregate, once all have submitted or the time is over.

        Args:
            round_index: The open round.
            aggregate_hash: 32 bytes; Merkle root of the aggregate's chunk hashes.
            included: Places on the roster whose updates were added.
            reasons: Why the other submitted updates were not, by hospital, in up to 31 ASCII characters; a hospital
                without one is recorded as "NotVerified"; those of hospitals that are included, or have not
                submitted, are passed over.
        """
        submitted = decode_mask(self._round_fields(round_index)["submittedMask"])
        members = self._connection.call("roster")
        exclusions = [
            (index, encode_reason(reasons.get(_address(members[index][0]), "NotVerified")))
            for index in submitted
            if index not in included
        ]
        self._transact("closeSubmissions", round_index, aggregate_hash, encode_mask(included), exclusions)

    def cast_vote_for(self, signed: SignedVote) -> None:
        """Relay a hospital's signed vote."""
        self._transact("castVoteFor", encode_vote(signed.vote), signed.signature)

    def finalize_round(self, round_index: int) -> RoundPhase:
        """End a round that was voted on, and say how."""
        self._transact("finalizeRound", round_index)
        return self.round(round_index).phase

    def abort_round(self, round_index: int, reason: str) -> None:
        """Give up a round; of the reason the first 31 ASCII characters are recorded."""
        self._transact("abortRound", round_index, encode_reason(reason))

    def round(self, round_index: int) -> RoundRecord:
        """Where a round stands, and what came of it."""
        fields = self._round_fields(round_index)
        return RoundRecord(
            round_index=round_index,
            phase=RoundPhase(fields["phase"]),
            base_id=bytes(fields["baseId"]),
            aggregate_hash=bytes(fields["aggregateHash"]),
            included=decode_mask(fields["includedMask"]),
            included_weight=int(fields["includedWeight"]),
            enrolled_total=int(fields["enrolledTotal"]),
            submissions=len(decode_mask(fields["submittedMask"])),
            accepts=int(fields["accepts"]),
            rejects=int(fields["rejects"]),
            reject_quorum=int(fields["rejectQuorum"]),
            min_votes=int(fields["minVotes"]),
            submission_deadline=int(fields["submissionDeadline"]),
            voting_deadline=int(fields["votingDeadline"]),
        )

    def _round_fields(self, round_index: int) -> dict[str, Any]:
        """The contract's record of a round, by field."""
        values = self._connection.call("roundOf", round_index)
        fields = dict(zip(_round_field_names(), values, strict=True))
        if fields["phase"] == 0:
            raise LedgerError(
                f"Round {round_index} has not been opened on the ledger.", "Ask for a round up to the latest."
            )
        return fields

    # ---- the whole ----------------------------------------------------------------------------------------------

    def latest_round(self) -> int:
        """Number of the last opened round; 0 before the first."""
        return int(self._connection.call("latestRound"))

    def base_id(self) -> bytes:
        """32 bytes; the model that the next round starts from."""
        return bytes(self._connection.call("baseId"))

    def rules(self) -> LedgerRules:
        """The rules of every round, as the contract holds them."""
        return LedgerRules(*map(int, self._connection.call("rules")))

    def settings_digest(self) -> bytes:
        """32 bytes; as given at deployment."""
        return bytes(self._connection.call("settingsDigest"))

    def initial_model_digest(self) -> bytes:
        """32 bytes; as given at deployment."""
        return bytes(self._connection.call("initialModelDigest"))

    def head(self) -> LedgerHead:
        """The last block, and the ledger head after it."""
        height, block_hash = self._connection.latest_block()
        return LedgerHead(height, block_hash, bytes(self._connection.call("ledgerHead", block=height)))

    def submission_count(self) -> int:
        """Number of commitments that the contract ever accepted."""
        return sum(1 for _ in self.events("UpdateCommitted"))

    def vote_count(self) -> int:
        """Number of votes that the contract ever accepted."""
        return sum(1 for _ in self.events("VoteCast"))

    def privacy_events(self) -> dict[Address, list[PrivacyEvent]]:
        """Every release that each hospital declared, in order: what its epsilon is computed from."""
        declared: dict[Address, list[PrivacyEvent]] = {}
        for event in self.events("UpdateCommitted"):
            declared.setdefault(_address(event.values["hospital"]), []).append(decode_event(event.values["privacy"]))
        return declared

    def exclusions(self, round_index: int) -> dict[int, str]:
        """Why submitted updates are not in a round's aggregate, by place on the roster."""
        for event in self.events("SubmissionsClosed", round_index):
            return {index: decode_reason(reason) for index, reason in event.values["exclusions"]}
        return {}

    def events(self, name: str | None = None, round_index: int | None = None) -> Iterator[LedgerEvent]:
        """The contract's events in the order of the chain.

        Args:
            name: Only these, where given.
            round_index: Only this round's, where given; needs a name.

        Raises:
            VerificationError: an event is malformed.
        """
        shapes = load_artifact().events()
        topics: list[bytes | None] = []
        if name is not None:
            topics.append(next(selector for selector, shape in shapes.items() if shape.name == name))
            if round_index is not None:
                topics.append(round_index.to_bytes(32, "big"))
        for log in self._connection.logs(topics):
            event = _decode_log(log)
            if event is not None:
                yield event

    def raw_events(self) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """Topics and data of all the contract's events, for `blockchain.fold.fold`."""
        for log in self._connection.logs():
            yield tuple(bytes(topic) for topic in log["topics"]), bytes(log["data"])


def _decode_log(log: LogReceipt) -> LedgerEvent | None:
    """An event by name and fields; None for OpenZeppelin's own."""
    topics = tuple(bytes(topic) for topic in log["topics"])
    shape = load_artifact().events().get(topics[0])
    if shape is None:
        return None
    try:
        values = shape.decode(topics, bytes(log["data"]))
    except (ValueError, StopIteration) as error:
        raise VerificationError(f"An event {shape.name} is malformed.", "Compare with another node.") from error
    return LedgerEvent(shape.name, values, int(log["blockNumber"]), bytes(log["transactionHash"]))


def _round_field_names() -> list[str]:
    """Fields of the contract's record of a round, in order."""
    entry = next(entry for entry in load_artifact().abi if entry.get("name") == "roundOf")
    return [field["name"] for field in entry["outputs"][0]["components"]]


def _address(text: str) -> Address:
    """Checksummed, as everywhere."""
    return Address(to_checksum_address(text))
