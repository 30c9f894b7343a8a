"""Rounds over a change of key, by revocation, loss or a new member: nothing leaves under an old one; all catch up."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from anvil import running_anvil
from command_line import run_here
from federation import Federation, founded
from flwr.app import Message
from shared_runs import AFTER_A_ROUND, SharedRuns, rounds_before

from blockchain.audit.auditor import audit
from blockchain.audit.report import Status
from blockchain.audit.sources.run_evidence import RunEvidence
from blockchain.catch_up import candidate_model, catch_up
from blockchain.consortium.held_keys import HeldKeys
from blockchain.consortium.joining import apply_to_join
from blockchain.consortium.key_exchange import agree_to_roster, deal_key, take_key
from blockchain.consortium.key_status import FOUNDING, GIVEN_UP, JOINED, epochs
from blockchain.consortium.model_handover import _purpose, digest_in_force, hand_over_model, model_in_force, take_model
from blockchain.consortium.registrar import enroll
from blockchain.consortium.remembering import gather_trust, remember
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from client import Hospital
from commands.simulate.founding import settle_founding
from data_preprocessing import load_partition, save_partition
from fedward import settings as setting
from fedward.ciphertexts.sealing import OVERHEAD_BYTES, seal
from fedward.errors import EncryptionError, EvidenceError, LedgerError, VerificationError
from fedward.files import sha256
from fedward.folders.hospital import HeldKey, HospitalFolder, model_bytes
from fedward.folders.whereabouts import NodeAddress, announced
from fedward.sharing.sealed_releases import ChannelKey
from fedward.types import Address, HospitalId, Member

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def federation(request: pytest.FixtureRequest, tmp_path: Path, shared_runs: SharedRuns) -> Iterator[Federation]:
    with shared_runs.federation(tmp_path / "run", ("data.hospitals", 4), rounds=rounds_before(request)) as made:
        yield made


def folder(federation: Federation, number: int) -> HospitalFolder:
    return federation.folder.hospital(HospitalId(f"hospital-{number}"))


def address(federation: Federation, number: int) -> Address:
    return Identity.load(folder(federation, number).identity).address


def agree(federation: Federation, *numbers: int) -> None:
    """Operators take note of who is on the roster now."""
    members = [(entry.address, entry.weight) for entry in federation.ledger.roster()]
    for number in numbers:
        agree_to_roster(folder(federation, number), members)


def deal(federation: Federation) -> None:
    """Hospital 1 makes the epoch's key."""
    dealer = folder(federation, 1)
    account = Identity.load(dealer.identity)
    with closing(Ledger.attach(federation.node.url, federation.ledger.contract, account)) as ledger:
        deal_key(dealer, ledger, federation.folder.server.keys)


def start_epoch_without(federation: Federation, number: int) -> None:
    """Revoke a hospital; the others agree, and the dealer makes a new key."""
    federation.ledger.revoke(address(federation, number))
    agree(federation, *{1, 2, 3, 4} - {number})
    deal(federation)


def take(federation: Federation, *numbers: int) -> None:
    for number in numbers:
        take_key(folder(federation, number), federation.ledger, federation.folder.server.keys)


def key_of(federation: Federation, number: int, fingerprint: bytes | None = None) -> ChannelKey:
    return ChannelKey.from_bytes(folder(federation, number).load_channel_key(fingerprint))


def bring_up_to_date(federation: Federation, number: int) -> None:
    ledger, hospital = federation.ledger, folder(federation, number)
    catch_up(hospital, ledger, HeldKeys(hospital), federation.settings, ledger.base_id(), {})


