"""Stored DICOM values -> grey in [0, 255] as a radiologist would see it, dense is white.

The standard's chain: modality LUT or rescale; VOI LUT or window, else the range that the image itself uses;
presentation (MONOCHROME1 turned over); padding and what a shutter hides are black. Whatever else changes grey is
refused with its name, never passed over.

References:
    DICOM PS3.3, C.11.1 (modality LUT), C.11.2 (VOI LUT), C.7.6.3.1.2 (photometric interpretation), C.7.6.11 (shutter),
    C.7.6.16.2 (functional groups), C.11.6 (presentation LUT).
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from fedward.dataset.dicom_frame import MONOCHROME, PALETTE, Frame
from fedward.dataset.lookup_tables import read_table, top_of
from fedward.dataset.problems import UnreadableImageError

Values = NDArray[np.float64]
Step = Callable[[Values], Values]

_LUMA = np.array([0.299, 0.587, 0.114])
_PIXELS_AT_ONCE = 1_000_000  # bounds what the steps in double precision take
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_FUNCTIONS = ("LINEAR", "LINEAR_EXACT", "SIGMOID")


def to_grey(frame: Frame, header: Dataset) -> tuple[NDArray[np.float32], Counter[str]]:
    """Show a frame.

    Args:
        frame: Stored values.
        header: What says how to show them.

    Returns:
        float32, shape (height, width), in [0, 255]; and counts of what could not be used, by kind.

    Raises:
        UnreadableImageError: something that changes grey is not read here, or is no number.
    """
    notes: Counter[str] = Counter()
    if frame.photometric == PALETTE:
        grey = _palette(frame, header)
    elif frame.photometric in MONOCHROME:
        grey = _monochrome(frame, header, notes)
    else:
        grey = _color(frame)
    hidden = _outside_shutter(header, grey.shape)
    if hidden is not None:
        grey[hidden] = 255.0 * float(header.get("ShutterPresentationValue") or 0) / 65535.0
    return grey, notes


def _color(frame: Frame) -> NDArray[np.float32]:
    """Luma. Of YBR, the first sample is luma already; the partial variants leave room at both ends."""
    top = float(2**frame.bits - 1)
    grey = np.empty(frame.values.shape[:2], dtype=np.float32)
    for rows in _chunks(grey.shape):
        part = frame.values[rows]
        if frame.photometric.startswith("YBR_PARTIAL"):
            scale = 2 ** (frame.bits - 8)
            grey[rows] = np.clip((part[..., 0].astype(np.float64) / scale - 16.0) / 219.0, 0.0, 1.0) * 255.0
        elif frame.photometric.startswith("YBR"):
            grey[rows] = part[..., 0] * (255.0 / top)
        else:
            grey[rows] = part @ _LUMA * (255.0 / top)
    return grey


def _palette(frame: Frame, header: Dataset) -> NDArray[np.float32]:
    """Luma of the colors that the palette gives."""
    if "SegmentedRedPaletteColorLookupTableData" in header:
        colored = np.asarray(apply_color_lut(frame.values, header))[..., :3]
        shown: NDArray[np.float32] = (colored @ _LUMA * (255.0 / top_of(int(colored.max())))).astype(np.float32)
        return shown
    little = header.original_encoding[1] is not False
    names = [f"{color}PaletteColorLookupTable" for color in ("Red", "Green", "Blue")]
    tables = [read_table(header, f"{name}Descriptor", f"{name}Data", little) for name in names]
    top = max(table.top for table in tables)
    low, high = float(frame.values.min()), float(frame.values.max())
    grey = np.zeros(frame.values.shape, dtype=np.float32)
    for table, weight in zip(tables, _LUMA, strict=True):
        first = table.first_for(low, high)
        for rows in _chunks(grey.shape):
            grey[rows] += table.look_up(frame.values[rows], first) * (weight * 255.0 / top)
    return grey


def _monochrome(frame: Frame, header: Dataset, notes: Counter[str]) -> NDArray[np.float32]:
    """Modality, VOI and presentation, a strip of rows at a time."""
    inverted = _is_inverted(frame, header)
    modality = _modality(frame, header)
    strips = list(_chunks(frame.values.shape))
    low, high = _used_range(frame, modality, strips)
    voi = _voi(header, low, high, notes)
    grey = np.empty(frame.values.shape, dtype=np.float32)
    for rows in strips:
        unit = voi(modality(frame.values[rows].astype(np.float64)))
        grey[rows] = (1.0 - unit if inverted else unit) * 255.0
    if frame.padded is not None:
        grey[frame.padded] = 0.0
    return grey


def _is_inverted(frame: Frame, header: Dataset) -> bool:
    """Whether low values are white; refuse what contradicts itself."""
    if header.get("PresentationLUTSequence"):
        raise UnreadableImageError("it brings a presentation LUT, which is not read here")
    inverted = frame.photometric == "MONOCHROME1"
    shape = str(header.get("PresentationLUTShape") or "").strip().upper()
    if shape and shape != ("INVERSE" if inverted else "IDENTITY"):
        raise UnreadableImageError("its presentation LUT shape contradicts its photometric interpretation")
    return inverted


def _modality(frame: Frame, header: Dataset) -> Step:
    """Stored values -> what was measured."""
    tables = header.get("ModalityLUTSequence")
    if tables:
        table = read_table(tables[0], "LUTDescriptor", "LUTData", header.original_encoding[1] is not False)
        first = table.first_for(float(frame.values.min()), float(frame.values.max()))
        return lambda values: table.look_up(values, first).astype(np.float64)
    source = _functional_group(header, "PixelValueTransformationSequence")
    slope, intercept = (
        _only_number(source, keyword, default)
        for keyword, default in {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}.items()
    )
    if slope == 0.0:
        raise UnreadableImageError("its rescale slope is zero")
    return lambda values: values * slope + intercept


def _used_range(frame: Frame, modality: Step, strips: list[slice]) -> tuple[float, float]:
    """Least and largest measured value outside padding."""
    lows, highs = [], []
    for rows in strips:
        values = modality(frame.values[rows].astype(np.float64))
        if frame.padded is not None:
            values = values[~frame.padded[rows]]
        if not np.isfinite(values).all():
            raise UnreadableImageError("it holds values that are not numbers")
        if values.size:
            lows.append(float(values.min()))
            highs.append(float(values.max()))
    return min(lows), max(highs)


def _voi(header: Dataset, low: float, high: float, notes: Counter[str]) -> Step:
    """Measured values -> [0, 1]: by VOI LUT, window, or the range used."""
    source = _functional_group(header, "FrameVOILUTSequence")
    tables = source.get("VOILUTSequence")
    if tables:
        table = read_table(tables[0], "LUTDescriptor", "LUTData", header.original_encoding[1] is not False)
        first, top = table.first_for(low, high), table.top
        return lambda values: table.look_up(values, first) / top
    window = _window(source, notes)
    if window is not None:
        center, width, function = window
        return lambda values: _apply_window(values, center, width, function)
    return lambda values: np.clip((values - low) / max(high - low, 1e-12), 0.0, 1.0)


def _window(source: Dataset, notes: Counter[str]) -> tuple[float, float, str] | None:
    """The first window whose numbers are usable: files bring several, or none that is one."""
    function = str(source.get("VOILUTFunction") or "LINEAR").strip().upper()
    if function not in _FUNCTIONS:
        raise UnreadableImageError("its VOI LUT function is not read here")
    pairs = list(zip(_numbers(source, "WindowCenter"), _numbers(source, "WindowWidth"), strict=False))
    for center, width in pairs:
        least = 1.0 if function == "LINEAR" else np.nextafter(0.0, 1.0)
        if center is not None and width is not None and width >= least:
            return center, width, function
    notes["windows that are no usable numbers, the image's own range taken"] += bool(pairs)
    return None


def _apply_window(values: Values, center: float, width: float, function: str) -> Values:
    """The three VOI functions of PS3.3 C.11.2.1."""
    if function == "SIGMOID":
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - center) / width, -60.0, 60.0)))
    if function == "LINEAR_EXACT":
        return np.clip((values - center) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return (values > center - 0.5).astype(np.float64)
    return np.clip((values - (center - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def _functional_group(header: Dataset, name: str) -> Dataset:
    """Where the first frame's values stand: its own group, the group of all frames, or the header itself."""
    for groups in ("PerFrameFunctionalGroupsSequence", "SharedFunctionalGroupsSequence"):
        for group in (header.get(groups) or ())[:1]:
            if group.get(name):
                found: Dataset = group[name].value[0]
                return found
    return header


