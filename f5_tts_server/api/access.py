"""Who may call: API keys, a rate limit for each caller, and the origins whose pages may.

Keys come as `Authorization: Bearer KEY` or, as ElevenLabs' clients send them, as `xi-api-key: KEY`. Probes, metrics and
the page itself stay open; the page asks its user for a key.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import logging
import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from f5_tts_server.api.caller import serve_caller
from f5_tts_server.api.errors import error_response
from f5_tts_server.inference_types import Refused, RequestError
from f5_tts_server.settings import Settings

log = logging.getLogger("f5.server")

OPEN_PATHS = frozenset({"/", "/livez", "/readyz", "/v1/health", "/metrics", "/docs", "/openapi.json", "/favicon.ico"})
OPEN_PREFIXES = ("/static/",)
# ElevenLabs' clients may send the key in their first message; its routes ask `Access.knows` itself.
LATE_KEY_SUFFIXES = ("/stream-input", "/multi-stream-input")

RELOAD_S = 1.0
MIN_KEY_LENGTH = 8
MOST_KEYLESS = 64
"""Connections that may wait for a key at a time: who has none can hold no more than these."""
_MOST_CALLERS = 10_000
_POLICY_VIOLATION = 1008


class Access:
    """The keys and the callers' allowances.

    Args:
        keys: accepted keys, each after its name and a blank if it has one; none means that everyone may call.
        rate_limit: requests a minute for each key, or for each address where there are no keys, and for each address
            whose keys are wrong; None is no limit.
        origins: whose pages may open WebSockets, as those of the server itself may; ``*`` is all.
    """

    def __init__(
        self,
        keys: Iterable[str],
        rate_limit: int | None,
        origins: Iterable[str] = (),
        file: KeyFile | None = None,
    ) -> None:
        self._set_keys(keys)
        self._file = file
        self._rate_limit = rate_limit
        self._origins = frozenset(origins)
        self._keyless = 0
        self._allowances: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def _set_keys(self, keys: Iterable[str]) -> None:
        # Digests have one length, so that comparing them takes the same time for every key.
        self._names = {_digest(key.split()[-1]): _name(key) for key in keys}

    def refresh(self) -> None:
        """Take over the keys of the file where it has changed; where it is faulty, the ones before stay."""
        if self._file is not None and (keys := self._file.changed()) is not None:
            self._set_keys(keys)
            log.info("API keys read again: %d", len(self._names))

    def caller(self, key: str | None) -> str:
        """The name of an accepted key; empty where none is needed."""
        return self._names.get(_digest(key or ""), "")

    def owner(self, connection: HTTPConnection) -> str:
        """Whose jobs and files a caller sees: a digest of the key; one for all where none is needed."""
        return _digest("" if self.open else given_key(connection) or "").hex()

    @property
    def open(self) -> bool:
        """No key is needed."""
        return not self._names

    def knows(self, key: str | None) -> bool:
        """Whether a key is accepted; takes the same time whichever it is."""
        given = _digest(key or "")
        known = False
        for digest in self._names:
            known |= hmac.compare_digest(digest, given)
        return known or self.open

    def admits_origin(self, connection: HTTPConnection) -> bool:
        """Whether the page that opens a WebSocket, if it is a page, is one of ours or of the operator's.

        Browsers let any page open a WebSocket to any server, and name the page; other clients name none.
        """
        origin = connection.headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return True
        return origin.partition("://")[2].lower() == connection.headers.get("host", "").lower() != ""

    @contextmanager
    def awaiting_key(self) -> Iterator[None]:
        """While a connection that brought no key is waited on for one. Raises Refused when too many are."""
        if self._keyless >= MOST_KEYLESS:
            raise Refused(
                503, "too_many_connections", f"{MOST_KEYLESS} connections without a key wait, which is the limit"
            )
        self._keyless += 1
        try:
            yield
        finally:
            self._keyless -= 1

    def refusal(self, connection: HTTPConnection) -> RequestError:
        """What to tell a caller without a right key, which counts against the rate limit of its address."""
        wait = self.spend(_address(connection), time.monotonic())
        return over_limit(wait) if wait else unauthorized()

    def spend(self, caller: str, now: float) -> float:
        """Count a request of a caller; gives the seconds until one is allowed, 0 where this one is.

        An allowance fills up evenly, and holds a minute's requests at most.
        """
        if self._rate_limit is None:
            return 0.0
        per_second = self._rate_limit / 60
        name = _digest(caller)
        left, since = self._allowances.pop(name, (float(self._rate_limit), now))
        left = min(float(self._rate_limit), left + (now - since) * per_second)
        wait = 0.0 if left >= 1 else (1 - left) / per_second
        self._allowances[name] = (left if wait else left - 1, now)
        while len(self._allowances) > _MOST_CALLERS:
            self._allowances.popitem(last=False)
        return wait


class KeyFile:
    """The operator's file of keys, looked at again every second at most."""

    def __init__(self, listed: Iterable[str], path: Path) -> None:
        self._listed = tuple(listed)
        self._path = path
        self._looked = time.monotonic()
        self._version = self._stat()

    def changed(self) -> tuple[str, ...] | None:
        """All keys, where the file is another than when it was last read and can be read."""
        if time.monotonic() < self._looked + RELOAD_S:
            return None
        self._looked = time.monotonic()
        if (version := self._stat()) == self._version:
            return None
        self._version = version
        try:
            return read_keys(self._listed, self._path)
        except (OSError, ValueError) as error:
            log.error("the API keys stay as they were: %s", error)
            return None

    def _stat(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino


class AccessMiddleware:
    """Refuses calls without a key with 401, and those over the rate limit with 429; websockets with close code 1008."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or _is_open(scope):
            await self._app(scope, receive, send)
            return
        self._access.refresh()
        connection = HTTPConnection(scope)
        key = given_key(connection)
        late = scope["type"] == "websocket" and key is None and scope["path"].endswith(LATE_KEY_SUFFIXES)
        if scope["type"] == "websocket" and not self._access.admits_origin(connection):
            message = "pages of this origin may not open a WebSocket here"
            await _refuse(scope, receive, send, RequestError(403, "origin_not_allowed", message))
            return
        if not late and not self._access.knows(key):
            await _refuse(scope, receive, send, self._access.refusal(connection))
            return
        caller = _address(connection) if key is None or self._access.open else key
        if wait := self._access.spend(caller, time.monotonic()):
            await _refuse(scope, receive, send, over_limit(wait))
            return
        serve_caller(self._access.caller(key))
        await self._app(scope, receive, send)


def access_of(settings: Settings) -> Access:
    """Who may call, as the operator has it.

    Raises ValueError for a key that is too short and OSError for a key file that cannot be read.
    """
    keys = read_keys(settings.api_keys, settings.api_keys_file)
    file = KeyFile(settings.api_keys, settings.api_keys_file) if settings.api_keys_file is not None else None
    access = Access(keys, settings.rate_limit, settings.cors_origins, file)
    if access.open and not _is_loopback(settings.host):
        log.warning("listening on %s without API keys: everyone who reaches this port may use it", settings.host)
    return access


def install(app: FastAPI, access: Access, settings: Settings) -> None:
    """Put access control in front of an application."""
    app.add_middleware(AccessMiddleware, access=access)
    if settings.cors_origins:
        # Outermost, so that a browser may read the refusals too.
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "X-Request-ID", "xi-api-key"],
            expose_headers=["Retry-After", "X-Request-ID", "X-Seed", "X-Usage-Input-Tokens", "character-cost"],
        )


def read_keys(listed: Iterable[str], file: Path | None) -> tuple[str, ...]:
    """Keys of the settings and of a file with one a line, after its name and a blank if it has one.

    Empty lines and those that begin with # do not count.
    """
    lines = file.read_text("utf-8").splitlines() if file is not None else []
    keys = tuple(key.strip() for key in (*listed, *lines) if key.strip() and not key.lstrip().startswith("#"))
    if any(len(key.split()[-1]) < MIN_KEY_LENGTH for key in keys):
        raise ValueError(f"an API key has less than {MIN_KEY_LENGTH} characters")
    if file is not None and not keys:
        raise ValueError(f"{file} holds no API key, so that everyone could call")
    return keys


def given_key(connection: HTTPConnection) -> str | None:
    """The key that a call brings, if it brings one."""
    scheme, _, key = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    return connection.headers.get("xi-api-key")


def unauthorized() -> RequestError:
    return RequestError(401, "invalid_api_key", "an API key is needed: send it as Authorization: Bearer KEY")


def over_limit(wait: float) -> Refused:
    """``wait`` is in seconds."""
    seconds = int(wait) + 1
    message = f"the rate limit is reached; the next request is allowed in {seconds} s"
    return Refused(429, "rate_limit_exceeded", message, seconds)


def _address(connection: HTTPConnection) -> str:
    return connection.client.host if connection.client else ""


def _name(key: str) -> str:
    """What a key is called in metrics and the log: its own name, or the beginning of its digest."""
    name, _, alone = key.rpartition(" ")
    return name.strip() or f"key-{_digest(alone).hex()[:8]}"


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def _is_open(scope: Scope) -> bool:
    path = scope["path"]
    preflight = scope["type"] == "http" and scope["method"] == "OPTIONS"
    return preflight or path in OPEN_PATHS or path.startswith(OPEN_PREFIXES)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def _refuse(scope: Scope, receive: Receive, send: Send, error: RequestError) -> None:
    if scope["type"] == "http":
        await error_response(error, scope)(scope, receive, send)
    else:
        await receive()
        await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": error.message})
