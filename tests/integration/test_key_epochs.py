"""Rounds over a change of key: nothing leaves under an old one, and an absent hospital catches up with both."""

import dataclasses
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from federation import Federation, founded, hospital_context
from flwr.app import Message

from blockchain.catch_up import candidate_model, catch_up
from blockchain.identity import Identity
from blockchain.key_exchange import agree_to_roster, deal_key, take_key
from blockchain.ledger import Ledger
from client import Hospital
from encryption import SecretContext
from fedward.errors import EvidenceError, VerificationError
from fedward.hospital import HospitalFolder
from fedward.types import HospitalId


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[Federation]:
    with founded(tmp_path / "run", ("data.hospitals", 4)) as made:
        yield made


def folder(federation: Federation, number: int) -> HospitalFolder:
    return federation.folder.hospital(HospitalId(f"hospital-{number}"))


def start_epoch_without(federation: Federation, number: int) -> None:
    """Revoke a hospital; the others agree, and the dealer makes a new key."""
    federation.ledger.revoke(Identity.load(folder(federation, number).identity).address)
    members = [(entry.address, entry.weight) for entry in federation.ledger.roster()]
    for other in {1, 2, 3, 4} - {number}:
        agree_to_roster(folder(federation, other), members)
    dealer = folder(federation, 1)
    account = Identity.load(dealer.identity)
    with closing(Ledger.attach(federation.node.url, federation.ledger.contract, account)) as ledger:
        deal_key(dealer, ledger, federation.folder.keys)


def test_an_old_key_is_refused_before_training_and_kept_for_catching_up(federation: Federation) -> None:
    federation.grid.absent = frozenset({3})
    assert federation.lead_round()["phase"] == "accepted"
    start_epoch_without(federation, 4)
    take_key(folder(federation, 2), federation.ledger, federation.folder.keys)

    # Hospital 3 has not taken the new key, hospital 4 may not: nothing of theirs leaves.
    federation.grid.absent = frozenset()
    sent: list[tuple[int, bool]] = []

    def keep(node: int, reply: Message) -> Message:
        sent.append((node, "chunks" in reply.content))
        return reply

    federation.grid.tamper = keep
    metrics = federation.lead_round()
    assert metrics["phase"] == "accepted"
    assert {node for node, chunks in sent if chunks} == {1, 2}
    failures = str(metrics)
    assert "another key than the latest that hospital-3 has taken" in failures
    assert not folder(federation, 3).privacy_record.exists()
    assert folder(federation, 3).load_submission(2) is None

    # Round 2 is under a key that hospital 3 lacks: it comes as far as the old key goes, and no further.
    absent = folder(federation, 3)
    aggregates = {index: federation.folder.load_aggregate(index) for index in (1, 2)}
    old = SecretContext.from_bytes(absent.load_secret_key())
    base_id, ledger, settings = federation.ledger.base_id(), federation.ledger, federation.settings
    with pytest.raises(VerificationError, match="under key"):
        candidate_model(absent.load_model(), aggregates[2], 2, ledger, old, settings)
    take_key(absent, ledger, federation.folder.keys)
    assert [key.epoch for key in absent.held_keys()] == [1, 2]
    secret = SecretContext.from_bytes(absent.load_secret_key())
    with pytest.raises(VerificationError, match="under key"):
        candidate_model(absent.load_model(), aggregates[1], 1, ledger, secret, settings)
    # Without the old key the way is barred, and said so; with it the hospital has the others' model, bit for bit.
    first = next(path for path in absent.keys.iterdir() if path.name.startswith("0001-"))
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(EvidenceError, match=old.public.fingerprint.hex()):
        catch_up(absent, ledger, secret, settings, base_id, aggregates)
    first.write_bytes(content)
    caught_up = catch_up(absent, ledger, secret, settings, base_id, aggregates)
    other = folder(federation, 2)
    others = catch_up(other, ledger, SecretContext.from_bytes(other.load_secret_key()), settings, base_id, {})
    assert caught_up.weights.tobytes() == others.weights.tobytes()

    # And a round later it takes part again.
    sent.clear()
    assert federation.lead_round()["phase"] == "accepted"
    assert {node for node, chunks in sent if chunks} == {1, 2, 3}


def test_a_server_with_a_context_of_its_own_gets_no_update_under_it(federation: Federation) -> None:
    own = SecretContext.generate()
    federation.folder.public_context.write_bytes(own.public.to_bytes())
    federation.folder.keys.save_public_context(1, own.public.to_bytes())
    with pytest.raises(VerificationError, match="the ledger names"):
        federation.server()
    # A server that goes on with it regardless: what hospitals send is under the dealer's key all the same.
    with closing(Hospital.open(hospital_context(federation.settings, 1))) as hospital:
        assert hospital.public.fingerprint == federation.ledger.context_fingerprint() != own.public.fingerprint
    # And a hospital that holds another key than the round's refuses the round.
    opening = federation.ledger.open_round()
    with closing(Hospital.open(hospital_context(federation.settings, 2))) as hospital:
        swapped = dataclasses.replace(hospital, secret=own)
        with pytest.raises(VerificationError, match="another key"):
            swapped.join_round(opening.round_index, federation.ledger.round(opening.round_index).phase)
