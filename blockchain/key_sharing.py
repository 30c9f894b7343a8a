"""A hospital's part in a round's shared keys: deal its own, answer about others', and release its part of a sum's.

No hospital ever has another's key. It has one share of each, and gives only the sum of its shares of those hospitals
whose updates the ledger says were added: once in a round, for one set.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from blockchain.closed_sums import least_included
from blockchain.consortium.held_keys import HeldKeys
from blockchain.identity import Identity
from blockchain.ledger.events import UpdateCommitted, VoteCast
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.records import RoundOpening, RoundPhase, RoundRecord, encode_set
from blockchain.signing.answers import sign_answers
from blockchain.signing.releases import sign_release
from blockchain.signing.signatures import recover_commitment_signer
from encryption import RoundKey, encrypt_fields
from fedward.checked_json import checked_json, to_json
from fedward.ciphertexts.encrypted_counts import counts_layout
from fedward.ciphertexts.serialized import RING_DEGREE
from fedward.errors import EvidenceError, VerificationError
from fedward.figures.histograms import ScoreHistogram
from fedward.files import sha256
from fedward.folders.hospital import HospitalFolder, Outgoing
from fedward.messages.ballots import NO_COUNTS
from fedward.messages.key_sharing import DealtShares, ReleaseRequest
from fedward.settings import Settings
from fedward.sharing.answer_sheets import AnswerSheet, state
from fedward.sharing.dealing import Answers as Numbers
from fedward.sharing.dealing import Complaint, answer, challenges, deal_key
from fedward.sharing.modular import Residues, add
from fedward.sharing.sealed_shares import UnfitShareError, open_share, seal_shares, shares_root
from fedward.sharing.signed import Answers, SentAnswers, SentRelease
from fedward.sharing.terms import Purpose, ReleaseTerms, ShareTerms, account_bytes, purposes
from fedward.types import Address, EncryptedUpdate, SignedCommitment

_RESTORE = "Restore the folder from a backup, or take no part in this round."
_REFUSE = "Release nothing; compare this hospital's checkpoints with the others'."


@dataclass(frozen=True)
class Dealing:
    """Fresh keys of one hospital for one round, and their shares.

    Attributes:
        keys: By what they encrypt.
        shares: uint64, shape (hospitals, width): all shares in the clear; they never leave the hospital so.
        sealed: Each hospital's, sealed to it, in roster order.
    """

    keys: Mapping[Purpose, RoundKey] = field(repr=False)
    shares: Residues = field(repr=False)
    sealed: tuple[bytes, ...] = field(repr=False)

    def root(self) -> bytes:
        """32 bytes; what the commitment signs of the shares."""
        return shares_root([sha256(share) for share in self.sealed])


def deal_keys(
    folder: HospitalFolder, ledger: Ledger, opening: RoundOpening, identity: Identity, encrypted_counts: bool
) -> Dealing:
    """Draw this hospital's keys of a round and deal them to all hospitals on the round's roster.

    Raises:
        EvidenceError: the folder's list of sealing keys is missing, or lacks a hospital on the roster.
    """
    known = folder.sealing_keys()
    unknown = [entry.address for entry in opening.roster if entry.address not in known]
    if unknown:
        raise EvidenceError(
            f"There is no checked sealing key of {unknown[0]} here.",
            "Take the key of this epoch, with all cards, first.",
        )
    keys = {purpose: RoundKey.generate() for purpose in purposes(encrypted_counts)}
    joined = np.concatenate([key.residues() for key in keys.values()])
    shares = deal_key(joined, opening.threshold, len(opening.roster))
    joined[:] = 0
    terms = [_share_terms(ledger, opening, identity.address, entry.address) for entry in opening.roster]
    sealed = seal_shares(shares, [known[entry.address] for entry in opening.roster], terms)
    return Dealing(keys, shares, sealed)


def keep(folder: HospitalFolder, signed: SignedCommitment, encrypted: EncryptedUpdate, dealing: Dealing) -> None:
    """Keep what is about to leave, and what of the keys is needed later; the update's key is not kept."""
    round_index = signed.commitment.round_index
    forget_rounds(folder)
    folder.sharing.keep_dealing(round_index, dealing.shares)
    if Purpose.COUNTS in dealing.keys:
        folder.sharing.keep_counts_key(round_index, dealing.keys[Purpose.COUNTS].residues())
    folder.save_submission(Outgoing(signed, encrypted.chunks, dealing.sealed))


