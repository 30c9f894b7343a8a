"""Evaluate says what of the images the model was trained on, wherever and in whatever lossless format they lie now."""

from pathlib import Path

from sample_images import KEY, class_folders, data_settings, encoded, picture, write

from commands.evaluate.scoring import _trained_on
from data_preprocessing import preprocess, read_split, save_partition


def test_trained_images_are_known_again_elsewhere(tmp_path: Path) -> None:
    source = class_folders(tmp_path / "data", {"NORMAL": 20, "PNEUMONIA": 20})
    data = preprocess(data_settings(source), 1, KEY, cache_folder=tmp_path / "cache")
    for partition in data.partitions:
        path = tmp_path / "run" / "hospitals" / partition.hospital / "partition.npz"
        path.parent.mkdir(parents=True)
        save_partition(path, partition)
    trained = sum(len(partition.train) for partition in data.partitions)
    moved = tmp_path / "elsewhere"
    for index, name in enumerate(("NORMAL", "PNEUMONIA")):
        for number in range(20):  # the same pictures under other names and in another format, and as many others
            write(moved / name / f"a{number}.bmp", encoded(picture(1000 * index + number), "BMP"))
            write(moved / name / f"b{number}.png", encoded(picture(50_000 + 1000 * index + number)))
    images, _ = read_split(data_settings(moved), 1, "all", cache_folder=tmp_path / "cache")
    assert _trained_on(tmp_path / "run", images) == trained == 28
    assert _trained_on(tmp_path, images) is None
