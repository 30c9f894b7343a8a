"""Gamma and color profiles: what stands between a file's numbers and what a screen would show.

Nearly all files are encoded for a display (gamma about 1/2.2) and are shown as they are. Those that are not, such as
linear light, would look far too dark; a PNG's gamma is applied, a color profile of that kind is a reason to refuse.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedward.dataset.decoding import strips
from fedward.dataset.problems import UnreadableImageError

_DISPLAY = 1 / 2.2
_GAMMA_SLACK = 0.05  # gAMA of 0.45455 and its roundings are a display's; 1/1.8 is not
# Light that a display's curve makes of middle grey: between gamma 2.7 and 1.7.
_MIDDLE_GREY = (0.15, 0.31)
_LUMA = np.array([0.299, 0.587, 0.114])


def unlike_a_display(gamma: object) -> float | None:
    """The exponent that brings a PNG's samples to a display's encoding; None where they have it already."""
    if not isinstance(gamma, float) or gamma <= 0 or abs(gamma - _DISPLAY) <= _GAMMA_SLACK:
        return None
    return _DISPLAY / gamma


def top_of(samples: NDArray[Any]) -> float:
    """The smallest 2^k - 1, k at least 8, that holds all of some whole numbers: what stands for white."""
    return float(max(255, 2 ** int(samples.max()).bit_length() - 1))


def luma(colors: NDArray[Any]) -> NDArray[np.float64]:
    """Weighted mean of red, green and blue, on the scale that they have."""
    weighted: NDArray[np.float64] = colors[..., :3] @ _LUMA
    return weighted


def shown(samples: NDArray[Any], top: float, exponent: float | None) -> NDArray[np.float32]:
    """Grey in [0, 255] of samples in [0, top], shape (height, width) or (height, width, 1 or 3)."""
    grey = np.empty(samples.shape[:2], dtype=np.float32)
    for rows in strips(samples.shape):
        unit = samples[rows].astype(np.float64) / top
        if exponent is not None:
            unit **= exponent
        if unit.ndim == 3:
            unit = luma(unit) if unit.shape[2] == 3 else unit[..., 0]
        grey[rows] = unit * 255.0
    return grey


def check_profile(profile: bytes) -> None:
    """Refuse a profile whose tone curve is unlike a display's. What cannot be read of it is passed over.

    Raises:
        UnreadableImageError: the curve is of another kind, such as linear light.
    """
    light = _light_of_middle_grey(profile)
    if light is not None and not _MIDDLE_GREY[0] <= light <= _MIDDLE_GREY[1]:
        raise UnreadableImageError("its color profile has a tone curve unlike a display's, which is not applied here")


def _light_of_middle_grey(profile: bytes) -> float | None:
    """What an ICC profile's grey or red curve makes of 0.5 (ICC.1:2022, 10.6 and 10.18)."""
    try:
        if profile[12:16] not in (b"mntr", b"scnr") or profile[16:20] not in (b"GRAY", b"RGB "):
            return None
        (count,) = struct.unpack(">I", profile[128:132])
        for index in range(min(count, 100)):
            name, offset, size = struct.unpack(">4sII", profile[132 + 12 * index : 144 + 12 * index])
            if name in (b"kTRC", b"rTRC"):
                return _curve(profile[offset : offset + size])
    except (struct.error, IndexError, OverflowError, ZeroDivisionError, ValueError):
        pass
    return None


def _curve(body: bytes) -> float | None:
    if body[:4] == b"curv":
        (count,) = struct.unpack(">I", body[8:12])
        if count == 0:
            return 0.5
        if count == 1:
            gamma: float = struct.unpack(">H", body[12:14])[0] / 256
            return float(0.5**gamma)
        place = (count - 1) // 2
        value: int = struct.unpack(">H", body[12 + 2 * place : 14 + 2 * place])[0]
        return value / 65535
    if body[:4] == b"para":
        (kind,) = struct.unpack(">H", body[8:10])
        exponent, a, b = (number / 65536 for number in (*struct.unpack(">3i", body[12:24]),)) if kind else (
            struct.unpack(">i", body[12:16])[0] / 65536, 1.0, 0.0
        )  # fmt: skip
        power: float = (a * 0.5 + b) ** exponent
        return power
    return None
