"""The program of a helper process: files come in, squares of grey go out. Started by `fedward.dataset.apart` only.

It holds no key and opens no file. Memory is bounded by the system, time by whoever started it.
"""

import contextlib
import json
import struct
import sys
from typing import BinaryIO

from fedward.dataset import apart
from fedward.dataset.decoding import quiet_decoders
from fedward.dataset.dicom import patient_id
from fedward.dataset.problems import NotAnImageError, UnreadableImageError
from fedward.dataset.reading import decode

MEMORY_BYTES = 4 * 2**30  # of addresses; the largest image that is taken needs a third of it


def serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Answer requests until there are no more."""
    while head := source.read(apart.REQUEST.size):
        what, image_size, length = apart.REQUEST.unpack(head)
        kind, body = _answer(what, image_size, source.read(length), source, sink)
        sink.write(apart.REPLY.pack(kind, len(body)) + body)
        sink.flush()


def _answer(what: int, image_size: int, content: bytes, source: BinaryIO, sink: BinaryIO) -> tuple[bytes, bytes]:
    def reserve(pixels: int) -> None:
        sink.write(apart.REPLY.pack(apart.RESERVE, pixels))
        sink.flush()
        source.read(len(apart.GO))

    try:
        if what == apart.PATIENT:
            return apart.TEXT, patient_id(content).encode()
        found = decode(content, image_size, reserve)
    except NotAnImageError as error:
        return apart.NOT_AN_IMAGE, str(error).encode()
    except UnreadableImageError as error:
        return apart.REASON, str(error).encode()
    except MemoryError:
        return apart.REASON, b"its pixels need more memory than is given to one image"
    facts = {
        "patient": found.patient, "is_dicom": found.is_dicom, "dropped": dict(found.dropped),
        "burned_in": found.burned_in, "notes": dict(found.notes),
    }  # fmt: skip
    text = json.dumps(facts).encode()
    return apart.IMAGE, struct.pack("<I", len(text)) + text + found.digest + found.image.tobytes()


def _bound_memory() -> None:
    """Where the system can; elsewhere the time limit and the pixel budget stand alone."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


if __name__ == "__main__":
    _bound_memory()
    with quiet_decoders():
        serve(sys.stdin.buffer, sys.stdout.buffer)