def does_not_open(federation: Federation, round_index: int, key: ChannelKey) -> None:
    """Neither under its own name, nor filed as the round's, nor past all checks does a key open a round."""
    ledger, settings = federation.ledger, federation.settings
    sent = federation.folder.server.load_sum(round_index)
    model, opening, record = folder(federation, 1).load_model(), ledger.opening(round_index), ledger.round(round_index)
    assert len(sent.releases) >= opening.threshold
    other = HospitalFolder.create(federation.folder.path.parent / f"other-{round_index}")
    other.join(folder(federation, 1).membership())
    other.save_channel_key(HeldKey(1, key.fingerprint), key.to_bytes())
    with pytest.raises(EvidenceError, match=f"no channel key {opening.context_fingerprint.hex()}"):
        candidate_model(model, sent, opening, record, HeldKeys(other), settings)
    other.save_channel_key(HeldKey(2, opening.context_fingerprint), key.to_bytes())
    with pytest.raises(VerificationError, match=f"as channel key .* is {key.fingerprint.hex()}"):
        candidate_model(model, sent, opening, record, HeldKeys(other), settings)
    past_all_checks = mock.patch.object(HeldKeys, "_channel", return_value=key)
    with past_all_checks, pytest.raises(EvidenceError, match="0 usable releases came"):
        candidate_model(model, sent, opening, record, HeldKeys(other), settings)
    # The control: nothing but the key is missing.
    right = key_of(federation, 1, opening.context_fingerprint)
    with mock.patch.object(HeldKeys, "_channel", return_value=right):
        candidate_model(model, sent, opening, record, HeldKeys(other), settings)


def test_an_old_key_is_refused_before_training_and_kept_for_catching_up(federation: Federation) -> None:
    federation.grid.absent = frozenset({3})
    assert federation.lead_round()["phase"] == "accepted"
    start_epoch_without(federation, 4)
    take_key(folder(federation, 2), federation.ledger, federation.folder.server.keys)

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
    aggregates = {index: federation.folder.server.load_sum(index) for index in (1, 2)}
    old, keys = absent.held_keys()[-1], HeldKeys(absent)
    base_id, ledger, settings = federation.ledger.base_id(), federation.ledger, federation.settings
    with pytest.raises(EvidenceError, match="no channel key"):
        candidate_model(absent.load_model(), aggregates[2], *ledger.opening_and_round(2), keys, settings)
    take_key(absent, ledger, federation.folder.server.keys)
    assert [key.epoch for key in absent.held_keys()] == [1, 2]
    # Without the old key the way is barred, and said so; with it the hospital has the others' model, bit for bit.
    first = next(path for path in absent.keys.iterdir() if path.name.startswith("0001-"))
    content = first.read_bytes()
    first.unlink()
    with pytest.raises(EvidenceError, match=old.fingerprint.hex()):
        catch_up(absent, ledger, HeldKeys(absent), settings, base_id, aggregates)
    first.write_bytes(content)
    caught_up = catch_up(absent, ledger, keys, settings, base_id, aggregates)
    other = folder(federation, 2)
    others = catch_up(other, ledger, HeldKeys(other), settings, base_id, {})
    assert caught_up.weights.tobytes() == others.weights.tobytes()

    # And a round later it takes part again.
    sent.clear()
    assert federation.lead_round()["phase"] == "accepted"
    assert {node for node, chunks in sent if chunks} == {1, 2, 3}


def test_a_hospital_that_holds_another_key_than_the_rounds_refuses_the_round(federation: Federation) -> None:
    own = ChannelKey.generate()
    with closing(Hospital.open(federation.context(1))) as hospital:
        assert hospital.keys.fingerprint == federation.ledger.context_fingerprint() != own.fingerprint
    opening = federation.ledger.open_round()
    folder(federation, 2).save_channel_key(HeldKey(2, own.fingerprint), own.to_bytes())
    with (
        closing(Hospital.open(federation.context(2))) as hospital,
        pytest.raises(VerificationError, match="another key"),
    ):
        hospital.join_round(opening.round_index, federation.ledger.round(opening.round_index).phase)


# ---- a new member -----------------------------------------------------------------------------------------------


def apply(federation: Federation, number: int = 5) -> Member:
    """Another hospital, with images of its own, applies to join."""
    hospital, images = folder(federation, number), load_partition(folder(federation, 4).partition)
    HospitalFolder.create(hospital.path)
    name, weight = HospitalId(f"hospital-{number}"), len(images.train)
    save_partition(hospital.partition, dataclasses.replace(images, hospital=name))
    agreed = dataclasses.replace(folder(federation, 1).membership(), hospital=name, weight=weight)
    hospital.save_ledger_node(NodeAddress(federation.node.url))
    account = apply_to_join(hospital, federation.folder.server.keys, agreed)
    assert apply_to_join(hospital, federation.folder.server.keys, agreed) == account
    return Member(agreed.hospital, account, agreed.weight)


