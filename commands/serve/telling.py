"""How a kit's processes tell what happens: in sentences or JSON lines, and with metrics where somebody wants them."""

from collections.abc import Callable

from commands import console
from commands.serve.json_lines import JsonLog
from commands.serve.metrics import serve_metrics
from fedward.hosts.hospital_kit import HospitalKit
from fedward.hosts.server_kit import ServerKit


def told(
    kit: ServerKit | HospitalKit, metrics: str | None, json_logs: bool, only: str | None = None
) -> Callable[[str], None]:
    """Start what tells of a kit, and return what says a sentence.

    Args:
        kit: A server's or a hospital's.
        metrics: Where they are shown; None: nowhere.
        json_logs: Whether sentences and events are lines of JSON.
        only: The part of a server that runs here; None: all.

    Raises:
        UsageError, ResourceError: metrics cannot be shown there.
    """
    if metrics is not None:
        serve_metrics(kit, metrics, only)
    if not json_logs:
        return console.note
    events = kit.study.progress if isinstance(kit, ServerKit) else kit.outgoing
    log = JsonLog(kit.path.resolve().name, events)
    log.start()
    return log.say
