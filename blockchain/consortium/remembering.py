"""A hospital's checkpoints: it signs where the ledger stands, and checks that no block was rewritten or lost since.

A hospital signs nothing for a ledger that lacks the last block of its checkpoints, or that is not the one that it
joined. The checkpoints of all hospitals together make the trust file that an audit needs.

Limits: a hospital trusts its node to report blocks as they are; only the audit checks that a block's hash follows from
the blocks before it. On a network whose last blocks may still be replaced, point the hospital at a node that serves
final blocks only.
"""

import dataclasses
from collections.abc import Mapping, Sequence

from blockchain.consortium.trust import TrustFile
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.reader import LedgerReader
from blockchain.ledger.standing import Chain, Standing
from blockchain.signing.checkpoints import Checkpoint, SignedCheckpoint, recover_checkpoint_signer, sign_checkpoint
from fedward.errors import EvidenceError, VerificationError
from fedward.folders.hospital import HospitalFolder, Membership
from fedward.messages.signed import read_signed, write_signed
from fedward.settings import LedgerSettings
from fedward.types import Address, HospitalId, Member

_RESTORE = "Restore that folder from a backup."
COMPARE = "Do not take part; compare this hospital's checkpoints with the others'."


def remember(folder: HospitalFolder, ledger: LedgerReader, identity: Identity) -> None:
    """Sign a checkpoint of where the ledger stands now and keep it; nothing is added if no block came since the last.

    Raises:
        LedgerError: the node cannot be reached.
        EvidenceError: the file of checkpoints is damaged.
    """
    (head, latest), last = ledger.head_and_round(), last_checkpoint(folder)
    if last and last.checkpoint.height >= head.height:
        return
    checkpoint = Checkpoint(
        chain_id=ledger.chain_id,
        contract=ledger.contract,
        hospital=identity.address,
        round_index=latest,
        height=head.height,
        block_hash=head.block_hash,
        ledger_head=head.ledger_head,
    )
    folder.save_checkpoint(write_signed(sign_checkpoint(checkpoint, identity)))


def check_remembered(folder: HospitalFolder, ledger: Chain) -> None:
    """Check that the block of the hospital's last checkpoint is still on the chain, and so every block before it.

    Raises:
        VerificationError: the block is not there, the checkpoint is of another ledger, or a fork was found before.
        EvidenceError: the file of checkpoints is damaged.
        LedgerError: the node cannot be reached.
    """
    _check_no_fork(folder)
    _check_seen(last_checkpoint(folder), ledger)


def _check_seen(last: SignedCheckpoint | None, ledger: Chain) -> None:
    """Check that the block of a checkpoint is still on the chain."""
    if last is None:
        return
    seen = last.checkpoint
    if (seen.chain_id, seen.contract) != (ledger.chain_id, ledger.contract):
        raise VerificationError(
            f"This hospital last saw contract {seen.contract} on chain {seen.chain_id}, "
            f"not {ledger.contract} on chain {ledger.chain_id}.",
            COMPARE,
        )
    found = ledger.block_hash(seen.height)
    if found != seen.block_hash:
        now = f"is {found.hex()}" if found else "is missing"
        raise VerificationError(
            f"The ledger was rewritten or cut since this hospital last saw it: block {seen.height}, "
            f"which was {seen.block_hash.hex()}, {now}.",
            COMPARE,
        )


def _check_no_fork(folder: HospitalFolder) -> None:
    """Check that nobody has found that others are shown another ledger (`blockchain.consortium.forks`)."""
    if folder.fork.exists():
        raise VerificationError(
            f"Another hospital or node has other blocks than this hospital was shown: {folder.fork} says which.",
            f"{COMPARE} Once it is settled, remove that file.",
        )


def check_joined(membership: Membership, ledger: Chain, witness_required: bool) -> None:
    """Check that block 0 and the witnesses are those under which a hospital joined.

    Args:
        membership: What the hospital joined under.
        ledger: The ledger that the hospital is now offered.
        witness_required: Whether to check the witnesses.

    Raises:
        VerificationError: block 0 is another, or other accounts may attest.
        LedgerError: the node cannot be reached.
    """
    genesis = ledger.genesis_hash().hex()
    if genesis != membership.genesis_hash:
        raise VerificationError(
            f"Block 0 of the chain is {genesis}, {membership.hospital} joined one with {membership.genesis_hash}.",
            COMPARE,
        )
    if not witness_required:
        return
    admitted = ledger.witnesses()
    if set(admitted) != set(membership.witnesses):
        raise VerificationError(
            f"The ledger's witnesses are {', '.join(admitted) or 'none'}; {membership.hospital} joined under "
            f"{', '.join(membership.witnesses) or 'none'}.",
            "Do not take part; ask the consortium who admitted or removed a witness.",
        )


