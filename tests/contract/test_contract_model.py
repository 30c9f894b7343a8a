"""The compiled contract against its rules in Python: the same answer to every call of long random histories."""

import dataclasses
import random
import re
import sys
from collections import Counter
from typing import Any

import pytest
from eth_abi.abi import decode, encode
from eth_account import Account
from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_checksum_address
from soak import FIRST_SEED, scaled

from blockchain.ledger.artifact import load_artifact
from blockchain.ledger.fold import EMPTY_HEAD, fold
from blockchain.signing.signatures import commitment_message, vote_message
from blockchain.signing.typed_data import commitment_digest, domain_separator, recover_signer, vote_digest
from blockchain.twin.rounds import FUNCTIONS, LedgerModel, ModelRound, Refused
from blockchain.twin.values import (
    ACCEPTED,
    ADMIN_ROLE,
    AGGREGATOR_ROLE,
    OPEN,
    REGISTRAR_ROLE,
    VOTING,
    WITNESS_ROLE,
    name_word,
)
from fedward.types import Address, Commitment, PrivacyEvent, Vote

if sys.version_info >= (3, 13):
    pytest.skip("pyrevm has no wheel for Python 3.13", allow_module_level=True)

import pyrevm

pytestmark = pytest.mark.slow

CHAIN_ID = 190826
CALLS, CALLS_A_HISTORY, COMPARE_VIEWS_EVERY = scaled(50_000, 1_000_000), 1_000, 100
START = 1_700_000_000
ARTIFACT = load_artifact()
SELECTORS = {name: (selector, kinds) for selector, (name, kinds) in ARTIFACT.signatures("function").items()}
ERRORS = ARTIFACT.signatures("error")
EVENTS = {shape.name for shape in ARTIFACT.events().values()}
# OpenZeppelin's own, for names and versions too long for a word: ours are constants that fit.
UNREACHABLE = {"InvalidShortString", "StringTooLong"}
KEYS = [PrivateKey(bytes(31) + bytes([number])) for number in range(1, 15)]
PEOPLE = [Address(key.public_key.to_checksum_address()) for key in KEYS]
KEY_OF = dict(zip(PEOPLE, KEYS, strict=True))
DEPLOYER, WITNESS, STRANGER, *HOSPITALS = PEOPLE
SETTINGS_DIGEST, MODEL_DIGEST = bytes([1]) * 32, bytes([2]) * 32
REVERT = "output: 0x"

Call = tuple[Address, str, tuple[Any, ...]]


@dataclasses.dataclass
class Outcome:
    """What a call came to: its events, or the custom error with its fields."""

    events: list[tuple[str, dict[str, Any]]]
    refusal: tuple[str, tuple[Any, ...]] | None = None


class Machine:
    """The compiled contract on an EVM of its own."""

    def __init__(self, rules: tuple[Any, ...]) -> None:
        self.evm = pyrevm.EVM(env=pyrevm.Env(cfg=pyrevm.CfgEnv(chain_id=CHAIN_ID)))
        self.evm.set_balance(DEPLOYER, 10**30)
        self.at(START)
        kinds = ARTIFACT.constructor_kinds()
        code = ARTIFACT.bytecode + encode(kinds, [SETTINGS_DIGEST, MODEL_DIGEST, rules])
        self.contract = Address(to_checksum_address(self.evm.deploy(DEPLOYER, code)))
        self.head = EMPTY_HEAD
        self.deployment_events = self.told()

    def at(self, timestamp: int) -> None:
        self.evm.set_block_env(pyrevm.BlockEnv(number=1, timestamp=timestamp))

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """The last call's events, which must go on from the head by the other implementation of the fold."""
        logs = [(tuple(topics), data) for topics, data in (log.data for log in self.evm.result.logs)]
        self.head = fold(logs, self.head)
        shapes = ARTIFACT.events()
        return [
            (shapes[topics[0]].name, shapes[topics[0]].decode(topics, data))
            for topics, data in logs
            if topics[0] in shapes
        ]

    def execute(self, call: Call) -> Outcome:
        sender, function, arguments = call
        selector, kinds = SELECTORS[function]
        try:
            self.evm.message_call(sender, self.contract, calldata=selector + encode(kinds, arguments))
        except RuntimeError as error:
            return Outcome([], read_refusal(str(error)))
        return Outcome(self.told())

    def view(self, function: str, *arguments: Any) -> Any:
        entry = next(entry for entry in ARTIFACT.abi if entry.get("name") == function)
        selector, kinds = SELECTORS[function]
        data = self.evm.message_call(STRANGER, self.contract, calldata=selector + encode(kinds, arguments))
        return decode([output_kind(field) for field in entry["outputs"]], data)


