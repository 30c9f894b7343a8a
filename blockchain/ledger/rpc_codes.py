"""Codes of JSON-RPC errors that the embedded node and its clients use beside the standard's own."""

OUT_OF_RESOURCES = -32010  # the node's machine lacks something, such as room on its disk: not the request's fault
