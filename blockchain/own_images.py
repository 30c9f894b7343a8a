"""A hospital's images in its own folder: in the clear, or sealed under a key from its keystore where settings say so.

`fedward.dataset.storage` has the file, `fedward.dataset.at_rest` how it is sealed; here is which of both a hospital
has, and where the key comes from (docs/adr/0038).
"""

from blockchain.identity import Identity
from data_preprocessing import load_partition, save_partition
from fedward.dataset.at_rest import ImageKey, read_sealed
from fedward.errors import DataError
from fedward.folders.hospital import HospitalFolder
from fedward.settings import ImageEncryptionSettings
from fedward.types import HospitalId, Partition


def image_key(hospital: HospitalId, identity: Identity) -> ImageKey:
    """The key of a hospital's sealed files: as well kept as the keys of its account, since it follows from them."""
    return ImageKey(hospital, identity.image_key())


def open_picture(folder: HospitalFolder) -> bytes:
    """The picture of a hospital's image encryption, as PNG; it was sealed at a run's end.

    Raises:
        DataError: there is none, it is damaged, or the hospital's key does not open it.
        UsageError: the hospital's keys cannot be read.
        EvidenceError: the hospital's membership is missing or damaged.
    """
    try:
        return bytes(
            read_sealed(folder.sealed_picture, image_key(folder.membership().hospital, Identity.load(folder.identity)))
        )
    except OSError as error:
        raise DataError(
            f"{folder.sealed_picture} could not be read: {error.strerror}.",
            "A run with image-encryption.method set writes it at its end.",
        ) from error


def save_images(
    folder: HospitalFolder, partition: Partition, identity: Identity, settings: ImageEncryptionSettings
) -> None:
    """Keep a hospital's images in its folder.

    Args:
        folder: The hospital's own, made already.
        partition: The images, with the hospital's name.
        identity: The hospital's keys.
        settings: They say whether the images are sealed.

    Raises:
        ResourceError: the disk is full or the folder cannot be written.

    Guarantees:
        1. With a method set, nothing is written from which an image can be read without the hospital's keys.
    """
    if settings.at_rest:
        save_partition(folder.sealed_partition, partition, image_key(partition.hospital, identity))
    else:
        save_partition(folder.partition, partition)


def load_images(
    folder: HospitalFolder, settings: ImageEncryptionSettings, identity: Identity | None = None
) -> Partition:
    """A hospital's images; sealed ones are opened in memory only.

    Args:
        folder: The hospital's own; it has joined a consortium.
        settings: They say whether the images are sealed.
        identity: The hospital's keys, where they are at hand; None: they are read where they are needed.

    Raises:
        DataError: the file is missing or damaged, the hospital's key does not open it, or images lie in the clear that
            should be sealed.
        UsageError: the images are sealed, and the hospital's keys cannot be read.
        EvidenceError: they are sealed, and the hospital's membership is missing or damaged.
    """
    if not settings.at_rest:
        return load_partition(folder.partition)
    if folder.partition.exists():
        raise DataError(
            f"{folder.partition} lies there in the clear, though this hospital's images are to be sealed.",
            "Remove it, from backups too; if there is no partition.sealed beside it, enroll again.",
        )
    keys = identity or Identity.load(folder.identity)
    return load_partition(folder.sealed_partition, image_key(folder.membership().hospital, keys))


def images_there(folder: HospitalFolder) -> Partition:
    """A hospital's images as they lie in its folder, sealed or in the clear: where no settings say which.

    Raises:
        DataError, UsageError, EvidenceError: as `load_images`.
    """
    if not folder.sealed_partition.exists():
        return load_partition(folder.partition)
    key = image_key(folder.membership().hospital, Identity.load(folder.identity))
    return load_partition(folder.sealed_partition, key)
