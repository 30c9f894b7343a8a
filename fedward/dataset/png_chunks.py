"""Chunks of a PNG that Pillow passes over: whether its pixels are whole, what bits count, and its transfer function.

References:
    PNG (W3C, 3rd edition), 10.1 (compression), 11.3.2.2 (sBIT), 11.3.2.6 (cICP); ITU-T H.273, table 3.
"""

import struct
import zlib
from collections.abc import Iterator

from fedward.dataset.problems import UnreadableImageError

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PASSES = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
# Transfer functions of H.273 that a display shows as they are: BT.709 and its kin, gamma 2.2, sRGB.
_LIKE_A_DISPLAY = (1, 4, 6, 13, 14, 15)
_AT_ONCE = 1 << 20


def check_pixels(content: bytes) -> None:
    """Refuse pixels that are fewer than the header says, or not those that were written.

    Pillow leaves rows that are missing black, and takes no notice of the checksum.

    Raises:
        UnreadableImageError: the compressed pixels are damaged or end too early.
    """
    left = _raw_length(content)
    inflate = zlib.decompressobj()
    try:
        for name, body in _chunks(content):
            if name != b"IDAT":
                continue
            while body and left >= 0:
                left -= len(inflate.decompress(body, _AT_ONCE))
                body = inflate.unconsumed_tail
    except zlib.error as error:
        raise UnreadableImageError("it is damaged or truncated") from error
    if left > 0:
        raise UnreadableImageError("it is damaged or truncated")


def significant_bits(content: bytes) -> int:
    """How many bits of a sample the chunk sBIT says were measured; 0 where there is none."""
    return next((body[0] for name, body in _before_pixels(content) if name == b"sBIT" and body), 0)


def check_transfer(content: bytes) -> None:
    """Refuse a transfer function unlike a display's, such as linear light or HDR's, and a range that is not full.

    Raises:
        UnreadableImageError: the chunk cICP names one.
    """
    for name, body in _before_pixels(content):
        if name == b"cICP" and len(body) == 4 and (body[1] not in _LIKE_A_DISPLAY or body[3] != 1):
            raise UnreadableImageError("it has a transfer function or range unlike a display's, which is not read here")


def _raw_length(content: bytes) -> int:
    """Bytes of all rows before compression, each with the byte that names its filter."""
    width, height, depth, kind, _, _, interlaced = struct.unpack(">2I5B", content[16:29])
    bits = depth * _CHANNELS.get(kind, 1)
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = max(0, -(-(width - left) // across)), max(0, -(-(height - top) // down))
        total += rows * (1 + -(-columns * bits // 8)) if columns else 0
    return total


def _before_pixels(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name, body in _chunks(content):
        if name == b"IDAT":
            return
        yield name, body


def _chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and bodies of all chunks, the last one as far as it goes."""
    place = 8
    while place + 8 <= len(content):
        length, name = struct.unpack(">I4s", content[place : place + 8])
        yield name, content[place + 8 : place + 8 + length]
        place += 12 + length
