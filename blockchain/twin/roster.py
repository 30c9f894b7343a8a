"""The twin's roles, roster and key epochs; `blockchain.twin.rounds` adds the rounds."""

from typing import Any

from eth_utils.crypto import keccak

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.fold import EMPTY_HEAD
from blockchain.twin.values import (
    ADMIN_ROLE,
    MAX_ROSTER,
    NO_WORD,
    NOBODY,
    OPEN,
    REGISTRAR_ROLE,
    VOTING,
    WITNESS_ROLE,
    ModelEvent,
    ModelMember,
    ModelRound,
    Refused,
    check_not_zero,
    name_word,
)


class RosterModel:
    """Roles, roster and key of a ledger, and the ledger head over all of its events.

    Attributes:
        head: 32 bytes; the ledger head.
        roster: Every hospital that ever was on it, by place.
        key_context: Epoch, context fingerprint (zeros while not set), dealer (zeros while none is named).
        rounds: By number, from 1, without a gap.
        roles: Pairs of a role and an account that has it.
    """

    def __init__(self) -> None:
        self.head = EMPTY_HEAD
        self.roster: list[ModelMember] = []
        self.key_context: tuple[int, bytes, str] = (1, NO_WORD, NOBODY)
        self.rounds: dict[int, ModelRound] = {}
        self.roles: set[tuple[bytes, str]] = set()
        self._used_contexts: set[bytes] = set()
        self._shapes = {shape.name: shape for shape in load_artifact().events().values()}
        self._told: list[ModelEvent] = []
        self._sender, self._timestamp = NOBODY, 0  # of the call that is being executed

    # ---- the roster and its key ---------------------------------------------------------------------------------

    def _register(self, hospital: str, weight: int, x25519_key: bytes, as_dealer: bool) -> None:
        self._check_role(REGISTRAR_ROLE)
        self._check_no_round()
        hospital = hospital.lower()
        if hospital == NOBODY:
            raise Refused("ZeroValue", name_word("hospital"))
        if weight == 0:
            raise Refused("ZeroValue", name_word("weight"))
        check_not_zero("x25519Key", x25519_key)
        if any(member.account == hospital for member in self.roster):
            raise Refused("AlreadyRegistered", hospital)
        if len(self.roster) == MAX_ROSTER:
            raise Refused("RosterFull", MAX_ROSTER)
        if as_dealer:
            self._check_no_dealer()
        self.roster.append(ModelMember(hospital, weight, True))
        self._tell("HospitalRegistered", hospital, len(self.roster) - 1, weight, x25519_key)
        if as_dealer:
            self._appoint(hospital)
        if self.key_context[1] != NO_WORD:
            self._begin_epoch()

    def _revoke(self, hospital: str) -> None:
        self._check_role(REGISTRAR_ROLE)
        self._check_no_round()
        hospital = hospital.lower()
        index = self._place(hospital, self._active_mask())
        self.roster[index] = self.roster[index]._replace(active=False)
        epoch, _, dealer = self.key_context
        self.key_context = (epoch + 1, NO_WORD, NOBODY if dealer == hospital else dealer)
        self._tell("HospitalRevoked", hospital, index, epoch + 1)

    def _start_key_epoch(self) -> None:
        self._check_no_round()
        epoch, fingerprint, dealer = self.key_context
        if self._sender != dealer:
            self._check_role(REGISTRAR_ROLE)
        if fingerprint == NO_WORD:
            raise Refused("ContextNotSet", epoch)
        self._begin_epoch()

    def _name_dealer(self, hospital: str) -> None:
        self._check_role(REGISTRAR_ROLE)
        self._check_no_round()
        self._place(hospital.lower(), self._active_mask())
        self._check_no_dealer()
        self._appoint(hospital.lower())

    def _rotate_key(self, x25519_key: bytes) -> None:
        self._check_no_round()
        self._place(self._sender, self._active_mask())
        check_not_zero("x25519Key", x25519_key)
        self._tell("KeyRotated", self._sender, x25519_key)

    def _set_context(self, fingerprint: bytes) -> None:
        self._check_no_round()
        epoch, current, dealer = self.key_context
        if self._sender != dealer:
            raise Refused("NotDealer", self._sender, dealer)
        if current != NO_WORD:
            raise Refused("ContextAlreadySet", epoch, current)
        check_not_zero("contextFingerprint", fingerprint)
        if fingerprint in self._used_contexts:
            raise Refused("ContextAlreadyUsed", fingerprint)
        self._used_contexts.add(fingerprint)
        self.key_context = (epoch, fingerprint, dealer)
        self._tell("ContextSet", epoch, fingerprint)

    # ---- roles --------------------------------------------------------------------------------------------------

    def _grant_role(self, role: bytes, account: str) -> None:
        self._check_role(ADMIN_ROLE)  # every role's admin
        self._grant(role, account.lower())

    def _revoke_role(self, role: bytes, account: str) -> None:
        self._check_role(ADMIN_ROLE)
        self._withdraw(role, account.lower())

    def _renounce_role(self, role: bytes, confirmation: str) -> None:
        if confirmation.lower() != self._sender:
            raise Refused("AccessControlBadConfirmation")
        self._withdraw(role, self._sender)

    def _grant(self, role: bytes, account: str) -> None:
        """Give a role; nothing happens where it is held already."""
        if role == WITNESS_ROLE:
            self._check_no_round()
        if (role, account) not in self.roles:
            self.roles.add((role, account))
            self._tell("RoleAssigned", role, account)

    def _withdraw(self, role: bytes, account: str) -> None:
        """Take a role; nothing happens where it is not held."""
        if role == WITNESS_ROLE:
            self._check_no_round()
        if (role, account) in self.roles:
            self.roles.discard((role, account))
            self._tell("RoleRemoved", role, account)

    # ---- what the calls share -----------------------------------------------------------------------------------

    def _tell(self, name: str, *values: Any) -> None:
        """Emit an event: it extends the head by its selector and its arguments."""
        shape = self._shapes[name]
        fields = dict(zip([field for field, _, _ in shape.fields], values, strict=False))
        self.head = keccak(self.head + shape.selector + shape.encode_fields(fields))
        self._told.append(ModelEvent(name, {**fields, "ledgerHead": self.head}))

    def _take(self) -> list[ModelEvent]:
        """The events since the last call."""
        told, self._told = self._told, []
        return told

    def _check_role(self, role: bytes) -> None:
        """Refuse a sender without this role."""
        if (role, self._sender) not in self.roles:
            raise Refused("AccessControlUnauthorizedAccount", self._sender, role)

    def _check_no_round(self) -> None:
        """Refuse while a round runs."""
        latest = len(self.rounds)
        if latest and self.rounds[latest].phase in (OPEN, VOTING):
            raise Refused("RoundInProgress", latest)

    def _check_no_dealer(self) -> None:
        """Refuse a second dealer."""
        if self.key_context[2] != NOBODY:
            raise Refused("DealerAlreadyNamed", self.key_context[2])

    def _begin_epoch(self) -> None:
        """Give up the key in force."""
        epoch, _, dealer = self.key_context
        self.key_context = (epoch + 1, NO_WORD, dealer)
        self._tell("KeyEpochStarted", epoch + 1, self._sender)

    def _appoint(self, hospital: str) -> None:
        """Name the dealer; there is none."""
        epoch, fingerprint, _ = self.key_context
        self.key_context = (epoch, fingerprint, hospital)
        self._tell("DealerNamed", hospital)

    def _place(self, account: str, mask: int) -> int:
        """A hospital's place among those of a mask."""
        for index, member in enumerate(self.roster):
            if member.account == account and mask >> index & 1:
                return index
        raise Refused("NotOnRoster", account)

    def _active_mask(self) -> int:
        """The places that are not revoked."""
        return sum(1 << index for index, member in enumerate(self.roster) if member.active)

    def _weight_of(self, mask: int) -> int:
        """Sum of the weights of a mask's places."""
        return sum(member.weight for index, member in enumerate(self.roster) if mask >> index & 1)
