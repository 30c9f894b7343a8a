"""Pooling: joins several hospitals' images into one set, which only a simulation can do."""

from fedward.types import HospitalId, ImageSet, Partition


def pooled(partitions: list[Partition], name: str) -> Partition:
    """Join all hospitals' images, split by split, as if one hospital had them."""
    splits = [
        ImageSet.joined([getattr(partition, split) for partition in partitions]) for split in ("train", "val", "test")
    ]
    return Partition(HospitalId(name), partitions[0].findings, *splits)