def forget_rounds(folder: HospitalFolder, but: int = 0) -> None:
    """Remove the shares and keys of all rounds but one, sealed ones too: they are over, or will be begun anew."""
    for round_index in folder.sharing.unforgotten():
        if round_index != but:
            folder.forget_round(round_index)


def answer_dealings(
    folder: HospitalFolder,
    ledger: Ledger,
    opening: RoundOpening,
    identity: Identity,
    dealt: DealtShares,
    width: int,
) -> SentAnswers:
    """Open the shares that others dealt, keep them, and answer about them; asked again, the same answers.

    Args:
        folder: The hospital's own.
        ledger: Where dealers committed to what they dealt.
        opening: Of the round.
        identity: The hospital's keys.
        dealt: What the server passed on.
        width: How many residues a share of this round has.

    Raises:
        VerificationError: a list of hashes is not the one that its dealer committed to, the head that goes with the
            question is from before a dealer's commitment, or this hospital has answered under another head.
        EvidenceError: a file of the folder is damaged.
    """
    index = opening.round_index

    def make() -> bytes:
        return json.dumps(to_json(_answered(folder, ledger, opening, identity, dealt, width))).encode()

    kept = folder.sharing.answer_once(index, dealt.ledger_head, make)
    folder.sharing.forget_dealing(index)
    return checked_json(SentAnswers, kept, "The record of answers", EvidenceError, _RESTORE)


def _answered(
    folder: HospitalFolder,
    ledger: Ledger,
    opening: RoundOpening,
    identity: Identity,
    dealt: DealtShares,
    width: int,
) -> SentAnswers:
    """Open the shares, keep them, and answer about them."""
    index = opening.round_index
    _check_dealings(ledger, opening, dealt)
    own = next(position for position, entry in enumerate(opening.roster) if entry.address == identity.address)
    dealers = {entry.index: (number, entry.address) for number, entry in enumerate(opening.roster, 1)}
    said: dict[int, Numbers | Complaint] = {}
    opened: dict[int, Residues] = {}
    for share in dealt.shares:
        number, dealer = dealers[share.dealer]
        terms = _share_terms(ledger, opening, dealer, identity.address)
        if sha256(share.sealed) != share.hashes[own]:
            raise VerificationError(f"The share of {dealer} is not the one that it committed to.", _REFUSE)
        try:
            opened[number] = open_share(share.sealed, terms, identity.sealing_key, width)
            said[number] = answer(opened[number], challenges(_transcript(share.signed)))
        except UnfitShareError as unfit:
            said[number] = unfit.complaint
    content = AnswerSheet(said, _statement(folder, index)).to_bytes()
    forget_rounds(folder, but=index)  # a hospital that gives no updates any more has shares to answer about still
    if opened:
        folder.sharing.keep_shares(index, opened)
    place = (ledger.chain_id, ledger.contract, index, identity.address)
    return SentAnswers(sign_answers(Answers(*place, dealt.ledger_head, sha256(content)), identity), content)


def _statement(folder: HospitalFolder, round_index: int) -> tuple[Numbers, ...]:
    """What this hospital states that holders must answer about its own dealing; nothing where it has dealt no key."""
    shares, sent = folder.sharing.dealing(round_index), folder.load_submission(round_index)
    return () if shares is None or sent is None else state(shares, challenges(_transcript(sent.signed)))