def output_kind(field: dict[str, Any]) -> str:
    if not field["type"].startswith("tuple"):
        return str(field["type"])
    return f"({','.join(map(output_kind, field['components']))}){field['type'].removeprefix('tuple')}"


def read_refusal(message: str) -> tuple[str, tuple[Any, ...]]:
    """Name and fields of the custom error behind pyrevm's message."""
    assert message.startswith("Revert"), message
    data = bytes.fromhex(message[message.index(REVERT) + len(REVERT) :].rstrip(" }"))
    name, kinds = ERRORS[data[:4]]
    return name, decode(kinds, data[4:])


class History:
    """A random history: calls that mostly fit the state of the rules, with one thing wrong every so often."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 - a history that can be repeated, no secret
        draw = self.random
        rules = (
            draw.choice([2, 2, 2, 3, 6]),
            draw.choice([0, 0, 1, 2, 7]),
            draw.choice([0, 0, 1, 3, 7]),
            draw.choice([0, 0, 0, 2, 3, 7]),
            draw.choice([1, 50, 600]),
            draw.choice([1, 50, 600]),
            draw.random() < 0.4,
        )
        self.now = START
        self.evm = Machine(rules)
        self.signatures: dict[bytes, bytes] = {}
        self.signers: dict[tuple[bytes, bytes], Address | None] = {}
        self.model = LedgerModel(
            CHAIN_ID, self.evm.contract, DEPLOYER, SETTINGS_DIGEST, MODEL_DIGEST, rules, self.recover
        )
        self.domain = domain_separator(CHAIN_ID, self.evm.contract)
        self.past: list[Call] = []
        self.reasons: Counter[bytes] = Counter()  # of aborts
        self.keyed: dict[bytes, int] = {}  # how many places the roster had when a key was named
        assert self.evm.deployment_events == list(map(tuple, self.model.deployment_events))

    def recover(self, digest: bytes, signature: bytes) -> Address | None:
        """Slow, so each pair only once."""
        if (digest, signature) not in self.signers:
            self.signers[digest, signature] = recover_signer(digest, signature)
        return self.signers[digest, signature]

    def sign(self, signer: Address, digest: bytes) -> bytes:
        key = bytes.fromhex(signer[2:]) + digest
        if key not in self.signatures:
            raw = KEY_OF[signer].sign_msg_hash(digest).to_bytes()
            self.signatures[key] = raw[:64] + bytes([raw[64] + 27])
            self.signers[digest, self.signatures[key]] = signer
        return self.signatures[key]

    # ---- what somebody might call ------------------------------------------------------------------------------

    def next_call(self) -> Call:
        draw = self.random
        if self.past and draw.random() < 0.06:
            return draw.choice(self.past)
        phase = self.model.round(self.model.latest_round).phase
        if draw.random() < 0.8:
            names = {OPEN: self.while_open, VOTING: self.while_voting}.get(phase, self.between_rounds)()
        else:
            names = list(FUNCTIONS)
        function = draw.choice(names)
        sender, arguments = getattr(self, "call_" + re.sub("([A-Z])", r"_\1", function).lower())()
        if draw.random() < 0.04:
            sender = draw.choice(PEOPLE)
        return sender, function, arguments

    def between_rounds(self) -> list[str]:
        if len(self.model.roster) < 4 or not any(member.active for member in self.model.roster):
            return ["register"]
        _, context, dealer = self.model.key_context
        if int(dealer, 16) == 0:
            return ["nameDealer", "register"]
        if context == bytes(32):
            return ["setContext"]
        roster = ["register", "revoke", "rotateKey", "grantRole", "revokeRole", "setContext", "startKeyEpoch"]
        return ["openRound"] * 12 + roster

    def while_open(self) -> list[str]:
        current = self.model.round(self.model.latest_round)
        if current.submitted_mask == current.roster_mask or self.now > current.submission_deadline:
            if current.submitted_mask.bit_count() < self.model.rules.min_included:
                return ["abortRound", "abortRound", "closeSubmissions", "submitUpdate"]
            return ["closeSubmissions"] * 8 + ["abortRound", "submitUpdate"]
        return ["submitUpdate"] * 8 + ["submitUpdateFor", "closeSubmissions"]

    def while_voting(self) -> list[str]:
        return ["castVote"] * 8 + [
            "castVoteFor",
            "attest",
            "attest",
            "finalizeRound",
            "finalizeRound",
            "finalizeAndOpen",
        ]

    def some_round(self) -> int:
        latest = self.model.latest_round
        if self.random.random() < 0.97:
            return latest
        return self.random.choice([0, max(0, latest - 1), latest + 1, 2**32 - 1, 1])

    def some_word(self) -> bytes:
        """Mostly a new one, else zero or one that is on record."""
        known = [*self.model.update_rounds, *self.model.aggregate_rounds]
        if self.random.random() < 0.95 or not known:
            return self.random.randbytes(32)
        return self.random.choice([bytes(32), self.random.choice(known)])

    def some_hospital(self, mask: int | None = None) -> str:
        """Mostly one of the mask's, else anybody."""
        places = [member.account for index, member in enumerate(self.model.roster) if mask is None or mask >> index & 1]
        if places and self.random.random() < 0.96:
            return str(self.random.choice(places))
        return str(self.random.choice([*HOSPITALS, STRANGER, "0x" + "0" * 40]))

    def owner_of(self, hospital: str) -> Address:
        return next((person for person in PEOPLE if person.lower() == hospital.lower()), STRANGER)

    def call_register(self) -> tuple[Address, tuple[Any, ...]]:
        known = {member.account for member in self.model.roster}
        new = [hospital for hospital in HOSPITALS if hospital.lower() not in known]
        hospital = self.random.choice(new) if new and self.random.random() < 0.9 else self.some_hospital()
        weight = 0 if self.random.random() < 0.03 else self.random.choice([1, 100, 2**32 - 1])
        return DEPLOYER, (hospital, weight, self.some_word(), self.random.random() < 0.2)

    def call_revoke(self) -> tuple[Address, tuple[Any, ...]]:
        # Rarely: a roster that is used up ends the history's rounds.
        return (DEPLOYER if self.random.random() < 0.12 else STRANGER), (self.some_hospital(),)

    def call_start_key_epoch(self) -> tuple[Address, tuple[Any, ...]]:
        return self.random.choice([DEPLOYER, self.owner_of(self.model.key_context[2]), *PEOPLE[1:4]]), ()

    def call_name_dealer(self) -> tuple[Address, tuple[Any, ...]]:
        return DEPLOYER, (self.some_hospital(),)

    def call_rotate_key(self) -> tuple[Address, tuple[Any, ...]]:
        return self.owner_of(self.some_hospital()), (self.some_word(),)

    def call_set_context(self) -> tuple[Address, tuple[Any, ...]]:
        used = [current.context_fingerprint for current in self.model.rounds.values()]
        fingerprint = self.random.choice(used) if used and self.random.random() < 0.2 else self.some_word()
        return self.owner_of(self.model.key_context[2]), (fingerprint,)

    def call_open_round(self) -> tuple[Address, tuple[Any, ...]]:
        return DEPLOYER, ()

    def commitment(self) -> tuple[Any, ...]:
        number = self.some_round()
        current = self.model.round(number)
        missing = current.roster_mask & ~current.submitted_mask
        hospital = self.some_hospital(missing if self.random.random() < 0.95 else None)
        weight = next((member.weight for member in self.model.roster if member.account == hospital), 5)
        fields: list[Any] = [
            number,
            hospital,
            current.opening_head,
            current.base_id,
            current.context_fingerprint,
            self.some_word(),
            800_000,
            self.random.choice([bytes(32), *[self.random.randbytes(32)] * 30]),
            weight,
            (1, 2, 10**30, 11 * 10**29, 1, 5 * 10**29, 10**25),
        ]
        if self.random.random() < 0.12:
            place = self.random.choice([2, 3, 4, 6, 8, 9])
            wrong = {
                2: self.model.head,
                6: 0,
                8: weight ^ 1,
                9: (*self.random.choice([(3, 0), (1, 4), (255, 255)]), *fields[9][2:]),
            }
            fields[place] = wrong.get(place, self.random.randbytes(32))
        return tuple(fields)

    def call_submit_update(self) -> tuple[Address, tuple[Any, ...]]:
        commitment = self.commitment()
        return self.owner_of(commitment[1]), (commitment,)

    def call_submit_update_for(self) -> tuple[Address, tuple[Any, ...]]:
        commitment = self.commitment()
        return STRANGER, (commitment, self.signature(commitment[1], commitment_digest(self.domain, commitment)))

    def signature(self, hospital: str, digest: bytes) -> bytes:
        signer = self.owner_of(hospital)
        chance = self.random.random()
        if chance < 0.05:
            digest = self.random.choice([self.random.randbytes(32), digest[::-1]])
        elif chance < 0.1:
            signer = self.random.choice(PEOPLE)
        elif chance < 0.15 and self.signatures:
            return self.random.choice(list(self.signatures.values()))
        good = self.sign(signer, digest)
        return self.damaged(good) if self.random.random() < 0.1 else good

    def damaged(self, good: bytes) -> bytes:
        """Other forms of the same signature and none at all."""
        order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        mirrored = (order - int.from_bytes(good[32:64], "big")).to_bytes(32, "big")
        return self.random.choice(
            [
                good[:64],
                good + b"\0",
                b"",
                bytes(65),
                good[:64] + bytes([good[64] - 27]),
                good[:64] + bytes([55 - good[64]]),
                good[:32] + mirrored + bytes([55 - good[64]]),
                b"\xff" * 64 + b"\x1b",
                self.random.randbytes(64) + b"\x1c",
            ]
        )

    def call_close_submissions(self) -> tuple[Address, tuple[Any, ...]]:
        number = self.some_round()
        current = self.model.round(number)
        included = current.submitted_mask
        places = [index for index in range(len(self.model.roster)) if included >> index & 1]
        for index in places:
            if self.random.random() < 0.15:
                included ^= 1 << index
        if self.random.random() < 0.05:
            included ^= 1 << self.random.choice([*range(12), 127])
        exclusions = [(index, self.random.randbytes(32)) for index in places if not included >> index & 1]
        if self.random.random() < 0.1:
            wrong = [(0, bytes(32)), (255, b"x" * 32), (128, b"x" * 32), (1, b"x" * 32)]
            exclusions.append(self.random.choice([*wrong, *exclusions]))
        if exclusions and self.random.random() < 0.1:
            exclusions[-1:] = self.random.choice([[], [(exclusions[-1][0] ^ 128, exclusions[-1][1])]])
        return DEPLOYER, (number, self.some_word(), included, tuple(exclusions))

    def vote(self) -> tuple[Any, ...]:
        number = self.some_round()
        current = self.model.round(number)
        missing = current.roster_mask & ~current.voted_mask
        hospital = self.some_hospital(missing if self.random.random() < 0.95 else None)
        aggregate = current.aggregate_hash if self.random.random() < 0.95 else self.some_word()
        accept = self.random.random() < (0.2 if number % 3 == 0 else 0.8)
        # Few candidates, so that some votes agree and others differ; zeros are one like any other.
        odd = 1.0 if number % 3 == 1 else 0.1
        candidate = bytes([self.random.randrange(2) if self.random.random() < odd else 2]) * 32
        return number, hospital, aggregate, accept, candidate, self.random.randbytes(32), bytes(32)

    def call_cast_vote(self) -> tuple[Address, tuple[Any, ...]]:
        vote = self.vote()
        return self.owner_of(vote[1]), (vote,)

    def call_cast_vote_for(self) -> tuple[Address, tuple[Any, ...]]:
        vote = self.vote()
        return STRANGER, (vote, self.signature(vote[1], vote_digest(self.domain, vote)))

    def call_attest(self) -> tuple[Address, tuple[Any, ...]]:
        number = self.some_round()
        aggregate = self.model.round(number).aggregate_hash if self.random.random() < 0.9 else self.some_word()
        witnesses = [person for person in PEOPLE if (WITNESS_ROLE, person.lower()) in self.model.roles]
        return self.random.choice(witnesses or [WITNESS]), (number, aggregate)

    def call_finalize_round(self) -> tuple[Address, tuple[Any, ...]]:
        return STRANGER, (self.some_round(),)

    def call_finalize_and_open(self) -> tuple[Address, tuple[Any, ...]]:
        return DEPLOYER, (self.some_round(),)

    def call_abort_round(self) -> tuple[Address, tuple[Any, ...]]:
        current = self.model.round(self.model.latest_round)
        hopeless = current.phase == OPEN and self.now > current.submission_deadline
        return (DEPLOYER if self.random.random() < (0.6 if hopeless else 0.15) else STRANGER), (
            self.some_round(),
            self.some_word(),
        )

    def some_role(self) -> tuple[bytes, Address]:
        """Any role to anybody, but the deployer's own are left, for without them nothing more happens."""
        role = self.random.choice(
            [WITNESS_ROLE, WITNESS_ROLE, AGGREGATOR_ROLE, REGISTRAR_ROLE, ADMIN_ROLE, bytes(31) + b"x"]
        )
        return role, self.random.choice([WITNESS, WITNESS, STRANGER, HOSPITALS[0]])

    def call_grant_role(self) -> tuple[Address, tuple[Any, ...]]:
        return DEPLOYER, self.some_role()

    def call_revoke_role(self) -> tuple[Address, tuple[Any, ...]]:
        return DEPLOYER, self.some_role()

    def call_renounce_role(self) -> tuple[Address, tuple[Any, ...]]:
        role, account = self.some_role()
        return self.random.choice([account, account, STRANGER]), (role, account)

    # ---- comparison ---------------------------------------------------------------------------------------------

    def step(self) -> tuple[str, str, list[str]]:
        """One call on both; its function, how it ended, and the events."""
        self.now += self.random.choice([0, 0, 0, 0, 1, 1, 5, 30])
        if self.random.random() < 0.01:
            self.now += 601
        current = self.model.round(self.model.latest_round)
        if self.random.random() < 0.02:
            # On the last second of a deadline, or right after it.
            deadline = current.voting_deadline or current.submission_deadline
            self.now = max(self.now, deadline + self.random.choice([0, 1]))
        self.evm.at(self.now)
        call = self.next_call()
        before, key = dict(self.model.rounds), self.model.key_context
        theirs, ours = self.evm.execute(call), self.judge(call)
        assert theirs == ours, (call, theirs, ours)
        assert self.evm.head == self.model.head
        self.past.append(call)
        check_invariants(self.model, before)
        self.check_key(key)
        self.reasons.update(values["reason"] for name, values in ours.events if name == "RoundAborted")
        return call[1], ours.refusal[0] if ours.refusal else "ok", [name for name, _ in ours.events]

    def check_key(self, before: tuple[int, bytes, str]) -> None:
        """A key is named once, for its epoch only, and no round of its time has hospitals that came after it."""
        (old_epoch, old, _), (epoch, new, _) = before, self.model.key_context
        assert epoch - old_epoch in (0, 1)
        assert new == bytes(32) if epoch > old_epoch else new == old or old == bytes(32)
        if new not in (old, bytes(32)):
            assert new not in self.keyed
            self.keyed[new] = len(self.model.roster)
        opened = self.model.round(self.model.latest_round)
        if opened.phase == OPEN:
            assert opened.roster_mask >> self.keyed[opened.context_fingerprint] == 0

    def judge(self, call: Call) -> Outcome:
        sender, function, arguments = call
        head = self.model.head
        try:
            events = self.model.execute(sender, self.now, function, arguments)
        except Refused as refusal:
            assert self.model.head == head
            return Outcome([], (refusal.reason, refusal.fields))
        return Outcome(list(map(tuple, events)))

    def compare_views(self) -> None:
        evm, model = self.evm, self.model
        assert evm.view("ledgerHead") == (model.head,)
        assert evm.view("baseId") == (model.base_id,)
        assert evm.view("latestRound") == (model.latest_round,)
        assert evm.view("keyContext") == model.key_context
        assert evm.view("roster") == (tuple(map(tuple, model.roster)),)
        assert evm.view("rules") == (dataclasses.astuple(model.rules),)
        for number in {0, 1, model.latest_round - 1, model.latest_round, model.latest_round + 1} - {-1}:
            assert evm.view("roundOf", number) == (tuple(model.round(number)),)
        for root in [*model.update_rounds][-3:]:
            assert evm.view("roundOfUpdate", root) == (model.update_rounds[root],)

    def compare_roles(self) -> None:
        evm, model = self.evm, self.model
        for role in (ADMIN_ROLE, REGISTRAR_ROLE, AGGREGATOR_ROLE, WITNESS_ROLE):
            for person in PEOPLE:
                assert evm.view("hasRole", role, person) == ((role, person.lower()) in model.roles,)


