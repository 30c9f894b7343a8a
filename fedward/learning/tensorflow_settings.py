"""Variables of the environment that TensorFlow and Keras read when they are imported, or at their first operation."""

import os
from collections.abc import Mapping

QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "KERAS_BACKEND": "tensorflow", "TF_DETERMINISTIC_OPS": "1"}

# Keras reads its number format from a file in the user's home, or in /tmp where there is none, and writes that file:
# what a hospital computes must hang on its settings alone. Below this there is no file to read, and none can be made.
NO_KERAS_HOME = {"KERAS_HOME": os.devnull}


def tensorflow_settings(given: Mapping[str, str]) -> dict[str, str]:
    """What a process sets before it imports TensorFlow: the same inputs then give the same bits on one machine.

    Args:
        given: The environment; what it says stays, but where Keras looks for its file.
    """
    return {name: given.get(name, value) for name, value in QUIET.items()} | NO_KERAS_HOME
