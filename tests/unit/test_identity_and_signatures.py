"""Keys on disk and what is signed with them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from consortium import EVENT
from hypothesis import given, settings
from hypothesis import strategies as st

from blockchain.identity import Identity
from blockchain.ledger.records import RosterEntry, RoundOpening
from blockchain.signing.abstention import is_abstention, sign_abstention
from blockchain.signing.checkpoints import Checkpoint, recover_checkpoint_signer, sign_checkpoint
from blockchain.signing.signatures import commit, commitment_message, recover, sign_commitment, vote_message
from fedward.errors import UsageError
from fedward.files import merkle_root, sha256
from fedward.types import Address, Commitment, EncryptedUpdate, Vote

CONTRACT = Address("0x5FbDB2315678afecb367f032d93F642f64180aa3")
OTHER_CONTRACT = Address("0xe7f1725E7734CE288F8367e1Bb143E90bb3F0512")


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Identity:
    return Identity.create(tmp_path_factory.mktemp("keys") / "identity")


def commitment(hospital: Address) -> Commitment:
    return Commitment(1, CONTRACT, 4, hospital, b"h" * 32, b"b" * 32, b"c" * 32, b"r" * 32, 99, b"s" * 32, 7, EVENT)


def test_an_identity_comes_back_from_its_folder(tmp_path: Path) -> None:
    created = Identity.create(tmp_path / "new" / "identity")
    loaded = Identity.load(tmp_path / "new" / "identity")
    assert loaded.address == created.address
    assert loaded.x25519_public_key == created.x25519_public_key
    peer = Identity.create(tmp_path / "peer")
    assert created.sealing_key.exchange(peer.sealing_key.public_key()) == peer.sealing_key.exchange(
        loaded.sealing_key.public_key()
    )


def test_keys_are_private_and_never_shown(tmp_path: Path) -> None:
    identity = Identity.create(tmp_path)
    for name in ("account.key", "x25519.key"):
        assert (tmp_path / name).stat().st_mode & 0o777 == 0o600
        assert (tmp_path / name).read_text().strip() not in f"{identity!r} {identity} {vars(identity)}"
    assert repr(identity) == f"Identity(address='{identity.address}')"


def test_two_identities_differ(tmp_path: Path) -> None:
    assert Identity.create(tmp_path / "a").address != Identity.create(tmp_path / "b").address


def test_an_identity_is_never_overwritten(tmp_path: Path) -> None:
    Identity.create(tmp_path)
    before = (tmp_path / "account.key").read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        Identity.create(tmp_path)
    assert (tmp_path / "account.key").read_bytes() == before


@pytest.mark.parametrize(
    "content", [b"", b"zz" * 32, b"00" * 32, b"ff" * 32, b"ab" * 31, b"\xff\xfe", b"ab" * 33, b"\0" * 64]
)
def test_a_damaged_key_is_named(tmp_path: Path, content: bytes) -> None:
    Identity.create(tmp_path)
    (tmp_path / "account.key").write_bytes(content)
    with pytest.raises(UsageError, match=r"account\.key"):
        Identity.load(tmp_path)


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"account\.key"):
        Identity.load(tmp_path)


def test_a_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    Identity.create(tmp_path)
    (tmp_path / "x25519.key").chmod(0o644)
    with pytest.raises(UsageError, match="readable by other users"):
        Identity.load(tmp_path)


def test_the_signer_is_recovered(identity: Identity) -> None:
    signed = sign_commitment(commitment(identity.address), identity)
    assert len(signed.signature) == 65
    assert recover(commitment_message(signed.commitment), signed.signature) == identity.address


@pytest.mark.parametrize(
    "change",
    [
        {"chain_id": 2},
        {"contract": OTHER_CONTRACT},
        {"round_index": 5},
        {"hospital": OTHER_CONTRACT},
        {"ledger_head": b"x" * 32},
        {"base_id": b"x" * 32},
        {"context_fingerprint": b"x" * 32},
        {"update_root": b"x" * 32},
        {"shares_root": b"x" * 32}, {"update_bytes": 100},
        {"weight": 8},
        *({"event": dataclasses.replace(EVENT, **{name: value})} for name, value in [
            ("mode", "sample"), ("unit", "image"), ("sampling_rate", 0.5), ("noise_multiplier", 1.2), ("steps", 2),
            ("clip_norm", 0.6), ("delta", 1e-6),
        ]),
    ],
)  # fmt: skip
def test_every_field_is_signed(identity: Identity, change: dict[str, Any]) -> None:
    signed = sign_commitment(commitment(identity.address), identity)
    altered = dataclasses.replace(signed.commitment, **change)
    assert recover(commitment_message(altered), signed.signature) != identity.address


def test_every_field_is_tried_above() -> None:
    fields = {field.name for field in dataclasses.fields(Commitment)}
    tried = {name for mark in test_every_field_is_signed.pytestmark for change in mark.args[1] for name in change}
    assert tried == fields


VOTE_CHANGES: list[dict[str, Any]] = [
    {"chain_id": 2}, {"contract": OTHER_CONTRACT}, {"round_index": 5}, {"hospital": OTHER_CONTRACT},
    {"aggregate_hash": b"x" * 32}, {"accept": False}, {"candidate_digest": b"x" * 32}, {"counts_hash": b"x" * 32},
    {"evidence_hash": b"x" * 32},
]  # fmt: skip
CHECKPOINT_CHANGES: list[dict[str, Any]] = [
    {"chain_id": 2}, {"contract": OTHER_CONTRACT}, {"hospital": OTHER_CONTRACT}, {"round_index": 5}, {"height": 10},
    {"block_hash": b"x" * 32}, {"ledger_head": b"x" * 32},
]  # fmt: skip


@pytest.mark.parametrize("change", VOTE_CHANGES)
def test_every_field_of_a_vote_is_signed(identity: Identity, change: dict[str, Any]) -> None:
    vote = Vote(1, CONTRACT, 4, identity.address, b"a" * 32, True, b"c" * 32, b"n" * 32, b"e" * 32)
    signature = identity.sign_message(vote_message(vote))
    assert recover(vote_message(vote), signature) == identity.address
    assert recover(vote_message(dataclasses.replace(vote, **change)), signature) != identity.address


@pytest.mark.parametrize("change", CHECKPOINT_CHANGES)
def test_every_field_of_a_checkpoint_is_signed(identity: Identity, change: dict[str, Any]) -> None:
    checkpoint = Checkpoint(1, CONTRACT, identity.address, 4, 9, b"b" * 32, b"h" * 32)
    signed = sign_checkpoint(checkpoint, identity)
    assert recover_checkpoint_signer(signed) == identity.address
    altered = dataclasses.replace(signed, checkpoint=dataclasses.replace(checkpoint, **change))
    assert recover_checkpoint_signer(altered) != identity.address


@pytest.mark.parametrize(("struct", "changes"), [(Vote, VOTE_CHANGES), (Checkpoint, CHECKPOINT_CHANGES)])
def test_every_field_of_both_is_tried(struct: type[Vote | Checkpoint], changes: list[dict[str, Any]]) -> None:
    assert {name for change in changes for name in change} == {field.name for field in dataclasses.fields(struct)}


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_bytes_from_outside_are_no_signature(identity: Identity, signature: bytes) -> None:
    signed = dataclasses.replace(sign_commitment(commitment(identity.address), identity), signature=signature)
    assert recover(commitment_message(signed.commitment), signed.signature) != identity.address


def test_commit_binds_the_ciphertexts_to_round_and_ledger(identity: Identity) -> None:
    @dataclasses.dataclass(frozen=True)
    class Place:
        chain_id: int = 31337
        contract: Address = CONTRACT

    chunks = (b"first", b"second", b"third")
    encrypted = EncryptedUpdate(chunks, 7, EVENT, 0)
    roster = (RosterEntry(0, identity.address, 7),)
    opening = RoundOpening(3, b"h" * 32, b"b" * 32, b"c" * 32, roster, 7, 0, 1)
    signed = commit(encrypted, b"s" * 32, opening, Place(), identity)
    assert signed.commitment == Commitment(
        31337, CONTRACT, 3, identity.address, b"h" * 32, b"b" * 32, b"c" * 32,
        merkle_root([sha256(chunk) for chunk in chunks]), 16, b"s" * 32, 7, EVENT,
    )  # fmt: skip
    assert recover(commitment_message(signed.commitment), signed.signature) == identity.address


def test_an_abstention_is_bound_to_hospital_and_round_in_both_roots(identity: Identity) -> None:
    @dataclasses.dataclass(frozen=True)
    class Place:
        chain_id: int = 31337
        contract: Address = CONTRACT

    roster = (RosterEntry(0, identity.address, 7),)
    opening = RoundOpening(3, b"h" * 32, b"b" * 32, b"c" * 32, roster, 7, 0, 1)
    signed = sign_abstention(opening, 7, Place(), identity)
    assert signed == sign_abstention(opening, 7, Place(), identity)
    abstained, members = signed.commitment, frozenset({identity.address, OTHER_CONTRACT})
    assert is_abstention(abstained, members)
    assert not is_abstention(abstained, frozenset())
    assert abstained.update_root != abstained.shares_root
    next_round = sign_abstention(dataclasses.replace(opening, ledger_head=b"i" * 32), 7, Place(), identity).commitment
    for change in (
        {"update_root": b"x" * 32},
        {"shares_root": b"x" * 32},
        {"shares_root": abstained.update_root},
        {"shares_root": next_round.shares_root},
        {"update_root": next_round.update_root},
        {"hospital": OTHER_CONTRACT},
        {"update_bytes": 1},
        {"event": EVENT},
    ):
        assert not is_abstention(dataclasses.replace(abstained, **change), members), change


def test_the_typed_data_is_what_a_wallet_shows(identity: Identity) -> None:
    message = commitment_message(commitment(identity.address))
    assert message.version == b"\x01"
    assert len(message.header) == len(message.body) == 32
