"""Key exchange: how the consortium's channel key gets from the dealer to every hospital, over a public key board.

Hospitals hide from the server, under the channel key, what they release to open a sum. It opens no update: whoever has
it, and all that was released, opens sums. Whose updates a sum may hold, hospitals check before they release.

1. Each hospital publishes a card: its X25519 key, signed with its Ethereum key.
2. The dealer makes the key on its own disk, names the key on the ledger by its own transaction, and leaves a sealed and
   signed copy for each hospital on the roster that the dealer agreed to.
3. Each hospital takes its copy. It accepts a copy only if it comes from the dealer, is for this ledger, epoch and
   roster, and holds the key that the ledger names.

A new key epoch starts on the contract with a new member, a revocation, or a key that was lost or disclosed
(`Ledger.start_key_epoch`); then steps 2 and 3 are done again. Hospitals keep their old keys, to catch up with rounds of
earlier epochs; nobody hands old keys on. Every function works on one hospital's own folder, and may be repeated without
harm.

Limits: the registrar decides when a hospital joins or leaves, but each hospital must agree to the new roster before it
deals a key, takes one, or trains (`agree_to_roster`).
"""

import dataclasses
from collections.abc import Iterable

from blockchain.consortium.remembering import check_joined, check_remembered
from blockchain.consortium.sealed_keys import SealedKey, Terms, make_card, read_card, seal_key
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.reader import LedgerReader
from blockchain.ledger.records import KeyContext, RosterEntry
from fedward.errors import EvidenceError, VerificationError
from fedward.folders.hospital import HeldKey, HospitalFolder, Membership, roster_digest
from fedward.folders.key_board import KeyBoard
from fedward.sharing.sealed_releases import ChannelKey
from fedward.types import Address

_NOT_SET = bytes(32)
_ASK = (
    "Ask the consortium who was added, removed or given another weight; agree to the new roster, or do not take part."
)


def leave_card(folder: HospitalFolder, board: KeyBoard) -> None:
    """As a hospital that has joined: publish the card, which says which X25519 key others seal to.

    Raises:
        UsageError, EvidenceError: the hospital's folder is damaged.
        ResourceError: the board cannot be written.
    """
    membership, identity = folder.membership(), Identity.load(folder.identity)
    board.save_card(identity.address, make_card(identity, membership.chain_id, membership.contract))


def agree_to_roster(folder: HospitalFolder, members: Iterable[tuple[Address, int]]) -> None:
    """As a hospital: agree to take part with these members from now on.

    The hospital's operator decides this; no message may.

    Args:
        folder: The hospital's own.
        members: Addresses and weights in the ledger's order, as agreed outside of any message.
    """
    folder.join(dataclasses.replace(folder.membership(), roster_digest=roster_digest(members)))


def deal_key(folder: HospitalFolder, ledger: Ledger, board: KeyBoard) -> HeldKey:
    """As the dealer: make the key of this epoch, unless it exists already, and seal it for all on the roster.

    Args:
        folder: The dealer's own.
        ledger: Attached with the dealer's account.
        board: Where to leave the sealed keys.

    Returns:
        Which key it is.

    Raises:
        VerificationError: the ledger is not the one that was joined, its roster is not the agreed one, this hospital is
            not the dealer, or a card is not signed by its hospital. Then no key was made and nothing was sealed.
        EvidenceError: a card is missing, or the ledger names a key that is not in this folder.
        LedgerError: the node cannot be reached, or the contract refused the key: a round is running.
    """
    membership, identity = folder.membership(), Identity.load(folder.identity)
    roster, context = check_ledger(folder, membership, ledger)
    if context.dealer != identity.address:
        raise VerificationError(
            f"The ledger's dealer is {context.dealer or 'nobody'}, not this hospital, {identity.address}.",
            "Let the dealer make the key.",
        )
    others = [entry.address for entry in roster if entry.address != identity.address]
    keys = _keep_sealing_keys(folder, ledger, board, roster)
    secret = _make_key(folder, ledger, context)
    held = HeldKey(context.epoch, secret.fingerprint)
    for recipient in others:
        terms = _terms(membership, held, identity.address, recipient)
        package = seal_key(secret.to_bytes(), terms, keys[recipient], identity)
        board.save_sealed_key(context.epoch, recipient, package.to_bytes())
    return held


