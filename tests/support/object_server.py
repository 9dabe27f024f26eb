"""An object server on loopback that speaks S3, and everything that a network can do to its clients."""

from __future__ import annotations

import random
import socket
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Answer = Iterable[bytes]
    StartResponse = Callable[..., Any]

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
BUCKET = "team"
_500 = b"<Error><Code>InternalError</Code><Message>out of luck</Message></Error>"


@dataclass
class Faults:
    """What goes wrong with requests for objects, and how often, drawn from a seed.

    Attributes:
        share: of the requests to which something is done.
        kinds: what may be done: "500", "reset" (the answer is lost after the request was carried out), "cut" (the
            connection drops in the middle of an upload or a download), "late" (no answer for `late_s`), "stale" (a
            listing is that of before the last writes).
        refuse: by method: the code with which every request is refused, as credentials without that right are.
    """

    share: float = 0.0
    kinds: tuple[str, ...] = ("500", "reset", "cut", "late", "stale")
    seed: int = 0
    late_s: float = 2.0
    refuse: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start the draw."""
        self._random = random.Random(self.seed)  # noqa: S311  # no secret
        self._lock = threading.Lock()

    def draw(self, method: str, *, is_listing: bool) -> str:
        """What is done to a request; "" for nothing."""
        with self._lock:
            able = [k for k in self.kinds if k != "stale" or is_listing]
            if method not in ("PUT", "GET"):
                able = [k for k in able if k != "cut"]
            kind = self._random.choice(able) if able and self._random.random() < self.share else ""
            if kind:
                self.done.append(kind)
            return kind


class _Handler(MotoRequestHandler):
    """Says nothing, and lets go of a connection that was dropped."""

    def connection_dropped(self, *_: Any) -> None:
        """No further request is read from it."""
        self.close_connection = True

    def log_request(self, *_: Any) -> None:
        """Not a word."""


class ObjectServer:
    """Moto's S3 in a thread of this process, with its faults before it."""

    def __init__(self) -> None:
        """Start; every object of an earlier one in this process is forgotten."""
        self.faults = Faults()
        self.requests: list[tuple[str, str]] = []
        self._listings: dict[str, tuple[Any, list[bytes]]] = {}
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._serve, threaded=True, request_handler=_Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.environment = CREDENTIALS | {"AWS_ENDPOINT_URL": self.endpoint}
        self._direct("POST", "/moto-api/reset")
        self.make_bucket(BUCKET)

    def make_bucket(self, name: str) -> None:
        """Make a bucket."""
        self._direct("PUT", f"/{name}")

    def names(self) -> list[str]:
        """Every object of the bucket."""
        return sorted(self._backend(BUCKET).keys())

    def content(self, name: str) -> bytes:
        """An object's bytes."""
        value: bytes = self._backend(BUCKET)[name].value
        return value

    def damage(self, name: str) -> None:
        """Change a byte in the middle of an object, behind everybody's back."""
        key = self._backend(BUCKET)[name]
        data = bytearray(key.value)
        data[len(data) // 2] ^= 0xFF
        key.value = bytes(data)

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @staticmethod
    def _backend(bucket: str) -> Any:
        from moto.s3.models import s3_backends

        return s3_backends["123456789012"]["aws"].buckets[bucket].keys

    def _direct(self, method: str, path: str) -> None:
        import urllib.request

        request = urllib.request.Request(f"{self.endpoint}{path}", method=method)  # noqa: S310  # our own
        request.add_header("Authorization", "AWS4-HMAC-SHA256 Credential=tester/20260101/us-east-1/s3/aws4_request")
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    def _serve(self, environ: dict[str, Any], start_response: StartResponse) -> Answer:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        query = environ.get("QUERY_STRING", "")
        if path.startswith("/moto-api"):
            answer: Answer = self._app(environ, start_response)
            return answer
        self.requests.append((method, path))
        if method in self.faults.refuse:
            code = self.faults.refuse[method]
            text = f"<Error><Code>{code}</Code><Message>it is refused</Message></Error>"
            start_response("403 Forbidden", [("Content-Type", "application/xml")])
            return [text.encode()]
        is_listing = method == "GET" and "list-type=2" in query
        fault = self.faults.draw(method, is_listing=is_listing)
        if fault == "late":
            time.sleep(self.faults.late_s)
        if fault == "500":
            start_response("500 Internal Server Error", [("Content-Type", "application/xml")])
            return [_500]
        if fault == "cut" and method == "PUT":
            environ["wsgi.input"].read(max(1, int(environ.get("CONTENT_LENGTH") or 2) // 2))
            return self._drop(environ)
        if fault == "stale" and f"{path}?{query}" in self._listings:
            headers, body = self._listings[f"{path}?{query}"]
            start_response("200 OK", headers)
            return body
        return self._carry_out(environ, start_response, fault, f"{path}?{query}" if is_listing else "")

    def _carry_out(self, environ: dict[str, Any], start_response: StartResponse, fault: str, listing: str) -> Answer:
        """What moto answers, as much of it as the fault lets through."""
        said: list[Any] = []

        def hear(*args: Any) -> Any:
            said[:] = args

        body = list(self._app(environ, hear))
        if fault == "reset":
            return self._drop(environ)
        status, headers = said[0], said[1]
        if listing and status.startswith("200"):
            self._listings[listing] = (headers, body)
        start_response(status, headers)
        if fault == "cut":
            whole = b"".join(body)
            return self._part(environ, whole[: len(whole) // 2])
        return body

    def _part(self, environ: dict[str, Any], data: bytes) -> Answer:
        yield data
        yield from self._drop(environ)

    @staticmethod
    def _drop(environ: dict[str, Any]) -> Answer:
        """Close the connection without another word."""
        connection = environ["werkzeug.socket"]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        raise ConnectionError("dropped on purpose")


@contextmanager
def object_server() -> Iterator[ObjectServer]:
    """A server that ends with the block."""
    server = ObjectServer()
    try:
        yield server
    finally:
        server.stop()
