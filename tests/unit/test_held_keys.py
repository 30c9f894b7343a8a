"""The door over a hospital's folder: channel key and releases of the sum's round open it, and nothing else does."""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from eth_utils.address import to_checksum_address

from blockchain.closed_sums import ClosedSum
from blockchain.consortium.held_keys import HeldKeys
from blockchain.identity import Identity
from blockchain.ledger.encoding import encode_mask
from blockchain.ledger.records import RosterEntry, RoundOpening
from blockchain.signing.releases import sign_release
from encryption import RoundKey, encrypt_fields
from fedward.ciphertexts.plan import plan_layout
from fedward.ciphertexts.public_polynomials import round_seed
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE, sum_ciphertexts
from fedward.errors import EncryptionError, EvidenceError, VerificationError
from fedward.files import merkle_root, sha256
from fedward.folders.hospital import HeldKey, HospitalFolder, Membership
from fedward.sharing.dealing import deal_key
from fedward.sharing.modular import Residues, add
from fedward.sharing.sealed_releases import ChannelKey, encrypt_release
from fedward.sharing.signed import SentRelease
from fedward.sharing.terms import Purpose, ReleaseTerms
from fedward.types import Address, HospitalId

PLAN = plan_layout(9_000, 5, 1.0, 2, 18)
FIELDS = np.random.default_rng(0).integers(-1000, 1000, (3, PLAN.parameters))
OLD, NEW = ChannelKey.generate(), ChannelKey.generate()
CONTRACT = Address(to_checksum_address("0x" + "11" * 20))
THRESHOLD, PLACES, INCLUDED = 3, (0, 2, 3, 5, 6), (2, 3, 6)  # a place of the roster is not always a holder's position
MASK = encode_mask((1, 2, 4))  # of positions


@pytest.fixture(scope="module")
def hospitals(tmp_path_factory: pytest.TempPathFactory) -> list[Identity]:
    path = tmp_path_factory.mktemp("identities")
    return [Identity.create(path / f"hospital-{place}") for place in PLACES]


@pytest.fixture
def folder(tmp_path: Path, hospitals: list[Identity]) -> HospitalFolder:
    made = HospitalFolder.create(tmp_path / "hospital-1")
    made.join(Membership(HospitalId("hospital-1"), CONTRACT, 5, "00", "00", 7, "00", ()))
    for epoch, key in enumerate((OLD, NEW), start=1):
        made.save_channel_key(HeldKey(epoch, key.fingerprint), key.to_bytes())
    return made


@dataclass
class Round:
    """A round of five hospitals, three of whose updates are added."""

    hospitals: list[Identity]
    opening: RoundOpening
    chunks: tuple[bytes, ...]
    released: list[Residues]
    channel: ChannelKey

    @classmethod
    def of(cls, hospitals: list[Identity], channel: ChannelKey, index: int = 7, other_key: bool = False) -> "Round":
        """A round under a channel key; perhaps the last included hospital encrypts under another key than it deals."""
        roster = tuple(RosterEntry(place, each.address, 10) for place, each in zip(PLACES, hospitals, strict=True))
        opening = RoundOpening(index, bytes([index]) * 32, bytes(32), channel.fingerprint, roster, 50, 0, THRESHOLD)
        seed = round_seed(7, CONTRACT, index, opening.ledger_head, Purpose.UPDATES.name)
        dealt = [RoundKey.generate() for _ in INCLUDED]
        used = [*dealt[:-1], RoundKey.generate() if other_key else dealt[-1]]
        sent = [encrypt_fields(fields, PLAN, key, seed) for fields, key in zip(FIELDS, used, strict=True)]
        chunks = tuple(sum_ciphertexts(parts) for parts in zip(*sent, strict=True))
        shares = [deal_key(key.residues(), THRESHOLD, len(PLACES))[:, :RING_DEGREE] for key in dealt]
        return cls(hospitals, opening, chunks, list(functools.reduce(add, shares)), channel)

    def release(self, position: int, wrong: bool = False, by: Identity | None = None, **changed: object) -> SentRelease:
        """A holder's release; wrong, signed by somebody else, or for other terms."""
        hospital = self.hospitals[position]
        right = ReleaseTerms(
            7, CONTRACT, self.opening.round_index, hospital.address, Purpose.UPDATES, b"l" * 32, MASK,
            merkle_root([sha256(chunk) for chunk in self.chunks]),
        )  # fmt: skip
        terms = dataclasses.replace(right, **changed)  # type: ignore[arg-type]
        numbers = add(self.released[position], np.ones(RING_DEGREE, np.uint64)) if wrong else self.released[position]
        content = encrypt_release(numbers, terms, self.channel)
        return SentRelease(sign_release(terms, content, by or hospital), content)

    def closed(self, releases: Iterable[SentRelease] | None = None) -> ClosedSum:
        """The sum, with these releases or with everybody's."""
        sent = tuple(releases) if releases is not None else tuple(self.release(place) for place in range(5))
        return ClosedSum(self.opening, Purpose.UPDATES, INCLUDED, self.chunks, sent)


