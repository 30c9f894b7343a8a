"""Where the weights of each architecture lie in its Keras file, and their shapes, told without Keras.

So a file's weights can be read, and refused, before anything is built from them, also where there is no TensorFlow.
`tests/unit/test_stored_weights.py` compares these lists with what Keras builds.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType

DENSENET_BLOCKS = (6, 12, 24, 16)  # dense layers in each block of DenseNet121
_GROWTH, _BOTTLENECK, _STEM, _OUTPUTS = 32, 128, 64, 1024  # channels
_SCATTERING_CHANNELS, _SCATTERING_STRIDE = 217, 8


@dataclass(frozen=True)
class ModelSpec:
    """What decides a model's shape.

    Attributes:
        name: One of `fedward.plugins.MODELS`.
        image_size: Height and width of its input in pixels.
        findings: Number of sigmoid outputs.
    """

    name: str
    image_size: int
    findings: int


@dataclass(frozen=True)
class StoredArray:
    """An array in a model's file.

    Attributes:
        path: Where it lies in the HDF5 file of the weights.
        shape: Its shape.
        trained: Whether training changes it; else it is fixed, and no part of the weights that hospitals exchange.
    """

    path: str
    shape: tuple[int, ...]
    trained: bool = True

    @property
    def size(self) -> int:
        """Number of its entries."""
        return prod(self.shape)


class _Layers:
    """The layers of one network, named as Keras numbers them: by class, from the first on."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._seen = Counter[str]()

    def add(self, kind: str, *shapes: tuple[int, ...], trained: bool = True) -> Iterator[StoredArray]:
        """The arrays of the next layer of a class."""
        number = self._seen[kind]
        self._seen[kind] += 1
        name = f"{kind}_{number}" if number else kind
        for index, shape in enumerate(shapes):
            yield StoredArray(f"{self._place}layers/{name}/vars/{index}", shape, trained)

    def convolved(self, side: int, before: int, after: int) -> Iterator[StoredArray]:
        """A convolution without bias."""
        return self.add("conv2d", (side, side, before, after))

    def normalized(self, channels: int) -> Iterator[StoredArray]:
        """A group normalization: scale and shift."""
        return self.add("group_normalization", (channels,), (channels,))

    def dense(self, before: int, after: int) -> Iterator[StoredArray]:
        """A linear layer with bias."""
        return self.add("dense", (before, after), (after,))


def stored_arrays(spec: ModelSpec) -> tuple[StoredArray, ...]:
    """The arrays in a model's file; those that are trained in the order of `Classifier.get_weights`.

    Raises:
        KeyError: there is no architecture of that name.
    """
    return tuple(_ARRAYS[spec.name](spec))


def _cnn(spec: ModelSpec) -> Iterator[StoredArray]:
    layers, channels = _Layers(""), 1
    for filters in (16, 32, 64, 128):
        yield from layers.convolved(3, channels, filters)
        yield from layers.normalized(filters)
        channels = filters
    yield from layers.dense(channels, spec.findings)


def _scatter(spec: ModelSpec) -> Iterator[StoredArray]:
    layers = _Layers("")
    features = _SCATTERING_CHANNELS * (spec.image_size // _SCATTERING_STRIDE) ** 2
    yield from layers.add("scattering", (features,), trained=False)
    yield from layers.dense(features, spec.findings)


def _densenet121(spec: ModelSpec) -> Iterator[StoredArray]:
    body, channels = _Layers("layers/functional/"), _STEM
    yield from body.convolved(7, 3, _STEM)
    yield from body.normalized(_STEM)
    for place, count in enumerate(DENSENET_BLOCKS):
        if place:
            yield from body.normalized(channels)
            yield from body.convolved(1, channels, channels // 2)
            channels //= 2
        for _ in range(count):
            yield from body.normalized(channels)
            yield from body.convolved(1, channels, _BOTTLENECK)
            yield from body.normalized(_BOTTLENECK)
            yield from body.convolved(3, _BOTTLENECK, _GROWTH)
            channels += _GROWTH
    yield from body.normalized(_OUTPUTS)
    yield from _Layers("").dense(_OUTPUTS, spec.findings)


_ARRAYS: Mapping[str, Callable[[ModelSpec], Iterator[StoredArray]]] = MappingProxyType(
    {"cnn": _cnn, "densenet121": _densenet121, "scatter": _scatter}
)
