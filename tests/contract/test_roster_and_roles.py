"""UpdateLedger before its rounds: deployment, roles, roster, key context. Effect, event, exact refusal of each."""

import dataclasses
from collections.abc import Iterator

import pytest
from consortium import (
    CHAIN_ID,
    FINGERPRINT,
    MODEL_DIGEST,
    RULES,
    SETTINGS_DIGEST,
    WEIGHTS,
    Chain,
    Consortium,
    recorded,
    refused,
)
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from blockchain.ledger.events import HospitalRegistered, RoleAssigned
from blockchain.ledger.fold import EMPTY_HEAD, first_base_id
from blockchain.ledger.ledger import Ledger, LedgerRules
from fedward.errors import VerificationError

pytestmark = pytest.mark.slow

REGISTRAR, AGGREGATOR, ADMIN = keccak(text="REGISTRAR_ROLE"), keccak(text="AGGREGATOR_ROLE"), bytes(32)
KEY = bytes([7]) * 32


@pytest.fixture
def empty(chain: Chain) -> Iterator[Consortium]:
    founded = Consortium.found(chain, size=0, context=False)
    yield founded
    founded.close()


def test_deployment_records_rules_digests_and_roles(empty: Consortium) -> None:
    created, *roles = empty.events()
    assert created.name == "LedgerCreated"
    assert recorded(created) == {
        "chainId": CHAIN_ID,
        "ledger": empty.ledger.contract.lower(),
        "settingsDigest": SETTINGS_DIGEST,
        "initialModelDigest": MODEL_DIGEST,
        "rules": (2, 0, 0, 0, 600, 300, False),
    }
    assert [event.name for event in roles] == ["RoleAssigned"] * 3
    assert {event.role for event in roles if isinstance(event, RoleAssigned)} == {REGISTRAR, AGGREGATOR, ADMIN}
    assert empty.ledger.settings_digest() == SETTINGS_DIGEST
    assert empty.ledger.initial_model_digest() == MODEL_DIGEST
    assert empty.ledger.base_id() == first_base_id(MODEL_DIGEST, SETTINGS_DIGEST)
    assert empty.ledger.latest_round() == 0
    assert empty.ledger.head().ledger_head != EMPTY_HEAD
    assert empty.ledger.dealer() is None


def test_the_rules_are_read_back(chain: Chain) -> None:
    given = dataclasses.replace(
        RULES,
        min_included=3,
        reject_quorum=4,
        min_votes=5,
        release_threshold=6,
        voting_timeout_s=2**31,
        witness_required=True,
    )
    founded = Consortium.found(chain, size=0, rules=given, context=False)
    assert founded.ledger.rules() == LedgerRules(3, 4, 5, 6, 600, 2**31, witness_required=True)
    founded.close()


def test_each_rule_is_compared_with_what_was_agreed_on(chain: Chain) -> None:
    founded = Consortium.found(chain, size=0, context=False)
    founded.ledger.check_rules(RULES)
    for field in dataclasses.fields(RULES):
        value = getattr(RULES, field.name)
        other = dataclasses.replace(RULES, **{field.name: not value if isinstance(value, bool) else value + 3})
        with pytest.raises(VerificationError, match="the settings call for"):
            founded.ledger.check_rules(other)
    founded.close()


def test_a_ledger_is_attached_only_on_the_chain_that_is_named(chain: Chain, empty: Consortium) -> None:
    contract = empty.ledger.contract
    with pytest.raises(VerificationError, match=f"serves chain {CHAIN_ID}, not {CHAIN_ID + 1}"):
        Ledger.attach(chain.node.url, contract, None, CHAIN_ID + 1)
    reader = Ledger.attach(chain.node.url, contract, chain_id=CHAIN_ID)
    assert reader.rules() == LedgerRules(2, 0, 0, 0, 600, 300, witness_required=False)
    reader.close()


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"min_included": 0}, "minIncluded, value 0"),
        ({"min_included": 1}, "minIncluded, value 1"),
        ({"min_included": 129}, "minIncluded, value 129"),
        ({"reject_quorum": 129}, "rejectQuorum"),
        ({"min_votes": 200}, "minVotes"),
        ({"submission_timeout_s": 0}, "submissionDuration"),
        ({"voting_timeout_s": 0}, "votingDuration"),
    ],
)
def test_deployment_refuses_rules_that_can_never_hold(chain: Chain, change: dict[str, int], field: str) -> None:
    rules = dataclasses.replace(RULES, **change)
    with refused("RuleOutOfRange", field):
        Ledger.deploy(chain.node.url, chain.server, rules, SETTINGS_DIGEST, MODEL_DIGEST)


