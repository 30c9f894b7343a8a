"""Readers of perturbed images: what each gives back, training that repeats to the bit, and bytes from anybody."""

import json

import numpy as np
import pytest

from fedward.dataset.phantoms import FINDING, list_phantoms
from fedward.errors import DataError, UsageError
from fedward.files import sha256
from fedward.learning.model import Classifier
from fedward.learning.weight_shapes import ModelSpec
from fedward.reconstruction import fitting
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.quality import psnr, ssim
from fedward.reconstruction.reader import Batch, Reader
from fedward.reconstruction.registry import READERS, reader_from, train_reader
from fedward.reconstruction.shape import ReaderShape

pytestmark = pytest.mark.slow

SIZE = 32
IMAGES = {"vae", "vae-without-kl", "denoiser", "joint"}
LABELS = {"vae", "vae-without-kl", "label-recovery", "joint"}


def phantom_pairs(count: int, seed: int) -> Pairs:
    """Phantoms, each pixel moved up or down by 0.05."""
    listing = list_phantoms(count, SIZE, seed)
    originals = (np.asarray(listing.pixels, np.float32) / 255)[..., None]
    signs = np.random.default_rng(seed).choice(np.float32([-0.05, 0.05]), originals.shape)
    labels = np.array([[entry.classes == (FINDING,)] for entry in listing.entries], np.float32)
    return Pairs(np.clip(originals + signs, 0, 1), originals, labels)


SEEN, UNSEEN = phantom_pairs(200, 1), phantom_pairs(40, 2)


@pytest.fixture(scope="module")
def denoiser() -> Reader:
    return train_reader("denoiser", SEEN, seed=3, epochs=10)


def untrained(name: str, size: int = SIZE, findings: int = 1) -> Reader:
    return READERS[name](ReaderShape(size, findings), seed=5)


# ---- what readers give ------------------------------------------------------------------------------------------


def test_a_denoiser_brings_images_nearer_to_their_originals(denoiser: Reader) -> None:
    restored = denoiser.images(UNSEEN.encrypted)
    assert restored is not None
    before, after = psnr(UNSEEN.encrypted, UNSEEN.originals), psnr(restored, UNSEEN.originals)
    assert after.mean() > before.mean() + 1
    assert ssim(restored, UNSEEN.originals).mean() > ssim(UNSEEN.encrypted, UNSEEN.originals).mean() + 0.02
    assert denoiser.scores(UNSEEN.encrypted) is None


def test_an_untrained_denoiser_changes_nothing() -> None:
    restored = untrained("denoiser").images(UNSEEN.encrypted)
    assert restored is not None
    assert np.array_equal(restored, UNSEEN.encrypted)


@pytest.mark.parametrize("name", sorted(READERS))
@pytest.mark.parametrize(("size", "findings"), [(16, 1), (48, 3)])
def test_each_method_takes_squares_of_any_size(name: str, size: int, findings: int) -> None:
    reader = untrained(name, size, findings)
    assert len(reader.get_weights()) == reader.weight_count(reader.shape)
    pixels = np.random.default_rng(1).random((3, size, size, 1), np.float32)
    images, scores = reader.images(pixels), reader.scores(pixels)
    assert (images is not None, scores is not None) == (name in IMAGES, name in LABELS)
    if images is not None:
        assert (images.shape, images.dtype) == (pixels.shape, np.float32)
    if scores is not None:
        assert (scores.shape, scores.dtype) == ((3, findings), np.float32)


def test_restored_images_are_clipped() -> None:
    reader = untrained("denoiser")
    reader.set_weights(np.random.default_rng(1).normal(0, 0.3, len(reader.get_weights())).astype(np.float32))
    raw = reader.network(UNSEEN.encrypted)["image"].numpy()
    assert raw.min() < 0 < 1 < raw.max(), "the control"
    assert np.array_equal(np.asarray(reader.images(UNSEEN.encrypted)), np.clip(raw, 0, 1))


def test_images_of_another_size_are_refused(denoiser: Reader) -> None:
    for read in (denoiser.images, denoiser.scores):
        with pytest.raises(DataError, match="takes grey images of 32 by 32"):
            read(np.zeros((1, 48, 48, 1), np.float32))


