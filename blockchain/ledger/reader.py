"""`LedgerReader`: roster, rounds, rules and events of the contract, read at any Ethereum node's URL."""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from eth_utils.address import to_canonical_address
from eth_utils.crypto import keccak

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.calls import decode_call
from blockchain.ledger.connection import Connection
from blockchain.ledger.encoding import as_address, decode_event, decode_mask, decode_reason
from blockchain.ledger.events import (
    HospitalRegistered,
    KeyRotated,
    LedgerEvent,
    RoleAssigned,
    RoleRemoved,
    RoundAborted,
    RoundWitnessed,
    SubmissionsClosed,
    UpdateCommitted,
    VoteCast,
    read_event,
)
from blockchain.ledger.records import (
    KeyContext,
    LedgerHead,
    LedgerRules,
    RosterEntry,
    RoundOpening,
    RoundPhase,
    RoundRecord,
)
from blockchain.ledger.standing import Standing
from fedward.errors import LedgerError, VerificationError
from fedward.types import Address, PrivacyEvent, SignedVote, Vote

Kind = TypeVar("Kind", bound=LedgerEvent)

ENDED = (RoundPhase.ACCEPTED, RoundPhase.REJECTED, RoundPhase.ABORTED)
WITNESS_ROLE = keccak(text="WITNESS_ROLE")