@pytest.fixture(scope="module")
def current(hospitals: list[Identity]) -> Round:
    return Round.of(hospitals, NEW)


def test_each_round_is_opened_with_its_own_key(folder: HospitalFolder, hospitals: list[Identity]) -> None:
    keys = HeldKeys(folder)
    for channel in (NEW, OLD, NEW):
        opened = keys.open(Round.of(hospitals, channel).closed(), PLAN)
        np.testing.assert_array_equal(opened.sums, FIELDS.sum(axis=0))
        assert opened.wrong == ()
    assert keys.fingerprint == NEW.fingerprint


@pytest.mark.parametrize("holders", [(0, 1, 2), (2, 3, 4), (4, 0, 2), (1, 2, 3, 4)])
def test_as_many_releases_as_the_threshold_open_it(
    folder: HospitalFolder, current: Round, holders: Sequence[int]
) -> None:
    opened = HeldKeys(folder).open(current.closed(current.release(holder) for holder in holders), PLAN)
    np.testing.assert_array_equal(opened.sums, FIELDS.sum(axis=0))


def test_one_release_less_opens_nothing(folder: HospitalFolder, current: Round) -> None:
    for releases in ([], [current.release(0), current.release(1)], [current.release(0)] * 4):
        with pytest.raises(EvidenceError, match=r"usable releases came with the .* 3 are needed"):
            HeldKeys(folder).open(current.closed(releases), PLAN)


def test_a_wrong_release_is_corrected_and_its_hospital_named_by_its_place(
    folder: HospitalFolder, current: Round
) -> None:
    releases = [current.release(position, wrong=position == 3) for position in range(5)]
    opened = HeldKeys(folder).open(current.closed(releases), PLAN)
    np.testing.assert_array_equal(opened.sums, FIELDS.sum(axis=0))
    assert opened.wrong == (PLACES[3],)


@pytest.mark.parametrize(
    "changed",
    [
        {"round_index": 6},
        {"purpose": Purpose.COUNTS},
        {"included_mask": encode_mask(INCLUDED)},
        {"sum_hash": bytes(32)},
        {"chain_id": 8},
        {"contract": Address(to_checksum_address("0x" + "22" * 20))},
    ],
)
def test_what_was_released_for_another_sum_is_not_used(
    folder: HospitalFolder, current: Round, changed: dict[str, object]
) -> None:
    """And it is held against nobody: the server may have put it there."""
    others = [current.release(position, **changed) for position in range(5)]  # type: ignore[arg-type]
    with pytest.raises(EvidenceError, match="0 usable releases"):
        HeldKeys(folder).open(current.closed(others), PLAN)
    mixed = [*others[:2], *(current.release(position) for position in (2, 3, 4))]
    assert HeldKeys(folder).open(current.closed(mixed), PLAN).wrong == ()


def test_what_nobody_on_the_roster_signed_is_not_used(
    folder: HospitalFolder, current: Round, hospitals: list[Identity], tmp_path: Path
) -> None:
    stranger = Identity.create(tmp_path / "stranger")
    forged = [
        current.release(0, by=stranger),
        current.release(0, by=hospitals[1]),
        current.release(0, hospital=stranger.address, by=stranger),
        replace(current.release(0), content=current.release(1).content),
        replace(current.release(0), signed=replace(current.release(0).signed, signature=bytes(65))),
    ]
    for release in forged:
        with pytest.raises(EvidenceError, match="2 usable releases"):
            HeldKeys(folder).open(current.closed([release, current.release(1), current.release(2)]), PLAN)


def test_a_release_under_another_channel_key_is_named_and_not_used(
    folder: HospitalFolder, current: Round, hospitals: list[Identity]
) -> None:
    strange = replace(current, channel=OLD)
    releases = [strange.release(0), *(current.release(position) for position in (1, 2, 3))]
    opened = HeldKeys(folder).open(current.closed(releases), PLAN)
    np.testing.assert_array_equal(opened.sums, FIELDS.sum(axis=0))
    assert opened.wrong == (PLACES[0],)
    with pytest.raises(EvidenceError, match="0 usable releases"):
        HeldKeys(folder).open(current.closed(strange.release(position) for position in range(5)), PLAN)


