"""Check that Pyfhel's modules share one SEAL: exit with 2 and a sentence where they do not. Called by make_venv.sh.

SEAL's memory pool is a global variable. Where the modules were linked with copies of SEAL of their own, the one in
libAfhel.so is never made.
"""

import ctypes
import sys
from pathlib import Path

import Pyfhel

_POOL = "_ZN4seal4util16global_variables18global_memory_poolE"
_SEVERAL = """\
make setup: Pyfhel was built with several copies of SEAL, and processes that encrypt could crash when they end;
remove .venv, run make setup again, and if it says this once more, tell us which Python you use.
"""


def main() -> None:
    """Check the Pyfhel that is installed."""
    library = ctypes.CDLL(str(Path(Pyfhel.__file__).parent / "libAfhel.so"))
    if not (ctypes.c_void_p * 2).in_dll(library, _POOL)[1]:
        sys.stderr.write(_SEVERAL)
        sys.exit(2)


if __name__ == "__main__":
    main()
