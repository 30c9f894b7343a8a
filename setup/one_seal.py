"""Check that Pyfhel's modules share one SEAL: exit with 2 and a sentence where they do not. Called by make_venv.sh.

SEAL's memory pool is a global variable. Where the modules were linked with copies of SEAL of their own, the one in
libAfhel.so is never made.
"""

import ctypes
import os
import sys

import Pyfhel

_POOL = "_ZN4seal4util16global_variables18global_memory_poolE"


def main() -> None:
    library = ctypes.CDLL(os.path.join(os.path.dirname(Pyfhel.__file__), "libAfhel.so"))
    if not (ctypes.c_void_p * 2).in_dll(library, _POOL)[1]:
        print(
            "make setup: Pyfhel was built with several copies of SEAL, and processes that encrypted could crash when "
            "they end; remove .venv and run make setup again, and tell us which Python you use",
            file=sys.stderr,
        )
        sys.exit(2)


if __name__ == "__main__":
    main()
