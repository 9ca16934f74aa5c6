"""Files that requests name by URL: from hosts that the operator allows, and within bounds of size and time.

The address that a name resolves to is looked at, and it is the one that is connected to: a name that resolves to another
one a moment later (DNS rebinding) leads nowhere else. Redirects are not followed.
"""

from __future__ import annotations

import http.client
import ipaddress
import logging
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import SplitResult, urlsplit

log = logging.getLogger("f5.http")

URL_MAX = 2048  # characters
FETCH_S = 10.0
AT_A_TIME = 4
_PORTS = {"https": 443, "http": 80}
_PIECE = 64 * 1024
# Addresses of version 6 that stand for ones of version 4: NAT64 and 6to4.
_TRANSLATED = tuple(ipaddress.ip_network(network) for network in ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16"))


class FetchRefused(ValueError):
    """A URL that is not fetched; the message says why."""


class FetchFailed(ValueError):
    """A URL that was asked for and gave no file."""


class FetchBusy(Exception):
    """As many files are being fetched as may be at a time."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where files may come from. ``host`` in lower case."""

    scheme: str
    host: str
    port: int

    @classmethod
    def of(cls, written: str) -> Origin:
        """An origin as an operator writes it: a host, or ``http://host:port``. Raises ValueError."""
        parts = urlsplit(written if "://" in written else f"https://{written}")
        if parts.path.strip("/") or parts.query or parts.fragment or "*" in written:
            raise ValueError(f"{written!r} is no host; one is files.example.com, or http://files.example.com:9000")
        return cls._of(parts)

    @classmethod
    def _of(cls, parts: SplitResult) -> Origin:
        """Raises ValueError."""
        if parts.scheme not in _PORTS or not parts.hostname:
            raise ValueError("it must begin with https:// (or http://, where the operator names that) and a host")
        if parts.username is not None or parts.password is not None:
            raise ValueError("it must have no user and no password")
        return cls(parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme])


class Fetcher:
    """Gets files from these origins, at most ``max_bytes`` each. Safe to use from several threads; calls block.

    An address written as such in an origin may be any; a name must lead to public addresses only.
    """

    def __init__(self, origins: Iterable[str], *, max_bytes: int, seconds: float = FETCH_S) -> None:
        self._origins = frozenset(Origin.of(origin) for origin in origins)
        self._max_bytes = max_bytes
        self._seconds = seconds
        self._free = threading.BoundedSemaphore(AT_A_TIME)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context()

    def fetch(self, url: str) -> bytes:
        """The file at a URL. Raises FetchRefused, FetchFailed and FetchBusy."""
        origin, target = self._allowed(url)
        if not self._free.acquire(blocking=False):
            raise FetchBusy(f"{AT_A_TIME} references are being fetched already")
        try:
            data = self._read(origin, target, _addresses(origin))
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
            raise FetchFailed(f"{origin.host} could not be read: {reason}") from error
        finally:
            self._free.release()
        log.info("fetched a reference of %d bytes from %s", len(data), origin.host)
        return data

    def _allowed(self, url: str) -> tuple[Origin, str]:
        """The origin of a URL, and what is asked of it."""
        if not self._origins:
            raise FetchRefused("this server fetches nothing: its operator has allowed no host (F5_REFERENCE_HOSTS)")
        if len(url) > URL_MAX or not url.isascii() or not url.isprintable() or " " in url:
            raise FetchRefused(f"the URL must be at most {URL_MAX} printable ASCII characters without blanks")
        try:
            parts = urlsplit(url)
            origin = Origin._of(parts)
        except ValueError as error:
            raise FetchRefused(f"the URL cannot be used: {error}") from error
        if origin not in self._origins:
            raise FetchRefused(
                f"{origin.scheme}://{origin.host[:100]}:{origin.port} is not among the hosts that are allowed"
            )
        return origin, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _read(self, origin: Origin, target: str, addresses: list[str]) -> bytes:
        """Raises OSError, HTTPException and FetchFailed."""
        connection = _Connection(origin, addresses, self._tls, time.monotonic() + self._seconds)
        late = FetchFailed(f"{origin.host} took longer than {self._seconds:g} s")
        # Each wait for the network has an end of its own; a server that sends a byte a second needs one for all.
        watch = threading.Timer(self._seconds, connection.abort)
        watch.daemon = True
        watch.start()
        try:
            headers = {"Accept-Encoding": "identity", "User-Agent": "f5-tts-server", "Connection": "close"}
            connection.request("GET", target, headers=headers)
            with connection.getresponse() as reply:
                data = self._body(origin, reply)
            if connection.aborted:  # what is cut off may look like an end
                raise late
            return data
        except (OSError, http.client.HTTPException) as error:
            if connection.aborted:
                raise late from error
            raise
        finally:
            watch.cancel()
            connection.close()

    def _body(self, origin: Origin, reply: http.client.HTTPResponse) -> bytes:
        too_large = FetchFailed(f"the file has more than {self._max_bytes} bytes")
        if 300 <= reply.status < 400:
            raise FetchFailed(f"{origin.host} redirects to another place, which is not followed")
        if reply.status != 200:
            raise FetchFailed(f"{origin.host} answered {reply.status}")
        if reply.headers.get("Content-Encoding", "identity") != "identity":
            raise FetchFailed(f"{origin.host} sent the file compressed")
        if (reply.length or 0) > self._max_bytes:
            raise too_large
        data = bytearray()
        while piece := reply.read(_PIECE):
            data += piece
            if len(data) > self._max_bytes:
                raise too_large
        if reply.length:
            raise http.client.IncompleteRead(bytes(data), reply.length)
        return bytes(data)


