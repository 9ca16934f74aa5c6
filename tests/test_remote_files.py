"""Files from other hosts: only those that are allowed, only public addresses, within bounds, and nothing told of the rest."""

from __future__ import annotations

import logging
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from f5_tts_server import remote_files
from f5_tts_server.remote_files import FetchBusy, Fetcher, FetchFailed, FetchRefused, Origin, is_public

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
SECRET = "/private/clip.wav?signature=s3cret"


@contextmanager
def answering(answer: Callable[[socket.socket, bytes], None], tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """A server on the loopback that gives every connection to `answer`, with its request; gives the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=one, args=(connection,), daemon=True).start()

    def one(connection: socket.socket) -> None:
        try:
            with tls.wrap_socket(connection, server_side=True) if tls else connection as stream:
                answer(stream, stream.recv(65536))
        except OSError:
            pass  # the client has had enough, which is what some tests are about

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


def saying(data: bytes) -> Callable[[socket.socket, bytes], None]:
    return lambda stream, _: stream.sendall(data)


def fetcher(port: int, **options: Any) -> Fetcher:
    """One whose operator has named the loopback's address."""
    return Fetcher([f"http://127.0.0.1:{port}"], **{"max_bytes": 100, **options})


def test_a_file_is_fetched_and_only_its_host_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    asked: list[bytes] = []

    def answer(stream: socket.socket, request: bytes) -> None:
        asked.append(request)
        stream.sendall(OK)

    caplog.set_level(logging.DEBUG)
    with answering(answer) as port:
        assert fetcher(port).fetch(f"http://127.0.0.1:{port}{SECRET}#part") == b"hello"
    assert asked[0].startswith(f"GET {SECRET} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n".encode())
    assert "5 bytes from 127.0.0.1" in caplog.text and "s3cret" not in caplog.text and "private" not in caplog.text


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", "redirects"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 101\r\n\r\n" + b"x" * 101, "more than 100 bytes"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 101, "more than 100 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n65\r\n" + b"x" * 101 + b"\r\n0\r\n\r\n",
            "more than 100",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx", "compressed"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "could not be read"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "could not be read"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000, "could not be read"),
        (b"what?\r\n\r\n", "could not be read"),
        (b"", "could not be read"),
    ],
)
def test_what_is_no_file_is_told(answer: bytes, told: str) -> None:
    with answering(saying(answer)) as port, pytest.raises(FetchFailed, match=told) as caught:
        fetcher(port).fetch(f"http://127.0.0.1:{port}{SECRET}")
    assert "s3cret" not in str(caught.value)


def test_a_redirect_is_not_followed() -> None:
    asked: list[bytes] = []
    with answering(lambda _, request: asked.append(request)) as other:
        location = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:%d/\r\nContent-Length: 0\r\n\r\n" % other
        with answering(saying(location)) as port, pytest.raises(FetchFailed):
            Fetcher([f"http://127.0.0.1:{port}", f"http://127.0.0.1:{other}"], max_bytes=9).fetch(
                f"http://127.0.0.1:{port}/"
            )
    assert asked == []


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_host_that_sends_a_byte_now_and_then_has_one_end_for_all(head: bytes) -> None:
    """Each wait ends before its own time is up: only the time for all of them ends this."""

    def drip(stream: socket.socket, _: bytes) -> None:
        stream.sendall(head)
        while True:
            stream.sendall(b"x")
            time.sleep(0.05)

    began = time.monotonic()
    with answering(drip) as port, pytest.raises(FetchFailed, match=r"longer than 0\.5 s"):
        fetcher(port, max_bytes=10**6, seconds=0.5).fetch(f"http://127.0.0.1:{port}/")
    assert time.monotonic() - began < 20


