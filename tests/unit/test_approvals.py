"""What a hospital approved is signed so that Flower's own check takes it, and nothing else is handed on."""

import dataclasses
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import tomli_w
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run
from flwr.supernode.cli.flower_supernode import _try_obtain_trusted_entities, _validate_public_keys_ed25519
from flwr.supernode.start_client_internal import _init_connection, _verify_fab

from fedward import settings as setting
from fedward.errors import EvidenceError
from fedward.files import sha256
from fedward.hosts.approvals import Approvals
from fedward.hosts.approved_code import ApprovedCode, Connection, refusal, wrapping
from fedward.tables import Scalar, nested

RUN_ID = 7
SETTINGS = setting.load().digest().hex()


def bundle(**changed: Scalar) -> bytes:
    """A bundle with Fedward's settings and no code."""
    config = setting.default_tables()
    for dotted, value in changed.items():
        table, _, key = dotted.rpartition(".")
        config[table][key] = value
    app = {"publisher": "x", "components": {"serverapp": "server:app", "clientapp": "client:app"}}
    project = {"name": "x", "version": "1.0.0", "dependencies": []}
    content = {"project": project, "tool": {"flwr": {"app": app | {"config": nested(config)}}}}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr(zipfile.ZipInfo("pyproject.toml"), tomli_w.dumps(content))  # always of the same day
    return file.getvalue()


def fab(content: bytes) -> Fab:
    return Fab(sha256(content).hex(), content, {})


def run_of(content: bytes, kind: str = TaskType.SERVER_APP, **changed: Scalar) -> Run:
    empty = Run.create_empty(RUN_ID)
    return dataclasses.replace(
        empty, fab_hash=sha256(content).hex(), primary_task_type=kind, override_config=dict(changed)
    )


@pytest.fixture
def approvals(tmp_path: Path) -> Approvals:
    return Approvals(tmp_path / "approvals")


def handed_on(approvals: Approvals, sent: Fab, run: Run) -> Fab:
    """What Flower gets of a bundle, by the connection that it makes."""

    @contextmanager
    def connect() -> Iterator[Connection]:
        yield (1, None, None, lambda _: run, lambda _hash, _id: sent, None, None, None)

    with wrapping(connect, approvals)() as connection:
        assert connection[3](RUN_ID) is run
        found = connection[4](run.fab_hash, RUN_ID)
    assert isinstance(found, Fab)
    return found


def taken_by_flower(approvals: Approvals, found: Fab) -> bool:
    """Flower's own check, in its own order."""
    entities = _try_obtain_trusted_entities(approvals.trusted)
    assert entities
    _validate_public_keys_ed25519(entities)
    return bool(found.verifications.get("valid_license", "")) and _verify_fab(found, entities)


def test_flower_takes_what_was_approved(approvals: Approvals) -> None:
    content = bundle()
    approvals.approve(sha256(content).hex(), SETTINGS)
    found = handed_on(approvals, fab(content), run_of(content))
    assert found.content == content
    assert taken_by_flower(approvals, found)
    assert not taken_by_flower(approvals, Fab(found.hash_str, content + b"x", found.verifications))
    kept = approvals.kept(sha256(content).hex())
    assert kept
    assert kept.read_bytes() == content


def test_flowers_connection_is_what_it_was() -> None:
    """The places of its functions are part of Flower's insides; its own annotation names them."""
    text = str(_init_connection.__wrapped__.__annotations__["return"])  # type: ignore[attr-defined]
    parts = text.partition("tuple[")[2]
    assert parts.index("Run]") < parts.index("Fab]")
    order = ["int, ", "ObjectTree] | None], ", "tuple[set[str], str]], ", "Run], ", "Fab], "]
    assert [parts.index(part) for part in order] == sorted(parts.index(part) for part in order)


