"""The images of a finished run, read anew from its data: what labs measure with that attack a run."""

import dataclasses
from collections.abc import Mapping

from commands import console
from data_preprocessing import preprocess
from fedward.dataset.trained_images import has_trained, which_trained
from fedward.errors import DataError
from fedward.folders.simulation import SimulationFolder
from fedward.settings import Settings
from fedward.types import HospitalId, Partition

_KEY = b"pseudonyms that no file keeps, the same in each call"  # so that a call goes on with the same patients


def images_of(run: SimulationFolder, settings: Settings, source: str) -> Mapping[HospitalId, Partition]:
    """The run's images by hospital.

    Args:
        run: The run.
        settings: Its own.
        source: Where its images are now.

    Raises:
        DataError: they are missing, or are not what the hospitals trained on.
    """
    data, sealed = dataclasses.replace(settings.data, source=source), settings.image_encryption.at_rest
    with console.bar("Reading images") as report:
        made = preprocess(data, settings.training.seed, _KEY, report, cached=not sealed)
    for partition in made.partitions:
        folder = run.hospital(partition.hospital).path
        if not has_trained(folder) or not all(which_trained(folder, partition.train.images)):
            raise DataError(
                f"{source} does not have the images that {partition.hospital} trained on.",
                "Name the data that the run was made of.",
            )
    return {partition.hospital: partition for partition in made.partitions}
