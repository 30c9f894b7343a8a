"""The twin `LedgerModel`: the contract's rules in Python, as the oracle of its tests and the judge of the audit."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from blockchain.ledger.fold import first_base_id, next_base
from blockchain.ledger.records import LedgerRules
from blockchain.signing.typed_data import commitment_digest, domain_separator, recover_signer, vote_digest
from blockchain.twin.outcomes import abort_reason, find_outcome
from blockchain.twin.roster import RosterModel
from blockchain.twin.values import (
    ABORTED,
    ACCEPTED,
    ADMIN_ROLE,
    AGGREGATOR_ROLE,
    MAX_ROSTER,
    MAX_UINT8,
    MAX_UINT32,
    MAX_UINT40,
    NO_WORD,
    NOBODY,
    OPEN,
    REGISTRAR_ROLE,
    REJECTED,
    VOTING,
    WITNESS_ROLE,
    Exclusions,
    ModelEvent,
    ModelMember,
    ModelRound,
    Recover,
    Refused,
    check_equal,
    check_exclusions,
    check_not_zero,
    name_word,
    resolve_quorum,
    resolve_threshold,
)
from fedward.types import Address

__all__ = ["FUNCTIONS", "LedgerModel", "ModelEvent", "ModelMember", "ModelRound", "Refused"]


class LedgerModel(RosterModel):
    """One deployed UpdateLedger.

    Addresses may be given in any case of letters, and are returned in lower case, as eth_abi decodes them. Arguments
    are taken as eth_abi decodes them: structs as tuples, masks and numbers within the ranges of their types.

    Attributes:
        chain_id, contract: What signatures are bound to.
        rules: The rules of every round.
        head: 32 bytes; the ledger head.
        base_id: 32 bytes; identifies the model that the next round starts from.
        roster: Every hospital that ever was on it, by place.
        key_context: Epoch, context fingerprint (zeros while not set), dealer (zeros while none is named).
        rounds: By number, from 1, without a gap.
        roles: Pairs of a role and an account that has it.
        update_rounds, aggregate_rounds: In which round a hash was recorded.
        deployment_events: The events that the constructor emitted.
    """

    def __init__(
        self,
        chain_id: int,
        contract: Address,
        deployer: Address,
        settings_digest: bytes,
        initial_model_digest: bytes,
        rules: tuple[int, int, int, int, int, int, bool],
        recover: Recover = recover_signer,
    ) -> None:
        """Deploy the contract.

        Args:
            chain_id: The chain's id.
            contract: The address that the contract gets.
            deployer: Who deploys it, and so becomes admin, registrar and aggregator.
            settings_digest: 32 bytes.
            initial_model_digest: 32 bytes.
            rules: As the contract's struct has them.
            recover: Who signed a digest (32 bytes) with a signature; None where it is no signature.

        Raises:
            Refused: the constructor would revert.
        """
        super().__init__()
        self.rules = LedgerRules(*rules)
        bounds = {"minIncluded": (2, MAX_ROSTER), "rejectQuorum": (0, MAX_ROSTER), "minVotes": (0, MAX_ROSTER)}
        bounds |= {"releaseThreshold": (2 if self.rules.release_threshold else 0, MAX_ROSTER)}
        bounds |= {"submissionDuration": (1, MAX_UINT32), "votingDuration": (1, MAX_UINT32)}
        for (name, (low, high)), value in zip(bounds.items(), rules[:6], strict=True):
            if not low <= value <= high:
                raise Refused("RuleOutOfRange", name_word(name), value)
        check_not_zero("settingsDigest", settings_digest)
        check_not_zero("initialModelDigest", initial_model_digest)
        self.chain_id, self.contract = chain_id, contract
        self.base_id = first_base_id(initial_model_digest, settings_digest)
        self.update_rounds: dict[bytes, int] = {}
        self.aggregate_rounds: dict[bytes, int] = {}
        self._attested: set[tuple[int, str]] = set()
        self._accepts_of: dict[tuple[int, bytes], int] = {}  # by round and candidate digest
        self._domain, self._recover = domain_separator(chain_id, contract), recover
        self._tell("LedgerCreated", chain_id, contract.lower(), settings_digest, initial_model_digest, rules)
        for role in (ADMIN_ROLE, REGISTRAR_ROLE, AGGREGATOR_ROLE):
            self._grant(role, deployer.lower())
        self.deployment_events = self._take()

    def execute(self, sender: Address, timestamp: int, function: str, arguments: tuple[Any, ...]) -> list[ModelEvent]:
        """Run one call that changes state.

        Args:
            sender: Whose transaction it is.
            timestamp: Unix seconds of its block.
            function: Its name, one of `FUNCTIONS`.
            arguments: As eth_abi decodes them.

        Raises:
            Refused: the contract would revert; nothing has changed.
        """
        self._sender, self._timestamp = sender.lower(), timestamp
        FUNCTIONS[function](self, *arguments)
        return self._take()

    def copy(self) -> "LedgerModel":
        """A copy that changes independently of this ledger; rounds and members are immutable, so both may hold them."""
        twin = LedgerModel.__new__(LedgerModel)
        for name, value in vars(self).items():
            setattr(twin, name, value.copy() if isinstance(value, list | dict | set) else value)
        return twin

    @property
    def latest_round(self) -> int:
        """Number of the last opened round; 0 before the first."""
        return len(self.rounds)

    # ---- a round ------------------------------------------------------------------------------------------------

    def _open_round(self) -> None:
        self._check_role(AGGREGATOR_ROLE)
        self._check_no_round()
        epoch, fingerprint, _ = self.key_context
        if fingerprint == NO_WORD:
            raise Refused("ContextNotSet", epoch)
        mask = self._active_mask()
        active = mask.bit_count()
        if active < self.rules.min_included:
            raise Refused("RosterTooSmall", active, self.rules.min_included)
        number = self.latest_round + 1
        opened = ModelRound(
            phase=OPEN,
            reject_quorum=resolve_quorum(self.rules.reject_quorum, active),
            min_votes=resolve_quorum(self.rules.min_votes, active),
            threshold=resolve_threshold(self.rules.release_threshold, active),
            submission_deadline=(self._timestamp + self.rules.submission_duration_s) & MAX_UINT40,
            enrolled_total=self._weight_of(mask),
            roster_mask=mask,
            base_id=self.base_id,
            context_fingerprint=fingerprint,
        )
        self._tell(
            "RoundOpened",
            number,
            self.base_id,
            fingerprint,
            mask,
            opened.enrolled_total,
            opened.submission_deadline,
            opened.reject_quorum,
            opened.min_votes,
            opened.threshold,
        )
        self.rounds[number] = opened._replace(opening_head=self.head)

    def _submit_update(self, commitment: tuple[Any, ...]) -> None:
        if self._sender != commitment[1].lower():
            raise Refused("WrongSigner", commitment[1].lower(), self._sender)
        self._submit(*commitment)

    def _submit_update_for(self, commitment: tuple[Any, ...], signature: bytes) -> None:
        self._check_signer(commitment[1], commitment_digest(self._domain, commitment), signature)
        self._submit(*commitment)

    def _submit(
        self,
        number: int,
        hospital: str,
        ledger_head: bytes,
        base_id: bytes,
        fingerprint: bytes,
        update_root: bytes,
        update_bytes: int,
        shares_root: bytes,
        weight: int,
        privacy: tuple[int, ...],
    ) -> None:
        current, hospital = self.round(number), hospital.lower()
        if current.phase != OPEN:
            raise Refused("RoundNotOpen", number, current.phase)
        if self._timestamp > current.submission_deadline:
            raise Refused("SubmissionDeadlinePassed", number, current.submission_deadline, self._timestamp)
        index = self._place(hospital, current.roster_mask)
        if current.submitted_mask >> index & 1:
            raise Refused("AlreadySubmitted", number, hospital)
        check_equal("WrongLedgerHead", current.opening_head, ledger_head)
        check_equal("WrongBase", current.base_id, base_id)
        check_equal("WrongContext", current.context_fingerprint, fingerprint)
        check_equal("WrongWeight", self.roster[index].weight, weight)
        if privacy[0] > 2 or privacy[1] > 3:
            raise Refused("UnknownPrivacyCode", privacy[0], privacy[1])
        check_not_zero("updateRoot", update_root)
        if update_bytes == 0:
            raise Refused("ZeroValue", name_word("updateBytes"))
        check_not_zero("sharesRoot", shares_root)
        self._check_unused(update_root)
        self.update_rounds[update_root] = number
        self.rounds[number] = current._replace(submitted_mask=current.submitted_mask | 1 << index)
        self._tell("UpdateCommitted", number, hospital, update_root, update_bytes, shares_root, weight, privacy)

    def _close_submissions(self, number: int, aggregate_hash: bytes, included_mask: int, named: Exclusions) -> None:
        self._check_role(AGGREGATOR_ROLE)
        current = self.round(number)
        if current.phase != OPEN:
            raise Refused("RoundNotOpen", number, current.phase)
        submitted, deadline = current.submitted_mask, current.submission_deadline
        if submitted != current.roster_mask and self._timestamp <= deadline:
            raise Refused("SubmissionsStillOpen", number, deadline, self._timestamp)
        if included_mask & ~submitted:
            raise Refused("IncludedNotSubmitted", included_mask, submitted)
        if included_mask.bit_count() < self.rules.min_included:
            raise Refused("TooFewIncluded", included_mask.bit_count(), self.rules.min_included)
        check_exclusions(submitted & ~included_mask, named)
        check_not_zero("aggregateHash", aggregate_hash)
        self._check_unused(aggregate_hash)
        self.aggregate_rounds[aggregate_hash] = number
        weight = self._weight_of(included_mask)
        voting_deadline = (self._timestamp + self.rules.voting_duration_s) & MAX_UINT40
        self.rounds[number] = current._replace(
            phase=VOTING,
            aggregate_hash=aggregate_hash,
            included_mask=included_mask,
            included_weight=weight,
            voting_deadline=voting_deadline,
        )
        self._tell("SubmissionsClosed", number, aggregate_hash, included_mask, weight, tuple(named), voting_deadline)

    def _cast_vote(self, vote: tuple[Any, ...]) -> None:
        if self._sender != vote[1].lower():
            raise Refused("WrongSigner", vote[1].lower(), self._sender)
        self._cast(*vote)

    def _cast_vote_for(self, vote: tuple[Any, ...], signature: bytes) -> None:
        self._check_signer(vote[1], vote_digest(self._domain, vote), signature)
        self._cast(*vote)

    def _cast(
        self,
        number: int,
        hospital: str,
        aggregate_hash: bytes,
        accept: bool,
        candidate: bytes,
        counts: bytes,
        evidence: bytes,
    ) -> None:
        current, hospital = self._voting_round(number), hospital.lower()
        bit = 1 << self._place(hospital, current.roster_mask)
        if current.voted_mask & bit:
            raise Refused("AlreadyVoted", number, hospital)
        check_equal("WrongAggregate", current.aggregate_hash, aggregate_hash)
        named = self._accepts_of.get((number, candidate), 0) + 1
        if accept:
            self._accepts_of[number, candidate] = named
        leads = accept and named > current.agreeing
        self.rounds[number] = current._replace(
            voted_mask=current.voted_mask | bit,
            accepts=current.accepts + accept,
            agreeing=named if leads else current.agreeing,
            rejects=current.rejects + (not accept),
            candidate_digest=candidate if leads else current.candidate_digest,
        )
        self._tell("VoteCast", number, hospital, accept, candidate, counts, evidence)

    def _attest(self, number: int, aggregate_hash: bytes) -> None:
        self._check_role(WITNESS_ROLE)
        current = self._voting_round(number)
        check_equal("WrongAggregate", current.aggregate_hash, aggregate_hash)
        if (number, self._sender) in self._attested:
            raise Refused("AlreadyWitnessed", number, self._sender)
        self._attested.add((number, self._sender))
        self.rounds[number] = current._replace(witnesses=min(current.witnesses + 1, MAX_UINT8))
        self._tell("RoundWitnessed", number, self._sender, aggregate_hash)

    def _finalize_round(self, number: int) -> None:
        current = self.round(number)
        if current.phase != VOTING:
            raise Refused("RoundNotVoting", number, current.phase)
        phase = find_outcome(number, current, self._timestamp, self.rules.witness_required)
        accepts, rejects = current.accepts, current.rejects
        self.rounds[number] = current._replace(phase=phase)
        if phase == ACCEPTED:
            self.base_id = next_base(
                self.base_id, current.aggregate_hash, current.included_weight, current.enrolled_total
            )
            self._tell("RoundAccepted", number, accepts, rejects, current.candidate_digest, self.base_id)
        elif phase == REJECTED:
            self._tell("RoundRejected", number, accepts, rejects)
        else:
            self._tell("RoundAborted", number, name_word(abort_reason(current)))

    def _finalize_and_open(self, number: int) -> None:
        self._check_role(AGGREGATOR_ROLE)
        self._finalize_round(number)
        if self.round(number).phase != ABORTED:
            self._open_round()

    def _abort_round(self, number: int, reason: bytes) -> None:
        if (AGGREGATOR_ROLE, self._sender) not in self.roles:
            self._check_role(ADMIN_ROLE)
        current = self.round(number)
        if current.phase not in (OPEN, VOTING):
            raise Refused("RoundAlreadyFinal", number, current.phase)
        check_not_zero("reason", reason)
        self.rounds[number] = current._replace(phase=ABORTED)
        self._tell("RoundAborted", number, reason)

    # ---- what the calls share -----------------------------------------------------------------------------------

    def round(self, number: int) -> ModelRound:
        """A round as `roundOf` gives it; all zero where it was never opened."""
        return self.rounds.get(number, NEVER_OPENED)

    def _voting_round(self, number: int) -> ModelRound:
        """The round, while it takes votes."""
        current = self.round(number)
        if current.phase != VOTING:
            raise Refused("RoundNotVoting", number, current.phase)
        if self._timestamp > current.voting_deadline:
            raise Refused("VotingDeadlinePassed", number, current.voting_deadline, self._timestamp)
        return current

    def _check_signer(self, hospital: str, digest: bytes, signature: bytes) -> None:
        """Refuse a signature that is not the hospital's."""
        signer = (self._recover(digest, signature) or NOBODY).lower()
        if signer == NOBODY or signer != hospital.lower():
            raise Refused("WrongSigner", hospital.lower(), signer)

    def _check_unused(self, root: bytes) -> None:
        """Refuse a hash that was recorded before, as an update's or as an aggregate's."""
        used_in = self.update_rounds.get(root) or self.aggregate_rounds.get(root)
        if used_in:
            raise Refused("HashAlreadyUsed", root, used_in)


NEVER_OPENED = ModelRound()


FUNCTIONS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "register": LedgerModel._register,
        "revoke": LedgerModel._revoke,
        "startKeyEpoch": LedgerModel._start_key_epoch,
        "nameDealer": LedgerModel._name_dealer,
        "rotateKey": LedgerModel._rotate_key,
        "setContext": LedgerModel._set_context,
        "openRound": LedgerModel._open_round,
        "submitUpdate": LedgerModel._submit_update,
        "submitUpdateFor": LedgerModel._submit_update_for,
        "closeSubmissions": LedgerModel._close_submissions,
        "castVote": LedgerModel._cast_vote,
        "castVoteFor": LedgerModel._cast_vote_for,
        "attest": LedgerModel._attest,
        "finalizeRound": LedgerModel._finalize_round,
        "finalizeAndOpen": LedgerModel._finalize_and_open,
        "abortRound": LedgerModel._abort_round,
        "grantRole": LedgerModel._grant_role,
        "revokeRole": LedgerModel._revoke_role,
        "renounceRole": LedgerModel._renounce_role,
    }
)
"""The calls that change state, by name."""