def release_sum(
    folder: HospitalFolder,
    ledger: Ledger,
    opening: RoundOpening,
    record: RoundRecord,
    identity: Identity,
    request: ReleaseRequest,
    settings: Settings,
) -> SentRelease:
    """Release this hospital's part of the key of a sum that the ledger has fixed: once; asked again, the same bytes.

    Raises:
        VerificationError: the set is not the one on the ledger, too small, or another than this hospital has released
            for before.
        EvidenceError: this hospital lacks a share of an included hospital, or its channel key.
    """
    index, purpose = opening.round_index, request.purpose
    if purpose not in purposes(settings.metrics.encrypted):
        raise VerificationError(f"No {purpose.label} are encrypted in this consortium.", _REFUSE)
    included, sum_hash = _fixed_set(ledger, opening, record, request)
    _check_places(opening, included)
    if len(included) < least_included(opening, settings):
        raise VerificationError(
            f"The {purpose.label} of round {index} are of {len(included)} hospitals, fewer than the "
            f"{least_included(opening, settings)} that are needed.",
            "Release nothing: their sum would show single hospitals'.",
        )
    closed = ledger.closing(index)
    terms = ReleaseTerms(
        ledger.chain_id,
        ledger.contract,
        index,
        identity.address,
        purpose,
        closed.ledger_head,
        encode_set(opening.roster, included),
        sum_hash,
    )

    def make() -> bytes:
        return json.dumps(to_json(_made(folder, opening, identity, terms, settings))).encode()

    kept = folder.sharing.release_once(index, purpose, terms.included_mask, sum_hash, make)
    if purpose is purposes(settings.metrics.encrypted)[-1]:
        folder.forget_round(index)  # the shares have served; what was released is sent again from the disk
    return checked_json(SentRelease, kept, "The record of a release", EvidenceError, _RESTORE)


def check_released(folder: HospitalFolder, ledger: Ledger, opening: RoundOpening, record: RoundRecord) -> None:
    """Check that sets and sums are those that this hospital released for: this round's; of an open one, the last one's.

    The last one may have been aborted: nobody judged it, so nobody else would notice that a hospital was shown another
    set while it released.

    Raises:
        VerificationError: the hospital was shown another set or sum while it released.
    """
    last = folder.sharing.last_release_before(record.round_index) if record.phase is RoundPhase.OPEN else None
    for opened, each in ((opening, record), *([ledger.opening_and_round(last)] if last else [])):
        released = folder.sharing.released_for(each.round_index, Purpose.UPDATES)
        if released and released != (encode_set(opened.roster, each.included), each.aggregate_hash):
            raise VerificationError(
                f"The ledger now says another set or sum of round {each.round_index} than when this hospital released "
                "its part of the key.",
                "Do not take part; compare this hospital's checkpoints with the others'.",
            )


def encrypt_counts(
    folder: HospitalFolder, opening: RoundOpening, counts: ScoreHistogram, seed: bytes
) -> tuple[bytes, ...]:
    """Encrypt this hospital's validation counts under the key that it dealt for them; asked again, the same bytes.

    Args:
        folder: The hospital's own.
        opening: Of the round.
        counts: Capped by the hospital's weight.
        seed: Of the round's public polynomials for counts.

    Returns:
        The ciphertexts; none where the hospital has dealt no key for counts in this round.
    """
    kept = folder.load_submission(opening.round_index)
    if kept is None or kept.signed.commitment.ledger_head != opening.ledger_head:
        return ()
    residues = folder.sharing.counts_key(opening.round_index)
    if kept.counts is not None or residues is None:
        return kept.counts or ()
    layout = counts_layout(len(counts.positives), len(opening.roster), opening.enrolled_total)
    key = RoundKey(residues)
    chunks = encrypt_fields(layout.to_fields(counts), layout.plan, key, seed)
    key.forget()
    folder.save_counts(opening.round_index, chunks)
    folder.sharing.forget_counts_key(opening.round_index)
    return chunks


def _made(
    folder: HospitalFolder, opening: RoundOpening, identity: Identity, terms: ReleaseTerms, settings: Settings
) -> SentRelease:
    """Make a release from the shares that this hospital keeps."""
    shares = folder.sharing.shares(opening.round_index) or {}
    start = RING_DEGREE * purposes(settings.metrics.encrypted).index(terms.purpose)
    total = np.zeros(RING_DEGREE, np.uint64)
    for number, entry in enumerate(opening.roster, 1):
        if not terms.included_mask >> (number - 1) & 1:
            continue
        if number not in shares:
            raise EvidenceError(
                f"This hospital has no share of {entry.address}'s keys of round {opening.round_index}.",
                "It cannot help to open this round's sum; others can.",
            )
        total = add(total, shares[number][start : start + RING_DEGREE])
    content = HeldKeys(folder).encrypt_release(total, terms, opening.context_fingerprint)
    return SentRelease(sign_release(terms, content, identity), content)


