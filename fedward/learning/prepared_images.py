"""Cache of features: what the fixed part of a model makes of images, computed once for each set and kept in memory."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable

from fedward.types import Vector

LIMIT_BYTES = 2**30  # of all that is kept; the newest result is kept whatever its size


class PreparedImages:
    """Keeps results of a function of images, by the SHA-256 of the images' pixels.

    Args:
        compute: float32 pixels, shape (n, height, width, 1), to float32 rows, shape (n, columns).
        limit_bytes: Beyond this, the results that were asked for least recently are dropped.
    """

    def __init__(self, compute: Callable[[Vector], Vector], limit_bytes: int = LIMIT_BYTES) -> None:
        self._compute = compute
        self._limit_bytes = limit_bytes
        self._kept: OrderedDict[bytes, Vector] = OrderedDict()

    def of(self, pixels: Vector) -> Vector:
        """The function's result for these images, kept from before or computed now; not to be written to."""
        key = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if key not in self._kept:
            result = self._compute(pixels)
            result.flags.writeable = False
            self._kept[key] = result
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(kept.nbytes for kept in self._kept.values()) > self._limit_bytes:
            self._kept.popitem(last=False)
        return self._kept[key]

    def fits(self, rows: int, columns: int) -> bool:
        """Whether float32 results of this shape can be kept within the limit."""
        return rows * columns * 4 <= self._limit_bytes
