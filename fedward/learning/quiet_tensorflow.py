"""Import TensorFlow and Keras, deterministic and without the log lines that they write to stderr while they load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from fedward.learning.tensorflow_settings import tensorflow_settings

os.environ.update(tensorflow_settings(os.environ))


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
