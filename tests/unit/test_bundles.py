"""A bundle is read without running it; archives that are made to deceive are refused; changes are told in full."""

import io
import zipfile
from pathlib import Path

import pytest
import tomli_w
from command_line import run_here

from fedward import settings as setting
from fedward.errors import EvidenceError, VerificationError
from fedward.files import make_folder
from fedward.hosts.approvals import Approvals
from fedward.hosts.bundles import Bundle, changes
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.project import Deployed, Place, Project, Study
from fedward.hosts.spoken import spoken
from fedward.tables import nested
from fedward.types import Address, HospitalId

SETTINGS = setting.load(None, ("data.hospitals", 2))


def toml(**added: object) -> str:
    config = nested(setting.default_tables())
    config["training"] |= added
    return tomli_w.dumps({"tool": {"flwr": {"app": {"config": config}}}})


def packed(*files: tuple[str, str], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in files:
            archive.writestr(zipfile.ZipInfo(name), text, compress_type=method)
    return file.getvalue()


OLD = packed(("pyproject.toml", toml()), ("client.py", "a = 1\nb = 2\n"), ("gone.py", "x\n"))
NEW = packed(("pyproject.toml", toml(novelty=3)), ("client.py", "a = 1\nb = 3\n"), ("new.py", "y\n"))


def bundle(path: Path, content: bytes) -> Bundle:
    path.write_bytes(content)
    return Bundle.load(path)


def test_changes_are_told_in_full(tmp_path: Path) -> None:
    found = changes(bundle(tmp_path / "old", OLD), bundle(tmp_path / "new", NEW), SETTINGS)
    assert (found.added, found.removed) == (("new.py",), ("gone.py",))
    assert found.changed == ("client.py", "pyproject.toml")
    assert {"-b = 2", "+b = 3", "-x", "+y"} <= set(found.diff)
    assert dict(found.settings) == {"training.novelty": (None, 3)}


def test_the_settings_are_the_studys_and_new_ones_change_their_digest(tmp_path: Path) -> None:
    assert bundle(tmp_path / "old", OLD).settings_digest(SETTINGS) == SETTINGS.digest().hex()
    assert bundle(tmp_path / "new", NEW).settings_digest(SETTINGS) != SETTINGS.digest().hex()
    other = setting.replace(SETTINGS, "training.rounds", 9)
    assert bundle(tmp_path / "old", OLD).settings_digest(other) == other.digest().hex()


@pytest.mark.parametrize(
    "content",
    [
        b"no archive",
        packed(("client.py", "")),
        packed(("pyproject.toml", "[tool]")),
        packed(("pyproject.toml", "tool = 3")),
        packed(("pyproject.toml", toml()), ("client.py", "0" * 100_000), method=zipfile.ZIP_DEFLATED),
        packed(("pyproject.toml", toml()), ("../client.py", "")),
        packed(("pyproject.toml", toml()), ("/client.py", "")),
        packed(("pyproject.toml", toml()), ("a\nb", "")),
        packed(("pyproject.toml", toml()), ("client.py", ""), ("CLIENT.py", "")),
        packed(("pyproject.toml", toml()), *((f"f{index}", "") for index in range(2000))),
        OLD[:-30],
    ],
)
def test_what_is_no_plain_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(VerificationError):
        bundle(tmp_path / "x", content)


def test_two_files_of_one_name_are_refused(tmp_path: Path) -> None:
    """One would be shown, the other run."""
    with pytest.warns(UserWarning, match="Duplicate name"):
        content = packed(("pyproject.toml", toml()), ("client.py", "good"), ("client.py", "evil"))
    with pytest.raises(VerificationError, match="there twice"):
        bundle(tmp_path / "x", content)
    with pytest.raises(EvidenceError):
        Bundle.load(tmp_path / "missing")


@pytest.fixture
def kit(tmp_path: Path) -> HospitalKit:
    kit = HospitalKit(tmp_path / "kit")
    make_folder(kit.path)
    address = Address("0x" + "00" * 20)
    deployed = Deployed(address, 1, "0" * 64, SETTINGS.digest().hex(), "0" * 64, "0" * 64, "PEM")
    study = Study("test", (HospitalId("a"), HospitalId("b")), ("x",), ("no", "yes"))
    Project(study, Place("localhost", 1), SETTINGS, deployed).save(kit.project)
    (tmp_path / "old.fab").write_bytes(OLD)
    (tmp_path / "new.fab").write_bytes(NEW)
    return kit


def test_the_command_asks_for_the_number_and_shows_changes(kit: HospitalKit, tmp_path: Path) -> None:
    approvals = Approvals(kit.approvals)
    wrong = run_here("approve", kit.path, tmp_path / "old.fab", "--yes", spoken(NEW))
    assert wrong.returncode == 2
    assert "nothing was approved" in wrong.stderr
    assert spoken(OLD) not in wrong.stdout + wrong.stderr, "nobody is to copy it from here"
    assert approvals.current() is None

    first = run_here("approve", kit.path, tmp_path / "old.fab", "--yes", spoken(OLD))
    assert first.returncode == 0, first.stderr
    assert "added  client.py" in first.stdout
    assert approvals.current().settings == SETTINGS.digest().hex()

    update = run_here("approve", kit.path, tmp_path / "new.fab", "--yes", spoken(NEW).replace(" ", "-"))
    assert update.returncode == 0, update.stderr
    assert "+b = 3" in update.stdout
    assert "setting  training.novelty: absent -> 3" in update.stdout
    assert "others than those on its ledger" in " ".join(update.stderr.split())
    assert approvals.current().bundle == Bundle.load(tmp_path / "new.fab").digest()