@pytest.mark.parametrize(
    ("settings", "model", "field"),
    [(bytes(32), MODEL_DIGEST, "settingsDigest"), (KEY, bytes(32), "initialModelDigest")],
)
def test_deployment_refuses_empty_digests(chain: Chain, settings: bytes, model: bytes, field: str) -> None:
    with refused("ZeroValue", field):
        Ledger.deploy(chain.node.url, chain.server, RULES, settings, model)


def test_two_ledgers_on_one_chain_have_different_heads(chain: Chain, empty: Consortium) -> None:
    other = Consortium.found(chain, size=0, context=False)
    assert other.ledger.head().ledger_head != empty.ledger.head().ledger_head
    other.close()


def test_register(empty: Consortium) -> None:
    hospital = empty.chain.people[0]
    empty.ledger.register(hospital.address, 12, KEY)
    assert empty.last("HospitalRegistered") == {
        "hospital": hospital.address.lower(),
        "index": 0,
        "weight": 12,
        "x25519Key": KEY,
    }
    assert empty.ledger.sealing_keys() == {hospital.address: KEY}
    assert empty.ledger.dealer() is None


def test_register_refusals(consortium: Consortium) -> None:
    ledger, stranger, known = consortium.ledger, consortium.chain.stranger, consortium.hospitals[1]
    with refused("AccessControlUnauthorizedAccount", stranger.address.lower(), REGISTRAR):
        consortium.send(stranger, "register", stranger.address, 1, KEY, False)
    with refused("AlreadyRegistered", known.address.lower()):
        ledger.register(known.address, 1, KEY)
    with refused("ZeroValue", "weight"):
        ledger.register(stranger.address, 0, KEY)
    with refused("ZeroValue", "x25519Key"):
        ledger.register(stranger.address, 1, bytes(32))
    with refused("ZeroValue", "hospital"):
        consortium.send(consortium.chain.server, "register", "0x" + "00" * 20, 1, KEY, False)
    with refused("DealerAlreadyNamed", consortium.hospitals[0].address.lower()):
        ledger.register(stranger.address, 1, KEY, dealer=True)
    assert len(ledger.sealing_keys()) == 3


def test_dealer_is_named_with_its_registration(consortium: Consortium) -> None:
    assert consortium.ledger.dealer() == consortium.hospitals[0].address
    assert [event.name for event in consortium.events()].count("DealerNamed") == 1


def test_set_context(consortium: Consortium) -> None:
    assert consortium.last("ContextSet") == {"keyEpoch": 1, "contextFingerprint": FINGERPRINT}
    assert consortium.ledger.context_fingerprint() == FINGERPRINT


def test_set_context_refusals(chain: Chain) -> None:
    consortium = Consortium.found(chain, context=False)
    dealer, other = consortium.hospitals[:2]
    for somebody in (other, chain.server):
        with refused("NotDealer", somebody.address.lower(), dealer.address.lower()):
            consortium.send(somebody, "setContext", FINGERPRINT)
    with refused("ZeroValue", "contextFingerprint"):
        consortium.send(dealer, "setContext", bytes(32))
    consortium.send(dealer, "setContext", FINGERPRINT)
    with refused("ContextAlreadySet", "keyEpoch 1", FINGERPRINT):
        consortium.send(dealer, "setContext", KEY)
    consortium.close()


def test_revoke_starts_a_key_epoch(consortium: Consortium) -> None:
    gone = consortium.hospitals[1]
    consortium.ledger.revoke(gone.address)
    assert consortium.last("HospitalRevoked") == {"hospital": gone.address.lower(), "index": 1, "keyEpoch": 2}
    assert consortium.ledger.context_fingerprint() == bytes(32)
    with refused("ContextNotSet", "keyEpoch 2"):
        consortium.open_round()
    with refused("ContextAlreadyUsed", FINGERPRINT):
        consortium.send(consortium.hospitals[0], "setContext", FINGERPRINT)
    consortium.send(consortium.hospitals[0], "setContext", KEY)
    opening = consortium.open_round()
    assert [entry.index for entry in opening.roster] == [0, 2]
    assert opening.enrolled_total == WEIGHTS[0] + WEIGHTS[2]
    with refused("NotOnRoster", gone.address.lower()):
        consortium.ledger.submit_for(consortium.signed(1))


