"""Step 13, checkpoints: compare the history with the hospitals' trust file and their signed checkpoints.

All earlier steps would pass for a chain that somebody invented, too. Only what the hospitals say themselves, over a
channel that the source's owner does not control, ties the chain to them.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blockchain.audit.checks.rounds import RoundStory
from blockchain.audit.report import Report, Step
from blockchain.audit.sources.evidence import Claims
from blockchain.consortium.trust import TrustFile
from blockchain.ledger.encoding import MAX_UINT32, MAX_UINT64, WORD_BYTES, check_address
from blockchain.ledger.fold import EMPTY_HEAD
from blockchain.ledger.records import RoundPhase
from blockchain.signing.checkpoints import SignedCheckpoint, recover_checkpoint_signer
from fedward.errors import LedgerError
from fedward.types import Address

_MAX_UINT256 = 2**256 - 1
_SHOWN_DIGITS = 16


@dataclass(frozen=True)
class _Chain:
    """The chain under audit.

    Attributes:
        chain_id, contract: As the run claims them; the earlier steps checked the chain against them.
        hashes: Block hash by height, from 0.
        heads: Ledger head after each height.
        tip: Number of the last block.
        names: Name of each hospital, for the lines.
        hospitals: Who may sign checkpoints.
    """

    chain_id: int
    contract: Address
    hashes: Mapping[int, bytes]
    heads: Mapping[int, bytes]
    tip: int
    names: Mapping[Address, str]
    hospitals: frozenset[Address]

    def head(self, height: int) -> bytes:
        """The ledger head after a height."""
        return self.heads.get(height, EMPTY_HEAD)


def check_trust(
    claims: Claims,
    block_hashes: Mapping[int, bytes],
    heads: Mapping[int, bytes],
    genesis_hash: bytes,
    stories: Sequence[RoundStory],
    evidence_checkpoints: Sequence[SignedCheckpoint],
    trust: TrustFile | None,
    report: Report,
    late: frozenset[Address] = frozenset(),
) -> None:
    """Compare a chain with what hospitals vouch for, and with what its run says of its end.

    Args:
        claims: What the run says.
        block_hashes: Hash of each block, by number.
        heads: Ledger head after each block (`rounds.heads_by_height`).
        genesis_hash: 32 bytes; the hash of block 0.
        stories: All rounds.
        evidence_checkpoints: The checkpoints that came with the source.
        trust: The hospitals' trust file; None: none was given.
        report: Takes lines of the step `CHECKPOINTS`.
        late: Hospitals that joined after the last round was opened, and so are on no round's roster.
    """
    rosters = {entry.address for story in stories for entry in story.roster}
    if trust is None:
        text = (
            "Nobody but this source itself says who the hospitals are and where the ledger ends; give --trust FILE, "
            "as a hospital hands it out."
        )
        report.missing(Step.CHECKPOINTS, text)
    else:
        _check_ledger(claims, genesis_hash, trust, report)
        _check_hospitals(claims, stories, trust, report, late)
        _check_witnesses(stories, trust, report)
    names = {member.address: str(member.hospital) for member in claims.roster}
    if trust:
        names |= {address: str(hospital) for hospital, address in trust.hospitals.items()}
    chain = _Chain(
        chain_id=trust.chain_id if trust else claims.chain_id,
        contract=trust.contract if trust else claims.contract,
        hashes={**block_hashes, 0: genesis_hash},
        heads=heads,
        tip=max(block_hashes, default=0),
        names=names,
        hospitals=frozenset(trust.hospitals.values()) if trust else frozenset(rosters or names),
    )
    _check_end(claims, chain, report)
    signed = dict.fromkeys([*(trust.checkpoints if trust else ()), *evidence_checkpoints])
    held = _check_checkpoints(list(signed), chain, report)
    if trust:
        _check_everybody(held, stories, chain, report)
        _check_tail(max(held.values(), default=None), chain, report)


def _check_ledger(claims: Claims, genesis_hash: bytes, trust: TrustFile, report: Report) -> None:
    """Check that this is the hospitals' chain and contract."""
    pairs = (
        ("chain id", claims.chain_id, trust.chain_id),
        ("contract", claims.contract, trust.contract),
        ("block 0", genesis_hash.hex(), trust.genesis_hash.hex()),
    )
    for name, found, trusted in pairs:
        if found != trusted:
            text = f"Another ledger: its {name} is {found}, the hospitals' is {trusted}."
            report.fail(Step.CHECKPOINTS, text)
    if all(found == trusted for _, found, trusted in pairs):
        report.ok(Step.CHECKPOINTS, "Chain id, contract and block 0 are those of the trust file.", checks=len(pairs))


