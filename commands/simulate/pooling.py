"""Several hospitals' images in one set, as only a simulation can have them."""

import numpy as np

from fedward.types import HospitalId, ImageSet, Partition


def pooled(partitions: list[Partition], name: str) -> Partition:
    """All hospitals' images as if one had them, split by split."""
    splits = [join([getattr(partition, split) for partition in partitions]) for split in ("train", "val", "test")]
    return Partition(HospitalId(name), partitions[0].findings, *splits)


def join(parts: list[ImageSet]) -> ImageSet:
    """Several sets of images, one behind the other."""
    return ImageSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.patients for part in parts]),
    )
