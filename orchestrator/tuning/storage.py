"""Where Optuna keeps its studies: a journal in the workspace, or a database that several drivers share."""

from __future__ import annotations

import json
import logging
import os
import time
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import optuna
from optuna.exceptions import StorageInternalError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from sqlalchemy.exc import SQLAlchemyError

from adloc.errors import Complaint, UserError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Given = ParamSpec("Given")
Found = TypeVar("Found")
# A writer holds the lock for milliseconds; one that is older was left by a process that was killed.
STALE_LOCK_S = 4
PAUSES_S = (0.5, 1, 2, 4, 8)  # before a database that was lost is asked again: a restart of PostgreSQL takes seconds


def open_storage(journal: Path, url: str | None) -> BaseStorage:
    """The workspace's journal, or the database at `url`, which several drivers may use at once.

    A journal's torn tail is cut off; one that is damaged before its tail is set aside and made anew.

    Raises:
        UserError: the database cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if url is not None:
        return _open_database(url)
    journal.parent.mkdir(parents=True, exist_ok=True)
    lock = JournalFileSymlinkLock(str(journal), grace_period=STALE_LOCK_S)
    repair(journal, lock)
    try:
        return JournalStorage(JournalFileBackend(str(journal), lock))
    except (ValueError, TypeError, AttributeError, LookupError) as error:  # whatever a damaged line becomes
        aside = journal.with_name(f"{journal.name}.damaged-{time.time_ns()}")
        journal.replace(aside)
        logging.getLogger(__name__).warning(
            "WARNING: %s is damaged (%s): it was moved to %s and is made again from the trial records",
            journal,
            _words(error),
            aside,
        )
        return JournalStorage(JournalFileBackend(str(journal), lock))


def repair(journal: Path, lock: JournalFileSymlinkLock | None = None) -> Path | None:
    """Cut a torn last line off, under the lock; a copy is kept beside the journal and returned.

    A process that was killed while it wrote leaves half a line, and Optuna reads no journal that has one.
    """
    if not journal.exists() or not _torn(journal.read_bytes()):
        return None
    lock = lock or JournalFileSymlinkLock(str(journal), grace_period=STALE_LOCK_S)
    lock.acquire()
    try:
        content = journal.read_bytes()
        n_torn = _torn(content)  # another process may have repaired it meanwhile, or ended its line
        if not n_torn:
            return None
        copy = journal.with_name(f"{journal.name}.torn-{time.time_ns()}")
        copy.write_bytes(content)
        with journal.open("rb+") as file:
            file.truncate(len(content) - n_torn)
            file.flush()
            os.fsync(file.fileno())
        logging.getLogger(__name__).warning("%s: a torn last line was cut off; copy: %s", journal, copy)
        return copy
    finally:
        lock.release()


def held(method: Callable[Given, Found]) -> Callable[Given, Found]:
    """A method that may be done twice, done again for some seconds where the database is lost meanwhile.

    Raises:
        UserError: it does not come back.
    """

    @wraps(method)
    def wrapped(*args: Given.args, **kwargs: Given.kwargs) -> Found:
        for pause_s in PAUSES_S:
            try:
                return method(*args, **kwargs)
            except (StorageInternalError, SQLAlchemyError):
                time.sleep(pause_s)
        try:
            return method(*args, **kwargs)
        except (StorageInternalError, SQLAlchemyError) as error:
            raise UserError(
                Complaint(
                    f"--storage: the database was lost: {_words(error.__cause__ or error)}",
                    f"Optuna is told of every trial; it was asked again for {sum(PAUSES_S):.0f} s",
                    "run the study again when it is back: every trial that was finished is recorded",
                )
            ) from None

    return wrapped


def _open_database(url: str) -> BaseStorage:
    """Its tables are made where they are missing; who is second in that begins again."""
    failure: BaseException | None = None
    for pause_s in (*PAUSES_S[:2], 0):
        try:
            return RDBStorage(url, engine_kwargs={"pool_pre_ping": True})
        except (StorageInternalError, SQLAlchemyError) as error:  # the first is Optuna's for what fails at the commit
            failure = error.__cause__ or error
            time.sleep(pause_s)
        except Exception as error:  # noqa: BLE001  # whatever else a database's driver raises
            failure = error
            break
    raise UserError(
        Complaint(
            f"--storage: {type(failure).__name__}: {_words(failure)}",
            "it must be the URL of a database that can be reached, and whose driver is installed",
            "use postgresql+psycopg://USER:PASSWORD@HOST/DATABASE or sqlite:////absolute/path.db,"
            " or leave it out for the journal in the workspace",
        )
    )


def _words(error: object) -> str:
    """The first line of an error, in which no driver writes a password."""
    return (str(error).splitlines() or [type(error).__name__])[0]


def _torn(content: bytes) -> int:
    """Bytes at the end that are no whole line of JSON; 0 for a sound journal."""
    end = content.rfind(b"\n") + 1
    if end < len(content):
        return len(content) - end
    start = content.rfind(b"\n", 0, max(end - 1, 0)) + 1
    try:
        json.loads(content[start:end] or b"{}")
    except ValueError:
        return end - start
    return 0