def test_a_hospital_that_joins_later_starts_a_key_epoch(consortium: Consortium) -> None:
    newcomer, server = consortium.chain.people[3], consortium.chain.server
    consortium.ledger.register(newcomer.address, WEIGHTS[3], KEY)
    registered, started = consortium.events()[-2:]
    assert isinstance(registered, HospitalRegistered)
    assert registered.hospital == newcomer.address
    assert consortium.last("KeyEpochStarted") == {"keyEpoch": 2, "startedBy": server.address.lower()}
    assert registered.transaction_hash == started.transaction_hash
    assert consortium.ledger.key_context() == (2, bytes(32), consortium.hospitals[0].address)
    with refused("ContextNotSet", "keyEpoch 2"):
        consortium.open_round()
    with refused("ContextAlreadyUsed", FINGERPRINT):
        consortium.send(consortium.hospitals[0], "setContext", FINGERPRINT)
    # One more, before there is a key that it must not have: the same epoch.
    consortium.ledger.register(consortium.chain.stranger.address, 5, KEY)
    assert consortium.last("HospitalRegistered")["index"] == 4
    assert consortium.ledger.key_context().epoch == 2
    consortium.send(consortium.hospitals[0], "setContext", KEY)
    opening = consortium.open_round()
    assert opening.context_fingerprint == KEY
    assert [entry.index for entry in opening.roster] == [0, 1, 2, 3, 4]


def test_the_founding_is_one_epoch(chain: Chain) -> None:
    founded = Consortium.found(chain, size=5)
    assert "KeyEpochStarted" not in [event.name for event in founded.events()]
    assert founded.ledger.key_context() == (1, FINGERPRINT, founded.hospitals[0].address)
    founded.close()


@pytest.mark.parametrize("who", ["registrar", "dealer"])
def test_start_key_epoch(consortium: Consortium, who: str) -> None:
    dealer = consortium.hospitals[0]
    caller = dealer if who == "dealer" else consortium.chain.server
    consortium.send(caller, "startKeyEpoch")
    assert consortium.last("KeyEpochStarted") == {"keyEpoch": 2, "startedBy": caller.address.lower()}
    assert consortium.ledger.key_context() == (2, bytes(32), dealer.address)
    assert len(consortium.ledger.roster()) == 3
    with refused("ContextNotSet", "keyEpoch 2"):
        consortium.open_round()
    with refused("ContextAlreadyUsed", FINGERPRINT):
        consortium.send(dealer, "setContext", FINGERPRINT)
    consortium.send(dealer, "setContext", KEY)
    assert consortium.last("ContextSet") == {"keyEpoch": 2, "contextFingerprint": KEY}
    assert consortium.open_round().context_fingerprint == KEY


def test_start_key_epoch_refusals(consortium: Consortium) -> None:
    dealer, other, _ = consortium.hospitals
    for somebody in (other, consortium.chain.stranger):
        with refused("AccessControlUnauthorizedAccount", somebody.address.lower(), REGISTRAR):
            consortium.send(somebody, "startKeyEpoch")
    assert consortium.ledger.key_context() == (1, FINGERPRINT, dealer.address)
    consortium.ledger.start_key_epoch()
    for somebody in (dealer, consortium.chain.server):
        with refused("ContextNotSet", "keyEpoch 2"):  # there is nothing to give up
            consortium.send(somebody, "startKeyEpoch")
    consortium.send(dealer, "setContext", KEY)
    consortium.ledger.revoke(dealer.address)
    with refused("AccessControlUnauthorizedAccount", dealer.address.lower(), REGISTRAR):
        consortium.send(dealer, "startKeyEpoch")


def test_keys_change_again_after_each_way_that_a_round_ends(consortium: Consortium) -> None:
    dealer = consortium.hospitals[0]
    for epoch, phase in enumerate(("ACCEPTED", "REJECTED", "ABORTED"), 2):
        consortium.to_voting()
        if phase == "ABORTED":
            consortium.ledger.abort_round(consortium.ledger.latest_round(), "Given up")
        else:
            consortium.vote(*[phase == "ACCEPTED"] * 3)
            assert consortium.finalize().name == phase
        consortium.ledger.start_key_epoch()
        assert consortium.last("KeyEpochStarted")["keyEpoch"] == epoch
        consortium.send(dealer, "setContext", bytes([epoch + 100]) * 32)


def test_revoke_refusals(consortium: Consortium) -> None:
    gone, stranger = consortium.hospitals[2], consortium.chain.stranger
    with refused("NotOnRoster", stranger.address.lower()):
        consortium.ledger.revoke(stranger.address)
    with refused("AccessControlUnauthorizedAccount", gone.address.lower()):
        consortium.send(gone, "revoke", gone.address)
    consortium.ledger.revoke(gone.address)
    with refused("NotOnRoster", gone.address.lower()):
        consortium.ledger.revoke(gone.address)
    with refused("AlreadyRegistered", gone.address.lower()):
        consortium.ledger.register(gone.address, 1, KEY)


