"""Progress callbacks: how a long computation tells its caller how far it has come, without printing anything."""

from collections.abc import Callable

Progress = Callable[[int, int], None]  # (done, total), called in the caller's thread, done rising to total


def silent(done: int, total: int) -> None:
    """A progress callback that does nothing."""
