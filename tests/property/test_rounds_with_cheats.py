"""Rounds of small vectors, with dropouts and cheats at random, against plain sums: the exact sum, or a named reason.

All that hospitals and server compute is computed by the product's own functions: dealing, sealing, answering, judging,
releasing, restoring. Only the ciphertexts are small: one number stands for each coefficient of the public polynomials.
"""

import random
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from soak import FIRST_SEED, scaled

from fedward.errors import EncryptionError, QuorumError
from fedward.sharing.answer_sheets import AnswerSheet, state
from fedward.sharing.dealing import MASKS, Answers, Complaint, answer, challenges, deal_key
from fedward.sharing.judging import Fault, Judgment, judge_dealings
from fedward.sharing.modular import MODULUS, Residues, add, multiply, subtract, uniform
from fedward.sharing.reed_solomon import agree
from fedward.sharing.releases import SumKey, restore_sum_key
from fedward.sharing.sealed_releases import ChannelKey, decrypt_release, encrypt_release
from fedward.sharing.sealed_shares import UnfitShareError, open_share, seal_shares
from fedward.sharing.shamir import deal, restore
from fedward.sharing.terms import Purpose, ReleaseTerms, ShareTerms
from fedward.types import Address

ENTRIES, CIPHERTEXTS, WIDTH = 6, 2, 6 + MASKS
LEDGER = Address("0x" + "11" * 20)
NAMES = [Address(f"0x{number:040x}") for number in range(33)]
SEALING = [X25519PrivateKey.generate() for _ in NAMES]
PUBLIC = [key.public_key().public_bytes_raw() for key in SEALING]
CHANNEL, STRANGE = ChannelKey.generate(), ChannelKey.generate()
MIN_INCLUDED = 3
SCALE = np.uint64(2**20)

# What a hospital may do; one that is asked to be honest does nothing of it.
DEALING = ("one share", "two shares", "degree", "does not open", "out of range", "other round", "other key")
ANSWERING = ("no statement", "false statement", "lies about one", "lies about all", "complains about some")
RELEASING = ("off by one", "another set", "wished for", "other channel key", "cut short")