def _check_hospitals(
    claims: Claims, stories: Sequence[RoundStory], trust: TrustFile, report: Report, late: frozenset[Address]
) -> None:
    """Check that exactly the hospitals of the trust file took part, under their own names."""
    by_address = {address: hospital for hospital, address in trust.hospitals.items()}
    # Before the first round only the run itself tells who is on the roster.
    took_part = {entry.address for story in stories for entry in story.roster} or {m.address for m in claims.roster}
    wrong = 0
    for address in sorted(took_part - set(by_address)):
        text = f"A ghost hospital: {address} is on the roster, but not among the hospitals of the trust file."
        report.fail(Step.CHECKPOINTS, text, hospital=address)
        wrong += 1
    for address in sorted((set(by_address) - took_part) & late):
        text = f"{by_address[address]} joined after the last round."
        report.note(Step.CHECKPOINTS, text, hospital=by_address[address])
    for address in sorted(set(by_address) - took_part - late):
        text = f"{by_address[address]} ({address}) is missing from the roster."
        report.fail(Step.CHECKPOINTS, text, hospital=by_address[address])
        wrong += 1
    for member in claims.roster:
        named = by_address.get(member.address)
        if named is not None and named != member.hospital:
            text = f"The run calls {member.address} {member.hospital}, the trust file calls it {named}."
            report.fail(Step.CHECKPOINTS, text, hospital=named)
            wrong += 1
    if not wrong:
        text = f"The {len(by_address)} hospitals on the roster are those of the trust file."
        report.ok(Step.CHECKPOINTS, text, checks=len(by_address))
    _note_changes(stories, by_address, report)


def _note_changes(stories: Sequence[RoundStory], by_address: Mapping[Address, str], report: Report) -> None:
    """Note who left or joined the roster and when the key changed: a registrar can do so to get rid of a hospital."""
    for before, after in itertools.pairwise(stories):
        old, new = ({entry.address for entry in story.roster} for story in (before, after))
        for addresses, change in ((old - new, "was taken off the roster"), (new - old, "joined")):
            for address in sorted(addresses):
                who = by_address.get(address, address)
                text = f"{who} {change} before round {after.round_index}."
                report.note(Step.CHECKPOINTS, text, round_index=after.round_index, hospital=who)
        if before.context_fingerprint != after.context_fingerprint:
            text = f"The rounds from {after.round_index} on are under a new key, {_hex(after.context_fingerprint)}."
            report.note(Step.CHECKPOINTS, text, round_index=after.round_index)


def _check_witnesses(stories: Sequence[RoundStory], trust: TrustFile, report: Report) -> None:
    """Check that every attestation is by a witness that the hospitals accept."""
    attested = [(story, word) for story in stories for word in story.witnesses]
    strangers = [(story, word) for story, word in attested if word.witness not in trust.witnesses]
    for story, word in strangers:
        text = f"{word.witness} attested to round {story.round_index}, but is no witness of the trust file."
        report.fail(Step.CHECKPOINTS, text, round_index=story.round_index)
    if attested and not strangers:
        text = f"All {len(attested)} attestations come from witnesses of the trust file."
        report.ok(Step.CHECKPOINTS, text, checks=len(attested))


def _check_end(claims: Claims, chain: _Chain, report: Report) -> None:
    """Check that the ledger ends where the run says."""
    height = chain.tip if claims.height is None else claims.height
    checks = 0
    if claims.height is not None:
        checks += 1
        if claims.height != chain.tip:
            text = f"The run says that its ledger ends at block {claims.height}, this one ends at {chain.tip}."
            report.fail(Step.CHECKPOINTS, text)
            return
    pairs = (("block hash", claims.block_hash, chain.hashes.get(height)), ("ledger head", claims.ledger_head, None))
    for name, claimed, found in pairs:
        found = chain.head(height) if name == "ledger head" else found
        if claimed is None:
            continue
        checks += 1
        if claimed != found:
            text = f"The run says that block {height} has the {name} {claimed.hex()}, it has {_hex(found)}."
            report.fail(Step.CHECKPOINTS, text)
            return
    if checks:
        report.ok(Step.CHECKPOINTS, f"The ledger ends at block {height}, as the run says.", checks=checks)


def _check_checkpoints(signed: Sequence[SignedCheckpoint], chain: _Chain, report: Report) -> Mapping[Address, int]:
    """Check each; a line for each that fails, and one for all that hold of a hospital.

    Returns:
        By hospital, the highest block of a checkpoint that holds.
    """
    held: dict[Address, list[int]] = {}
    for each in signed:
        hospital = each.checkpoint.hospital
        who = chain.names.get(hospital, hospital)
        problem = _problem(each, chain, who)
        if problem:
            report.fail(Step.CHECKPOINTS, problem, hospital=who)
        else:
            held.setdefault(hospital, []).append(each.checkpoint.height)
    for hospital, heights in held.items():
        who = chain.names.get(hospital, hospital)
        text = f"{len(heights)} checkpoints of {who} hold, the last at block {max(heights)}."
        report.ok(Step.CHECKPOINTS, text, hospital=who, checks=4 * len(heights))
    return {hospital: max(heights) for hospital, heights in held.items()}