# ---- training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vae", "vae-without-kl", "joint"])
def test_training_takes_the_loss_of_each_method_down(name: str) -> None:
    few = SEEN.some(np.arange(64))

    def loss(reader: Reader) -> float:
        return float(reader.loss(batch_of(few)))

    start = READERS[name](ReaderShape(SIZE, 1), 3)
    assert loss(train_reader(name, few, seed=3, epochs=20)) < 0.9 * loss(start)


@pytest.mark.parametrize("name", ["joint", "label-recovery"])
def test_a_part_that_reads_labels_starts_as_the_classifier_that_is_given(name: str) -> None:
    classifier = Classifier(ModelSpec("cnn", SIZE, 1), seed=9)
    reader = untrained(name)
    reader.start_at(classifier)
    scores = reader.scores(UNSEEN.encrypted)
    assert np.allclose(scores, classifier.logits(UNSEEN.encrypted), atol=1e-5)
    assert not np.allclose(scores, untrained(name).scores(UNSEEN.encrypted), atol=1e-3)


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("denoiser", ModelSpec("cnn", SIZE, 1)),
        ("vae", ModelSpec("cnn", SIZE, 1)),
        ("joint", ModelSpec("cnn", 48, 1)),
        ("joint", ModelSpec("cnn", SIZE, 2)),
        ("joint", ModelSpec("scatter", SIZE, 1)),
    ],
)
def test_other_readers_stay_as_they_are(name: str, spec: ModelSpec) -> None:
    reader = untrained(name)
    reader.start_at(Classifier(spec, seed=9))
    assert np.array_equal(reader.get_weights(), untrained(name).get_weights())


def test_training_starts_at_the_classifier() -> None:
    classifier = Classifier(ModelSpec("cnn", SIZE, 1), seed=9)
    few = SEEN.some(np.arange(32))
    start = train_reader("label-recovery", few, seed=3, epochs=1, classifier=classifier).get_weights()
    moved = [
        float(np.linalg.norm(start - each))
        for each in (classifier.get_weights(), untrained("label-recovery").get_weights())
    ]
    assert moved[0] < 0.5 * moved[1]


def batch_of(pairs: Pairs) -> Batch:
    return Batch(pairs.encrypted, pairs.originals, pairs.labels, np.array([1, 1], np.int32))


def test_the_same_seed_gives_the_same_reader_to_the_bit() -> None:
    first, again = (train_reader("vae", SEEN.some(np.arange(16)), seed=1, epochs=1).as_bytes() for _ in range(2))
    assert first == again


def test_progress_ends_with_all_steps() -> None:
    told: list[tuple[int, int]] = []
    train_reader("label-recovery", SEEN.some(np.arange(40)), 1, lambda *now: told.append(now), epochs=2)
    assert told == [(done, 4) for done in range(1, 5)]  # steps of at most 32 pairs


