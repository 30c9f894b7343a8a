"""The way out of a hospital: every reply is checked against the list of what may leave, and noted in the folder."""

import contextlib
import functools
import json
import os
from collections.abc import Callable

from flwr.app import Context, Message

from fedward.errors import FedwardError, ResourceError
from fedward.files import append_line
from fedward.folders.own_folder import own_folder
from fedward.messages.outgoing import Told, check_listed
from fedward.messages.replies import failure_reply
from fedward.timing import utc_now

Handler = Callable[[Message, Context], Message]


def leaving(handler: Handler) -> Handler:
    """Let a handler's reply out, if all of its fields are listed; an error of the handler's becomes a reply, too.

    Args:
        handler: What a hospital does with a message.

    Returns:
        The same; its replies are checked, and each is a line of the hospital's `outgoing.jsonl` before it leaves.

    Guarantees:
        1. A reply with a field that is not listed does not leave: a failure that names the field leaves in its place.
        2. A reply that cannot be noted does not leave: a failure that says so does, which is all that leaves unnoted.
    """

    @functools.wraps(handler)
    def answered(message: Message, context: Context) -> Message:
        try:
            reply = handler(message, context)
            _note(message, context, check_listed(reply.content))
        except FedwardError as error:
            reply = failure_reply(message, error)
            told = check_listed(reply.content)
            with contextlib.suppress(FedwardError):  # the server must get to know also where nothing can be noted
                _note(message, context, told)
        return reply

    return answered


def _note(request: Message, context: Context, told: Told) -> None:
    """Add a line to the hospital's log of what left.

    Raises:
        UsageError: this node does not say which folder is its hospital's.
        ResourceError: the folder cannot be written.
    """
    folder = own_folder(context.node_config, os.environ)
    group = request.metadata.group_id
    line = {
        "time": utc_now(),
        "round": int(group) if group.isascii() and group.isdigit() and len(group) < 10 else None,
        "kind": told.kind,
        "bytes": told.size,
        "fields": told.fields,
    }
    if not folder.path.is_dir():
        raise ResourceError(f"There is no folder {folder.path}.", "Name the hospital's folder.")
    with folder.locked():
        append_line(folder.outgoing, json.dumps(line))