def check_invariants(model: LedgerModel, before: dict[int, ModelRound]) -> None:
    """What the design promises, whatever was called."""
    assert list(model.rounds) == list(range(1, len(model.rounds) + 1))
    for number in model.rounds.keys() | before.keys():
        old, new = before.get(number), model.rounds[number]
        if old is new:
            continue
        assert old is None or old.phase < new.phase or (old.phase == new.phase <= VOTING)
        assert new.included_mask & ~new.submitted_mask == 0
        assert new.submitted_mask & ~new.roster_mask == 0
        assert new.voted_mask & ~new.roster_mask == 0
        assert new.accepts + new.rejects == new.voted_mask.bit_count()
        assert new.agreeing <= new.accepts
        assert (new.agreeing == 0) == (new.accepts == 0)
        assert new.phase != ACCEPTED or 2 * new.agreeing > new.accepts + new.rejects
        assert old is None or new.threshold == old.threshold
        assert new.threshold <= new.roster_mask.bit_count()
        if old and old.aggregate_hash != bytes(32):
            assert new.aggregate_hash == old.aggregate_hash
            assert new.included_mask == old.included_mask
        assert sum(used == number for used in model.update_rounds.values()) == new.submitted_mask.bit_count()
        assert [root for root, used in model.aggregate_rounds.items() if used == number] == [
            root for root in [new.aggregate_hash] if root != bytes(32)
        ]
    assert not model.update_rounds.keys() & model.aggregate_rounds.keys()


