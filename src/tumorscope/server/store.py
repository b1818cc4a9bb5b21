"""The store: SQLite opened so that what is acknowledged is on the disk, and brought to the newest tables."""

from __future__ import annotations

import datetime
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection, Engine, create_engine, event, select
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session

from tumorscope.errors import OutputError
from tumorscope.server.tables import Case, Prediction

FILE = "store.sqlite"
BUSY = 20  # seconds that a connection waits for another one's transaction


class Store:
    """All rows of a workspace.

    Parameters
    ----------
    url : str
        As SQLAlchemy takes it.

    Raises
    ------
    OutputError
        If it cannot be opened, or was made by a newer version.
    """

    def __init__(self, url: str) -> None:
        patience = {"timeout": BUSY} if url.startswith("sqlite") else {}
        # hide_parameters: names of cases and annotators enter no traceback
        self.engine: Engine = create_engine(url, hide_parameters=True, connect_args=patience)
        self._one = threading.Lock()
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _pragmas)
            event.listen(self.engine, "begin", _begin)
        try:
            with self.engine.begin() as connection:
                upgrade(connection)
        except CommandError as error:
            raise OutputError("store: was made by a newer tumorscope; update this one") from error
        except DatabaseError as error:
            raise OutputError(f"store: cannot be opened ({error.orig}); restore the workspace from a copy") from error

    @classmethod
    def of_folder(cls, folder: Path) -> Store:
        """The store of a workspace's folder."""
        return cls(f"sqlite:///{folder.resolve() / FILE}")

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session to look with."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A session whose changes are on the disk, all of them or none, once the block is left; one at a time."""
        with self._one, Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    def names(self, digest: str) -> bool:
        """Whether a row names a blob."""
        with self.reading() as session:
            return any(
                session.execute(select(column).where(column == digest).limit(1)).first() is not None
                for column in (Case.scan, Case.thumbnail, Prediction.map)
            )

    def all_named(self) -> set[str]:
        """Every blob that a row names."""
        with self.reading() as session:
            return {
                digest
                for column in (Case.scan, Case.thumbnail, Prediction.map)
                for digest in session.execute(select(column)).scalars()
            }

    def close(self) -> None:
        """Let go of the file."""
        self.engine.dispose()


def upgrade(connection: Connection) -> None:
    """Bring the tables to the newest migration."""
    config = _config()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def newest() -> str:
    """Number of the newest migration.

    Examples
    --------
    >>> newest()
    '0001'
    """
    return str(ScriptDirectory.from_config(_config()).get_current_head())


def new_id() -> str:
    """A name that cannot be guessed.

    Examples
    --------
    >>> len(new_id())
    32
    """
    return secrets.token_hex(16)


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _pragmas(connection: Any, _record: Any) -> None:
    """Readers beside the writer; a commit returns when it is on the disk."""
    connection.isolation_level = None  # the driver begins no transaction by itself: tables would be made outside of one
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN")
