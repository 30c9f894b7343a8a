"""Import TensorFlow and Keras, deterministic and without the log lines that they write to stderr while they load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Keras reads its number format from a file in the user's home, or in /tmp where there is none, and writes that file:
# what a hospital computes must hang on its settings alone. Below this there is no file to read, and none can be made.
os.environ["KERAS_HOME"] = os.devnull
# Read by TensorFlow when its first operation runs: the same inputs then give the same bits on one machine.
os.environ.setdefault("TF_DETERMINISTIC_OPS", "1")


@contextmanager
def _muted_stderr() -> Iterator[None]:
    """Discard what native code writes to stderr; Python's own errors are raised as ever."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with _muted_stderr():
    import keras
    import tensorflow as tf

__all__ = ["keras", "tf"]