def test_contract_and_model_agree_over_many_random_calls() -> None:
    outcomes: Counter[tuple[str, str]] = Counter()
    told: Counter[str] = Counter()
    phases: Counter[int] = Counter()
    reasons: Counter[bytes] = Counter()
    print(f"first seed {FIRST_SEED}")
    for seed in range(FIRST_SEED, FIRST_SEED + CALLS // CALLS_A_HISTORY):
        history = History(seed)
        told.update(name for name, _ in history.evm.deployment_events)
        for number in range(CALLS_A_HISTORY):
            function, outcome, names = history.step()
            outcomes[function, outcome] += 1
            told.update(names)
            if number % COMPARE_VIEWS_EVERY == 0:
                history.compare_views()
        history.compare_views()
        history.compare_roles()
        phases.update(current.phase for current in history.model.rounds.values())
        reasons.update(history.reasons)
    for (function, outcome), count in sorted(outcomes.items()):
        print(f"{function:18} {outcome:34} {count:6}")
    print(f"{dict(told)}; rounds by phase {dict(phases)}")
    assert sum(outcomes.values()) == CALLS
    assert {function for function, outcome in outcomes if outcome == "ok"} == set(FUNCTIONS)
    assert set(told) == EVENTS
    own = {name: reasons[name_word(name)] for name in ("TooFewVotes", "NoMajority", "DigestsDiffer", "NotWitnessed")}
    print(own)
    assert all(own.values())
    reached = {outcome for _, outcome in outcomes} - {"ok"}
    # A full roster has a test of its own, the rules' bounds are the constructor's.
    assert {name for name, _ in ERRORS.values()} - reached == UNREACHABLE | {"RosterFull", "RuleOutOfRange"}


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({0: 1}, "minIncluded"),
        ({0: 129}, "minIncluded"),
        ({1: 129}, "rejectQuorum"),
        ({2: 129}, "minVotes"),
        ({3: 1}, "releaseThreshold"),
        ({3: 129}, "releaseThreshold"),
        ({4: 0}, "submissionDuration"),
        ({5: 0}, "votingDuration"),
    ],
)
def test_both_refuse_rules_out_of_range(changes: dict[int, int], name: str) -> None:
    rules = tuple(changes.get(place, value) for place, value in enumerate((2, 0, 0, 0, 600, 300, False)))
    with pytest.raises(RuntimeError) as theirs:
        Machine(rules)
    with pytest.raises(Refused) as ours:
        LedgerModel(CHAIN_ID, PEOPLE[0], DEPLOYER, SETTINGS_DIGEST, MODEL_DIGEST, rules)
    assert (ours.value.reason, ours.value.fields) == read_refusal(str(theirs.value))
    assert ours.value.fields == (name.encode().ljust(32, b"\0"), next(iter(changes.values())))