def test_numbers_that_are_no_residues_are_named_and_not_used(folder: HospitalFolder, current: Round) -> None:
    outside = replace(current, released=[np.full(RING_DEGREE, MODULUS, np.uint64)] * 5)
    terms = current.release(0).signed.release
    content = encrypt_release(
        outside.released[0],
        ReleaseTerms(
            terms.chain_id,
            terms.contract,
            7,
            terms.hospital,
            Purpose.UPDATES,
            terms.ledger_head,
            MASK,
            terms.sum_hash,
        ),
        NEW,
    )  # fmt: skip
    right = ReleaseTerms(7, CONTRACT, 7, terms.hospital, Purpose.UPDATES, terms.ledger_head, MASK, terms.sum_hash)
    wrong = SentRelease(sign_release(right, content, current.hospitals[0]), content)
    releases = [wrong, *(current.release(position) for position in (1, 2, 3))]
    assert HeldKeys(folder).open(current.closed(releases), PLAN).wrong == (PLACES[0],)


def test_a_sum_with_an_update_under_another_key_than_the_dealt_one_does_not_decode(
    folder: HospitalFolder, hospitals: list[Identity]
) -> None:
    ruined = Round.of(hospitals, NEW, other_key=True)
    with pytest.raises(EncryptionError, match="an update was made under another key than the one shared"):
        HeldKeys(folder).open(ruined.closed(), PLAN)


def test_a_sum_of_another_round_does_not_decode(folder: HospitalFolder, hospitals: list[Identity]) -> None:
    """Its public polynomials are others, also under the same keys."""
    earlier, now = Round.of(hospitals, NEW, index=6), Round.of(hospitals, NEW)
    replayed = replace(now, chunks=earlier.chunks, released=earlier.released)
    with pytest.raises(EncryptionError, match="make a key that opens the sum"):
        HeldKeys(folder).open(replayed.closed(), PLAN)


def test_a_key_that_was_never_taken_is_missed(
    folder: HospitalFolder, hospitals: list[Identity], tmp_path: Path
) -> None:
    stranger = ChannelKey.generate()
    with pytest.raises(EvidenceError, match=f"no channel key {stranger.fingerprint.hex()}"):
        HeldKeys(folder).open(Round.of(hospitals, stranger).closed(), PLAN)
    empty = HeldKeys(HospitalFolder.create(tmp_path / "hospital-2"))
    with pytest.raises(EvidenceError, match="no channel key in"):
        empty.fingerprint  # noqa: B018 - reading it is the act


def test_a_key_that_is_filed_as_another_is_refused(folder: HospitalFolder, current: Round) -> None:
    folder.save_channel_key(HeldKey(2, NEW.fingerprint), OLD.to_bytes())
    with pytest.raises(VerificationError, match=f"as channel key {NEW.fingerprint.hex()} is {OLD.fingerprint.hex()}"):
        HeldKeys(folder).open(current.closed(), PLAN)


def test_a_damaged_key_opens_nothing(folder: HospitalFolder, current: Round) -> None:
    folder.save_channel_key(HeldKey(2, NEW.fingerprint), NEW.to_bytes()[:-1])
    with pytest.raises(EncryptionError, match="no channel key"):
        HeldKeys(folder).open(current.closed(), PLAN)


def test_it_shows_no_key_and_a_sum_names_its_ciphertexts_by_their_root(folder: HospitalFolder, current: Round) -> None:
    keys, total = HeldKeys(folder), current.closed()
    keys.open(total, PLAN)
    assert repr(keys) == f"HeldKeys({folder.keys})"
    assert total.root() == merkle_root([sha256(chunk) for chunk in total.chunks])
    assert "chunks" not in repr(total)
    assert "releases" not in repr(total)


def test_what_it_encrypts_for_others_they_open_with_the_rounds_key_only(folder: HospitalFolder, current: Round) -> None:
    """The hospital's own release comes through the same door: no caller gets the key."""
    terms = ReleaseTerms(
        7, CONTRACT, 7, current.hospitals[0].address, Purpose.UPDATES, b"l" * 32, MASK,
        current.closed([]).root(),
    )  # fmt: skip
    content = HeldKeys(folder).encrypt_release(current.released[0], terms, NEW.fingerprint)
    own = SentRelease(sign_release(terms, content, current.hospitals[0]), content)
    opened = HeldKeys(folder).open(current.closed([own, current.release(1), current.release(2)]), PLAN)
    assert opened.wrong == ()
    with pytest.raises(EvidenceError, match="no channel key"):
        HeldKeys(folder).encrypt_release(current.released[0], terms, ChannelKey.generate().fingerprint)