def test_name_dealer_after_the_dealer_was_revoked(consortium: Consortium) -> None:
    first, second, _ = consortium.hospitals
    server = consortium.chain.server
    with refused("DealerAlreadyNamed", first.address.lower()):
        consortium.send(server, "nameDealer", second.address)
    consortium.ledger.revoke(first.address)
    assert consortium.ledger.dealer() is None
    with refused("NotOnRoster", first.address.lower()):
        consortium.send(server, "nameDealer", first.address)
    with refused("AccessControlUnauthorizedAccount"):
        consortium.send(second, "nameDealer", second.address)
    consortium.send(server, "nameDealer", second.address)
    assert consortium.last("DealerNamed") == {"hospital": second.address.lower()}
    assert consortium.ledger.dealer() == second.address


def test_rotate_key(consortium: Consortium) -> None:
    hospital = consortium.hospitals[1]
    consortium.send(hospital, "rotateKey", KEY)
    assert consortium.last("KeyRotated") == {"hospital": hospital.address.lower(), "x25519Key": KEY}
    assert consortium.ledger.sealing_keys()[hospital.address] == KEY
    with refused("ZeroValue", "x25519Key"):
        consortium.send(hospital, "rotateKey", bytes(32))
    with refused("NotOnRoster", consortium.chain.stranger.address.lower()):
        consortium.send(consortium.chain.stranger, "rotateKey", KEY)
    consortium.ledger.revoke(hospital.address)
    with refused("NotOnRoster", hospital.address.lower()):
        consortium.send(hospital, "rotateKey", KEY)


def test_roles_pass_on_and_are_recorded(consortium: Consortium) -> None:
    server, stranger = consortium.chain.server, consortium.chain.stranger
    consortium.send(server, "grantRole", REGISTRAR, stranger.address)
    assert consortium.last("RoleAssigned") == {"role": REGISTRAR, "account": stranger.address.lower()}
    consortium.send(stranger, "register", stranger.address, 3, KEY, False)
    consortium.send(server, "revokeRole", REGISTRAR, stranger.address)
    assert consortium.last("RoleRemoved") == {"role": REGISTRAR, "account": stranger.address.lower()}
    with refused("AccessControlUnauthorizedAccount", stranger.address.lower(), REGISTRAR):
        consortium.send(stranger, "revoke", stranger.address)
    with refused("AccessControlUnauthorizedAccount", stranger.address.lower()):
        consortium.send(stranger, "grantRole", AGGREGATOR, stranger.address)


def test_the_roster_stands_still_while_a_round_runs(consortium: Consortium) -> None:
    dealer, server = consortium.hospitals[0], consortium.chain.server
    consortium.open_round()
    for phase in ("Open", "Voting"):
        if phase == "Voting":
            consortium.submit()
            consortium.close_submissions()
        with refused("RoundInProgress", "round 1"):
            consortium.ledger.register(consortium.chain.stranger.address, 1, KEY)
        with refused("RoundInProgress"):
            consortium.ledger.revoke(dealer.address)
        with refused("RoundInProgress"):
            consortium.send(dealer, "rotateKey", KEY)
        with refused("RoundInProgress"):
            consortium.send(dealer, "setContext", KEY)
        with refused("RoundInProgress"):
            consortium.send(server, "nameDealer", dealer.address)
        for somebody in (dealer, server, consortium.chain.stranger):
            with refused("RoundInProgress", "round 1"):
                consortium.send(somebody, "startKeyEpoch")
        with refused("RoundInProgress"):
            consortium.ledger.open_round()


def test_a_full_roster_of_128(chain: Chain) -> None:
    """Also the dearest calls: their gas stays far below a block's."""
    founded = Consortium.found(chain, size=5, context=False)
    for number in range(5, 128):
        founded.ledger.register(to_checksum_address(f"0x{number:040x}"), 4_294_967_295, KEY)
    founded.send(founded.hospitals[0], "setContext", FINGERPRINT)
    with refused("RosterFull", "limit 128"):
        founded.ledger.register(chain.stranger.address, 1, KEY)
    opening = founded.open_round()
    assert len(opening.roster) == 128
    assert opening.enrolled_total == sum(WEIGHTS) + 123 * 4_294_967_295
    founded.submit()
    founded.pass_deadline()
    exclusions = [(index, b"X".ljust(32, b"\0")) for index in (2, 3, 4)]
    gas = founded.send(chain.server, "closeSubmissions", 1, KEY, 0b11, exclusions)
    assert gas < 1_000_000
    assert founded.ledger.round(1).included_weight == WEIGHTS[0] + WEIGHTS[1]
    assert founded.send(chain.server, "abortRound", 1, KEY) < 100_000
    founded.close()
