"""A picture as DICOM: a derived secondary capture in color, with new identifiers and nothing of the source's header."""

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from fedward.cloaking.dicom_header import SECONDARY_CAPTURE, add_empty, derived_uid

_MOST_TOLD = 1024  # characters of a description, as the standard bounds them


def secondary_capture(pixels: NDArray[np.uint8], told: str, identity: bytes) -> bytes:
    """The bytes of a DICOM file with a picture.

    Args:
        pixels: uint8, shape (height, width, 3).
        told: What it is, in words that name nobody.
        identity: Random bytes for this picture alone: they decide its unique identifiers, which tell nothing of the
            source's.

    Guarantees:
        1. Nothing of the source is in it but what its pixels show: no name, number, date or identifier.
    """
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(SECONDARY_CAPTURE)
    meta.MediaStorageSOPInstanceUID = derived_uid("instance", identity)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SpecificCharacterSet = "ISO_IR 192"
    made.SOPClassUID, made.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    made.StudyInstanceUID, made.SeriesInstanceUID = (derived_uid(what, identity) for what in ("study", "series"))
    add_empty(made)
    made.Modality, made.ConversionType, made.InstanceNumber = "OT", "WSD", 1
    made.ImageType = ["DERIVED", "SECONDARY"]
    made.SeriesDescription = "Fedward: heat map. Not for diagnosis."
    made.DerivationDescription = told[:_MOST_TOLD]
    made.PatientIdentityRemoved = "YES"
    made.DeidentificationMethod = "Fedward: nothing of the source's header kept"
    made.BurnedInAnnotation = "YES"  # our own text: what the heat means
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PlanarConfiguration = 3, "RGB", 0
    made.Rows, made.Columns = pixels.shape[:2]
    made.BitsAllocated, made.BitsStored, made.HighBit, made.PixelRepresentation = 8, 8, 7, 0
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.size % 2)
    made["PixelData"].VR = "OB"
    buffer = BytesIO()
    made.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()
