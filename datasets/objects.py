"""Objects behind a URL, as fsspec opens it: s3://bucket/prefix, file:///folder. The one importer of fsspec.

An object is written whole or not at all and never renamed. Whatever a network does for a moment (a timeout, a dropped
connection, a server's 500) is tried again, ever later; what a user has to mend is said.
"""

from __future__ import annotations

import errno
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

from adloc.datasets.errors import DatasetError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable

Found = TypeVar("Found")

# Each pause is twice the one before: some 12 s in all, and some 100 s of a server that has answered before.
ATTEMPTS, PATIENT_ATTEMPTS, FIRST_PAUSE_S = 7, 10, 0.2
TIMEOUTS = {"connect_timeout": 10, "read_timeout": 30}  # seconds; fsspec's own configuration goes before
_PARTIAL = ".partial"
_OF_A_DISK = (
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EROFS,
)  # this machine's: no server is asked again
_OF_A_PROCESS = ("memory",)  # whose objects end with it
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "CredentialRetrievalError")
_NO_ENDPOINT = "Invalid endpoint"  # what botocore says of an AWS_ENDPOINT_URL that is no URL
_DAMAGED = "FlexibleChecksumError"  # what botocore says of bytes that are not those of the server's checksum
_DAMAGED_ATTEMPTS = 3  # at bytes that may be damaged on their way
_DRIVERS = ("aiohttp", "aiobotocore", "botocore", "fsspec", "s3fs")
_EXTRA = {"s3": "pip install 'adloc[team]'", "s3a": "pip install 'adloc[team]'"}


class UnreachableError(DatasetError):
    """What lies behind a URL cannot be had, or not be written to."""


class DamagedObjectError(UnreachableError):
    """An object's bytes are not those that were written, by the checksum that its server keeps."""


class ReadOnlyError(UnreachableError):
    """What lies behind a URL may be read by these credentials, perhaps, and not be written or removed."""


@dataclass(frozen=True, slots=True)
class Stat:
    """What is known of an object without reading it.

    Attributes:
        n_bytes: its size.
        changed_s: when it was written, seconds since 1970 by the clock of whoever keeps it.
        tag: another one for another content: its ETag, else the time with all of its digits.
    """

    n_bytes: int
    changed_s: float
    tag: str


def is_url(text: str | Path) -> bool:
    """Whether this names a place by URL: "s3://bucket/prefix" and not "/data"."""
    return "://" in str(text)