class LedgerReader:
    """One deployed contract, read only.

    Every method raises `LedgerError` where the node cannot be reached or gives no usable answer. Safe to use from
    several threads.

    Attributes:
        chain_id: The chain's id.
        contract: The contract's address.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.chain_id: int = connection.chain_id
        self.contract = connection.contract
        self._ended: dict[int, RoundRecord] = {}

    def close(self) -> None:
        """Close the connections to the node."""
        self._connection.close()

    # ---- roster and key -----------------------------------------------------------------------------------------

    def sealing_keys(self) -> dict[Address, bytes]:
        """The latest X25519 public key of every hospital that was ever on the roster."""
        keys = {}
        for event in self._events([_selectors(HospitalRegistered, KeyRotated)]):
            if isinstance(event, HospitalRegistered | KeyRotated):
                keys[event.hospital] = event.x25519_key
        return keys

    def roster(self) -> tuple[RosterEntry, ...]:
        """The hospitals that are on the roster now, without revoked ones."""
        members = self._connection.call("roster")
        return tuple(
            RosterEntry(index, as_address(account), int(weight))
            for index, (account, weight, active) in enumerate(members)
            if active
        )

    def key_context(self) -> KeyContext:
        """The key epoch, its key and its dealer, read at one moment."""
        epoch, fingerprint, dealer = self._connection.call("keyContext")
        return KeyContext(int(epoch), bytes(fingerprint), as_address(dealer) if int(dealer, 16) else None)

    def dealer(self) -> Address | None:
        """The hospital that makes the consortium's keys; None while none is named."""
        address = as_address(self._connection.call("keyContext")[2])
        return address if int(address, 16) else None

    def context_fingerprint(self) -> bytes:
        """32 bytes; the key of this epoch, zeros while it is not set."""
        return bytes(self._connection.call("keyContext")[1])

    def witnesses(self) -> tuple[Address, ...]:
        """The accounts that may attest to aggregates, in the order of their admission; fixed while a round runs."""
        admitted: dict[Address, None] = {}
        for event in self._events([_selectors(RoleAssigned, RoleRemoved), [WITNESS_ROLE]]):
            if isinstance(event, RoleAssigned | RoleRemoved):
                admitted.pop(event.account, None)
            if isinstance(event, RoleAssigned):
                admitted[event.account] = None
        return tuple(admitted)

    # ---- rounds -------------------------------------------------------------------------------------------------

    def latest_round(self, height: int | None = None) -> int:
        """Number of the last opened round, now or after the block at a height; 0 before the first."""
        return int(self._connection.call("latestRound", block="latest" if height is None else height))

    def opening(self, round_index: int) -> RoundOpening:
        """What was fixed when a round was opened."""
        return self.opening_and_round(round_index)[0]

    def round(self, round_index: int) -> RoundRecord:
        """How far a round is and how it ended; what is over is asked for once, for it does not change."""
        found = self._ended.get(round_index) or _record(round_index, self._round_fields(round_index))
        if found.phase in ENDED:
            self._ended[round_index] = found
        return found

    def opening_and_round(self, round_index: int) -> tuple[RoundOpening, RoundRecord]:
        """What `opening` and `round` say, asked for once and so of one moment."""
        return self.openings_and_rounds(round_index)[0]

    def openings_and_rounds(self, *indices: int) -> list[tuple[RoundOpening, RoundRecord]]:
        """What `opening_and_round` says of several rounds, asked for together."""
        *rounds, members = self._connection.calls(*(("roundOf", index) for index in indices), ("roster",))
        return [_opened_and_record(*of, members) for of in zip(indices, rounds, strict=True)]

    def standing(self, round_index: int, *heights: int) -> Standing:
        """A round with all that a hospital checks before it works on it, after the last block.

        Args:
            round_index: The round.
            heights: Of blocks whose hashes are to be read along.
        """
        (_, last), (genesis, *hashes) = self._connection.latest_and_blocks(0, *heights)
        rules, latest, values, members = self._connection.calls(
            ("rules",), ("latestRound",), ("roundOf", round_index), ("roster",), block=last
        )
        return Standing(
            self.chain_id,
            self.contract,
            self,
            {0: genesis, **dict(zip(heights, hashes, strict=True))},
            LedgerRules(*rules),
            int(latest),
            functools.partial(_opened_and_record, round_index, values, members),
        )

    def _round_fields(self, round_index: int) -> dict[str, Any]:
        """What the contract stores of a round, by name."""
        return _named(round_index, self._connection.call("roundOf", round_index))

    def closing(self, round_index: int) -> SubmissionsClosed:
        """What was fixed when a round's aggregate was recorded.

        Raises:
            VerificationError: nothing was yet, as far as the node tells.
        """
        closed = next(self.events(SubmissionsClosed, round_index), None)
        if closed is None:
            raise VerificationError(
                f"Round {round_index} has recorded no aggregate.", "Wait until submissions are closed."
            )
        return closed

    def exclusions(self, round_index: int) -> dict[int, str]:
        """Why submitted updates are not in a round's aggregate, by place on the roster."""
        for event in self.events(SubmissionsClosed, round_index):
            return {index: decode_reason(reason) for index, reason in event.exclusions}
        return {}

    def abort_reason(self, round_index: int) -> str:
        """Why a round was aborted; empty where it was not."""
        return next((decode_reason(event.reason) for event in self.events(RoundAborted, round_index)), "")

    def attestations(self, round_index: int) -> tuple[Address, ...]:
        """Which witnesses have attested to a round's aggregate."""
        return tuple(event.witness for event in self.events(RoundWitnessed, round_index))

    def signed_votes(self, round_index: int) -> Iterator[SignedVote]:
        """The votes in a round as hospitals signed them, from the transactions that the server relayed.

        Signatures are not checked. What the contract says of votes is a node's word; these it cannot make up.

        Raises:
            VerificationError: a transaction is no call of the contract.
        """
        relayed = [event.transaction_hash for event in self.events(VoteCast, round_index)]
        for data in self._connection.inputs(relayed) if relayed else ():
            name, values = decode_call(data)
            if name == "castVoteFor":
                (told, hospital, *said), signature = values
                place = (self.chain_id, self.contract, int(told), as_address(hospital))
                yield SignedVote(Vote(*place, *said), bytes(signature))

    # ---- the whole ----------------------------------------------------------------------------------------------

    def base_id(self) -> bytes:
        """32 bytes; identifies the model that the next round starts from."""
        return bytes(self._connection.call("baseId"))

    def rules(self) -> LedgerRules:
        """The rules of every round, as the contract holds them."""
        return LedgerRules(*self._connection.call("rules"))

    def settings_digest(self) -> bytes:
        """32 bytes; as given at deployment."""
        return bytes(self._connection.call("settingsDigest"))

    def initial_model_digest(self) -> bytes:
        """32 bytes; as given at deployment."""
        return bytes(self._connection.call("initialModelDigest"))

    def head(self) -> LedgerHead:
        """The last block, and the ledger head after it."""
        return self.head_and_round()[0]

    def head_and_round(self) -> tuple[LedgerHead, int]:
        """The last block, with the ledger head and the number of the last opened round after it."""
        height, block_hash = self._connection.latest_block()
        head, latest = self._connection.calls(("ledgerHead",), ("latestRound",), block=block_hash)
        return LedgerHead(height, block_hash, bytes(head)), int(latest)

    def block_hash(self, height: int) -> bytes | None:
        """32 bytes; hash of the block at a height, or None where the chain does not reach so far."""
        return self._connection.block(height)

    def genesis_hash(self) -> bytes:
        """32 bytes; hash of block 0."""
        found = self.block_hash(0)
        if found is None:
            raise LedgerError("The ledger's node has no block 0.", "Use a node that keeps the whole chain.")
        return found

    def submission_count(self) -> int:
        """Number of commitments that the contract ever accepted."""
        return sum(1 for _ in self.events(UpdateCommitted))

    def vote_count(self) -> int:
        """Number of votes that the contract ever accepted."""
        return sum(1 for _ in self.events(VoteCast))

    def privacy_events(self, hospital: Address) -> dict[int, PrivacyEvent]:
        """The privacy events that a hospital declared, by round: what its epsilon is computed from."""
        account = to_canonical_address(hospital).rjust(32, b"\0")
        committed = self._events([_selectors(UpdateCommitted), [], [account]])
        return {
            event.round_index: decode_event(event.privacy) for event in committed if isinstance(event, UpdateCommitted)
        }

    def events(self, kind: type[Kind], round_index: int | None = None) -> Iterator[Kind]:
        """The contract's events of one kind, in the order of the chain.

        Args:
            kind: The type of the wanted events; the node is asked for no others.
            round_index: Only this round's, where given.

        Raises:
            VerificationError: an event is malformed.
        """
        topics = [_selectors(kind)]
        if round_index is not None:
            topics.append([round_index.to_bytes(32, "big")])
        for event in self._events(topics):
            if isinstance(event, kind):
                yield event

    def history(self) -> Iterator[LedgerEvent]:
        """All of the contract's events, in the order of the chain.

        Raises:
            VerificationError: an event is malformed.
        """
        return self._events(())

    def _events(self, topics: Sequence[Sequence[bytes]]) -> Iterator[LedgerEvent]:
        """The contract's events with these topics by place; the node filters out the others."""
        for log in self._connection.logs(topics):
            found = tuple(bytes(topic) for topic in log["topics"])
            event = read_event(found, bytes(log["data"]), int(log["blockNumber"]), bytes(log["transactionHash"]))
            if event is not None:
                yield event

    def raw_events(self) -> Iterator[tuple[tuple[bytes, ...], bytes]]:
        """Topics and data of all the contract's events, for `blockchain.ledger.fold.fold`."""
        for log in self._connection.logs():
            yield tuple(bytes(topic) for topic in log["topics"]), bytes(log["data"])


