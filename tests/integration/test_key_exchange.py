"""How the key comes to the hospitals over a real ledger, and what each refuses from server, ghost or old dealer."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_abi.abi import encode
from eth_utils.crypto import keccak
from lying_proxy import lying_proxy

from blockchain.consortium.key_exchange import agree_to_roster, deal_key, leave_card, take_key
from blockchain.consortium.sealed_keys import SealedKey, make_card, seal_key
from blockchain.identity import Identity
from blockchain.ledger.ledger import Ledger
from blockchain.ledger.outbox import TransactionOutbox
from blockchain.node.embedded import RunningNode, start_node
from commands.simulate.founding import Parties, create_parties, found_consortium
from fedward import settings as setting
from fedward.errors import EncryptionError, EvidenceError, LedgerError, VerificationError
from fedward.folders.hospital import HeldKey, HospitalFolder
from fedward.folders.simulation import SimulationFolder
from fedward.sharing.sealed_releases import ChannelKey
from fedward.types import Address, HospitalId, ImageSet, Partition

NAMES = tuple(HospitalId(f"hospital-{number}") for number in range(1, 5))
NOT_SET = bytes(32)
KEY_CONTEXT = "0x" + keccak(text="keyContext()")[:4].hex()  # the data of a call that asks for epoch, key and dealer


def partition(name: HospitalId, images: int) -> Partition:
    pixels, labels = np.zeros((images, 1, 1), np.uint8), np.zeros((images, 1), np.float32)
    part = ImageSet(pixels, labels, np.array(["p"] * images))
    return Partition(name, ("f",), part, part, part)


@dataclass
class Founded:
    """A consortium of four, its dealer's key in every folder."""

    run: SimulationFolder
    node: RunningNode
    parties: Parties
    ledger: Ledger

    def folder(self, number: int) -> HospitalFolder:
        return self.run.hospital(NAMES[number - 1])

    def identity(self, number: int) -> Identity:
        return self.parties.hospitals[NAMES[number - 1]]

    def deal(self, number: int = 1) -> HeldKey:
        folder = self.folder(number)
        account = Identity.load(folder.identity)
        with closing(Ledger.attach(self.node.url, self.ledger.contract, account, outbox=folder.transactions)) as ledger:
            return deal_key(folder, ledger, self.run.server.keys)

    def take(self, number: int) -> HeldKey:
        return take_key(self.folder(number), self.ledger, self.run.server.keys)

    def revoke(self, number: int, *agreeing: int) -> None:
        """The registrar starts a new epoch, and hospitals agree to go on without that one."""
        self.ledger.revoke(self.identity(number).address)
        for other in agreeing:
            self.agree(other)

    def agree(self, number: int) -> None:
        agree_to_roster(self.folder(number), [(entry.address, entry.weight) for entry in self.ledger.roster()])

    def package(self, number: int, epoch: int) -> SealedKey:
        return SealedKey.from_bytes(self.run.server.keys.load_sealed_key(epoch, self.identity(number).address))

    def leave(self, number: int, epoch: int, package: SealedKey) -> None:
        self.run.server.keys.save_sealed_key(epoch, self.identity(number).address, package.to_bytes())

    def refused(self, number: int, words: str, *errors: type[Exception]) -> None:
        """The hospital takes nothing, and its keys stay as they were."""
        before = self.folder(number).held_keys()
        with pytest.raises(errors or VerificationError, match=words):
            self.take(number)
        assert self.folder(number).held_keys() == before


@pytest.fixture
def founded(tmp_path: Path) -> Iterator[Founded]:
    settings = setting.load(None, ("data.hospitals", 4))
    run = SimulationFolder.create(tmp_path / "run")
    parties = create_parties(run, NAMES)
    stranger = tmp_path / "stranger"
    funded = (*parties.addresses(), Identity.create(stranger).address)
    with start_node(run.ledger, settings.ledger.chain_id, funded) as node:
        partitions = [partition(name, 10 + index) for index, name in enumerate(NAMES)]
        ledger, _ = found_consortium(run, parties, partitions, settings, node.url, np.zeros(9, np.float32))
        with closing(ledger):
            yield Founded(run, node, parties, ledger)