@AFTER_A_ROUND
def test_a_hospital_joins_between_rounds(federation: Federation) -> None:
    ledger, board = federation.ledger, federation.folder.server.keys
    old = key_of(federation, 1)
    member = apply(federation)
    enroll(federation.folder.server, ledger, member)
    height = ledger.head().height
    enroll(federation.folder.server, ledger, member)
    assert ledger.head().height == height  # once more changes nothing
    assert [each.hospital for each in federation.folder.server.load_record().roster][-1] == "hospital-5"

    # Nothing goes on before a new key is dealt, and nobody deals or takes for a roster that it did not agree to.
    assert ledger.key_context().epoch == 2
    with pytest.raises(LedgerError) as caught:
        ledger.open_round()
    assert caught.value.reason == "ContextNotSet"
    with pytest.raises(VerificationError, match="roster of 5 hospitals"):
        deal(federation)
    agree(federation, 1, 2, 3, 4, 5)
    deal(federation)
    take(federation, 2, 3, 4, 5)
    assert [[key.epoch for key in folder(federation, number).held_keys()] for number in range(1, 6)] == [
        *[[1, 2]] * 4,
        [2],
    ]

    # The newcomer takes the model in force, which no key of its own opens.
    does_not_open(federation, 1, key_of(federation, 5))
    with pytest.raises(EvidenceError, match="The model for"):
        take_model(folder(federation, 5), ledger, board, len(federation.initial), model_in_force(ledger))
    with pytest.raises(VerificationError, match="not the one in force"):
        hand_over_model(folder(federation, 2), ledger, board, member.address)
    bring_up_to_date(federation, 2)
    hand_over_model(folder(federation, 2), ledger, board, member.address)
    taken = take_model(folder(federation, 5), ledger, board, len(federation.initial), model_in_force(ledger))
    assert taken.weights.tobytes() == folder(federation, 2).load_model().weights.tobytes()
    assert taken.base_id == ledger.base_id()

    federation.grid.connect(5)
    for _ in range(2):
        assert federation.lead_round()["phase"] == "accepted"
    assert [len(ledger.round(index).included) for index in (1, 2, 3)] == [4, 5, 5]
    assert ledger.opening(1).context_fingerprint == old.fingerprint
    assert ledger.opening(2).context_fingerprint == ledger.opening(3).context_fingerprint
    does_not_open(federation, 2, old)
    bring_up_to_date(federation, 5)
    bring_up_to_date(federation, 1)
    assert sha256(model_bytes(folder(federation, 5).load_model())) == digest_in_force(ledger)
    assert sha256(model_bytes(folder(federation, 1).load_model())) == digest_in_force(ledger)


