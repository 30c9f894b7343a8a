"""One image file, read as training reads it."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.apart import Helpers
from fedward.dataset.decoding import quiet_decoders, read_bytes
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.reading import decode_apart
from fedward.errors import DataError


def read_image(path: Path, image_size: int) -> NDArray[np.uint8]:
    """One image file of any supported format as the model takes it.

    Args:
        path: JPEG, PNG, TIFF, BMP, GIF, WebP, JPEG 2000, PNM or DICOM; the content decides, not the name.
        image_size: Side of the square, in pixels.

    Returns:
        uint8, shape (image_size, image_size).

    Raises:
        DataError: the file is missing, or gives no image.
    """
    try:
        with quiet_decoders(), Helpers() as helpers:
            return decode_apart(read_bytes(path), image_size, helpers, lambda _pixels: None).image
    except UnreadableImageError as error:
        raise DataError(f"The image {path} could not be read: {error}.", "Check or replace the file.") from error