def test_all_hold_the_dealers_key_and_the_server_does_not(founded: Founded) -> None:
    keys = {founded.folder(number).load_channel_key() for number in (1, 2, 3, 4)}
    assert len(keys) == 1
    secret = ChannelKey.from_bytes(keys.pop())
    assert founded.ledger.context_fingerprint() == secret.fingerprint
    held = HeldKey(1, secret.fingerprint)
    for number in (1, 2, 3, 4):
        assert founded.folder(number).held_keys() == (held,)
        assert founded.take(number) == held
        for path in founded.folder(number).keys.iterdir():
            assert path.stat().st_mode & 0o777 == 0o600
    for folder in (founded.run.server.path, founded.run.server.keys.path):
        kept = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
        assert kept
        assert not any(secret.to_bytes() in content for content in kept)
        assert not any(secret.to_bytes().hex().encode() in content for content in kept)
    assert founded.deal() == held  # once more changes nothing: what was left is sealed again
    assert founded.package(2, 1).open(founded.package(2, 1).terms, founded.identity(2).sealing_key)
    assert not (founded.run.server.keys.path / "epoch-0001" / f"{founded.identity(1).address}.sealed").exists()
    # The founding can be repaired like all that follows: every transaction is kept until it is certain to stay.
    sent = TransactionOutbox(founded.run.server.transactions).entries()
    assert [transaction.nonce for transaction in sent] == list(range(5))
    assert len(TransactionOutbox(founded.folder(1).transactions).entries()) == 1


def test_a_revocation_starts_an_epoch_whose_key_the_revoked_does_not_get(founded: Founded) -> None:
    founded.revoke(4, 1, 2, 3)
    founded.refused(2, "names no key for epoch 2", EvidenceError)
    fresh = founded.deal()
    assert fresh.epoch == 2
    assert fresh == founded.take(2) == founded.take(3)
    for number in (1, 2, 3):
        assert [key.epoch for key in founded.folder(number).held_keys()] == [1, 2]
    old, new = (founded.folder(2).load_channel_key(key.fingerprint) for key in founded.folder(2).held_keys())
    assert ChannelKey.from_bytes(old).fingerprint != ChannelKey.from_bytes(new).fingerprint
    assert founded.folder(2).load_channel_key() == new
    founded.refused(4, "roster of 3 hospitals")
    founded.agree(4)
    founded.refused(4, "key of epoch 2 for .* could not be read", EvidenceError)
    # What was sealed for another is of no use to it, whatever name it has.
    founded.leave(4, 2, founded.package(2, 2))
    founded.refused(4, "another recipient")
    assert founded.ledger.context_fingerprint() == fresh.fingerprint


def test_a_key_that_the_server_sealed_is_refused(founded: Founded) -> None:
    founded.revoke(4, 1, 2, 3)
    founded.deal()
    honest, own = founded.package(2, 2), ChannelKey.generate()
    recipient = founded.identity(2).x25519_public_key
    server = founded.parties.server
    # Signed by the server, in the dealer's name or its own.
    founded.leave(2, 2, seal_key(own.to_bytes(), honest.terms, recipient, server))
    founded.refused(2, "signed by")
    founded.leave(2, 2, seal_key(own.to_bytes(), replace(honest.terms, dealer=server.address), recipient, server))
    founded.refused(2, "another dealer")
    # Of another key than the ledger's, even by the dealer.
    dealer, mine = founded.identity(1), replace(honest.terms, context_fingerprint=own.fingerprint)
    founded.leave(2, 2, seal_key(own.to_bytes(), mine, recipient, dealer))
    founded.refused(2, "another context fingerprint")
    founded.leave(2, 2, seal_key(own.to_bytes(), honest.terms, recipient, dealer))
    founded.refused(2, "the ledger names")
    founded.leave(2, 2, seal_key(b"no key at all", honest.terms, recipient, dealer))
    founded.refused(2, "no channel key", EncryptionError)
    # Sealed to somebody else's key.
    founded.leave(2, 2, seal_key(own.to_bytes(), honest.terms, server.x25519_public_key, dealer))
    founded.refused(2, "does not open", EncryptionError)
    founded.leave(2, 2, honest)
    assert founded.take(2).epoch == 2