class Objects:
    """The objects below a URL, by their names relative to it. Threads may use one at a time."""

    def __init__(self, url: str) -> None:
        """Open it; nothing travels yet.

        Raises:
            UnreachableError: there is no such kind of URL, or its library is not installed.
        """
        self.url = url.rstrip("/")
        self._fs, self._root = _open(self.url)
        self._protocol = urlsplit(self.url).scheme
        self._is_disk = self._protocol == "file"
        self._answered = False

    def read(self, name: str) -> bytes | None:
        """The bytes of an object; None where there is none."""
        try:
            data: bytes = self._try(lambda: self._fs.cat_file(self._path(name)), name)
        except FileNotFoundError:
            return None
        return data

    def fetch(self, name: str, to: Path) -> bool:
        """Copy an object into a file; False where there is none. What has come is the caller's to verify."""
        try:
            self._try(lambda: self._fs.get_file(self._path(name), str(to)), name)
        except FileNotFoundError:
            return False
        except DamagedObjectError:
            to.touch()
        return True

    def write(self, name: str, data: bytes) -> None:
        """Keep an object, in the place of one of its name."""
        self._writing(lambda: self._put(name, data))

    def create(self, name: str, data: bytes) -> bool:
        """Keep an object where there is none of its name; False where there is another one, which stays.

        An object of these very bytes counts as kept: the answer to an attempt that succeeded may have been lost.
        """

        def once() -> bool:
            try:
                self._put(name, data, exclusive=True)
            except FileExistsError:
                return self.read(name) == data
            return True

        return self._writing(once)

    def send(self, name: str, path: Path) -> None:
        """Keep a file as an object, in the place of one of its name; its size is looked at again there.

        The content is verified by the server, by the checksum that clients send along, and by whoever reads it.
        """

        def once() -> None:
            if self._is_disk:
                self._put(name, path.read_bytes())
            else:
                self._fs.put_file(str(path), self._path(name))
            found = self._stat(name)
            if found is None or found.n_bytes != path.stat().st_size:
                raise OSError(f"{name}: {found.n_bytes if found else 'nothing'} of {path.stat().st_size} bytes arrived")

        self._writing(once)

    def stat(self, name: str) -> Stat | None:
        """What is known of an object; None where there is none."""
        return self._try(lambda: self._stat(name))

    def list(self, below: str = "") -> dict[str, Stat]:
        """Every object whose name begins with the folder `below`, by name. A server may show what is new late."""
        start = self._path(below) if below else self._root
        try:
            found: dict[str, dict[str, Any]] = self._try(lambda: self._fs.find(start, detail=True))
        except FileNotFoundError:
            return {}
        inside = {path[len(self._root) :].lstrip("/"): info for path, info in found.items()}
        return {name: _stat(info) for name, info in sorted(inside.items()) if name and not name.endswith(_PARTIAL)}

    def remove(self, name: str) -> None:
        """Forget an object, if it is there."""

        def once() -> None:
            try:
                self._fs.rm_file(self._path(name))
            except FileNotFoundError:
                return

        self._writing(once)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _stat(self, name: str) -> Stat | None:
        try:
            info = self._fs.info(self._path(name), **({} if self._is_disk else {"refresh": True}))
        except FileNotFoundError:
            return None
        return _stat(info) if info["type"] == "file" else None

    def _put(self, name: str, data: bytes, *, exclusive: bool = False) -> None:
        """Write once; on a disk aside, and linked or moved to its name, for a disk shows half a file.

        Raises:
            FileExistsError: exclusive, and there is one.
        """
        if not self._is_disk:
            try:
                self._fs.pipe_file(self._path(name), data, mode="create" if exclusive else "overwrite")
            except OSError as error:
                if _code(error) in ("PreconditionFailed", "412"):
                    raise FileExistsError(name) from None
                raise
            return
        path = Path(self._path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f"{uuid4().hex}{_PARTIAL}")
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            path.hardlink_to(aside) if exclusive else aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    def _writing(self, action: Callable[[], Found]) -> Found:
        try:
            return self._try(action, writes=True)
        except FileNotFoundError:
            raise self._gone() from None

    def _try(self, action: Callable[[], Found], name: str = "", *, writes: bool = False) -> Found:
        """What it returns; tried again while the network may be to blame. `name`: of the object that it reads.

        Raises:
            FileNotFoundError: there is no such object.
            FileExistsError: there is one.
            OSError: a disk of this machine is full or may not be written to.
            DamagedObjectError: by its server's checksum.
            ReadOnlyError: it writes, which is refused.
            UnreachableError: for other reasons than a moment's.
        """
        n_attempts = PATIENT_ATTEMPTS if self._answered else ATTEMPTS
        for attempt in range(n_attempts):
            try:
                found = action()
            except Exception as error:  # noqa: BLE001  # a bug is raised again
                self._raise_if_lasting(error, writes=writes)
                if type(error).__name__ == _DAMAGED and attempt + 1 == _DAMAGED_ATTEMPTS:
                    raise self._damaged(name, error) from None
                if attempt + 1 == n_attempts:
                    self._answered = False  # whatever is tried after that to end well is not waited for as long
                    raise self._unanswered(error, n_attempts) from None
            else:
                self._answered = True
                return found
            time.sleep(FIRST_PAUSE_S * 2**attempt * random.uniform(0.5, 1))  # noqa: S311  # no secret
        raise AssertionError  # the last attempt has returned or raised

    def _raise_if_lasting(self, error: Exception, *, writes: bool) -> None:
        """Raise what another attempt would not change, in a user's words where it is a user's to mend."""
        if isinstance(error, FileNotFoundError | FileExistsError):
            self._answered = True
            if _code(error) == "NoSuchBucket":
                raise self._gone() from None
            raise error
        if isinstance(error, PermissionError) or type(error).__name__ in _NO_CREDENTIALS:
            raise self._refused(error, writes=writes) from None
        if isinstance(error, ValueError) and str(error).startswith(_NO_ENDPOINT):
            problem = Problem(
                f"{self.url}: {error}",
                "AWS_ENDPOINT_URL is the URL of the server",
                "write http://HOST:PORT, or unset it for Amazon's",
            )
            raise UnreachableError(problem) from None
        if isinstance(error, OSError):
            if error.errno in _OF_A_DISK:
                raise error
        elif type(error).__module__.partition(".")[0] not in _DRIVERS:
            raise error

    def _gone(self) -> UnreachableError:
        what = "folder" if self._is_disk else "bucket"
        problem = Problem(
            f"{self.url}: no such {what}",
            f"the {what} must be there; what is below it is made as it is needed",
            f"make it, or correct the URL{self._endpoint()}",
        )
        return UnreachableError(problem)

    def _damaged(self, name: str, error: Exception) -> DamagedObjectError:
        problem = Problem(
            f"{self.url}/{name}: damaged: {_said(error)}",
            "its bytes must be those of the checksum that its server keeps",
            "restore the object from a copy of the bucket",
        )
        return DamagedObjectError(problem)

    def _refused(self, error: Exception, *, writes: bool) -> UnreachableError:
        kind, found = UnreachableError, _said(error)
        remedy = "set the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or fsspec's own"
        if self._is_disk or _code(error) in ("AccessDenied", "403"):
            what = "list and read"
            if writes:
                kind, what, found = ReadOnlyError, "write and remove", f"may not be written to: {found}"
            remedy = f"have whoever owns the bucket allow these credentials to {what} objects there"
            if self._is_disk:
                remedy = "give this user the right, or name another place"
        elif _code(error) == "RequestTimeTooSkewed":
            remedy = "set this machine's clock: it is more than some minutes off the server's"
        elif _code(error) == "ExpiredToken":
            remedy = "log in again: the session of these credentials has ended"
        return kind(Problem(f"{self.url}: {found}", "it must be open to the credentials of this process", remedy))

    def _unanswered(self, error: Exception, n_attempts: int) -> UnreachableError:
        return UnreachableError(
            Problem(
                f"{self.url}: no answer after {n_attempts} attempts: {_said(error)}",
                "its server must be reachable from this machine",
                f"see that it runs{self._endpoint()}; what is done so far is safe: run again to go on",
            )
        )

    def _endpoint(self) -> str:
        where = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        return f" (AWS_ENDPOINT_URL is {where})" if where and self._protocol in _EXTRA else ""


