"""Pooling: joins several hospitals' images into one set, which only a simulation can do."""

import numpy as np

from fedward.types import HospitalId, ImageSet, Partition


def pooled(partitions: list[Partition], name: str) -> Partition:
    """Join all hospitals' images, split by split, as if one hospital had them."""
    splits = [join([getattr(partition, split) for partition in partitions]) for split in ("train", "val", "test")]
    return Partition(HospitalId(name), partitions[0].findings, *splits)


def join(parts: list[ImageSet]) -> ImageSet:
    """Concatenate several sets of images."""
    return ImageSet(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.patients for part in parts]),
    )
