"""PNG files of 8 or 16 bits: the form of pictures that were PNG, JPEG or another raster file."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from fedward.cloaking.pictures import TOLERANCE, Form, Picture, Role, grey_of, picture_of
from fedward.dataset.problems import UnreadableImageError
from fedward.dataset.rasters import decode_raster

# What a person who opens the file's properties should know.
_TOLD: dict[Role, str] = {
    "original": "",
    "cloaked": "Changed so that classifiers read another label (label cloaking, not encryption). Not for diagnosis.",
    "restored": "Restored from a cloaked image by a reader; an estimate. Not for diagnosis.",
}


@dataclass(frozen=True)
class Png(Form):
    """A grey PNG.

    Attributes:
        bits: 8 or 16.
        scaled: Of 16 bits: whether values were scaled to all of them, as the chunk sBIT says; else a reader of the
            project takes the bits that the largest value needs.
    """

    suffix: ClassVar[str] = ".png"
    bits: int
    scaled: bool = False

    def write(self, values: NDArray[Any], role: Role) -> bytes:
        """See `Form`."""
        facts = PngInfo()
        if self.scaled:
            facts.add(b"sBIT", bytes([self.bits]))
        if _TOLD[role]:
            facts.add_text("Description", _TOLD[role])
        buffer = BytesIO()
        Image.fromarray(values.astype(np.uint8 if self.bits == 8 else np.uint16)).save(buffer, "PNG", pnginfo=facts)
        return buffer.getvalue()

    def bare(self) -> "Png":
        """See `Form`."""
        return self


def raster_picture(content: bytes) -> Picture:
    """A raster file as a picture; colors become grey, as everywhere in the project.

    A PNG of 16 bits keeps its numbers. What else has more than 8 bits is scaled to 16.

    Raises:
        UnreadableImageError: it gives no image, or none that can be changed.
    """
    grey = decode_raster(content).grey
    if grey.dtype == np.uint8:
        return picture_of(grey, Png(8), grey)
    numbers = _sixteen_bits(content)
    for scaled in (False, True):
        form = Png(16, scaled)
        if numbers is not None and _shows(form.write(numbers, "original"), grey):
            return picture_of(numbers, form, grey)
    return picture_of(np.rint(np.clip(grey, 0, 255) * 257).astype(np.uint16), Png(16, scaled=True), grey)


def _sixteen_bits(content: bytes) -> NDArray[np.uint16] | None:
    """A PNG's own numbers, where it is grey and has 16 bits; None otherwise."""
    if content[24:26] != b"\x10\0":
        return None
    try:
        with Image.open(BytesIO(content), formats=("PNG",)) as image:
            return np.asarray(image).astype(np.uint16)
    except UnidentifiedImageError:
        return None


def _shows(content: bytes, grey: NDArray[Any]) -> bool:
    """Whether a file shows a grey picture."""
    try:
        found = grey_of(content)
    except UnreadableImageError:
        return False
    return found.shape == grey.shape and float(np.abs(found - grey).max()) <= TOLERANCE
