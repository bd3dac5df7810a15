"""Closes every way out of a Python process but to this machine itself: `tests/conftest.py` calls it for the whole suite.

.venv/bin/python -m pytest                                        # the tests, in a process that cannot reach out
unshare -rn sh -c 'ip link set lo up && make test'                # Linux: and every process that they start
"""

import ipaddress
import socket
import sys

ALLOWED = {"", "localhost", socket.gethostname()}


def away(host) -> bool:
    """Whether a host's name or address is not of this machine; names are not looked up to find out."""
    host = host.decode() if isinstance(host, bytes) else host
    if host is None or host in ALLOWED:
        return False
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return True
    return not (address.is_loopback or address.is_unspecified)


def _watch(event: str, arguments: tuple) -> None:
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        host = arguments[1][0] if isinstance(arguments[1], tuple) else None  # a path is a socket of this machine
    else:
        return
    if away(host):
        raise RuntimeError(f"tests run without a network, and this one wanted {host!r}")


def close() -> None:
    """For as long as this process lives: an audit hook cannot be taken back."""
    sys.addaudithook(_watch)