def _check_everybody(held: Mapping[Address, int], stories: Sequence[RoundStory], chain: _Chain, report: Report) -> None:
    """Whether each hospital saw the last decided round on whose roster it is: else it may have seen another chain.

    A hospital that was away signed nothing meanwhile. It signs once it is back, so its checkpoint can be had.
    """
    last: dict[Address, RoundStory] = {}
    for story in stories:
        if story.outcome in (RoundPhase.ACCEPTED, RoundPhase.REJECTED):
            last |= {entry.address: story for entry in story.roster}
    silent = 0
    for hospital, story in last.items():
        height, moment = held.get(hospital), story.closed or story.opened
        if hospital not in chain.hospitals or (height is not None and height >= moment.block):
            continue
        who, index = chain.names.get(hospital, hospital), story.round_index
        seen = "none of its checkpoints is here" if height is None else f"its last checkpoint is of block {height}"
        text = (
            f"Whether {who} saw the aggregate of round {index}, in block {moment.block}, is not known: {seen}. "
            f"Ask {who} for its trust file."
        )
        report.missing(Step.CHECKPOINTS, text, hospital=who)
        silent += 1
    if last and not silent:
        text = f"Each of {len(last)} hospitals has signed that it saw the aggregate of its last decided round."
        report.ok(Step.CHECKPOINTS, text, checks=len(last))


def _problem(signed: SignedCheckpoint, chain: _Chain, who: str) -> str:
    """What is wrong with a checkpoint; empty where it holds."""
    checkpoint = signed.checkpoint
    if not _fits(signed):
        return f"A checkpoint that names {who} has fields that nobody can have signed."
    if (checkpoint.chain_id, checkpoint.contract) != (chain.chain_id, chain.contract):
        return (
            f"A checkpoint of {who} is of contract {checkpoint.contract} on chain {checkpoint.chain_id}, "
            f"this ledger is {chain.contract} on chain {chain.chain_id}."
        )
    if checkpoint.hospital not in chain.hospitals:
        return f"A checkpoint is signed in the name of {who}, which is no hospital of this ledger."
    signer = recover_checkpoint_signer(signed)
    if signer != checkpoint.hospital:
        return f"A checkpoint of block {checkpoint.height} names {who}, but is signed by {signer or 'nobody'}."
    height = checkpoint.height
    if height > chain.tip:
        return f"The tail is cut: {who} saw block {height}, this ledger ends at {chain.tip}."
    found = chain.hashes.get(height)
    if found != checkpoint.block_hash:
        return f"A fork: {who} saw block {height} as {_hex(checkpoint.block_hash)}, here it is {_hex(found)}."
    if chain.head(height) != checkpoint.ledger_head:
        seen, here = _hex(checkpoint.ledger_head), _hex(chain.head(height))
        return f"{who} saw the ledger head {seen} after block {height}, here it is {here}."
    return ""


def _fits(signed: SignedCheckpoint) -> bool:
    """Whether the values are within the types that are signed (EIP-712): others cannot even be hashed."""
    checkpoint = signed.checkpoint
    try:
        check_address(checkpoint.hospital, "hospital")
        check_address(checkpoint.contract, "contract")
    except LedgerError:
        return False
    return (
        0 <= checkpoint.chain_id <= _MAX_UINT256
        and 0 <= checkpoint.round_index <= MAX_UINT32
        and 0 <= checkpoint.height <= MAX_UINT64
        and len(checkpoint.block_hash) == len(checkpoint.ledger_head) == WORD_BYTES
    )


def _check_tail(highest: int | None, chain: _Chain, report: Report) -> None:
    """Check that a checkpoint vouches for the last block."""
    if highest is None:
        report.missing(Step.CHECKPOINTS, "No checkpoint holds: no block is vouched for by anybody.")
    elif highest == chain.tip:
        report.ok(Step.CHECKPOINTS, f"The last block, {chain.tip}, is fixed by a hospital's checkpoint.")
    elif chain.head(highest) == chain.head(chain.tip):
        text = f"The blocks after {highest} are vouched for by nobody, but change nothing of the ledger."
        report.note(Step.CHECKPOINTS, text)
    else:
        text = f"The blocks after {highest}, up to {chain.tip}, are vouched for by nobody."
        report.missing(Step.CHECKPOINTS, text)


def _hex(word: bytes | None) -> str:
    """The beginning of a hash, enough to tell it from another."""
    return f"{word.hex()[:_SHOWN_DIGITS]}…" if word is not None else "not there"
