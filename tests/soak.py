"""How far the tests of robustness go: quick in every session, long where FEDWARD_SOAK=1 asks for it (`make soak`)."""

import os
import secrets

SOAK = os.environ.get("FEDWARD_SOAK") == "1"
# Where random tests begin: the same place in every session, a new one in each soak.
FIRST_SEED = secrets.randbits(32) if SOAK else 0


def scaled(quick: int, long: int) -> int:
    """The number of a test's repetitions, kills, senders or calls."""
    return long if SOAK else quick
