"""What files and folders are by their names: images, formats that are not read, masks, papers, no classes."""

import re
from pathlib import Path

IMAGE_SUFFIXES = frozenset({
    ".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".tif", ".tiff", ".bmp", ".dib", ".gif", ".webp", ".jp2", ".j2k", ".jpx",
    ".pgm", ".ppm", ".pnm", ".pbm", ".pfm", ".jls", ".jpf", ".j2c", ".jpc", ".jph", ".jhc", ".dcm", ".dicom", ".dic",
    ".ima", ".acr",
})  # fmt: skip
# Images all the same, in formats that are not read here: to be told, not to be taken for papers.
UNREAD_SUFFIXES = frozenset({
    ".img", ".raw", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".npy", ".heic", ".heif", ".avif", ".jxl", ".svs",
    ".mnc", ".par", ".rec", ".fits", ".h5", ".hdf5", ".lmdb", ".tfrecord", ".bin", ".pvr", ".psd", ".exr",
})  # fmt: skip

_SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx", "dicomdir"})
_MASKS = re.compile(
    r"(lung|left|right|manual|heart|image|img|train|test)?(masks?|segmentations?|segs?|groundtruths?|gt|contours?|rois?)"
)
_NO_CLASSES = frozenset({
    "unlabeled", "unlabelled", "unknown", "unsorted", "unclassified", "unannotated", "excluded", "exclude", "rejected",
    "discarded", "duplicates",
    "docs", "doc", "documents", "documentation", "papers", "paper", "labels", "label", "annotations", "annotation",
    "metadata", "meta", "csv", "csvs", "tables", "reports", "report", "scripts", "code", "src", "notebooks", "figures",
    "figs", "plots", "logs", "models", "weights", "checkpoints", "results", "outputs", "output", "cache", "tmp", "temp",
    "thumbnails", "thumbs", "previews", "preview", "examples", "readme", "license", "__pycache__", "boxes", "bboxes",
    "heatmaps", "overlays", "trash", "backup", "old",
})  # fmt: skip
_MASK_FILE = re.compile(r"(.+?)[ _-](lung[ _-]?)?(mask|masks|seg|segmentation|label|gt|groundtruth)", re.IGNORECASE)


def plain(name: str) -> str:
    """A name without case, spaces, hyphens, underscores and dots."""
    return re.sub(r"[\s_.-]", "", name.casefold())


def is_system(name: str) -> bool:
    """Whether a file or folder is hidden, or an archive program's or operating system's own."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def is_mask_folder(name: str) -> bool:
    """Whether a folder's name says that it holds masks: black and white drawings of organs, not radiographs."""
    return _MASKS.fullmatch(plain(name)) is not None


def masked_stem(stem: str) -> str:
    """Of `123_mask`, the image `123` that it is the mask of; "" for other names."""
    match = _MASK_FILE.fullmatch(stem)
    return match.group(1) if match else ""


def is_no_class(name: str) -> bool:
    """Whether a folder's name says that it stands beside the images: papers, labels, scripts."""
    return plain(name) in {plain(other) for other in _NO_CLASSES} or is_mask_folder(name)


def claims_to_be_image(path: Path) -> bool:
    """Whether a file's name lets one expect an image: by its suffix, or for want of one."""
    suffix = path.suffix.lower()
    return suffix in IMAGE_SUFFIXES or not suffix or not re.fullmatch(r"\.[a-z][a-z0-9]{1,7}", suffix)


def unread_format(path: Path) -> str:
    """The suffix of an image format that is not read here, "" for others."""
    name = path.name.lower()
    suffix = ".nii" if name.endswith(".nii.gz") else path.suffix.lower()
    return suffix if suffix in UNREAD_SUFFIXES else ""
