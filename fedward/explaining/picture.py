"""The picture of an explanation: the image, beside it the image under its heat, and below what it means."""

from collections.abc import Sequence
from functools import cache
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib import font_manager
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from fedward.types import Vector

# Sides of one of the two panels: small images are enlarged, so that the text below has room.
LEAST_SIDE, MOST_SIDE = 384, 768
GAP = 8  # pixels between the panels, and around the text
# Orange and blue differ in every common color blindness, and in print.
FOR, AGAINST = (255, 110, 0), (40, 110, 255)

_COVER = 0.75  # of the image at the hottest place
_STEEPNESS = 1.5  # above 1: places that are lukewarm cover less than in proportion
_TEXT = 15  # pixels


def explained(grey: NDArray[Any], heat: Vector, lines: Sequence[str]) -> NDArray[np.uint8]:
    """Draw an explanation.

    Args:
        grey: The image at full size: shape (height, width), in [0, 255].
        heat: Of the square that the model saw, float32, shape (size, size); above 0 it speaks for the finding, below 0
            against it. It is shown beside its own largest value.
        lines: The text below, wrapped to fit.

    Returns:
        uint8, shape (height, width, 3).
    """
    height, width = _fitting(grey.shape[0], grey.shape[1])
    shown = Image.fromarray(np.clip(np.rint(grey), 0, 255).astype(np.uint8))
    plain = np.asarray(shown.resize((width, height), Image.Resampling.LANCZOS), np.float32)
    left = np.repeat(plain[..., None], 3, axis=2)
    panels = np.concatenate([left, np.zeros((height, GAP, 3), np.float32), _heated(left, heat)], axis=1)
    text = _text(lines, panels.shape[1])
    return np.concatenate([np.clip(np.rint(panels), 0, 255).astype(np.uint8), text])


def as_png(pixels: NDArray[np.uint8], told: str) -> bytes:
    """A picture as the bytes of a PNG file that says what it is."""
    facts = PngInfo()
    facts.add_itxt("Description", told)
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", pnginfo=facts, compress_level=3)
    return buffer.getvalue()


def _fitting(height: int, width: int) -> tuple[int, int]:
    """The size of a panel: of the image's shape, its longer side within bounds."""
    longer = max(height, width)
    scale = min(max(longer, LEAST_SIDE), MOST_SIDE) / longer
    return max(1, round(height * scale)), max(1, round(width * scale))


def _heated(left: NDArray[np.float32], heat: Vector) -> NDArray[np.float32]:
    """A panel under colors that cover it as much as its places are hot."""
    largest = float(np.abs(heat).max()) or 1.0
    size = (left.shape[1], left.shape[0])
    strength = np.asarray(Image.fromarray(heat / np.float32(largest)).resize(size, Image.Resampling.BILINEAR))
    cover = (_COVER * np.abs(strength) ** _STEEPNESS)[..., None]
    color = np.where(strength[..., None] > 0, np.array(FOR, np.float32), np.array(AGAINST, np.float32))
    return np.asarray(left * (1 - cover) + color * cover, np.float32)


def _text(lines: Sequence[str], width: int) -> NDArray[np.uint8]:
    """White lines on black, as wide as the panels."""
    font, drawn = _font(), ImageDraw.Draw(Image.new("L", (1, 1)))
    wrapped = [part for line in lines for part in _wrapped(line, width - 2 * GAP, font, drawn)]
    step = round(_TEXT * 1.35)
    strip = Image.new("RGB", (width, 2 * GAP + step * len(wrapped)))
    draw = ImageDraw.Draw(strip)
    for row, line in enumerate(wrapped):
        draw.text((GAP, GAP + row * step), line, fill=(255, 255, 255), font=font)
    return np.asarray(strip)


def _wrapped(line: str, width: int, font: Any, draw: ImageDraw.ImageDraw) -> list[str]:
    """A line in parts that fit, broken between words, or inside one that is too long."""
    parts = [""]
    for word in line.split():
        joined = f"{parts[-1]} {word}".strip()
        if draw.textlength(joined, font=font) <= width:
            parts[-1] = joined
            continue
        parts += [""] if parts[-1] else []
        for letter in word:
            if draw.textlength(parts[-1] + letter, font=font) > width:
                parts.append("")
            parts[-1] += letter
    return parts


@cache
def _font() -> Any:
    """Matplotlib's own font: it comes with letters of many alphabets, wherever the program runs."""
    return ImageFont.truetype(font_manager.findfont("DejaVu Sans"), _TEXT)
