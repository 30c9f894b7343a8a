"""How long work tells its caller how far it is, without printing anything itself."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # (done, total), called in the caller's thread, done rising to total


def silent(done: int, total: int) -> None:
    """Tell nobody."""