@dataclass
class Played:
    """A round on its way, with the truth beside it; hospitals are numbered from 1."""

    draws: random.Random
    hospitals: int
    cheats: dict[int, tuple[str, ...]]
    threshold: int
    public: Residues  # (CIPHERTEXTS, ENTRIES)
    messages: dict[int, Residues] = field(default_factory=dict)  # (CIPHERTEXTS, ENTRIES)
    ciphertexts: dict[int, Residues] = field(default_factory=dict)
    used: dict[int, Residues] = field(default_factory=dict)  # the key that each encrypted under
    dealt: dict[int, Residues] = field(default_factory=dict)  # what each dealer states
    sealed: dict[int, tuple[bytes, ...]] = field(default_factory=dict)
    opened: dict[int, dict[int, Residues]] = field(default_factory=dict)  # by holder, then dealer

    def does(self, hospital: int, what: str) -> bool:
        return what in self.cheats.get(hospital, ())

    def submit(self, dealer: int) -> None:
        """Encrypt a message and deal the key, or something else."""
        draws, names = self.draws, range(1, self.hospitals + 1)
        self.messages[dealer] = np.array(
            [[draws.randrange(2**20) for _ in range(ENTRIES)] for _ in range(CIPHERTEXTS)], np.uint64
        )
        key = uniform((ENTRIES,))
        self.used[dealer] = used = uniform((ENTRIES,)) if self.does(dealer, "other key") else key
        noise = np.array([[draws.randrange(64) for _ in range(ENTRIES)] for _ in range(CIPHERTEXTS)], np.uint64)
        self.ciphertexts[dealer] = add(self.messages[dealer] * SCALE + noise, multiply(self.public, used[None]))
        shares = deal_key(key, self.threshold, self.hospitals)
        self.dealt[dealer] = shares.copy()
        if self.does(dealer, "degree") and self.threshold < self.hospitals:
            masks = deal(uniform((MASKS,)), self.threshold, self.hospitals)
            shares = np.concatenate([deal(key, self.threshold + 1, self.hospitals), masks], axis=1)
            self.dealt[dealer] = shares
        for count, what in ((1, "one share"), (2, "two shares")):
            if self.does(dealer, what):
                for holder in draws.sample(names, count):
                    shares[holder - 1, draws.randrange(ENTRIES)] = draws.randrange(MODULUS)
        if self.does(dealer, "out of range"):
            shares[draws.randrange(self.hospitals), 0] = MODULUS
        number = 2 if self.does(dealer, "other round") else 3
        terms = [self.share_terms(dealer, holder, number) for holder in names]
        sealed = list(seal_shares(shares, PUBLIC[1 : self.hospitals + 1], terms))
        if self.does(dealer, "does not open"):
            sealed[draws.randrange(self.hospitals)] = bytes(len(sealed[0]))
        self.sealed[dealer] = tuple(sealed)

    def share_terms(self, dealer: int, holder: int, number: int = 3) -> ShareTerms:
        return ShareTerms(190826, LEDGER, number, b"h" * 32, NAMES[dealer], NAMES[holder])

    def answer(self, holder: int, dealers: list[int], points: Answers) -> AnswerSheet:
        """Open the shares and answer, or say something else."""
        said: dict[int, Answers | Complaint] = {}
        self.opened[holder] = {}
        for dealer in dealers:
            try:
                share = open_share(
                    self.sealed[dealer][holder - 1], self.share_terms(dealer, holder), SEALING[holder], WIDTH
                )
            except UnfitShareError as unfit:
                said[dealer] = unfit.complaint
                continue
            self.opened[holder][dealer] = share
            said[dealer] = answer(share, points)
        victims = {
            "lies about one": self.draws.sample(dealers, 1),
            "lies about all": dealers,
            "complains about some": self.draws.sample(dealers, self.draws.randint(1, len(dealers))),
        }
        for what, about in victims.items():
            if self.does(holder, what):
                lie = Complaint.DOES_NOT_OPEN if what.startswith("complains") else (1, 2, 3)
                said |= dict.fromkeys(about, lie)
        statement = state(self.dealt[holder], points) if holder in self.dealt else ()
        if self.does(holder, "no statement"):
            statement = ()
        elif self.does(holder, "false statement") and statement:
            other = deal_key(uniform((ENTRIES,)), self.threshold, self.hospitals)
            statement = self.draws.choice((state(other, points), ((1, 2, 3),) * self.hospitals, statement[:-1]))
        return AnswerSheet.from_bytes(AnswerSheet(said, statement).to_bytes())

    def right_release(self, holder: int, included: tuple[int, ...]) -> Residues:
        summed = np.zeros(ENTRIES, np.uint64)
        for dealer in included:
            summed = add(summed, self.opened[holder].get(dealer, np.zeros(WIDTH, np.uint64))[:ENTRIES])
        return summed

    def release(self, holder: int, included: tuple[int, ...]) -> Residues | None:
        """What the others get of a holder's release; None where it does not open."""
        terms = ReleaseTerms(
            190826, LEDGER, 3, NAMES[holder], Purpose.UPDATES, b"h" * 32, sum(1 << one for one in included), b"s" * 32
        )
        residues = self.right_release(holder, included)
        if self.does(holder, "off by one"):
            place = self.draws.randrange(ENTRIES)
            residues[place] = (int(residues[place]) + 1) % MODULUS
        if self.does(holder, "another set"):
            residues = self.right_release(holder, included[1:])
        if self.does(holder, "wished for"):  # under which the first ciphertext opens to what it likes
            weight = self.draws.randrange(1, MODULUS)
            inverses = [pow(int(value) * weight, -1, MODULUS) for value in self.public[0]]
            residues = subtract(residues, np.array(inverses, np.uint64))
        content = encrypt_release(residues, terms, STRANGE if self.does(holder, "other channel key") else CHANNEL)
        try:
            return decrypt_release(content[:-1] if self.does(holder, "cut short") else content, terms, CHANNEL, ENTRIES)
        except EncryptionError:
            return None

    def open(self, included: tuple[int, ...], key: Residues) -> Residues | None:
        """The sum of the messages, if this key opens both ciphertexts to whole multiples and a little noise."""
        total = np.zeros((CIPHERTEXTS, ENTRIES), np.uint64)
        for dealer in included:
            total = add(total, self.ciphertexts[dealer])
        content = subtract(total, multiply(self.public, key[None]))
        fits = (content < np.uint64(2**45)).all() and (content % SCALE < np.uint64(64 * self.hospitals)).all()
        return content // SCALE if fits else None


