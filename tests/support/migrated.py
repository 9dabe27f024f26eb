"""MLflow's tables: migrated once a process, then copied into every further database that is new."""

from __future__ import annotations

import sqlite3
import sys
from functools import cache, wraps
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


def migrate_once() -> None:
    """Have the tables copied, if MLflow is loaded: its sixty migrations take a second of a core for each workspace."""
    tables = sys.modules.get("mlflow.store.db.utils")
    if tables is None or hasattr(tables._initialize_tables, "__wrapped__"):
        return
    migrate, kept = tables._initialize_tables, sqlite3.connect(":memory:", check_same_thread=False)

    @wraps(migrate)
    def initialize(engine: Engine) -> None:
        if engine.dialect.name != "sqlite" or not tables._is_empty_database(engine):
            migrate(engine)
            return
        is_kept = kept.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
        if not is_kept:
            migrate(engine)
        connection = engine.raw_connection()
        database = connection.driver_connection
        assert isinstance(database, sqlite3.Connection)
        source, target = (kept, database) if is_kept else (database, kept)
        source.backup(target)
        connection.close()

    tables._initialize_tables = initialize
    tables._get_latest_schema_revision = cache(tables._get_latest_schema_revision)  # read from sixty files each time
