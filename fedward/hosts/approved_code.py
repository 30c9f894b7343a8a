"""Hand on to Flower's SuperNode only the code that the hospital approved, for runs whose settings it approved.

Flower asks its connection for a bundle and for the run that it belongs to. Here the connection is wrapped: an approved
bundle gets the hospital's signature, which Flower then checks against the one key that it trusts. Of any other bundle
nothing is handed on, not even its content, so that Flower answers the message with an error and runs no line of it.
"""

import functools
import logging
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from flwr.common.config import get_fused_config_from_fab
from flwr.supercore.constant import TaskType
from flwr.supercore.fab import Fab
from flwr.supercore.run import Run

from fedward.errors import FedwardError
from fedward.files import sha256
from fedward.hosts.approvals import Approval, Approvals
from fedward.settings import digest_of, guaranteed
from fedward.tables import run_tables

ORDINARY = TaskType.SERVER_APP  # of a run that a server app leads; Flower's agents and models are another matter
GET_RUN, GET_FAB = 3, 4  # places in what Flower's connection gives to its loop

Connection = tuple[Any, ...]
Connect = Callable[..., AbstractContextManager[Connection]]
logger = logging.getLogger("flwr")  # what is refused stands in the SuperNode's log, between Flower's own lines


def refusal(fab: Fab, run: Run, approval: Approval | None) -> str | None:
    """Why a bundle is not handed on to be run; None where the hospital approved it for such a run.

    Nothing of the bundle is read before its hash is known to be the approved one.
    """
    digest = sha256(fab.content).hex()
    if approval is None:
        return "this hospital has approved no code"
    if digest != approval.bundle:
        return f"the server sent code {digest}, and this hospital approved {approval.bundle}"
    if not digest == fab.hash_str == run.fab_hash:
        return "the server calls the approved code by another hash"
    if run.primary_task_type != ORDINARY:
        return f"the run is of the kind {run.primary_task_type!r}, and not one that a server app leads"
    try:
        sent = digest_of(guaranteed(run_tables(get_fused_config_from_fab(fab.content, run)))).hex()
    except (KeyError, TypeError, ValueError, zipfile.BadZipFile) as error:
        return f"the run's settings cannot be read: {error}"
    if sent != approval.settings:
        return f"the run has settings {sent}, and this hospital approved {approval.settings}"
    return None


class ApprovedCode:
    """Attaches the hospital's signature to approved bundles on their way to Flower.

    Attributes:
        approvals: Read anew for each bundle, so that an approval counts at once.
    """

    def __init__(self, approvals: Approvals) -> None:
        self.approvals = approvals
        self._runs: dict[int, Run] = {}

    def wrapped(self, connection: Connection) -> Connection:
        """A connection whose bundles and runs go through here."""
        functions = list(connection)
        functions[GET_RUN] = functools.partial(self._get_run, connection[GET_RUN])
        functions[GET_FAB] = functools.partial(self._get_fab, connection[GET_FAB])
        return tuple(functions)

    def _get_run(self, get_run: Callable[[int], Run], run_id: int) -> Run:
        """The run, as Flower will use it: the same object that the bundle is then checked for."""
        self._runs = {run_id: get_run(run_id)}
        return self._runs[run_id]

    def _get_fab(self, get_fab: Callable[[str, int], Fab], fab_hash: str, run_id: int) -> Fab:
        """The bundle with the hospital's signature; nothing in its place where it may not be run."""
        fab = get_fab(fab_hash, run_id)
        try:
            approval = self.approvals.current()
            reason = refusal(fab, self._runs[run_id], approval)
            if reason is None and approval is not None:
                self.approvals.keep(fab.content)
                return Fab(fab.hash_str, fab.content, approval.records())
        except FedwardError as error:
            reason = str(error)
        logger.error("Refused to run what the server sent: %s. Compare it by `main.py approve`.", reason)
        return Fab(fab.hash_str, b"", {})


def wrapping(connect: Connect, approvals: Approvals) -> Connect:
    """Flower's function that connects to a SuperLink, with `ApprovedCode` between it and Flower's loop."""

    @contextmanager
    def connected(*arguments: Any, **options: Any) -> Iterator[Connection]:
        with connect(*arguments, **options) as connection:
            yield ApprovedCode(approvals).wrapped(connection)

    return connected
