"""Every place outside of a hospital's own folder is searched for its keys and shares, in any writing.

So are all folders after the rounds, its own too, for what it should have forgotten by then.
"""

import base64
import copy
import functools
import logging
import os
import pickle
import shutil
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import tomli_w
from federation import Federation, founded
from flwr.app import Message
from flwr.common.serde import recorddict_to_proto

from blockchain import key_sharing
from blockchain.identity import Identity
from blockchain.key_sharing import Dealing
from client import Hospital
from encryption import RoundKey
from fedward.ciphertexts.serialized import MODULUS, RING_DEGREE
from fedward.errors import EncryptionError, FedwardError
from fedward.flower import stage_app
from fedward.folders.hospital import HospitalFolder
from fedward.messages.key_sharing import ANSWERS, RELEASE
from fedward.settings import to_tables
from fedward.sharing.modular import Residues, add, to_bytes
from fedward.sharing.sealed_releases import ChannelKey
from fedward.sharing.terms import Purpose
from fedward.types import HospitalId

NAMES = tuple(HospitalId(f"hospital-{number}") for number in (1, 2, 3))
ROUNDS = 2
PIECE_BYTES = 48  # of a long secret are looked for


@dataclass(frozen=True)
class Dealt:
    """What one hospital drew and dealt in a round, copied when it was made."""

    hospital: str
    keys: dict[Purpose, Residues]
    shares: Residues


@dataclass
class Watched:
    """A federation after two rounds, and everything that was said, sent and dealt on the way.

    Attributes:
        asking: All files when the first hospital had answered about its shares in round 1, and the others had not.
        opening: All files when the first hospital had released its part of round 1's sum, and the others had not.
    """

    federation: Federation
    asking: Path
    opening: Path
    log: str = ""
    replies: list[Message] = field(default_factory=list)
    dealt: list[Dealt] = field(default_factory=list)

    def keep(self, _node: int, reply: Message) -> Message:
        """Note a reply, and what is on the disks when it comes."""
        self.replies.append(reply)
        snapshots = {ANSWERS: self.asking, RELEASE: self.opening}
        snapshot = snapshots.get(reply.metadata.message_type)
        if snapshot and not snapshot.exists():
            shutil.copytree(self.federation.folder.path, snapshot)
        return reply

    def deal(self, folder: HospitalFolder, *arguments: Any) -> Dealing:
        """Deal, and note what was dealt."""
        dealing = key_sharing.deal_keys(folder, *arguments)
        keys = {purpose: key.residues() for purpose, key in dealing.keys.items()}
        self.dealt.append(Dealt(folder.path.name, keys, dealing.shares.copy()))
        return dealing

    def of_round(self, index: int) -> list[Dealt]:
        """What was dealt in a round."""
        return self.dealt[len(NAMES) * (index - 1) : len(NAMES) * index]

    def keys(self, index: int, hospital: str = "") -> dict[str, bytes]:
        """The keys of a round, of one hospital or of all, and of their sums."""
        found = {
            f"key of {each.hospital} for {purpose.label} of round {index}": piece(key)
            for each in self.of_round(index)
            for purpose, key in each.keys.items()
            if hospital in ("", each.hospital)
        }
        if not hospital:
            for purpose in Purpose:
                whole = functools.reduce(add, [each.keys[purpose] for each in self.of_round(index)])
                found[f"key of the sum of {purpose.label} of round {index}"] = piece(whole)
        return found

    def shares(self, index: int, dealer: str = "", holder: str = "") -> dict[str, bytes]:
        """The shares of a round in the clear, of one dealer or for one holder or all; and of the update's sums."""
        dealt, places = self.of_round(index), range(len(NAMES))
        found = {
            f"share of {each.hospital}'s key for {NAMES[place]} in round {index}": piece(each.shares[place])
            for each in dealt
            for place in places
            if dealer in ("", each.hospital) and holder in ("", NAMES[place])
        }
        if not dealer and not holder:
            for place in places:
                whole = functools.reduce(add, [each.shares[place] for each in dealt])
                found[f"share of the sum for {NAMES[place]} in round {index}"] = piece(whole)
        return found

    def forgotten(self) -> dict[str, bytes]:
        """All that nobody may have after the rounds."""
        found: dict[str, bytes] = {}
        for index in range(1, ROUNDS + 1):
            found |= self.keys(index) | self.shares(index)
        return found