class _Connection(http.client.HTTPConnection):
    """A connection to one of the addresses that were looked at, for the name that was asked for."""

    def __init__(self, origin: Origin, addresses: list[str], tls: ssl.SSLContext, end: float) -> None:
        super().__init__(origin.host, origin.port)
        self.default_port = _PORTS[origin.scheme]  # which the Host header leaves out
        self._secure = tls if origin.scheme == "https" else None
        self._addresses = addresses
        self._end = end
        self._wire: socket.socket | None = None  # `sock` is gone as soon as a reply has begun that ends the connection
        self.aborted = False

    def connect(self) -> None:
        """Raises OSError."""
        for index, address in enumerate(self._addresses, 1):
            try:
                left = max(self._end - time.monotonic(), 0.01)
                self.sock = socket.create_connection((address, self.port), left)
                break
            except OSError:
                if index == len(self._addresses):
                    raise
        if self._secure is not None:
            self.sock = self._secure.wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
        self._wire = self.sock
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.do_handshake()

    def abort(self) -> None:
        """End whatever is waited for; from another thread."""
        self.aborted = True
        if self._wire is not None:
            try:
                socket.socket.shutdown(self._wire, socket.SHUT_RDWR)
            except OSError:
                log.debug("the connection of a reference was closed already")


def _addresses(origin: Origin) -> list[str]:
    """Where to connect to. Raises OSError, and FetchRefused where a name leads to an address that is not public."""
    try:
        return [str(ipaddress.ip_address(origin.host))]
    except ValueError:
        found = [str(info[4][0]) for info in socket.getaddrinfo(origin.host, origin.port, type=socket.SOCK_STREAM)]
    if not all(is_public(address) for address in found):
        raise FetchRefused(f"{origin.host} leads to an address that is not public")
    return list(dict.fromkeys(found))


def is_public(address: str) -> bool:
    """Whether an address is one of the open internet: not private, loopback, link-local, multicast or translated."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            found = found.ipv4_mapped
        elif any(found in network for network in _TRANSLATED):
            return False
    return found.is_global and not found.is_multicast