def _only_number(source: Dataset, keyword: str, default: float) -> float:
    """A number that must be one where it is there at all."""
    numbers = _numbers(source, keyword)
    if not numbers:
        return default
    if numbers[0] is None:
        raise UnreadableImageError("its rescale slope or intercept is no number")
    return numbers[0]


def _numbers(source: Dataset, keyword: str) -> list[float | None]:
    """All values of an element; None for those that are no finite number. An empty element has none."""
    tag = tag_for_keyword(keyword)
    item: Any = source.get_item(tag) if tag is not None else None
    if item is None:
        return []
    if isinstance(item, RawDataElement) and item.VR in ("DS", "IS", "UN", None):
        text = (item.value or b"").decode("latin-1")
    else:
        value = source[keyword].value
        text = "\\".join(map(str, value)) if hasattr(value, "__iter__") and not isinstance(value, str) else str(value)
    texts = [part.strip(" \0") for part in text.split("\\")]
    if not any(texts) or text == "None":
        return []
    return [_finite(part) if _NUMBER.fullmatch(part) else None for part in texts]


def _finite(text: str) -> float | None:
    number = float(text)
    return number if np.isfinite(number) else None


def _outside_shutter(header: Dataset, shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    """Where a display shutter hides the image, None where nowhere; a pixel shows inside all of its shapes."""
    value = header.get("ShutterShape")
    if not value:
        return None
    names = [value] if isinstance(value, str) else list(value)
    shown = np.ones(shape, dtype=np.bool_)
    row, column = np.ogrid[1 : shape[0] + 1, 1 : shape[1] + 1]  # the standard counts from 1
    for name in names:
        if name.strip().upper() == "RECTANGULAR":
            left, right = int(header.ShutterLeftVerticalEdge), int(header.ShutterRightVerticalEdge)
            upper, lower = int(header.ShutterUpperHorizontalEdge), int(header.ShutterLowerHorizontalEdge)
            shown &= (column >= left) & (column <= right) & (row >= upper) & (row <= lower)
        elif name.strip().upper() == "CIRCULAR":
            center_row, center_column = (int(number) for number in header.CenterOfCircularShutter)
            radius = int(header.RadiusOfCircularShutter)
            shown &= (row - center_row) ** 2 + (column - center_column) ** 2 <= radius**2
        elif name.strip().upper() == "POLYGONAL":
            numbers = [int(number) - 1 for number in header.VerticesOfThePolygonalShutter]
            canvas = Image.new("1", (shape[1], shape[0]))
            ImageDraw.Draw(canvas).polygon(list(zip(numbers[1::2], numbers[::2], strict=True)), fill=1, outline=1)
            shown &= np.asarray(canvas)
        else:
            raise UnreadableImageError("it has a display shutter of a shape that is not read here")
    return ~shown


def _chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Strips of whole rows."""
    rows = max(1, _PIXELS_AT_ONCE // max(1, shape[1]))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)