def test_a_newcomer_takes_no_other_model_than_the_one_in_force(federation: Federation) -> None:
    ledger, board = federation.ledger, federation.folder.server.keys
    member = apply(federation)
    enroll(federation.folder.server, ledger, member)
    agree(federation, 1, 2, 3, 4, 5)
    newcomer, size = folder(federation, 5), len(federation.initial)
    # Before the first round the model in force is the initial one.
    hand_over_model(folder(federation, 1), ledger, board, member.address)
    good = board.load_model(member.address, 4 * size + OVERHEAD_BYTES)
    card = board.load_card(member.address)

    def refused(content: bytes, error: type[Exception], words: str) -> None:
        board.save_model(member.address, content)
        with pytest.raises(error, match=words):
            take_model(newcomer, ledger, board, size, model_in_force(ledger))
        assert not newcomer.has_model()

    refused(good[:-1] + bytes([good[-1] ^ 1]), EncryptionError, "does not open")
    refused(good[:40], EncryptionError, "does not open")
    refused(b"", EncryptionError, "does not open")
    refused(bytes(12 * size + OVERHEAD_BYTES + 1), VerificationError, "is longer than")
    # Whoever has its public key can seal to it: what counts is what was voted for.
    other = federation.initial.copy()
    other[0] += 1
    key = Identity.load(newcomer.identity).x25519_public_key
    purpose = _purpose(ledger, ledger.base_id(), member.address)
    refused(seal(other.astype("<f4").tobytes(), key, purpose), VerificationError, "the one in force is")
    refused(seal(federation.initial[1:].tobytes(), key, purpose), VerificationError, "the one in force is")
    refused(seal(federation.initial.tobytes(), key, b"another purpose"), EncryptionError, "does not open")
    kept = folder(federation, 1).load_model()
    folder(federation, 1).save_model(dataclasses.replace(kept, weights=other))
    with pytest.raises(VerificationError, match="is not the one in force"):
        hand_over_model(folder(federation, 1), ledger, board, member.address)
    folder(federation, 1).save_model(kept)
    with pytest.raises(VerificationError, match="is not on the roster"):
        hand_over_model(folder(federation, 1), ledger, board, federation.parties.server.address)
    board.save_card(member.address, board.load_card(address(federation, 2)))
    with pytest.raises(VerificationError, match="not signed by that hospital"):
        hand_over_model(folder(federation, 1), ledger, board, member.address)
    board.save_card(member.address, card)
    board.save_model(member.address, good)
    assert np.array_equal(take_model(newcomer, ledger, board, size, model_in_force(ledger)).weights, federation.initial)


def test_the_registrar_enrolls_only_what_a_hospital_signed(federation: Federation) -> None:
    ledger, run = federation.ledger, federation.folder
    member = apply(federation)
    with pytest.raises(VerificationError, match="hospital-2 already"):
        enroll(run.server, ledger, dataclasses.replace(member, hospital=HospitalId("hospital-2")))
    card = run.server.keys.load_card(member.address)
    run.server.keys.save_card(member.address, run.server.keys.load_card(address(federation, 2)))
    with pytest.raises(VerificationError, match="not signed by that hospital"):
        enroll(run.server, ledger, member)
    run.server.keys.save_card(member.address, card)
    assert len(ledger.roster()) == 4
    assert ledger.key_context().epoch == 1
    ledger.open_round()
    with pytest.raises(LedgerError) as caught:
        enroll(run.server, ledger, member)
    assert caught.value.reason == "RoundInProgress"
    assert len(run.server.load_record().roster) == 4
    ledger.abort_round(1, "test")
    enroll(run.server, ledger, member)
    # A crash between ledger and run.json is made good, but not with other figures than the ledger's.
    run.server.save_record(dataclasses.replace(run.server.load_record(), roster=run.server.load_record().roster[:4]))
    with pytest.raises(VerificationError, match="another weight"):
        enroll(run.server, ledger, dataclasses.replace(member, weight=member.weight + 1))


# ---- loss -------------------------------------------------------------------------------------------------------


@AFTER_A_ROUND
@pytest.mark.parametrize("who", ["registrar", "dealer"])
def test_a_key_that_is_lost_or_stolen_is_replaced(federation: Federation, who: str) -> None:
    stolen = key_of(federation, 2)
    if who == "registrar":
        federation.ledger.start_key_epoch()
    else:
        account = Identity.load(folder(federation, 1).identity)
        with closing(Ledger.attach(federation.node.url, federation.ledger.contract, account)) as ledger:
            ledger.start_key_epoch()
    with pytest.raises(EvidenceError, match="names no key for epoch 2"):
        take(federation, 2)
    deal(federation)
    take(federation, 2, 3, 4)
    assert federation.lead_round()["phase"] == "accepted"
    assert len(federation.ledger.round(2).included) == 4
    does_not_open(federation, 2, stolen)
    does_not_open(federation, 1, key_of(federation, 2))
    # Old keys stay: all of round 1 can still be opened by those who had them.
    assert key_of(federation, 2, stolen.fingerprint).fingerprint == stolen.fingerprint


