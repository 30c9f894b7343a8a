"""Addresses of nodes: which are on this machine, and how they are shown."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself; False for what is no URL."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """A URL without what may be secret in it: path, query and password. A run's own node is opened by its path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme and parts.netloc else url


def without_path(text: str, url: str) -> str:
    """A library's message about a URL, without the URL's path and query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return text
    hidden = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return text.replace(hidden, "/...") if len(hidden) > 1 else text
