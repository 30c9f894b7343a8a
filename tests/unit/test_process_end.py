"""A process that has encrypted ends in peace: SEAL's memory pool outlives what lets it go twice."""

import subprocess
import sys

from source_tree import ROOT

# How many hold SEAL's pool: libstdc++ keeps that behind the second pointer of the `shared_ptr`. SEAL itself is one.
HOLDERS = """
import ctypes, gc, os, Pyfhel
{imported}
library = ctypes.CDLL(os.path.join(os.path.dirname(Pyfhel.__file__), "libAfhel.so"))
pool = (ctypes.c_void_p * 2).in_dll(library, "_ZN4seal4util16global_variables18global_memory_poolE")
gc.collect()
print(ctypes.c_int.from_address(pool[1] + 8).value)
"""


def holders(imported: str) -> int:
    program = HOLDERS.format(imported=imported)
    return int(subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True).stdout)


def test_something_that_is_never_destroyed_holds_seals_memory_pool() -> None:
    alone = holders("")
    forgotten = "import encryption; del encryption._HOLDS_POOL"
    assert holders(forgotten) > alone >= 1
