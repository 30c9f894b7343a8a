"""URLs of Ethereum nodes: whether one leads to this machine, and how to show one without its secrets."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine itself; False for a text that is no URL."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_url(url: str) -> str:
    """A URL without path, query and password, which may be secrets: a run's own node answers only at a secret path."""
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