def _fixed_set(
    ledger: Ledger, opening: RoundOpening, record: RoundRecord, request: ReleaseRequest
) -> tuple[tuple[int, ...], bytes]:
    """The set and the sum's hash: of updates, as the ledger has them; of counts, checked against the votes."""
    if request.purpose is Purpose.UPDATES:
        return record.included, record.aggregate_hash
    places = {entry.address: entry.index for entry in opening.roster}
    voted = {
        places[event.hospital]
        for event in ledger.events(VoteCast, record.round_index)
        if event.counts_hash != NO_COUNTS
    }
    # All of them: were the server to choose, two sets could differ by one hospital.
    fixed = tuple(sorted(voted & set(record.included)))
    if request.included != fixed:
        raise VerificationError(
            f"The counts of round {record.round_index} are said to be of other hospitals than those in the aggregate "
            "whose votes name counts.",
            _REFUSE,
        )
    return fixed, request.sum_hash


def _check_places(opening: RoundOpening, included: Sequence[int]) -> None:
    """Check that a set is of hospitals on the roster, each once: others would make it seem larger than it is."""
    places = {entry.index for entry in opening.roster}
    if len(set(included)) != len(included) or not places.issuperset(included):
        raise VerificationError(
            f"The set of round {opening.round_index} has places that are not on its roster, or twice.", _REFUSE
        )


def _check_dealings(ledger: Ledger, opening: RoundOpening, dealt: DealtShares) -> None:
    """Check what the server says of the dealings against the dealers' own signatures, and the ledger's commitments.

    The ledger's node may be the server's, and whoever makes up all dealings but one gets that one's key in place of the
    sum's. So each dealer's signature is asked for, over the root of its shares, in this very round.
    """
    committed = list(ledger.events(UpdateCommitted, opening.round_index))
    heads = [event.ledger_head for event in committed]
    # The last: so that all are asked about the same dealings.
    if not heads or dealt.ledger_head != heads[-1]:
        raise VerificationError(
            f"The challenge of round {opening.round_index} is not from where its ledger stands.", _REFUSE
        )
    roots = {event.hospital: event.shares_root for event in committed}
    dealers = {entry.index: entry.address for entry in opening.roster}
    for share in dealt.shares:
        dealer, root = dealers.get(share.dealer), shares_root(share.hashes)
        whole = len(share.hashes) == len(opening.roster)
        if dealer is None or not whole or roots.get(dealer) != root:
            raise VerificationError(
                f"The shares of {dealer or share.dealer} in round {opening.round_index} are not those that the ledger "
                "has a commitment to, from before the challenge.",
                _REFUSE,
            )
        if not _committed_to(share.signed, dealer, root, ledger, opening):
            raise VerificationError(
                f"{dealer} has not signed a commitment to these shares in round {opening.round_index}.", _REFUSE
            )


def _committed_to(
    signed: SignedCommitment, dealer: Address, root: bytes, ledger: Ledger, opening: RoundOpening
) -> bool:
    """Whether a dealer signed that these are its shares, for this round as this hospital sees it opened.

    With the model that it starts from: where others start from one that the server made so that they learn nothing,
    their updates are zeros, and the sum is one hospital's (Pasquini, Francati and Ateniese 2022, "Eluding Secure
    Aggregation in Federated Learning via Model Inconsistency").
    """
    said = signed.commitment
    place = (ledger.chain_id, ledger.contract, opening.round_index, opening.ledger_head)
    told = (said.chain_id, said.contract, said.round_index, said.ledger_head)
    same = (said.base_id, said.context_fingerprint) == (opening.base_id, opening.context_fingerprint)
    return (
        told == place
        and same
        and said.shares_root == root
        and recover_commitment_signer(signed) == dealer == said.hospital
    )


def _transcript(signed: SignedCommitment) -> bytes:
    """What the challenge about a dealing is drawn from: the ledger, the round, the dealer and the root of its shares.

    All of it is signed by the dealer, and nothing is a node's word: whoever had two challenges answered about one
    dealing, one in the dealer's statement and one by holders, would have linear equations of its key.
    """
    said = signed.commitment
    place = said.chain_id.to_bytes(32, "big") + account_bytes(said.contract) + said.round_index.to_bytes(8, "big")
    return place + said.ledger_head + account_bytes(said.hospital) + said.shares_root


def _share_terms(ledger: Ledger, opening: RoundOpening, dealer: Address, recipient: Address) -> ShareTerms:
    return ShareTerms(ledger.chain_id, ledger.contract, opening.round_index, opening.ledger_head, dealer, recipient)