def test_a_dealer_that_only_the_servers_node_names_is_refused(founded: Founded) -> None:
    """The contract lets no stranger deal. The server's node may say otherwise, and then everything else fits."""
    founded.revoke(4, 1, 2, 3)
    founded.deal()
    server, own = founded.parties.server, ChannelKey.generate()
    terms = replace(founded.package(2, 2).terms, dealer=server.address, context_fingerprint=own.fingerprint)
    founded.leave(2, 2, seal_key(own.to_bytes(), terms, founded.identity(2).x25519_public_key, server))
    made_up = "0x" + encode(["uint32", "bytes32", "address"], [2, own.fingerprint, server.address]).hex()

    def lie(method: str, params: list[Any], result: Any) -> Any:
        asks_for_key = method == "eth_call" and KEY_CONTEXT in (params[0].get("data"), params[0].get("input"))
        return made_up if asks_for_key else result

    with lying_proxy(founded.node.url, lie) as url, closing(Ledger.attach(url, founded.ledger.contract)) as ledger:
        assert ledger.key_context().dealer == server.address
        with pytest.raises(VerificationError, match="is not on the roster"):
            take_key(founded.folder(2), ledger, founded.run.server.keys)
    assert [key.epoch for key in founded.folder(2).held_keys()] == [1]


def test_a_key_of_an_earlier_epoch_or_for_another_is_refused(founded: Founded) -> None:
    earlier = founded.package(2, 1)
    founded.revoke(4, 1, 2, 3)
    founded.deal()
    for epoch, other in ((1, "key epoch"), (2, "recipient")):
        founded.leave(2, 2, earlier if epoch == 1 else founded.package(3, 2))
        founded.refused(2, f"another {other}")


def test_a_ghost_on_the_roster_stops_dealer_and_hospitals(founded: Founded) -> None:
    founded.revoke(4, 1, 2, 3)
    ghost = founded.parties.server
    founded.ledger.register(ghost.address, 1, ghost.x25519_public_key)
    founded.run.server.keys.save_card(ghost.address, make_card(ghost, founded.ledger.chain_id, founded.ledger.contract))
    with pytest.raises(VerificationError, match="roster of 4 hospitals"):
        founded.deal()
    assert founded.ledger.context_fingerprint() == NOT_SET
    assert [key.epoch for key in founded.folder(1).held_keys()] == [1]
    assert not (founded.run.server.keys.path / "epoch-0002").exists()
    founded.refused(2, "roster of 4 hospitals")
    # A dealer that went along with it would be refused by the others.
    founded.agree(1)
    founded.deal()
    founded.refused(2, "roster of 4 hospitals")


def test_a_dealer_who_sealed_for_another_roster_is_refused(founded: Founded) -> None:
    founded.revoke(4, 1, 2, 3)
    founded.deal()
    strangers = replace(founded.package(2, 2).terms, roster_digest=b"g" * 32)
    secret = founded.folder(1).load_channel_key()
    founded.leave(2, 2, seal_key(secret, strangers, founded.identity(2).x25519_public_key, founded.identity(1)))
    founded.refused(2, "another roster digest")


def test_a_newcomer_is_sealed_to_only_under_its_own_word(founded: Founded, tmp_path: Path) -> None:
    newcomer = HospitalFolder.create(founded.run.hospital(HospitalId("hospital-5")).path)
    identity = Identity.load(tmp_path / "stranger")
    (tmp_path / "stranger").rename(newcomer.identity)
    # The registrar puts its own sealing key in the newcomer's place.
    founded.ledger.register(identity.address, 7, founded.parties.server.x25519_public_key)
    founded.agree(1)
    with pytest.raises(EvidenceError, match=r"sealing key of .* could not be read"):
        founded.deal()
    chain_id, contract = founded.ledger.chain_id, founded.ledger.contract
    founded.run.server.keys.save_card(identity.address, make_card(founded.parties.server, chain_id, contract))
    with pytest.raises(VerificationError, match="not signed by that hospital"):
        founded.deal()
    newcomer.join(replace(founded.folder(1).membership(), hospital=HospitalId("hospital-5"), weight=7))
    leave_card(newcomer, founded.run.server.keys)
    with pytest.raises(VerificationError, match="not the one on its card"):
        founded.deal()
    with pytest.raises(EvidenceError, match="names no key for epoch 2"):  # it never gets the one before it came
        take_key(newcomer, founded.ledger, founded.run.server.keys)
    # It says on the ledger which key is its own.
    with closing(Ledger.attach(founded.node.url, contract, identity)) as own:
        own.rotate_key(identity.x25519_public_key)
    assert founded.deal() == take_key(newcomer, founded.ledger, founded.run.server.keys)
    assert newcomer.load_channel_key() == founded.folder(1).load_channel_key()