def piece(residues: Residues) -> bytes:
    """The beginning of a long secret."""
    return to_bytes(residues[:RING_DEGREE])[:PIECE_BYTES]


def writings(secret: bytes) -> list[bytes]:
    """A secret as it could have been written: raw, reversed, hexadecimal, decimal, and base64 at any offset."""
    number = str(int.from_bytes(secret, "big")).encode()
    forms = [secret, secret[::-1], secret.hex().encode(), secret.hex().upper().encode(), number]
    # In base64 the ends depend on what stands beside it.
    forms += [
        encode(bytes(shift) + secret)[4 if shift else 0 : -4]
        for shift in range(3)
        for encode in (base64.b64encode, base64.urlsafe_b64encode)
    ]
    return forms


def raw_keys(federation: Federation, name: HospitalId) -> dict[str, bytes]:
    """A hospital's own two keys: 32 bytes each."""
    folder = federation.folder.hospital(name).identity
    return {key: bytes.fromhex((folder / key).read_text()) for key in ("account.key", "x25519.key")}


def channel_key(federation: Federation) -> dict[str, bytes]:
    """The consortium's key, under which hospitals tell each other what opens a sum: 32 bytes."""
    return {"channel key": federation.folder.hospital(NAMES[0]).load_channel_key()}


def found_in(content: bytes, secrets: dict[str, bytes]) -> list[str]:
    return [name for name, secret in secrets.items() if any(form in content for form in writings(secret))]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    path = tmp_path_factory.mktemp("secrets") / "run"
    log = path.parent / "log"
    handler = logging.FileHandler(log)
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    # Also what libraries print by themselves, from whatever language they are written in.
    descriptors = [os.dup(number) for number in (1, 2)]
    with (path.parent / "printed").open("wb") as printed:
        for number in (1, 2):
            os.dup2(printed.fileno(), number)
        try:
            with founded(path, ("metrics.encrypted", True)) as federation:
                snapshots = tmp_path_factory.mktemp("snapshots")
                made = Watched(federation, snapshots / "asking", snapshots / "opening")
                federation.grid.tamper = made.keep
                with mock.patch("client.deal_keys", made.deal):
                    for _ in range(ROUNDS):
                        federation.lead_round()
                for number, descriptor in zip((1, 2), descriptors, strict=True):
                    os.dup2(descriptor, number)
                handler.flush()
                made.log = log.read_text() + (path.parent / "printed").read_text(errors="replace")
                yield made
        finally:
            for number, descriptor in zip((1, 2), descriptors, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
            root.removeHandler(handler)
            handler.close()
            root.setLevel(level)


def test_the_search_finds_what_is_there(watched: Watched) -> None:
    """Else nothing that follows means anything."""
    federation = watched.federation
    assert [each.hospital for each in watched.dealt] == [*NAMES] * ROUNDS
    for name in NAMES:
        content = b"".join(path.read_bytes() for path in files_below(federation.folder.hospital(name).path))
        assert found_in(content, channel_key(federation)) == ["channel key"]
        assert found_in(content, raw_keys(federation, name)) == ["account.key", "x25519.key"]
    for residues in (watched.dealt[0].keys[Purpose.COUNTS], watched.dealt[0].shares[1]):
        assert found_in(b"x" + to_bytes(residues), {"it": piece(residues)}) == ["it"]
    (secret,) = channel_key(federation).values()
    for text in (secret.hex(), secret.hex().upper(), base64.b64encode(b"x" + secret).decode()):
        assert found_in(text.encode(), {"it": secret}) == ["it"]
    assert len(watched.forgotten()) == ROUNDS * (2 * len(NAMES) + 2 + len(NAMES) ** 2 + len(NAMES))


def test_amid_a_round_a_hospital_has_its_own_keys_and_shares_and_nobody_else_has_any(watched: Watched) -> None:
    """What is there, and where, when hospitals answer about their shares, and when they release them."""
    secrets, first = watched.keys(1) | watched.shares(1), NAMES[0]
    for snapshot in (watched.asking, watched.opening):
        for path in files_below(snapshot):
            found = set(found_in(path.read_bytes(), secrets))
            inside = path.relative_to(snapshot).parts
            if inside[0] != "hospitals":
                assert not found, path
                continue
            owner = inside[1]
            dealt_by, held_by = watched.shares(1, dealer=owner), watched.shares(1, holder=owner)
            may = {
                "dealt": set(dealt_by) if snapshot == watched.asking and owner != first else set[str](),
                "shares": set(held_by) if snapshot == watched.opening or owner == first else set[str](),
                "counts.key": {name for name in watched.keys(1, owner) if "counts" in name},
            }
            assert found == may.get(path.name, set()), path
            if found:
                assert path.stat().st_mode & 0o777 == 0o600, path
                assert path.parent.stat().st_mode & 0o077 == 0, path.parent
    names = [path.name for path in files_below(watched.asking / "hospitals")]
    assert (names.count("dealt"), names.count("shares"), names.count("counts.key")) == (2, 1, 3)
    names = [path.name for path in files_below(watched.opening / "hospitals")]
    assert (names.count("dealt"), names.count("shares"), names.count("counts.key")) == (0, 3, 3)


def test_after_the_rounds_no_file_has_a_rounds_key_or_a_share_in_the_clear(watched: Watched) -> None:
    secrets, searched = watched.forgotten(), 0
    for path in files_below(watched.federation.folder.path.parent):
        content = path.read_bytes()
        assert found_in(content, secrets) == [], path
        searched += len(content)
    assert searched > 5_000_000
    for name in NAMES:
        assert watched.federation.folder.hospital(name).sharing.unforgotten() == ()


def test_no_file_but_a_hospitals_own_holds_its_keys(watched: Watched) -> None:
    federation = watched.federation
    base, run = federation.folder.path.parent, federation.folder
    consortiums = channel_key(federation)
    own = {name: raw_keys(federation, name) for name in NAMES}
    server = {"server's account.key": bytes.fromhex((run.server.identity / "account.key").read_text())}
    searched = 0
    for path in files_below(base):
        content, inside = path.read_bytes(), path.relative_to(run.hospitals) if run.hospitals in path.parents else None
        owner = inside.parts[0] if inside else ""
        for name in NAMES:
            if owner != name:
                assert found_in(content, own[name]) == [], f"{path} holds keys of {name}"
        if not owner:
            assert found_in(content, consortiums) == [], f"{path} holds the consortium's key"
            searched += len(content)
        if path.parent != run.server.identity:
            assert found_in(content, server) == [], f"{path} holds the server's key"
    assert searched > 3_000_000, "ledger, ciphertexts, releases and sealed keys were there to be searched"
    assert list((run.server.keys.path / "epoch-0001").glob("*.sealed"))


def test_every_file_that_holds_a_key_is_its_owners_only(watched: Watched) -> None:
    federation = watched.federation
    holding = []
    for name in NAMES:
        secrets = {**raw_keys(federation, name), **channel_key(federation)}
        for path in files_below(federation.folder.hospital(name).path):
            if found_in(path.read_bytes(), secrets):
                holding.append(path)
                assert path.stat().st_mode & 0o777 == 0o600, path
                assert path.parent.stat().st_mode & 0o077 == 0, path.parent
    assert len(holding) == 3 * len(NAMES)
    assert not [path for path in files_below(federation.folder.path) if path.name.endswith(".part")]


def test_no_message_log_run_config_or_bundle_holds_a_secret(watched: Watched, tmp_path: Path) -> None:
    federation = watched.federation
    secrets = channel_key(federation) | watched.forgotten()
    for name in NAMES:
        secrets |= {f"{name} {key}": content for key, content in raw_keys(federation, name).items()}
    messages = [*federation.grid.requests, *watched.replies]
    # To each hospital: train, answer, release, judge, and release once more for the counts.
    assert len(messages) == 2 * 5 * ROUNDS * len(NAMES)
    sent = b"".join(recorddict_to_proto(message.content).SerializeToString() for message in messages)
    assert len(sent) > 1_000_000
    assert found_in(sent, secrets) == []
    assert found_in(watched.log.encode(), secrets) == []
    assert "POST" in watched.log, "the log was written"
    assert found_in(tomli_w.dumps(to_tables(federation.settings)).encode(), secrets) == []
    stage_app(tmp_path / "app")
    bundle = b"".join(path.read_bytes() for path in files_below(tmp_path / "app"))
    assert found_in(bundle, secrets) == []


def test_no_repr_error_or_pickle_of_a_hospital_holds_a_key(watched: Watched) -> None:
    federation = watched.federation
    residues = watched.dealt[0].keys[Purpose.UPDATES]
    key, opening = RoundKey(residues), federation.ledger.opening(1)
    secrets = {**channel_key(federation), **raw_keys(federation, NAMES[0]), "round's key": piece(residues)}
    secrets |= {f"residue {place}": str(int(residues[place])).encode() for place in range(3)}
    with closing(Hospital.open(federation.context(1))) as hospital:
        assert hospital.keys.fingerprint  # a key is read when it is first needed: now it is there
        channel = ChannelKey.from_bytes(hospital.folder.load_channel_key())
        dealing = key_sharing.deal_keys(hospital.folder, hospital.ledger, opening, hospital.identity, True)
        for place, drawn in enumerate(dealing.keys.values()):
            secrets[f"fresh key {place}"] = piece(drawn.residues())
        secrets["share"] = piece(dealing.shares[1])
        values = (hospital, key, channel, dealing, hospital.keys, hospital.identity, hospital.folder)
        shown = "".join(f"{value!r} {value!s} {vars(value) if value is hospital else ''}" for value in values)
        assert hospital.identity.address in shown
        assert found_in(shown.encode(), secrets) == []
        for value in (key, channel, dealing, hospital.keys, hospital.identity, hospital):
            for copier in (pickle.dumps, copy.copy, copy.deepcopy):
                if copier is copy.copy and value is not key and value is not channel:
                    continue  # the same objects once more, in the same process
                with pytest.raises((EncryptionError, TypeError)):
                    copier(value)
        for wrong in (*errors_over_keys(hospital), *errors_over_residues(residues)):
            assert found_in(wrong.encode(), secrets) == []


def errors_over_residues(residues: Residues) -> Iterator[str]:
    """What is printed where numbers are no key."""
    for wrong in (residues[:-1], residues.astype(np.int64), np.append(residues[:-1], np.uint64(MODULUS))):
        try:
            RoundKey(wrong)  # type: ignore[arg-type]
        except FedwardError as error:
            yield "".join(traceback.format_exception(error)) + repr(error)


def errors_over_keys(hospital: Hospital) -> Iterator[str]:
    """What is printed, tracebacks included, where damaged keys are read."""
    key, folder = hospital.folder.load_channel_key(), hospital.folder.identity
    for content in (key[:-1], key + b"x", b"", key + key):
        try:
            ChannelKey.from_bytes(content)
        except FedwardError as error:
            yield "".join(traceback.format_exception(error)) + repr(error)
    for name in ("account.key", "x25519.key"):
        whole = (folder / name).read_bytes()
        try:
            (folder / name).write_bytes(whole[:-1] + b"0\n")
            Identity.load(folder)
        except FedwardError as error:
            yield "".join(traceback.format_exception(error)) + repr(error)
        finally:
            (folder / name).write_bytes(whole)
