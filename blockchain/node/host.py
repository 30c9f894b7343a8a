"""Which IP address a node listens on: parsing, with loopback as the default."""

import ipaddress

from fedward.errors import UsageError

HOST = "127.0.0.1"

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_host(host: str) -> IpAddress:
    """The IP address that a text names.

    Raises:
        UsageError: the text is no IP address.
    """
    try:
        return ipaddress.ip_address(host)
    except ValueError as error:
        raise UsageError(
            f"The node can only listen on an IP address; {host!r} is none.", f"Use {HOST}, or ::1, to stay on loopback."
        ) from error