def checked_standing(
    folder: HospitalFolder, membership: Membership, ledger: Ledger, settings: LedgerSettings, round_index: int
) -> Standing:
    """Read where the ledger stands, and check that it is the one that a hospital joined and last saw.

    Args:
        folder: The hospital's own.
        membership: What the hospital joined under.
        ledger: The ledger that the hospital is now offered.
        settings: The rules that the hospital agreed to, and whether witnesses are to be checked.
        round_index: The round that is read along; nothing of it is checked.

    Raises:
        VerificationError: the rules, block 0 or the witnesses are others, the block of the last checkpoint is gone, or
            a fork was found before.
        EvidenceError: the file of checkpoints is damaged.
        LedgerError: the node cannot be reached.
    """
    _check_no_fork(folder)
    last = last_checkpoint(folder)
    standing = ledger.standing(round_index, *([last.checkpoint.height] if last else []))
    ledger.check_rules(settings, standing.rules)
    check_joined(membership, standing, settings.witness_required)
    _check_seen(last, standing)
    return standing


def gather_trust(members: Sequence[tuple[Member, HospitalFolder]]) -> TrustFile:
    """Make the trust file: what the hospitals vouch for together.

    Args:
        members: All of them, at least one, with their folders.

    Raises:
        VerificationError: they did not join the same ledger.
        EvidenceError: a hospital's folder is damaged.
    """
    memberships = [folder.membership() for _, folder in members]
    joined = {(one.chain_id, one.contract, one.genesis_hash, frozenset(one.witnesses)) for one in memberships}
    if len(joined) != 1:
        raise VerificationError(
            "The hospitals joined different ledgers, or under different witnesses.",
            "Compare their hospital.json files; trust none of them until they agree.",
        )
    (_, first), *rest = members
    trust = own_trust(first, {member.hospital: member.address for member, _ in members})
    more = tuple(_parse(folder, line) for _, folder in rest for line in folder.checkpoints())
    return dataclasses.replace(trust, checkpoints=trust.checkpoints + more)


def own_trust(folder: HospitalFolder, hospitals: Mapping[HospitalId, Address]) -> TrustFile:
    """What one hospital vouches for: the ledger that it joined, these hospitals, and what it saw itself.

    Args:
        folder: The hospital's own.
        hospitals: The addresses of all hospitals that it agreed to.

    Raises:
        EvidenceError: the hospital's folder is damaged.
    """
    joined = folder.membership()
    try:
        genesis_hash = bytes.fromhex(joined.genesis_hash)
    except (ValueError, TypeError) as error:
        raise _damaged(folder, error) from error
    return TrustFile(
        chain_id=joined.chain_id,
        contract=joined.contract,
        genesis_hash=genesis_hash,
        hospitals=dict(hospitals),
        witnesses=joined.witnesses,
        checkpoints=tuple(_parse(folder, line) for line in folder.checkpoints()),
    )


def last_checkpoint(folder: HospitalFolder) -> SignedCheckpoint | None:
    """A hospital's last checkpoint; None before the first.

    Raises:
        EvidenceError: the file is damaged, or the signature is not the hospital's.
    """
    lines = folder.checkpoints()
    if not lines:
        return None
    signed = _parse(folder, lines[-1])
    if recover_checkpoint_signer(signed) != signed.checkpoint.hospital:
        raise _damaged(folder, ValueError("the last signature is not the hospital's"))
    return signed


def _parse(folder: HospitalFolder, line: bytes) -> SignedCheckpoint:
    """A checkpoint from its line."""
    return read_signed(SignedCheckpoint, line, f"A checkpoint in {folder.path}", EvidenceError, _RESTORE)


def _damaged(folder: HospitalFolder, error: Exception) -> EvidenceError:
    return EvidenceError(f"What {folder.path} remembers of the ledger is damaged ({error}).", _RESTORE)