def test_the_largest_roster_and_one_more() -> None:
    history = History(0)
    rules = (2, 0, 0, 0, 600, 600, False)
    history.evm = Machine(rules)
    history.model = LedgerModel(
        CHAIN_ID, history.evm.contract, DEPLOYER, SETTINGS_DIGEST, MODEL_DIGEST, rules, history.recover
    )
    for number in range(129):
        account = to_checksum_address(number.to_bytes(19, "big") + b"\1")
        call = (DEPLOYER, "register", (account, 2**32 - 1, b"k" * 32, number == 0))
        ours = history.judge(call)
        assert history.evm.execute(call) == ours
    assert ours.refusal == ("RosterFull", (128,))
    dealer = Address(to_checksum_address(bytes(19) + b"\1"))
    for call in ((dealer, "setContext", (b"c" * 32,)), (DEPLOYER, "openRound", ())):
        ours = history.judge(call)
        assert history.evm.execute(call) == ours
        assert ours.refusal is None
    assert history.model.round(1).roster_mask == 2**128 - 1
    history.compare_views()


def test_digests_are_those_that_hospitals_sign() -> None:
    event = PrivacyEvent("update", "patient", 0.25, 1.1, 7, 0.5, 1e-5)
    words, shares = [bytes([number]) * 32 for number in range(4)], b"s" * 32
    commitment = Commitment(CHAIN_ID, STRANGER, 3, DEPLOYER, *words, 800_000, shares, 17, event)  # type: ignore[call-arg]
    vote = Vote(CHAIN_ID, STRANGER, 3, DEPLOYER, words[0], True, words[1], words[3], words[2])
    domain = domain_separator(CHAIN_ID, STRANGER)
    privacy = (1, 2, 25 * 10**28, 11 * 10**29, 7, 5 * 10**29, 10**25)
    struct = (3, DEPLOYER, *words, 800_000, shares, 17, privacy)
    account = Account.from_key(KEY_OF[DEPLOYER].to_bytes())
    signed = account.sign_message(commitment_message(commitment))
    assert recover_signer(commitment_digest(domain, struct), bytes(signed.signature)) == DEPLOYER
    signed = account.sign_message(vote_message(vote))
    digest = vote_digest(domain, (3, DEPLOYER, words[0], True, words[1], words[3], words[2]))
    assert recover_signer(digest, bytes(signed.signature)) == DEPLOYER
