"""All methods of reconstruction by name: training a reader on pairs, and reading one back from bytes."""

from collections.abc import Mapping
from types import MappingProxyType

from fedward.errors import DataError, UsageError
from fedward.learning.model import Scored
from fedward.progress import Progress, silent
from fedward.reconstruction.denoiser import Denoiser
from fedward.reconstruction.fitting import fit
from fedward.reconstruction.joint import Joint
from fedward.reconstruction.label_recovery import LabelRecovery
from fedward.reconstruction.pairs import Pairs
from fedward.reconstruction.reader import Reader
from fedward.reconstruction.shape import ReaderShape
from fedward.reconstruction.stored_reader import REMEDY, read_reader
from fedward.reconstruction.vae import Vae, VaeWithoutKl

READERS: Mapping[str, type[Reader]] = MappingProxyType(
    {kind.name: kind for kind in (Vae, VaeWithoutKl, Denoiser, LabelRecovery, Joint)}
)


def train_reader(
    name: str,
    pairs: Pairs,
    seed: int,
    report: Progress = silent,
    epochs: int = 0,
    classifier: Scored | None = None,
) -> Reader:
    """Train a reader by the method of a name.

    Args:
        name: One of `READERS`.
        pairs: What it learns from. Whoever measures the reader uses images of other patients.
        seed: Decides the initial weights and all that training draws.
        report: Told how many steps of training are done.
        epochs: Passes over the pairs; 0: as many as the method's plan has.
        classifier: What the part that reads labels starts as, see `Reader.start_at`; None: as new.

    Raises:
        UsageError: there is no such method, or `epochs` is below 0.

    Guarantees:
        1. The same name, pairs, seed, epochs and classifier give the same reader bit for bit, on one machine.
    """
    if name not in READERS:
        raise UsageError(f"There is no reader {name!r}.", f"Choose one of {', '.join(READERS)}.")
    reader = READERS[name](ReaderShape(pairs.encrypted.shape[1], pairs.labels.shape[1]), seed)
    if classifier is not None:
        reader.start_at(classifier)
    fit(reader, pairs, seed, report, epochs)
    return reader


def reader_from(content: bytes) -> Reader:
    """The reader that `Reader.as_bytes` wrote; the bytes may come from anybody.

    Raises:
        DataError: they are no reader's, damaged, of an unknown method, or their weights do not fit the method.

    Guarantees:
        1. The reader gives what the one that was written gave, bit for bit, on one machine.
        2. Nothing is built before the number of weights was seen to be right.
    """
    stored, weights = read_reader(content)
    if stored.method not in READERS:
        raise DataError(f"The reader's method, {stored.method}, is unknown.", "Use the Fedward that it was made with.")
    kind = READERS[stored.method]
    if len(weights) != kind.weight_count(stored.shape):
        raise DataError(
            f"The reader is damaged (it has {len(weights):,} weights, and not the"
            f" {kind.weight_count(stored.shape):,} of {stored.method}).",
            REMEDY,
        )
    reader = kind(stored.shape)
    reader.set_weights(weights)
    return reader
