"""DICOM files of 8 to 16 bits: anonymous derived objects in the form of pictures that were grey DICOM files."""

from dataclasses import dataclass
from io import BytesIO
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian

from fedward.cloaking.dicom_header import SECONDARY_CAPTURE, add_empty, derived_uid, kept_header, without_places
from fedward.cloaking.pictures import Form, Picture, Role, picture_of
from fedward.dataset.dicom import DAMAGE, decode_dicom, stored_values
from fedward.dataset.problems import UnreadableImageError

# What whoever opens the object should know.
_TOLD: dict[Role, str] = {
    "original": "Anonymized by Fedward; pixel values as they were.",
    "cloaked": "Changed by Fedward so that classifiers read another label: label cloaking, not encryption. Not for "
    "diagnosis.",
    "restored": "Restored by a reader of Fedward from a cloaked image: an estimate. Not for diagnosis.",
}
_LOSSY = {f"1.2.840.10008.1.2.4.{number}" for number in (50, 51, 81, 91, 203)}


@dataclass(frozen=True)
class Dicom(Form):
    """A grey DICOM object with one frame, uncompressed.

    Attributes:
        kept: What is kept of the source's header.
        allocated, stored: Bits of a value, as the source has them.
        signed: Whether values have a sign.
        identity: Random; decides the unique identifiers, which tell nothing of the source's.
    """

    suffix: ClassVar[str] = ".dcm"
    kept: Dataset
    allocated: int
    stored: int
    signed: bool
    identity: bytes

    def write(self, values: NDArray[Any], role: Role) -> bytes:
        """See `Form`."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = self.kept.SOPClassUID
        meta.MediaStorageSOPInstanceUID = self._uid("instance", role)
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
        made.update(self.kept)
        add_empty(made)
        made.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
        made.StudyInstanceUID, made.SeriesInstanceUID = self._uid("study", role), self._uid("series", role)
        made.InstanceNumber = 1
        made.ImageType = ["DERIVED", "SECONDARY"]
        made.DerivationDescription = _TOLD[role]
        made.PatientIdentityRemoved = "YES"
        made.DeidentificationMethod = "Fedward: numbers and words of fixed lists kept, all else removed"
        if self.kept.SOPClassUID == SECONDARY_CAPTURE:
            made.ConversionType = "WSD"
        made.SamplesPerPixel = 1
        made.Rows, made.Columns = values.shape
        made.BitsAllocated, made.BitsStored, made.HighBit = self.allocated, self.stored, self.stored - 1
        made.PixelRepresentation = int(self.signed)
        made.PixelData = self._bytes(values)
        made["PixelData"].VR = "OW" if self.allocated > 8 else "OB"
        buffer = BytesIO()
        made.save_as(buffer, enforce_file_format=True)
        return buffer.getvalue()

    def bare(self) -> "Dicom":
        """See `Form`."""
        return Dicom(without_places(self.kept), self.allocated, self.stored, self.signed, self.identity)

    def _bytes(self, values: NDArray[Any]) -> bytes:
        """Values as they lie in the file: bits that are not stored are zero, and the length is even."""
        content: bytes = (values.astype(np.int64) & (2**self.stored - 1)).astype(f"<u{self.allocated // 8}").tobytes()
        return content + b"\0" * (len(content) % 2)

    def _uid(self, what: str, role: Role) -> UID:
        """A unique identifier under 2.25, of a random number that only `identity` decides."""
        return derived_uid(f"{what} {role}", self.identity)


def dicom_picture(content: bytes, identity: bytes) -> Picture:
    """A grey DICOM file as a picture.

    Args:
        content: The whole file.
        identity: Random bytes for this picture alone.

    Raises:
        UnreadableImageError: it gives no image, or none that can be changed or made anonymous.
    """
    grey = decode_dicom(content).grey
    frame, header = stored_values(content)
    if frame.values.dtype.kind == "f" or int(header.BitsAllocated) not in (8, 16):
        raise UnreadableImageError("its values are not whole numbers of 8 or 16 bits")
    try:
        kept = kept_header(header)
    except DAMAGE as error:
        raise UnreadableImageError("its DICOM header is damaged") from error
    if str(header.file_meta.TransferSyntaxUID) in _LOSSY:
        kept.LossyImageCompression = "01"
    signed = bool(header.PixelRepresentation)
    form = Dicom(kept, int(header.BitsAllocated), int(header.BitsStored), signed, identity)
    return picture_of(frame.values, form, grey, frame.padded)