def test_a_hospital_that_lost_its_keys_comes_back(federation: Federation) -> None:
    federation.grid.absent = frozenset({3})
    assert federation.lead_round()["phase"] == "accepted"
    federation.ledger.start_key_epoch()
    deal(federation)
    take(federation, 2, 3, 4)
    absent = folder(federation, 3)
    next(path for path in absent.keys.iterdir() if path.name.startswith("0001-")).unlink()
    aggregates = {1: federation.folder.server.load_sum(1)}
    with pytest.raises(EvidenceError, match="no channel key"):
        catch_up(
            absent,
            federation.ledger,
            HeldKeys(absent),
            federation.settings,
            federation.ledger.base_id(),
            aggregates,
        )
    bring_up_to_date(federation, 2)
    ledger, board = federation.ledger, federation.folder.server.keys
    hand_over_model(folder(federation, 2), ledger, board, address(federation, 3))
    assert (
        take_model(absent, ledger, board, len(federation.initial), model_in_force(ledger)).base_id == ledger.base_id()
    )
    federation.grid.absent = frozenset()
    assert federation.lead_round()["phase"] == "accepted"
    assert len(ledger.round(2).included) == 4


@AFTER_A_ROUND
def test_the_audit_verifies_a_history_of_all_three(federation: Federation) -> None:
    """Join, loss and revocation, a round after each: what the ledger says is judged by the rules' second form."""
    member = apply(federation)
    enroll(federation.folder.server, federation.ledger, member)
    agree(federation, 1, 2, 3, 4, 5)
    deal(federation)
    take(federation, 2, 3, 4, 5)
    bring_up_to_date(federation, 2)
    hand_over_model(folder(federation, 2), federation.ledger, federation.folder.server.keys, member.address)
    ledger, board = federation.ledger, federation.folder.server.keys
    take_model(folder(federation, 5), ledger, board, len(federation.initial), model_in_force(ledger))
    federation.grid.connect(5)
    assert federation.lead_round()["phase"] == "accepted"
    federation.ledger.start_key_epoch()
    deal(federation)
    take(federation, 2, 3, 4, 5)
    assert federation.lead_round()["phase"] == "accepted"
    federation.ledger.revoke(address(federation, 4))
    agree(federation, 1, 2, 3, 5)
    deal(federation)
    take(federation, 2, 3, 5)
    assert federation.lead_round()["phase"] == "accepted"
    assert [len(federation.ledger.round(index).included) for index in (1, 2, 3, 4)] == [4, 5, 5, 4]
    assert len({federation.ledger.opening(index).context_fingerprint for index in (1, 2, 3, 4)}) == 4
    enroll(federation.folder.server, federation.ledger, apply(federation, 6))
    members = [
        (member, federation.folder.hospital(member.hospital))
        for member in federation.folder.server.load_record().roster
    ]
    for _, hospital in members:
        remember(hospital, federation.ledger, Identity.load(hospital.identity))
    federation.node.stop()
    result = audit(RunEvidence(federation.folder.path), gather_trust(members))
    assert [line for line in result.report.lines if line.status in (Status.FAIL, Status.MISSING)] == []
    notes = [line.evidence for line in result.report.lines if line.status is Status.NOTE]
    assert "hospital-5 joined before round 2." in notes
    assert "hospital-6 joined after the last round." in notes
    assert "hospital-4 was taken off the roster before round 4." in notes
    assert sum("under a new key" in note for note in notes) == 3


# ---- what people are shown, and repairs -------------------------------------------------------------------------


