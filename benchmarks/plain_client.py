"""The hospital of plain FedAvg for `benchmarks/round_overhead.py`: same training and validation, nothing protected."""

import os

from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from data_preprocessing import load_partition
from fedward.figures.histograms import histogram
from fedward.folders.own_folder import own_folder
from fedward.learning.model import Classifier, shared_classifier
from fedward.learning.training import train
from fedward.learning.weight_shapes import ModelSpec
from fedward.settings import Settings, from_run_config
from fedward.types import GlobalModel, Partition, Vector

app = ClientApp()


@app.train()
def take_part(message: Message, context: Context) -> Message:
    """Train from the server's weights and send back all weights."""
    settings, partition = _open(context)
    model = GlobalModel(_weights(message), b"")
    round_index = int(message.content.config_records["config"]["server-round"])  # type: ignore[arg-type]
    update = train(partition, model, _classifier(settings, partition), settings.training, round_index)
    arrays = ArrayRecord([model.weights + update.delta])
    metrics = MetricRecord({"num-examples": update.examples, "loss": update.loss})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def judge(message: Message, context: Context) -> Message:
    """Score the server's weights on the hospital's validation images."""
    settings, partition = _open(context)
    classifier = _classifier(settings, partition)
    classifier.set_weights(_weights(message))
    counts = histogram(classifier.logits(partition.val.pixels()), partition.val.labels)
    metrics = MetricRecord({"num-examples": counts.n, "loss": counts.loss() or 0.0})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _open(context: Context) -> tuple[Settings, Partition]:
    settings = from_run_config(context.run_config)
    return settings, load_partition(own_folder(context.node_config, os.environ).partition)


def _classifier(settings: Settings, partition: Partition) -> Classifier:
    return shared_classifier(ModelSpec(settings.model.name, settings.data.image_size, len(partition.findings)))


def _weights(message: Message) -> Vector:
    weights: Vector = message.content.array_records["arrays"].to_numpy_ndarrays()[0]
    return weights