def test_whose_sealing_keys_are_kept_is_known_from_signed_cards(founded: Founded) -> None:
    """In each round a hospital seals shares to these: a key of the server's in a hospital's place is not kept."""
    everybody = {founded.identity(number).address: founded.identity(number).x25519_public_key for number in range(1, 5)}
    for number in range(1, 5):
        assert founded.folder(number).sealing_keys() == everybody
    chain_id, contract, victim = founded.ledger.chain_id, founded.ledger.contract, founded.identity(3).address
    founded.run.server.keys.save_card(victim, make_card(founded.parties.server, chain_id, contract))
    for act in (founded.deal, lambda: founded.take(2)):
        with pytest.raises(VerificationError, match="not signed by that hospital"):
            act()
    for number in (1, 2):
        assert founded.folder(number).sealing_keys() == everybody


def test_a_lost_sealing_key_is_replaced_and_sealed_to_anew(founded: Founded) -> None:
    folder, before = founded.folder(2), founded.identity(2)
    (folder.identity / "x25519.key").unlink()
    for path in folder.keys.iterdir():
        path.unlink()
    renewed = Identity.renew_sealing_key(folder.identity)
    assert renewed.address == before.address
    assert renewed.x25519_public_key != before.x25519_public_key
    assert (folder.identity / "x25519.key").stat().st_mode & 0o777 == 0o600
    founded.refused(2, "does not open", EncryptionError)
    # The old card does not do once the ledger has the new key.
    with closing(Ledger.attach(founded.node.url, founded.ledger.contract, renewed)) as own:
        own.rotate_key(renewed.x25519_public_key)
    with pytest.raises(VerificationError, match="not the one on its card"):
        founded.deal()
    leave_card(folder, founded.run.server.keys)
    assert founded.deal() == founded.take(2) == founded.take(3)
    assert folder.load_channel_key() == founded.folder(1).load_channel_key()
    for number in (1, 2, 3):
        assert founded.folder(number).sealing_keys()[renewed.address] == renewed.x25519_public_key


def test_a_dealer_that_was_interrupted_goes_on_with_the_same_key(
    founded: Founded, monkeypatch: pytest.MonkeyPatch
) -> None:
    founded.revoke(4, 1, 2, 3)

    def crash(*_: object) -> None:
        raise RuntimeError("killed here")

    for place in ("blockchain.ledger.ledger.Ledger.set_context", "blockchain.consortium.key_exchange.seal_key"):
        with monkeypatch.context() as patch:
            patch.setattr(place, crash)
            with pytest.raises(RuntimeError, match="killed here"):
                founded.deal()
        made = founded.folder(1).held_keys()[-1]
        assert made.epoch == 2
    assert founded.deal() == made == founded.take(2)


def test_only_the_dealer_deals_and_only_between_rounds(founded: Founded) -> None:
    with pytest.raises(VerificationError, match="dealer is"):
        founded.deal(2)
    founded.revoke(1, 2, 3, 4)
    with pytest.raises(VerificationError, match="nobody"):
        founded.deal(2)
    founded.ledger.name_dealer(founded.identity(2).address)
    assert founded.deal(2) == founded.take(3) == founded.take(4)
    founded.ledger.open_round()
    with pytest.raises(LedgerError, match="RoundInProgress"):
        founded.ledger.revoke(founded.identity(4).address)


def test_a_ledger_that_went_back_to_an_older_key_is_refused(founded: Founded) -> None:
    founded.folder(2).save_channel_key(HeldKey(2, b"n" * 32), b"a later key")
    founded.refused(2, "already has")


@pytest.mark.parametrize(
    ("field", "other", "words"),
    [
        ("contract", Address("0x" + "11" * 20), "joined contract"),
        ("chain_id", 1, "joined contract"),
        ("genesis_hash", "00" * 32, "Block 0"),
    ],
)
def test_another_ledger_is_refused(founded: Founded, field: str, other: object, words: str) -> None:
    calls: tuple[Callable[[], object], ...] = (founded.deal, lambda: founded.take(2))
    for number, call in enumerate(calls, start=1):
        folder = founded.folder(number)
        folder.join(replace(folder.membership(), **{field: other}))
        with pytest.raises(VerificationError, match=words):
            call()
