"""Heat maps by the model that made the score: how each architecture's are computed, and what they say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fedward.explaining.activation_maps import cnn_maps, densenet_maps
from fedward.explaining.contributions import contribution_maps
from fedward.learning.model import Classifier
from fedward.types import Vector

_ACTIVATIONS = "gradients times activations of"


@dataclass(frozen=True)
class Method:
    """How heat maps of an architecture are computed.

    Attributes:
        maps: Classifier, pixels (n, size, size, 1) and the place of each image's finding among the outputs, to maps:
            float32, shape (n, size, size). Above 0: it speaks for the finding; below 0: against it.
        told: What it is, for the reader.
        against: Whether values below 0 occur.
    """

    maps: Callable[[Classifier, Vector, NDArray[np.intp]], Vector]
    told: str
    against: bool


# By the names that `fedward.plugins` has.
METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "cnn": Method(cnn_maps, f"{_ACTIVATIONS} the last three blocks (LayerCAM)", against=False),
        "densenet121": Method(densenet_maps, f"{_ACTIVATIONS} the first block, smoothed (LayerCAM)", against=False),
        "scatter": Method(contribution_maps, "what each place adds to the logit, beside drawn phantoms", against=True),
    }
)
