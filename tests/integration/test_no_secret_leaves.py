"""After a whole federation, every place outside of a hospital's own folder is searched for its keys, in any writing."""

import base64
import copy
import logging
import os
import pickle
import traceback
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import tomli_w
from federation import Federation, founded
from flwr.app import Message
from flwr.common.serde import recorddict_to_proto

from blockchain.identity import Identity
from client import Hospital
from encryption import SecretContext
from fedward.ciphertexts.serialized import PUBLIC_KEY, SECRET_KEY
from fedward.errors import EncryptionError, FedwardError
from fedward.flower import stage_app
from fedward.settings import to_tables
from fedward.types import HospitalId

NAMES = tuple(HospitalId(f"hospital-{number}") for number in (1, 2, 3))
PIECE_BYTES = 48  # of a long key are looked for at a time


@dataclass
class Watched:
    """A federation after two rounds, and everything that was said and sent on the way."""

    federation: Federation
    log: str
    replies: list[Message] = field(default_factory=list)


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


def shared_pieces(federation: Federation, apart: int = 2048) -> dict[str, bytes]:
    """Pieces from all over the consortium's CKKS secret key, so many bytes apart.

    What shows `apart` and `PIECE_BYTES` bytes of it in a row is found; where little is searched, they may be few.
    """
    secret = federation.folder.hospital(NAMES[0]).load_secret_key()[
        -(SECRET_KEY.total_bytes - SECRET_KEY.header_bytes) :
    ]
    places = range(0, len(secret) - PIECE_BYTES + 1, apart)
    return {f"CKKS key at {place}": secret[place : place + PIECE_BYTES] for place in places}


def found_in(content: bytes, secrets: dict[str, bytes]) -> list[str]:
    return [name for name, secret in secrets.items() if any(form in content for form in writings(secret))]


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    path = tmp_path_factory.mktemp("secrets") / "run"
    log, replies = path.parent / "log", list[Message]()
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
            with founded(path) as federation:

                def keep(_node: int, reply: Message) -> Message:
                    replies.append(reply)
                    return reply

                federation.grid.tamper = keep
                for _ in range(2):
                    federation.lead_round()
                for number, descriptor in zip((1, 2), descriptors, strict=True):
                    os.dup2(descriptor, number)
                handler.flush()
                text = log.read_text() + (path.parent / "printed").read_text(errors="replace")
                yield Watched(federation, text, replies)
        finally:
            for number, descriptor in zip((1, 2), descriptors, strict=True):
                os.dup2(descriptor, number)
                os.close(descriptor)
            root.removeHandler(handler)
            handler.close()
            root.setLevel(level)


def test_the_search_finds_what_is_there(watched: Watched) -> None:
    """Else nothing that follows means anything."""
    run, pieces = watched.federation.folder, shared_pieces(watched.federation)
    for name in NAMES:
        folder = run.hospital(name)
        content = b"".join(path.read_bytes() for path in files_below(folder.path))
        assert found_in(content, pieces) == list(pieces)
        assert found_in(content, raw_keys(watched.federation, name)) == ["account.key", "x25519.key"]
    secret = pieces["CKKS key at 0"]
    for text in (secret.hex(), secret.hex().upper(), base64.b64encode(b"x" + secret).decode()):
        assert found_in(text.encode(), {"it": secret}) == ["it"]


def test_no_file_but_a_hospitals_own_holds_its_keys(watched: Watched) -> None:
    federation = watched.federation
    base, run = federation.folder.path.parent, federation.folder
    pieces = shared_pieces(federation)
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
            assert found_in(content, pieces) == [], f"{path} holds the consortium's key"
            searched += len(content)
        if path.parent != run.server.identity:
            assert found_in(content, server) == [], f"{path} holds the server's key"
    assert searched > 5_000_000, "ledger, ciphertexts and sealed keys were there to be searched"
    assert list((run.server.keys.path / "epoch-0001").glob("*.sealed"))


def test_every_file_that_holds_a_key_is_its_owners_only(watched: Watched) -> None:
    federation = watched.federation
    pieces = shared_pieces(federation)
    holding = []
    for name in NAMES:
        secrets = {**raw_keys(federation, name), "CKKS": pieces["CKKS key at 0"]}
        for path in files_below(federation.folder.hospital(name).path):
            if found_in(path.read_bytes(), secrets):
                holding.append(path)
                assert path.stat().st_mode & 0o777 == 0o600, path
                assert path.parent.stat().st_mode & 0o077 == 0, path.parent
    assert len(holding) == 3 * len(NAMES)
    assert not [path for path in files_below(federation.folder.path) if path.name.endswith(".part")]


def test_no_message_log_run_config_or_bundle_holds_a_key(watched: Watched, tmp_path: Path) -> None:
    federation = watched.federation
    secrets = shared_pieces(federation)
    for name in NAMES:
        secrets |= {f"{name} {key}": content for key, content in raw_keys(federation, name).items()}
    messages = [*federation.grid.requests, *watched.replies]
    assert len(messages) == 2 * 2 * 2 * len(NAMES)
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
    secrets = {**shared_pieces(federation, apart=PIECE_BYTES), **raw_keys(federation, NAMES[0])}
    with closing(Hospital.open(federation.context(1))) as hospital:
        assert hospital.keys.public  # a key is read when it is first needed: now it is there
        secret = SecretContext.from_bytes(hospital.folder.load_secret_key())
        values = (hospital, secret, hospital.keys, hospital.identity, hospital.folder, hospital.membership)
        shown = "".join(f"{value!r} {value!s} {vars(value) if value is hospital else ''}" for value in values)
        assert hospital.identity.address in shown
        assert found_in(shown.encode(), secrets) == []
        for value in (secret, hospital.keys, hospital.identity, hospital):
            for copier in (pickle.dumps, copy.copy, copy.deepcopy):
                if copier is copy.copy and value is not secret:
                    continue  # the same objects once more, in the same process
                with pytest.raises((EncryptionError, TypeError)):
                    copier(value)
        for wrong in errors_over_keys(federation, hospital):
            assert found_in(wrong.encode(), secrets) == []


def errors_over_keys(federation: Federation, hospital: Hospital) -> Iterator[str]:
    """What is printed, tracebacks included, where damaged keys are read."""
    key, folder = hospital.folder.load_secret_key(), hospital.folder.identity
    halves = PUBLIC_KEY.total_bytes // 2
    damaged = [key[:-1], key + b"x", key[:halves] + key[halves + 1 :] + b"x", key[: -SECRET_KEY.total_bytes] + key]
    for content in damaged:
        try:
            SecretContext.from_bytes(content)
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