def draw(seed: str) -> Played:
    draws = random.Random(seed)  # noqa: S311 - which cheats are tried, nothing secret
    hospitals = draws.randint(3, 9)
    few = draws.random() < 0.8
    count = draws.randint(0, (hospitals - 1) // 3 if few else hospitals - 1)
    kinds = (*DEALING, *ANSWERING, *RELEASING)
    cheats = {
        hospital: tuple(draws.sample(kinds, draws.randint(1, 3)))
        for hospital in draws.sample(range(1, hospitals + 1), count)
    }
    return Played(draws, hospitals, cheats, 2 * hospitals // 3 + 1, uniform((CIPHERTEXTS, ENTRIES)))


def some(case: Played, among: list[int], chance: float) -> set[int]:
    """Now and then one or two hospitals, and seldom many."""
    if case.draws.random() > chance:
        return set()
    most = len(among) if case.draws.random() < 0.1 else min(2, len(among))
    return set(case.draws.sample(among, case.draws.randint(0, most)))


def play(case: Played) -> str:
    """Play a round to its end and check it against the truth; returns how it ended."""
    names = list(range(1, case.hospitals + 1))
    away = some(case, names, 0.3)  # they submit nothing, or too late
    submitted = [name for name in names if name not in away]
    for dealer in submitted:
        case.submit(dealer)
    if len(submitted) < MIN_INCLUDED:
        return "too few submitted"
    points = challenges(case.draws.randbytes(32))
    silent = some(case, names, 0.3)  # they answer nothing, or too late
    sheets = {name: case.answer(name, submitted, points) for name in names if name not in silent}
    try:
        judgment = judge_dealings(sheets, submitted, case.threshold, case.hospitals)
    except QuorumError:
        assert len(sheets) < case.threshold
        return "too few answered"
    check_judgment(case, judgment, submitted, silent)
    included = tuple(dealer for dealer in submitted if dealer not in judgment.wrong_dealers)
    if len(included) < MIN_INCLUDED:
        assert case.cheats or len(submitted) < MIN_INCLUDED + 1
        return "too few dealt well"
    if len(judgment.holders) < case.threshold:
        assert judgment.set_aside_holders
        return "too few holders left"
    gone = some(case, list(judgment.holders), 0.3)
    given = {name: case.release(name, included) for name in judgment.holders if name not in gone}
    releases = {name: residues for name, residues in given.items() if residues is not None}
    try:
        found = restore_sum_key(releases, case.threshold, lambda key: case.open(included, key) is not None)
    except EncryptionError as error:
        return check_failure(case, error, included, releases)
    opened = case.open(included, found.key)
    assert opened is not None
    assert np.array_equal(opened, sum(case.messages[dealer] for dealer in included)), "a wrong sum"
    check_blame(case, found, included, releases)
    return "exact"


def few_cheat(case: Played) -> bool:
    return len(case.cheats) <= (case.hospitals - 1) // 3


def dealt_its_key(case: Played, dealer: int, holders: list[int]) -> bool:
    """Whether what these holders opened is a sharing of the key that the dealer encrypted under."""
    rows = {holder: case.opened[holder][dealer][:ENTRIES] for holder in holders}
    return agree(rows, case.threshold) and np.array_equal(restore(rows, case.threshold), case.used[dealer])


def check_judgment(case: Played, judgment: Judgment, submitted: list[int], silent: set[int]) -> None:
    """The guarantees of `judge_dealings`, as far as few cheat and honest dealers made their statements."""
    honest = set(submitted) - set(case.cheats)
    if not few_cheat(case):
        return
    voices = sorted(set(judgment.holders) - set(case.cheats))
    for dealer in set(submitted) - set(judgment.wrong_dealers):
        rows = {holder: case.opened[holder][dealer] for holder in voices}
        assert len(rows) < case.threshold or agree(rows, case.threshold)
    if honest & silent:
        return
    assert not set(judgment.set_aside_holders) - set(case.cheats)
    lost = honest & set(judgment.wrong_dealers)
    assert {judgment.wrong_dealers[dealer].fault for dealer in lost} <= {Fault.DISPUTED}
    assert len(lost) <= (case.hospitals - 1) // 3 * len(case.cheats)
    assert judgment.tested or any(dealer in silent or case.does(dealer, "no statement") for dealer in submitted)


def check_failure(
    case: Played, error: EncryptionError, included: tuple[int, ...], releases: dict[int, Residues]
) -> str:
    """There is a reason in what hospitals did, and the error names it; however many cheat."""
    right = [
        name for name, residues in releases.items() if np.array_equal(residues, case.right_release(name, included))
    ]
    if len(releases) < case.threshold:
        assert "do not open a sum that needs" in error.what
        return "too few released"
    assert "make a key that opens" in error.what
    if len(right) < case.threshold:
        return "too many wrong releases"
    strange = [dealer for dealer in included if not dealt_its_key(case, dealer, right)]
    assert strange, "there was every reason to open"
    assert set(strange) <= set(case.cheats)
    return "another key"


def check_blame(case: Played, found: SumKey, included: tuple[int, ...], releases: dict[int, Residues]) -> None:
    """Those who released something else are named, all of them and nobody beside; however many cheat."""
    others = (
        name for name, residues in releases.items() if not np.array_equal(residues, case.right_release(name, included))
    )
    assert found.wrong == tuple(sorted(others))


@pytest.mark.slow
def test_rounds_end_with_the_exact_sum_or_a_named_reason() -> None:
    """Ten thousand of them in a soak; a failure names its seed."""
    endings: Counter[str] = Counter()
    count = scaled(200, 10_000)
    for number in range(count):
        seed = f"{FIRST_SEED} {number}"
        case = draw(seed)
        try:
            endings[play(case)] += 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed!r}, {case.hospitals} hospitals, cheats {case.cheats}: {error}") from error
    print(count, dict(endings))
    assert endings["exact"] > count / 3
    assert len(endings) >= 6, "some ways to end never came about, so they were not tested"


def test_thirty_two_hospitals_with_one_of_each_kind_end_with_the_exact_sum_and_each_named() -> None:
    """One deals wrong shares, one releases a wrong sum, one drops out after closing, one is late, one lies."""
    dealer, releaser, gone, late, liar = 3, 11, 17, 23, 29
    cheats: dict[int, tuple[str, ...]] = {
        dealer: ("two shares",),
        releaser: ("off by one",),
        liar: ("lies about all",),
    }
    names = range(1, 33)
    case = Played(random.Random(0), 32, cheats, 22, uniform((CIPHERTEXTS, ENTRIES)))  # noqa: S311
    submitted = [name for name in names if name != late]
    for name in submitted:
        case.submit(name)
    points = challenges(b"the ledger's head")
    sheets = {name: case.answer(name, submitted, points) for name in names}
    judgment = judge_dealings(sheets, submitted, 22, 32)
    assert set(judgment.wrong_dealers) == {dealer}
    assert judgment.set_aside_holders == (liar,)
    included = tuple(name for name in submitted if name != dealer)
    given = {name: case.release(name, included) for name in judgment.holders if name != gone}
    releases = {name: residues for name, residues in given.items() if residues is not None}
    assert late in releases, "who came too late to be in the sum still helps to open it"
    found = restore_sum_key(releases, 22, lambda key: case.open(included, key) is not None)
    assert found.wrong == (releaser,)
    assert np.array_equal(case.open(included, found.key), sum(case.messages[name] for name in included))