def _selectors(*kinds: type[LedgerEvent]) -> list[bytes]:
    """The first topics of kinds of events."""
    names = {kind.__name__ for kind in kinds}
    return [selector for selector, shape in load_artifact().events().items() if shape.name in names]


def _named(round_index: int, values: Sequence[Any]) -> dict[str, Any]:
    """What the contract stores of a round, by name.

    Raises:
        LedgerError: the round was not opened.
    """
    fields = dict(zip(_round_field_names(), values, strict=True))
    if fields["phase"] == 0:
        raise LedgerError(
            f"Round {round_index} has not been opened on the ledger.", "Ask for a round up to the latest."
        )
    return fields


def _opened_and_record(
    round_index: int, values: Sequence[Any], members: Sequence[Any]
) -> tuple[RoundOpening, RoundRecord]:
    """A round's opening and record, from the contract's values.

    Raises:
        VerificationError: the node tells of a set with places that are not on the round's roster, which the contract
            cannot have recorded. A set that seems larger than it is would open the sum of a smaller one.
    """
    fields = _named(round_index, values)
    for name in ("submittedMask", "includedMask"):
        if int(fields[name]) & ~int(fields["rosterMask"]):
            raise VerificationError(
                f"The ledger's node tells of hospitals in round {round_index} that are not on its roster.",
                "Do not take part; ask another node.",
            )
    return _opened(round_index, fields, members), _record(round_index, fields)


def _opened(round_index: int, fields: dict[str, Any], members: Sequence[Any]) -> RoundOpening:
    """A round's opening, from what the contract stores of it and the roster that it refers to."""
    return RoundOpening(
        round_index=round_index,
        ledger_head=bytes(fields["openingHead"]),
        base_id=bytes(fields["baseId"]),
        context_fingerprint=bytes(fields["contextFingerprint"]),
        roster=tuple(
            RosterEntry(index, as_address(members[index][0]), int(members[index][1]))
            for index in decode_mask(fields["rosterMask"])
        ),
        enrolled_total=int(fields["enrolledTotal"]),
        submission_deadline=int(fields["submissionDeadline"]),
        threshold=int(fields["threshold"]),
    )


def _record(round_index: int, fields: dict[str, Any]) -> RoundRecord:
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
        agreeing=int(fields["agreeing"]),
        candidate_digest=bytes(fields["candidateDigest"]),
        witnesses=int(fields["witnesses"]),
        reject_quorum=int(fields["rejectQuorum"]),
        min_votes=int(fields["minVotes"]),
        threshold=int(fields["threshold"]),
        submission_deadline=int(fields["submissionDeadline"]),
        voting_deadline=int(fields["votingDeadline"]),
    )


@functools.cache
def _round_field_names() -> list[str]:
    """Names of the values that the contract stores of a round, in order."""
    entry = next(entry for entry in load_artifact().abi if entry.get("name") == "roundOf")
    return [field["name"] for field in entry["outputs"][0]["components"]]
