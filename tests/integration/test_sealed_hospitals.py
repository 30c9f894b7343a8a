"""A hospital on a host of its own, in a study that has images sealed: enrolled, examined, told what lies open."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pixel_search import files_with, telling_rows
from sample_images import class_folders

from blockchain.own_images import load_images
from blockchain.password import FILE_VARIABLE, VARIABLE
from commands.doctor.finding import Level
from commands.doctor.study import check_data
from commands.enroll.enrolling import make_hospital_kit
from commands.enroll.own_images import Images
from commands.lab import backdoor, image_encryption
from commands.provision.provisioning import make_server_kit
from data_preprocessing import preprocess, save_partition
from fedward import settings as setting
from fedward.errors import DataError, UsageError
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit
from fedward.hosts.spoken import spoken

PROJECT = """
[study]
name = "test"
hospitals = ["north", "east", "south"]
findings = ["opacity"]
class-names = ["normal", "opacity"]

[server]
host = "localhost"
port = 18443

[settings.data]
image-size = 32

[settings.image-encryption]
method = "fgsm"
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerKit]:
    with pytest.MonkeyPatch.context() as patch:
        for variable in (FILE_VARIABLE, VARIABLE):
            patch.setenv(variable, "/nowhere")
            patch.delenv(variable)
        folder = tmp_path_factory.mktemp("administrator")
        (folder / "project.toml").write_text(PROJECT)
        yield make_server_kit(folder / "project.toml", folder / "server", folder / "password", None)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hospital's own host: its cache, its records, its kit."""
    for variable in ("XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home" / variable))
    for variable in (FILE_VARIABLE, VARIABLE):
        monkeypatch.setenv(variable, "/nowhere")
        monkeypatch.delenv(variable)
    return tmp_path / "home"


def enroll(server: ServerKit, home: Path, images: Images) -> HospitalKit:
    number = spoken(server.project.read_bytes())
    return make_hospital_kit(server.project, home / "north", "north", images, number, home / "password")


def test_a_kit_has_its_images_sealed_and_opens_them_with_its_password(
    server: ServerKit, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = class_folders(tmp_path / "images", {"normal": 30, "opacity": 30})
    kit = enroll(server, home, Images.of(str(source), None, {}))
    assert "in the clear" not in capsys.readouterr().err
    assert not kit.hospital.partition.exists()

    monkeypatch.setenv(FILE_VARIABLE, str(home / "password"))
    project = kit.load_project()
    partition = load_images(kit.hospital, project.settings.image_encryption)
    assert len(partition.train) == kit.hospital.membership().weight
    rows = [row for part in (partition.train, partition.val, partition.test) for row in telling_rows(part.images, 1)]
    assert len(rows) > 50
    assert files_with(rows, home) == []
    assert check_data(kit).level is Level.OK

    # The controls: a cache and a file in the clear are found, and refused.
    preprocess(setting.replace(project.settings, "data.source", str(source)).data, 1, bytes(32))
    (cached,) = files_with(rows, home)
    assert cached.parent == home / "XDG_CACHE_HOME" / "fedward"
    save_partition(kit.hospital.partition, partition)
    with pytest.raises(DataError, match=r"partition\.npz lies there in the clear"):
        check_data(kit)
    assert kit.hospital.partition in files_with(rows, home)
    kit.hospital.partition.unlink()
    kit.hospital.sealed_partition.write_bytes(kit.hospital.sealed_partition.read_bytes()[:-1])
    with pytest.raises(DataError, match="does not open"):
        check_data(kit)


def test_what_still_lies_in_the_clear_is_said(
    server: ServerKit, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = class_folders(tmp_path / "images", {"normal": 30, "opacity": 30})
    settings = setting.replace(server.load_project().settings, "data.source", str(source))
    prepared = preprocess(settings.data, 1, bytes(32))  # as another study did before, with a cache
    save_partition(tmp_path / "prepared.npz", prepared.partitions[0])
    enroll(server, home, Images.of(None, tmp_path / "prepared.npz", {}))
    said = " ".join(capsys.readouterr().err.split())
    assert f"{os.environ['XDG_CACHE_HOME']}/fedward holds decoded images of earlier runs in the clear" in said
    assert "prepared.npz still holds the images in the clear" in said


def test_labs_have_no_hospital_that_could_seal() -> None:
    sealing = ("image-encryption.method=fgsm",)
    for asked in (
        backdoor.Asked("synthetic", False, "", sealing),
        image_encryption.Asked("synthetic", False, "", sealing),
    ):
        with pytest.raises(UsageError, match="keeps partitions in the clear"):
            asked.plan()