def test_the_epoch_that_does_best_on_pairs_held_out_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Told losses of our own, training keeps the weights of the epoch with the lowest."""
    seen: list[np.ndarray] = []
    losses = iter([3.0, 1.0, 2.0])

    def told(self: fitting._Step, pairs: Pairs, rows: np.ndarray, draw: tuple[int, int]) -> float:
        assert len(rows) == 12
        seen.append(self._reader.get_weights())
        return next(losses)

    monkeypatch.setattr(fitting._Step, "loss", told)
    reader = train_reader("label-recovery", SEEN.some(np.arange(120)), 1, epochs=3)
    assert np.array_equal(reader.get_weights(), seen[1])
    assert not np.array_equal(seen[1], seen[2])


def test_wrong_names_and_epochs_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no reader 'nonsense'.*denoiser"):
        train_reader("nonsense", SEEN, 1)
    with pytest.raises(UsageError, match="-1 epochs"):
        train_reader("label-recovery", SEEN, 1, epochs=-1)


# ---- pairs ------------------------------------------------------------------------------------------------------


def test_pairs_that_are_none_are_refused() -> None:
    good, labels = np.full((2, 32, 32, 1), 0.5, np.float32), np.ones((2, 1), np.float32)
    assert len(Pairs(good, good, labels)) == 2
    with pytest.raises(DataError, match="multiple of 16"):
        Pairs(good[:, :24, :24], good[:, :24, :24], labels)
    with pytest.raises(DataError, match="multiple of 16"):
        Pairs(good[:, :, :16], good[:, :, :16], labels)
    for originals, wrong in ((good[:1], labels), (good, labels[:1]), (good, labels[:, 0]), (good, labels[:, :0])):
        with pytest.raises(DataError, match="are no pairs"):
            Pairs(good, originals, wrong)
    with pytest.raises(DataError, match="are no pairs"):
        Pairs(good[:0], good[:0], labels[:0])
    for value in (np.nan, 1.01, -0.01):
        bad = good.copy()
        bad[1, 2, 3, 0] = value
        with pytest.raises(DataError, match="encrypted are not all in"):
            Pairs(bad, good, labels)
        with pytest.raises(DataError, match="originals are not all in"):
            Pairs(good, bad, labels)


# ---- bytes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(READERS))
def test_a_reader_from_bytes_gives_the_same_to_the_bit(name: str) -> None:
    reader = untrained(name)
    again = reader_from(reader.as_bytes())
    assert type(again) is type(reader)
    assert again.as_bytes() == reader.as_bytes()
    for first, second in ((reader.images, again.images), (reader.scores, again.scores)):
        assert np.array_equal(np.asarray(first(UNSEEN.encrypted)), np.asarray(second(UNSEEN.encrypted)))


@pytest.fixture(scope="module")
def stored() -> bytes:
    return untrained("denoiser").as_bytes()


@pytest.mark.parametrize("place", [0, 5, 17, 30, 60, 75, 76, 500, -33, -32, -1])
def test_a_changed_byte_is_noticed(stored: bytes, place: int) -> None:
    changed = bytearray(stored)
    changed[place] ^= 1
    with pytest.raises(DataError, match=r"The reader is damaged|This is not a reader"):
        reader_from(bytes(changed))


@pytest.mark.parametrize("length", [0, 10, 17, 18, 60, 100, 1_000, -4, -1])
def test_bytes_cut_short_are_noticed(stored: bytes, length: int) -> None:
    with pytest.raises(DataError, match=r"The reader is damaged|This is not a reader"):
        reader_from(stored[:length])
    with pytest.raises(DataError, match="The reader is damaged"):
        reader_from(stored + b"\0")


def forged(weights: bytes = b"", **said: object) -> bytes:
    """A reader's bytes with a digest that fits, as a forger would make them."""
    line = json.dumps({"method": "denoiser", "image_size": 64, "findings": 1} | said).encode()
    body = b"fedward reader 1\n" + line + b"\n" + weights
    return body + sha256(body)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (forged(method="pickle"), "method, pickle, is unknown"),
        (forged(method="../x"), "method must be a name"),
        (forged(method=7), "method must be a text"),
        (forged(image_size=1_000_000), "image_size must be at least 16 and at most 512"),
        (forged(image_size=20), "image_size must be a multiple of 16"),
        (forged(image_size=True), "image_size must be a whole number"),
        (forged(findings=10**9), "findings must be at least 1 and at most 64"),
        (forged(more=1), "is no field"),
        (forged(method="vae", image_size=512), "damaged .it has 0 weights, and not the 10"),
        (forged(method="x" * 2_000), "a part is missing"),
        (forged(np.zeros(8, "<f4").tobytes()), "it has 8 weights"),
        (forged(np.array([np.nan], "<f4").tobytes()), "not all finite"),
        (forged(b"abc"), "a part is missing"),
        (b"fedward reader 1\n" + b"\n" * 41, "digest is another"),
        (b"fedward reader 1\n" + b"\n" * 7, "a part is missing"),
        (b"fedward reader 2\n{}", "not a reader of this version"),
        (b"\x80\x04pickle", "not a reader"),
    ],
)
def test_hostile_bytes_get_one_sentence(content: bytes, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence) as refused:
        reader_from(content)
    assert len(str(refused.value).splitlines()) == 1
