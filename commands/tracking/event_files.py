"""TensorBoard's event files of a run, written with TensorFlow alone; TensorBoard itself need not be installed.

`tf.summary.scalar` needs TensorBoard, and stamps points with the time at which they are written. So the records are
made here: an event file is a TFRecord file of `Event` messages.
"""

import html
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from commands.tracking.figures import Point, Tracked
from fedward.files import make_folder, write_atomic
from fedward.learning.quiet_tensorflow import tf

FOLDER = "tensorboard"
_VERSION = "brain.Event:2"  # of event files, as their first record names it


def write_event_files(run: Tracked, folder: Path) -> None:
    """Write a file of the settings, one of each finished round, and one of the run's end.

    Args:
        run: What to write.
        folder: Where to; TensorBoard takes it for one run, and joins its files.

    Raises:
        ResourceError: a file cannot be written.

    Guarantees:
        1. Called again, as after each round and after an interruption, it writes the same files: no point is doubled.
        2. Every file is whole or not there.
    """
    make_folder(folder)
    parts: dict[str, list[Any]] = {"00000": [_settings(run)]}
    parts |= {f"{index:05d}": _scalars(points) for index, points in run.rounds.items()}
    if run.end:
        parts["end"] = _scalars(run.end)
    for part, events in parts.items():
        # TensorBoard reads the files of a run in the order of their names, and takes a file for finished at the next.
        path = folder / f"events.out.tfevents.{int(run.begun_s)}.fedward.{part}"
        content = _file(run.begun_s, events)
        if not path.exists() or path.read_bytes() != content:
            write_atomic(path, content)


def _settings(run: Tracked) -> Any:
    """The settings as a table, in the form of TensorBoard's page of texts (Markdown)."""
    rows = "\n".join(f"| {name} | {_cell(value)} |" for name, value in run.settings.items())
    text = f"| setting | value |\n|---|---|\n{rows}"
    return _event(run.begun_s, 0, "settings", "text", tf.make_tensor_proto([text], dtype=tf.string))


def _cell(value: str) -> str:
    """A value that stays one cell of a table, whatever it is."""
    return html.escape(" ".join(value.split())).replace("|", "&#124;")


def _scalars(points: Iterable[Point]) -> list[Any]:
    return [
        _event(each.time_s, each.step, each.name, "scalars", tf.make_tensor_proto(each.value, dtype=tf.float32))
        for each in points
    ]


def _event(time_s: float, step: int, name: str, plugin: str, tensor: Any) -> Any:
    metadata = tf.compat.v1.SummaryMetadata(
        plugin_data=tf.compat.v1.SummaryMetadata.PluginData(plugin_name=plugin),
        data_class="DATA_CLASS_SCALAR" if plugin == "scalars" else "DATA_CLASS_TENSOR",
    )
    value = tf.compat.v1.Summary.Value(tag=name, metadata=metadata, tensor=tensor)
    return tf.compat.v1.Event(wall_time=time_s, step=step, summary=tf.compat.v1.Summary(value=[value]))


def _file(begun_s: float, events: Iterable[Any]) -> bytes:
    """A whole event file."""
    first = tf.compat.v1.Event(wall_time=begun_s, file_version=_VERSION)
    with tempfile.TemporaryDirectory() as aside:  # TensorFlow writes to a name, and follows links
        path = Path(aside) / "events"
        with tf.io.TFRecordWriter(str(path)) as file:
            for event in (first, *events):
                file.write(event.SerializeToString(deterministic=True))
        return path.read_bytes()