def test_only_so_many_are_fetched_at_a_time() -> None:
    began, let_go = threading.Semaphore(0), threading.Event()

    def answer(stream: socket.socket, _: bytes) -> None:
        began.release()
        let_go.wait(30)
        stream.sendall(OK)

    with answering(answer) as port:
        one = fetcher(port, seconds=30)
        threads = [threading.Thread(target=one.fetch, args=(f"http://127.0.0.1:{port}/",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for _ in threads:
            assert began.acquire(timeout=30)
        with pytest.raises(FetchBusy, match="4 references"):
            one.fetch(f"http://127.0.0.1:{port}/")
        let_go.set()
        for thread in threads:
            thread.join(30)
        assert one.fetch(f"http://127.0.0.1:{port}/") == b"hello"


@pytest.mark.parametrize(
    "url",
    [
        "http://files.example.com/x",  # the operator has named https
        "https://files.example.com:8443/x",
        "https://other.example.com/x",
        "https://files.example.com.evil.org/x",
        "https://files.example.com@evil.org/x",
        "https://user:word@files.example.com/x",
        "https://files.example.com\\@evil.org/x",
        "https://files.example.com./x",
        "https://fіles.example.com/x",  # a Cyrillic letter
        "https://files.example.com/a b",
        "https://files.example.com/a\r\nHost: evil.org",
        "https://files.example.com:99999/x",
        "https://[::1/x",
        "ftp://files.example.com/x",
        "file:///etc/passwd",
        "//files.example.com/x",
        "",
        "https://files.example.com/" + "x" * 3000,
    ],
)
def test_what_is_not_allowed_is_never_looked_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: pytest.fail("it was looked up"))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("it was connected to"))
    with pytest.raises(FetchRefused):
        Fetcher(["files.example.com", "http://192.168.0.9:9000"], max_bytes=9).fetch(url)
    with pytest.raises(FetchRefused, match="F5_REFERENCE_HOSTS"):
        Fetcher([], max_bytes=9).fetch("https://files.example.com/x")


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("10.0.0.1", False),
        ("172.16.0.1", False),
        ("192.168.1.1", False),
        ("169.254.169.254", False),  # where clouds keep their secrets
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("255.255.255.255", False),
        ("::1", False),
        ("::", False),
        ("fe80::1%eth0", False),
        ("fc00::1", False),
        ("ff02::1", False),
        ("::ffff:10.0.0.1", False),
        ("::ffff:93.184.216.34", True),
        ("64:ff9b::7f00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


def _resolving(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[Any]:
    """Lets every name lead there; gives what is connected to, which is nothing."""
    connected: list[Any] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    def connect(address: tuple[str, int], _: float) -> socket.socket:
        connected.append(address)
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    monkeypatch.setattr(socket, "create_connection", connect)
    return connected


@pytest.mark.parametrize("addresses", [("127.0.0.1",), ("93.184.216.34", "10.0.0.1"), ("169.254.169.254",)])
def test_a_name_that_leads_to_a_private_address_is_refused(
    monkeypatch: pytest.MonkeyPatch, addresses: tuple[str, ...]
) -> None:
    connected = _resolving(monkeypatch, *addresses)
    with pytest.raises(FetchRefused, match="not public") as caught:
        Fetcher(["files.example.com"], max_bytes=9).fetch("https://files.example.com/x")
    assert connected == [] and not any(address in str(caught.value) for address in addresses)


def test_the_addresses_that_were_looked_at_are_the_ones_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the name is resolved once, and its addresses are connected to as numbers."""
    connected = _resolving(monkeypatch, "93.184.216.34", "93.184.216.35")
    with pytest.raises(FetchFailed, match=r"files\.example\.com could not be read: Connection refused"):
        Fetcher(["files.example.com"], max_bytes=9).fetch("https://files.example.com/x")
    assert connected == [("93.184.216.34", 443), ("93.184.216.35", 443)]


def test_a_certificate_must_be_of_the_name_that_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though it is an address that is connected to."""
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=files.example.com "
        f"-addext subjectAltName=DNS:files.example.com -keyout {tmp_path}/key.pem -out {tmp_path}/cert.pem"
    )
    try:
        subprocess.run(command.split(), check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("OpenSSL is not installed")
    monkeypatch.setenv("SSL_CERT_FILE", f"{tmp_path}/cert.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(f"{tmp_path}/cert.pem", f"{tmp_path}/key.pem")
    monkeypatch.setattr(remote_files, "_addresses", lambda _: ["127.0.0.1"])
    with answering(saying(OK), tls) as port:
        allowed = Fetcher([f"files.example.com:{port}", f"other.example.com:{port}"], max_bytes=9)
        assert allowed.fetch(f"https://files.example.com:{port}/x") == b"hello"
        with pytest.raises(FetchFailed, match="certificate"):
            allowed.fetch(f"https://other.example.com:{port}/x")


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("Files.Example.com", Origin("https", "files.example.com", 443)),
        ("https://files.example.com:8443/", Origin("https", "files.example.com", 8443)),
        ("http://10.0.0.5:9000", Origin("http", "10.0.0.5", 9000)),
        ("http://[::1]", Origin("http", "::1", 80)),
    ],
)
def test_origins_as_operators_write_them(written: str, origin: Origin) -> None:
    assert Origin.of(written) == origin


@pytest.mark.parametrize(
    "written", ["", "*.example.com", "https://a/b", "ftp://a", "https://u:p@a", "a:port", "https://a?b"]
)
def test_what_is_no_origin_is_told(written: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)it must|no host|port"):
        Origin.of(written)