@pytest.mark.parametrize(
    ("sent", "run", "reason"),
    [
        (bundle() + b"x", run_of(bundle() + b"x"), "the server sent code"),
        (bundle(**{"training.rounds": 9}), run_of(bundle(**{"training.rounds": 9})), "the server sent code"),
        (bundle(), run_of(bundle() + b"x"), "by another hash"),
        (bundle(), run_of(bundle(), TaskType.AGENT_APP), "of the kind"),
        (bundle(), run_of(bundle(), ""), "of the kind"),
        (bundle(), run_of(bundle(), **{"privacy.noise-multiplier": 0.5}), "the run has settings"),
        (bundle(), run_of(bundle(), **{"privacy.unknown": 0.5}), "cannot be read"),
        (bundle(), run_of(bundle(), **{"training.rounds": "5"}), "the run has settings"),
    ],
)
def test_nothing_else_is_handed_on(
    approvals: Approvals, sent: bytes, run: Run, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    approvals.approve(sha256(bundle()).hex(), SETTINGS)
    assert reason in (refusal(fab(sent), run, approvals.current()) or "")
    found = handed_on(approvals, fab(sent), run)
    assert found.content == b""
    assert not taken_by_flower(approvals, found)


def test_settings_that_affect_speed_may_change(approvals: Approvals) -> None:
    approvals.approve(sha256(bundle()).hex(), SETTINGS)
    run = run_of(bundle(), **{"speed.poll-interval-s": 9.0, "run.folder": "/elsewhere"})
    assert taken_by_flower(approvals, handed_on(approvals, fab(bundle()), run))


def test_a_hash_that_the_server_made_up_is_refused(approvals: Approvals) -> None:
    content = bundle()
    approvals.approve(sha256(content).hex(), SETTINGS)
    assert "by another hash" in str(refusal(Fab("0" * 64, content, {}), run_of(content), approvals.current()))


def test_records_of_the_server_do_not_help(approvals: Approvals, tmp_path: Path) -> None:
    """Not even those of another hospital for the same code."""
    approvals.approve(sha256(bundle()).hex(), SETTINGS)
    other = bundle(**{"training.rounds": 9})
    elsewhere = Approvals(tmp_path / "other").approve(sha256(other).hex(), SETTINGS)
    sent = Fab(sha256(other).hex(), other, elsewhere.records())
    assert not taken_by_flower(approvals, sent)
    assert handed_on(approvals, sent, run_of(other)).verifications == {}


def test_without_an_approval_nothing_runs(approvals: Approvals) -> None:
    assert approvals.current() is None
    assert refusal(fab(bundle()), run_of(bundle()), None) == "this hospital has approved no code"
    assert handed_on(approvals, fab(bundle()), run_of(bundle())) == Fab(sha256(bundle()).hex(), b"", {})


def test_the_last_approval_is_in_force_and_a_damaged_one_allows_nothing(approvals: Approvals) -> None:
    first, second = bundle(), bundle(**{"training.rounds": 9})
    approvals.approve(sha256(first).hex(), SETTINGS)
    code = ApprovedCode(approvals)
    approvals.approve(sha256(second).hex(), SETTINGS)
    assert code.approvals.current().bundle == sha256(second).hex()
    assert handed_on(approvals, fab(first), run_of(first)).content == b""
    log = approvals.trusted.with_name("approvals.jsonl")
    log.write_text(log.read_text() + json.dumps({"bundle": "x"}) + "\n")
    with pytest.raises(EvidenceError):
        approvals.current()
    assert handed_on(approvals, fab(second), run_of(second)).content == b""


def test_the_key_is_for_its_owner_only(approvals: Approvals) -> None:
    approvals.approve(sha256(bundle()).hex(), SETTINGS)
    assert approvals.trusted.with_name("key").stat().st_mode & 0o077 == 0
    assert b"PRIVATE" not in approvals.trusted.read_bytes()


def test_defaults_in_a_bundle_have_the_digest_of_the_settings_that_they_are() -> None:
    """The digest is taken of the tables as they are sent; of a whole number for a float it would be another."""
    assert setting.digest_of(setting.guaranteed(setting.default_tables())) == setting.load().digest()
