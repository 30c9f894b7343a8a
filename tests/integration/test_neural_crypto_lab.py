"""The lab of neural cryptography on a few drawn images: without a cipher all is broken, with AES nothing is."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lab_units import in_this_process

from commands.lab import neural_crypto
from commands.lab.neural_crypto import Asked, run_lab
from commands.lab.neural_crypto_tables import sheets
from fedward.errors import DataError, UsageError
from fedward.labs.hospitals_data import load_hospitals
from fedward.labs.neural_crypto.ciphers import AesGcm, Cipher, Plain, Wide
from fedward.labs.neural_crypto.eves import messages
from fedward.labs.neural_crypto.mixer import flat, new_mixer
from fedward.labs.neural_crypto.models import load_models, save_models
from fedward.labs.neural_crypto.plan import AES, LINEAR, MIXER, PLAIN, PUBLISHED, QUICK, Unit
from fedward.labs.neural_crypto.running import LabFolder, chosen_sets, load_picture, run_unit
from fedward.labs.neural_crypto.summary import broken_by
from fedward.labs.neural_crypto.trial import Sets, break_affine, measure
from fedward.types import Vector

PLAN = dataclasses.replace(
    QUICK,
    ciphers=(PUBLISHED, MIXER),
    eves=(LINEAR,),
    trained=280,
    measured=24,
    autoencoder_steps=8,
    published_steps=(8, 2),
    mixer_steps=2,
    eve_steps=2,
    attack_steps=2,
    triples=(128, 600),
    pairs=(64, 300),
    known=(24,),
    chosen=80,
)
ATTACKED = dataclasses.replace(PLAN, eve_steps=60, attack_steps=40, known=(90,), chosen=200)
SMALL = ("data.synthetic-images=460",)


class Blocks:
    """A coder that needs no training: the mean of every two by two pixels."""

    def codes(self, pixels: Vector) -> Wide:
        return pixels.reshape(-1, 16, 2, 16, 2).mean((2, 4)).reshape(-1, 256).astype(np.float64)

    def images(self, codes: Wide) -> Vector:
        return codes.reshape(-1, 16, 16, 1).repeat(2, 1).repeat(2, 2).clip(0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> LabFolder:
    """A lab of one seed, run by the command."""
    path = tmp_path_factory.mktemp("lab") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(neural_crypto, "QUICK", PLAN)
        patch.setattr(neural_crypto, "run_units", in_this_process)
        run_lab(path, Asked("synthetic", False, "", SMALL), "table")
    return LabFolder(path)


@pytest.fixture(scope="module")
def sets(folder: LabFolder) -> Sets:
    return chosen_sets(load_hospitals(folder.data(1)), PLAN, 1)


def measured(cipher: Cipher, sets: Sets) -> dict[str, Any]:
    return measure(cipher, Blocks(), sets, ATTACKED, 1)[0]


def test_without_a_cipher_every_attack_succeeds(sets: Sets) -> None:
    found = measured(Plain(), sets)
    assert broken_by(found) == [
        "Eve",
        "another image as the key",
        "a key that is one pixel off",
        "90 known plaintexts",
        "chosen plaintexts told apart",
    ]
    assert found["npcr"] == 0
    assert found["wrong_key"] == found["bob"]


def test_with_aes_no_attack_succeeds(sets: Sets) -> None:
    found = measured(AesGcm(), sets)
    assert broken_by(found) == []
    assert found["bob"]["psnr_db"] == pytest.approx(found["ceiling"]["psnr_db"], abs=0.1)
    assert found["wrong_key"] is None, "refused"
    assert found["near_key"] is None
    assert found["npcr"] == pytest.approx(99.61, abs=0.4)
    assert found["uaci"] == pytest.approx(33.46, abs=1.5)
    assert found["entropy_bits"] > 7.9
    assert abs(found["neighbor_correlation"]) < 0.05
    assert found["same_nonce"] == pytest.approx(found["bob"]), "who uses a nonce twice gives all away, with AES too"


def test_rounds_that_add_little_hide_little(sets: Sets) -> None:
    """The check of the check: that it is a network, and has a nonce, protects nothing."""
    assert {"Eve", "chosen plaintexts told apart"} <= set(broken_by(measured(new_mixer(1), sets)))


def test_what_counts_as_broken() -> None:
    """Of figures made up."""
    prior = {"psnr_db": 17.0, "ssim": 0.5}
    calm: dict[str, Any] = {
        "prior": prior,
        "eves": {"linear": prior},
        "wrong_key": None,
        "near_key": {"psnr_db": 12.0, "ssim": 0.1},
        "known_plaintexts": {"10": {"linear": prior}},
        "chosen_plaintexts": {"linear": {"p": 0.2, "share": 0.52}},
    }
    assert broken_by(calm) == []
    assert broken_by(calm | {"near_key": {"psnr_db": 18.1, "ssim": 0.1}}) == ["a key that is one pixel off"]
    assert broken_by(calm | {"eves": {"dense": {"psnr_db": 10.0, "ssim": 0.61}}}) == ["Eve"]
    told = {"linear": {"p": 1e-4, "share": 0.6}}
    assert broken_by(calm | {"chosen_plaintexts": told}) == ["chosen plaintexts told apart"]
    attack = {"random": {"sent_by_triples": {"10": {"exact": 0.99}, "20": {"exact": 1.0}}}}
    assert broken_by(calm | {"affine_attack": attack}) == ["least squares from 20 known triples (random codes)"]


def test_the_published_cipher_is_recovered_from_513_triples_and_not_from_fewer(folder: LabFolder, sets: Sets) -> None:
    """Codes of few drawn images do not span all dimensions; random ones do."""
    models = load_models(folder.models(1))
    train, test = (messages(images, models.narrow) for images in (sets.train, sets.test))
    plan = dataclasses.replace(PLAN, triples=(256, 512, 513, 600), pairs=(256, 257, 300))
    found = break_affine(models.published, train, test, plan, 1)["random"]
    for count in ("513", "600"):
        assert found["sent_by_triples"][count]["largest"] < 1e-6
        assert found["sent_by_triples"][count]["exact"] == 1
    for count in ("256", "512"):
        assert found["sent_by_triples"][count]["median"] > 1e-4
        assert found["sent_by_triples"][count]["exact"] == 0
    assert max(found["code_by_pairs"][count]["largest"] for count in ("257", "300")) < 1e-6
    assert found["code_by_pairs"]["256"]["largest"] > 1e-4


def test_the_command_breaks_the_published_cipher_and_writes_all(folder: LabFolder) -> None:
    summary: dict[str, Any] = json.loads((folder.path / "summary.json").read_bytes())
    published, mixer = summary["ciphers"]
    assert published["broken_by"]
    assert list(summary["affine_attack"]["images"]["sent_by_triples"]) == ["128", "600"]
    assert any("600 known triples (random codes)" in one["attack"] for one in published["broken_by"])
    assert mixer["bob"]["psnr_db"] == pytest.approx(mixer["ceiling"]["psnr_db"], abs=0.1)
    assert "published: BROKEN" in summary["verdict"]
    assert "never protection" in summary["verdict"]
    assert "public" in summary["threat_model"]
    tables = sheets(summary)
    assert [len(table.rows) for table in tables] == [2, 2, 2, 2, 2, 2, 6, 6, 2]
    assert all(len(row) == len(table.headings) for table in tables for row in table.rows)
    names = {path.name for path in folder.path.iterdir()}
    assert {"summary.json", "affine-attack.png", "known-plaintexts.png", "table-9.csv"} <= names
    assert {"1-published.png", "1-mixer.png"} <= names
    assert load_picture(folder.picture(Unit(1, MIXER))).sent.shape == (4, 32, 32, 1)


def test_learned_and_measured_images_are_of_different_patients(folder: LabFolder, sets: Sets) -> None:
    partitions = load_hospitals(folder.data(1))
    train = {name for partition in partitions for name in partition.train.patients}
    assert not train & {name for partition in partitions for name in partition.test.patients}
    assert (len(sets.train), len(sets.test)) == (PLAN.trained, PLAN.measured)


def test_models_come_back_as_they_were(folder: LabFolder, tmp_path: Path) -> None:
    models = load_models(folder.models(1))
    save_models(tmp_path / "again.npz", models)
    again = load_models(tmp_path / "again.npz")
    for ours, theirs in ((models.mixer, again.mixer), (models.untrained, again.untrained)):
        assert all(np.array_equal(a, b) for a, b in zip(flat(ours), flat(theirs), strict=True))
    assert np.array_equal(models.published.alice, again.published.alice)
    assert all(np.array_equal(a, b) for a, b in zip(models.wide.decoder, again.wide.decoder, strict=True))
    assert [models.cipher(name)[0].name for name in (PLAIN, AES)] == [PLAIN, AES]


def test_wrong_wishes_are_said(tmp_path: Path, folder: LabFolder) -> None:
    for asked in (
        Asked("synthetic", False, "one", ()),
        Asked("synthetic", False, "", ("data.nothing=1",)),
        Asked("synthetic", False, "", ("data.image-size=64",)),
    ):
        with pytest.raises(UsageError):
            run_lab(tmp_path / "lab", asked, "json")
    with pytest.raises(DataError):
        run_lab(tmp_path / "lab", Asked(str(tmp_path / "nowhere"), False, "", ()), "json")
    assert not (tmp_path / "lab").exists()
    with pytest.raises(DataError, match="images to learn from"):
        run_unit(folder, dataclasses.replace(PLAN, measured=3), Unit(1, MIXER))
