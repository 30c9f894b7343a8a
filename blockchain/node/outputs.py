"""`Outputs`: what calls after a block gave, so that the same call after the same block runs once for all who ask.

Every hospital asks for the same roster and round before it signs, and py-evm takes milliseconds for a few storage
words. A block's hash fixes all that a call can read, so the same call gives the same output for ever.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable

from blockchain.node.machine import CallRequest

MOST = 256
MOST_BYTES = 64 * 1024  # of a call's input and its output together; the roster of 128 hospitals has 12 kB


class Outputs:
    """The outputs of the last `MOST` different calls that succeeded. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[bytes, CallRequest], bytes] = OrderedDict()

    def of(self, block_hash: bytes, request: CallRequest, run: Callable[[], bytes]) -> bytes:
        """The output of a call after a block.

        Args:
            block_hash: 32 bytes; the block's, or that of the header of a block to come.
            request: The call.
            run: Runs it, where its output is not here; what this raises is not kept.
        """
        key = (block_hash, request)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        output = run()
        if len(request.data) + len(output) <= MOST_BYTES:
            with self._lock:
                self._kept[key] = output
                if len(self._kept) > MOST:
                    self._kept.popitem(last=False)
        return output
