"""What a derived DICOM object keeps of its source's header: numbers and words of fixed lists, nothing else.

The list is of what is kept, not of what is removed: an attribute that nobody thought of stays behind. Of what is kept,
no free text passes: a word has to be one of a list, a number has to be a number, and tables are written anew from their
entries. Uncompressed, with new unique identifiers, an object of its own in a study of its own.

References:
    DICOM PS3.15, annex E (de-identification); PS3.3, C.7.6.1 (derived images), C.7.6.3, C.11.
"""

import hashlib
import re
import uuid
from typing import Any

from pydicom.dataset import Dataset
from pydicom.uid import UID

from fedward.dataset.lookup_tables import read_table
from fedward.dataset.problems import UnreadableImageError

# Grey radiographs and their like, with one frame; what else a source was becomes a secondary capture.
_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.1.1.1": "DX",
}
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_WORDS = {
    "PhotometricInterpretation": {"MONOCHROME1", "MONOCHROME2"},
    "PresentationLUTShape": {"IDENTITY", "INVERSE"},
    "VOILUTFunction": {"LINEAR", "LINEAR_EXACT", "SIGMOID"},
    "RescaleType": {"US", "OD", "HU"},
    "PixelIntensityRelationship": {"LIN", "LOG"},
    "BodyPartExamined": {"CHEST"},
    "ViewPosition": {"AP", "PA", "LL", "RL"},
    "LossyImageCompression": {"00", "01"},
    "BurnedInAnnotation": {"NO"},
}
_NUMBERS = (
    "RescaleSlope", "RescaleIntercept", "WindowCenter", "WindowWidth", "PixelSpacing", "ImagerPixelSpacing",
    "PixelAspectRatio",
)  # fmt: skip
_SHUTTER = (
    "ShutterShape", "ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge",
    "ShutterLowerHorizontalEdge", "CenterOfCircularShutter", "RadiusOfCircularShutter",
    "VerticesOfThePolygonalShutter", "ShutterPresentationValue",
)  # fmt: skip
_PADDING = ("PixelPaddingValue", "PixelPaddingRangeLimit")
_SHAPES = {"RECTANGULAR", "CIRCULAR", "POLYGONAL"}
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MOST_CHARACTERS = 16  # of a number, as the standard bounds them
# Attributes that every image must have, be it without a value.
_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber",
    "ReferringPhysicianName", "StudyID", "SeriesNumber", "Laterality", "PatientOrientation",
)  # fmt: skip


def kept_header(header: Dataset) -> Dataset:
    """What is kept of a source's header: how its values are to be shown, and how large its pixels are.

    Size, depth and unique identifiers are not in it: those belong to the file that is written.

    Raises:
        UnreadableImageError: it is in color or of several frames, says that text is burned into its pixels, or a table
            in it is damaged.
    """
    if str(header.get("PhotometricInterpretation") or "").strip().upper() not in _WORDS["PhotometricInterpretation"]:
        raise UnreadableImageError("it is DICOM in color; only grey DICOM images are cloaked")
    if int(header.get("NumberOfFrames") or 1) > 1 or "PerFrameFunctionalGroupsSequence" in header:
        raise UnreadableImageError("it has several frames or groups of them; only single images are cloaked")
    if str(header.get("BurnedInAnnotation") or "").strip().upper() == "YES":
        raise UnreadableImageError("its header says that text is burned into its pixels, which would leave with them")
    kept = Dataset()
    source = str(header.get("SOPClassUID") or "")
    kept.SOPClassUID = UID(source if source in _CLASSES else SECONDARY_CAPTURE)
    kept.Modality = _CLASSES.get(source, "OT")
    for keyword, words in _WORDS.items():
        value = str(header.get(keyword) or "").strip().upper()
        if value in words:
            setattr(kept, keyword, value)
    for keyword in _NUMBERS:
        numbers = _numbers(header.get(keyword))
        if numbers:
            setattr(kept, keyword, numbers if len(numbers) > 1 else numbers[0])
    _keep_shutter(header, kept)
    _keep_padding(header, kept)
    _keep_tables(header, kept)
    return kept


def without_places(kept: Dataset) -> Dataset:
    """A kept header without shutter and padding."""
    bare = Dataset()
    for element in kept:
        if element.keyword not in (*_SHUTTER, *_PADDING):
            bare.add(element)
    return bare


def derived_uid(what: str, identity: bytes) -> UID:
    """A unique identifier under 2.25, of a number that only `identity` and the word decide.

    Args:
        what: What it identifies: another word gives another identifier.
        identity: Random bytes of the object's own, so that the number tells nothing of its source.
    """
    digest = hashlib.blake2b(what.encode(), key=identity, digest_size=16).digest()
    return UID(f"2.25.{uuid.UUID(bytes=digest, version=4).int}")


def add_empty(header: Dataset) -> None:
    """Put in what every image must have, without a value: nobody's name, no date."""
    for keyword in _EMPTY:
        setattr(header, keyword, "")


def _numbers(value: Any) -> list[str]:
    """The texts of an attribute's numbers; none where one of them is no plain number."""
    if value is None or isinstance(value, bytes):
        return []
    several = not isinstance(value, str) and hasattr(value, "__iter__")
    texts = [str(part).strip() for part in (value if several else [value])]
    return texts if all(len(text) <= _MOST_CHARACTERS and _NUMBER.fullmatch(text) for text in texts) else []


def _keep_shutter(header: Dataset, kept: Dataset) -> None:
    """Shapes of a list, and whole numbers."""
    shapes = header.get("ShutterShape")
    names = [shapes] if isinstance(shapes, str) else list(shapes or ())
    names = [name.strip().upper() for name in names]
    if not names or not set(names) <= _SHAPES:
        return
    kept.ShutterShape = names if len(names) > 1 else names[0]
    for keyword in _SHUTTER[1:]:
        numbers = [int(float(text)) for text in _numbers(header.get(keyword))]
        if numbers:
            setattr(kept, keyword, numbers if len(numbers) > 1 else numbers[0])


def _keep_padding(header: Dataset, kept: Dataset) -> None:
    """Padding as numbers of 16 bits with the sign that pixels have."""
    signed = bool(header.get("PixelRepresentation"))
    for keyword in _PADDING:
        value = header.get(keyword)
        if isinstance(value, bytes):
            value = int.from_bytes(value[:2], "little" if header.original_encoding[1] is not False else "big")
        if isinstance(value, int):
            word = value % 0x10000
            setattr(kept, keyword, word - 0x10000 if signed and word >= 0x8000 else word)
            kept[keyword].VR = "SS" if signed else "US"


def _keep_tables(header: Dataset, kept: Dataset) -> None:
    """The first modality and VOI table, written anew from their entries."""
    for sequence in ("ModalityLUTSequence", "VOILUTSequence"):
        if not header.get(sequence):
            continue
        little = header.original_encoding[1] is not False
        table = read_table(header[sequence].value[0], "LUTDescriptor", "LUTData", little)
        item = Dataset()
        item.LUTDescriptor = [len(table.entries) % 0x10000, table.first, max(8, int(table.entries.max()).bit_length())]
        item["LUTDescriptor"].VR = "US"
        item.LUTData = table.entries.astype("<u2").tobytes()
        item["LUTData"].VR = "OW"
        if sequence == "ModalityLUTSequence":
            item.ModalityLUTType = "US"
        setattr(kept, sequence, [item])