def _open(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it."""
    import fsspec
    from fsspec.config import conf

    protocol = urlsplit(url).scheme
    if protocol in _OF_A_PROCESS:
        problem = Problem(
            f"{url}: it would end with this process",
            "what is behind a URL outlives whoever writes it",
            "use s3://bucket/prefix or file:///folder",
        )
        raise UnreachableError(problem)
    try:
        options: dict[str, Any] = {}
        if protocol in ("s3", "s3a"):
            own = conf.get("s3", {}).get("config_kwargs", {})
            # Retries are ours: those of three layers multiply.
            options = {"config_kwargs": {**TIMEOUTS, "retries": {"total_max_attempts": 1}, **own}}
            options["use_listings_cache"] = False
        fs, path = fsspec.core.url_to_fs(url, **options)
    except (ImportError, ValueError) as error:
        remedy = _EXTRA.get(protocol, "use s3://bucket/prefix, file:///folder, or install what fsspec wants for it")
        problem = Problem(f"{url}: {_said(error)}", f"fsspec must be able to open {protocol}:// URLs", remedy)
        raise UnreachableError(problem) from None
    if options:
        fs.retries = 1
    return fs, str(path).rstrip("/")


def _stat(info: dict[str, Any]) -> Stat:
    changed = info.get("LastModified", info.get("mtime", info.get("created", 0.0)))
    seconds = changed.timestamp() if hasattr(changed, "timestamp") else float(changed)
    return Stat(int(info["size"] or 0), seconds, str(info.get("ETag", changed)).strip('"'))


def _code(error: BaseException) -> str:
    """The server's own word for what was wrong; "" where it has not said one."""
    response = getattr(error.__cause__ or error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def _said(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{_code(error) or type(error).__name__}{f': {text[0]}' if text else ''}"