@AFTER_A_ROUND
def test_keys_show_tells_epochs_and_holders_and_no_secret(federation: Federation) -> None:
    first = federation.ledger.context_fingerprint()
    member = apply(federation)
    enroll(federation.folder.server, federation.ledger, member)
    agree(federation, 1, 2, 3, 4, 5)
    deal(federation)
    take(federation, 2, 5)
    federation.ledger.start_key_epoch()
    told = epochs(federation.ledger)
    assert [(each.epoch, each.reason, each.who) for each in told] == [
        (1, FOUNDING, None),
        (2, JOINED, member.address),
        (3, GIVEN_UP, federation.parties.server.address),
    ]
    arguments = ("keys", "show", federation.folder.path)
    with announced(federation.folder.ledger, federation.node.url):
        running = run_here(*arguments, "--json")
    assert running.returncode == 0, running.stderr
    shown = json.loads(running.stdout)
    everybody = [f"hospital-{number}" for number in range(1, 6)]
    assert shown["roster"] == everybody
    assert [each["who"] for each in shown["epochs"]] == [None, "hospital-5", federation.parties.server.address]
    assert [each["rounds"] for each in shown["epochs"]] == [[1], [], []]
    assert [each["taken"] for each in shown["epochs"]] == [
        everybody[:4],
        ["hospital-1", "hospital-2", "hospital-5"],
        [],
    ]
    assert [each["sealed"] for each in shown["epochs"]] == [everybody[1:4], everybody[1:], []]
    assert shown["epochs"][0]["fingerprint"] == first.hex()
    assert shown["epochs"][2]["fingerprint"] is None
    # The same of a run that is stopped, though the last node's announcement is left; for people.
    announced_at = federation.folder.ledger / "node.json"
    announced_at.write_text(json.dumps({"url": federation.node.url}))
    federation.node.stop()
    stopped = run_here(*arguments)
    assert stopped.returncode == 0, stopped.stderr
    assert "Epoch 3 has no key yet" in stopped.stderr
    assert first.hex()[:8] in stopped.stdout
    secrets = [path.read_bytes() for path in federation.folder.hospitals.glob("*/keys/*.key")]
    secrets += [path.read_bytes().strip() for path in federation.folder.hospitals.glob("*/identity/*.key")]
    assert len(secrets) == 4 + 3 + 10
    for output in (running.stdout, running.stderr, stopped.stdout, stopped.stderr):
        assert not any(secret.hex() in output for secret in secrets)
        assert not any(secret[:32] in output.encode() or secret[-32:] in output.encode() for secret in secrets)


def test_of_hospitals_that_are_elsewhere_keys_show_tells_nothing(federation: Federation) -> None:
    """As in a server's kit: that a hospital has not taken a key cannot be said where its folder is not."""
    federation.folder.hospitals.rename(federation.folder.path / "elsewhere")
    with announced(federation.folder.ledger, federation.node.url):
        shown = run_here("keys", "show", federation.folder.path)
        told = run_here("keys", "show", federation.folder.path, "--json")
    assert "not known here" in shown.stdout
    assert "Still to take" not in shown.stderr
    assert [each["taken"] for each in json.loads(told.stdout)["epochs"]] == [None]


def test_keys_show_makes_no_chain_where_there_is_none(federation: Federation, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_bytes((federation.folder.server.path / "run.json").read_bytes())
    done = run_here("keys", "show", tmp_path / "empty")
    assert done.returncode == EvidenceError.exit_code
    assert "no chain" in done.stderr
    assert list((tmp_path / "empty").iterdir()) == [tmp_path / "empty" / "run.json"]


@pytest.mark.node
def test_a_reorganization_of_the_founding_is_mended(tmp_path: Path) -> None:
    with running_anvil(setting.load().ledger.chain_id) as anvil, founded(tmp_path / "run", anvil=anvil) as federation:
        before = federation.ledger.head().ledger_head
        depth = federation.ledger.head().height
        roster, key = federation.ledger.roster(), federation.ledger.key_context()
        anvil.ask("anvil_reorg", depth, [])
        with pytest.raises(LedgerError) as caught:  # the contract comes back with the server's own transactions,
            federation.lead_round()
        assert caught.value.reason == "ContextNotSet"  # the key does not
        assert federation.ledger.key_context() == (1, bytes(32), key.dealer)
        settle_founding(federation.folder, anvil.url)
        assert federation.ledger.head().ledger_head == before
        assert (federation.ledger.roster(), federation.ledger.key_context()) == (roster, key)
        settle_founding(federation.folder, anvil.url)  # once more changes nothing
        assert federation.ledger.head().ledger_head == before
        assert federation.lead_round()["phase"] == "accepted"
        assert len(federation.ledger.round(1).included) == 3