def take_key(folder: HospitalFolder, ledger: LedgerReader, board: KeyBoard) -> HeldKey:
    """As a hospital: take the key of this epoch from the key board, unless it is in the folder already.

    Args:
        folder: The hospital's own.
        ledger: Says which key it is, who dealt it, and who is on the roster.
        board: Where the dealer left the sealed key.

    Returns:
        Which key it is.

    Raises:
        VerificationError: the ledger is not the one that was joined or has lost blocks, its roster is not the agreed
            one, the sealed key is for another hospital, epoch, roster or key, not signed by the dealer, or a member's
            card is not its own. Nothing was stored.
        EncryptionError: the sealed key does not open, or holds no key. Nothing was stored.
        EvidenceError: no key is on the ledger yet, none was left for this hospital, or a member's card is missing.
        LedgerError: the node cannot be reached.
    """
    membership, identity = folder.membership(), Identity.load(folder.identity)
    roster, context = check_ledger(folder, membership, ledger)
    current = HeldKey(context.epoch, context.fingerprint)
    held = folder.held_keys()
    if current in held and current == held[-1]:
        _keep_sealing_keys(folder, ledger, board, roster)
        return current
    if context.fingerprint == _NOT_SET:
        raise EvidenceError(
            f"The ledger names no key for epoch {context.epoch} yet.", "Wait for the dealer to make it, then retry."
        )
    if held and held[-1].epoch >= context.epoch:
        raise VerificationError(
            f"The ledger names key {context.fingerprint.hex()} for epoch {context.epoch}; this hospital already has "
            f"{held[-1].fingerprint.hex()} of epoch {held[-1].epoch}.",
            "Do not take part; compare this hospital's checkpoints with the others'.",
        )
    if context.dealer not in {entry.address for entry in roster}:
        raise VerificationError(
            f"The ledger's dealer, {context.dealer or 'nobody'}, is not on the roster.", "Take no key from there."
        )
    package = SealedKey.from_bytes(board.load_sealed_key(context.epoch, identity.address))
    expected = _terms(membership, current, context.dealer, identity.address)
    secret = ChannelKey.from_bytes(package.open(expected, identity.sealing_key))
    if secret.fingerprint != context.fingerprint:
        raise VerificationError(
            f"The dealer sealed key {secret.fingerprint.hex()}, the ledger names {context.fingerprint.hex()}.",
            "Do not use it; ask the dealer which key is the consortium's.",
        )
    _keep_sealing_keys(folder, ledger, board, roster)
    folder.save_channel_key(current, secret.to_bytes())
    return current


def check_ledger(
    folder: HospitalFolder, membership: Membership, ledger: LedgerReader
) -> tuple[tuple[RosterEntry, ...], KeyContext]:
    """The roster and the key in force, after checking that ledger and members are those that a hospital agreed to.

    Raises:
        VerificationError: the ledger or its roster is another than the agreed one, or the ledger has lost blocks.
        LedgerError: the node cannot be reached.
    """
    if (ledger.chain_id, ledger.contract) != (membership.chain_id, membership.contract):
        raise VerificationError(
            f"{membership.hospital} joined contract {membership.contract} on chain {membership.chain_id}, "
            f"not {ledger.contract} on chain {ledger.chain_id}.",
            "Attach to the ledger that was agreed on.",
        )
    check_joined(membership, ledger, witness_required=False)  # a witness gets no key
    check_remembered(folder, ledger)
    roster, context = ledger.roster(), ledger.key_context()
    if roster_digest((entry.address, entry.weight) for entry in roster) != membership.roster_digest:
        raise VerificationError(
            f"The ledger's roster of {len(roster)} hospitals is not the one that {membership.hospital} joined.", _ASK
        )
    return roster, context


def sealing_keys(ledger: LedgerReader, board: KeyBoard, hospitals: Iterable[Address]) -> dict[Address, bytes]:
    """Each hospital's X25519 public key to seal to: from its signed card, if the ledger has the same key.

    Raises:
        VerificationError: a card is not signed by its hospital, or has another key than the ledger.
        EvidenceError: a card is missing.
    """
    registered, keys = ledger.sealing_keys(), {}
    for hospital in hospitals:
        keys[hospital] = read_card(board.load_card(hospital), ledger.chain_id, ledger.contract, hospital)
        if keys[hospital] != registered.get(hospital):
            raise VerificationError(
                f"The sealing key of {hospital} on the ledger is not the one on its card.",
                "Seal nothing to either; ask that hospital which key is its own.",
            )
    return keys


def _keep_sealing_keys(
    folder: HospitalFolder, ledger: LedgerReader, board: KeyBoard, roster: tuple[RosterEntry, ...]
) -> dict[Address, bytes]:
    """Check every member's card, and keep the keys: in each round this hospital seals shares to them."""
    keys = sealing_keys(ledger, board, [entry.address for entry in roster])
    folder.save_sealing_keys(keys)
    return keys


def _make_key(folder: HospitalFolder, ledger: Ledger, context: KeyContext) -> ChannelKey:
    """The dealer's key of this epoch: on its disk first, then on the ledger, so that a crash between loses nothing."""
    mine = [key for key in folder.held_keys() if key.epoch == context.epoch]
    if context.fingerprint != _NOT_SET:
        return ChannelKey.from_bytes(folder.load_channel_key(context.fingerprint))
    if mine:
        secret = ChannelKey.from_bytes(folder.load_channel_key(mine[-1].fingerprint))
    else:
        secret = ChannelKey.generate()
        folder.save_channel_key(HeldKey(context.epoch, secret.fingerprint), secret.to_bytes())
    ledger.set_context(secret.fingerprint)
    return secret


def _terms(membership: Membership, key: HeldKey, dealer: Address, recipient: Address) -> Terms:
    """The terms that a sealed key of this epoch must have."""
    return Terms(
        chain_id=membership.chain_id,
        contract=membership.contract,
        key_epoch=key.epoch,
        roster_digest=bytes.fromhex(membership.roster_digest),
        context_fingerprint=key.fingerprint,
        dealer=dealer,
        recipient=recipient,
    )
