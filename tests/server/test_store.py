"""The store's tables, the blobs and the pool, each by itself."""

import threading

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.server.blobs import Blobs
from tumorscope.server.keeping import Kept
from tumorscope.server.pool import FAIR, Pool
from tumorscope.server.problems import Problem
from tumorscope.server.store import Store
from tumorscope.server.tables import Case, Table


@pytest.fixture
def store(tmp_path):
    opened = Store.of_folder(tmp_path)
    yield opened
    opened.close()


def test_the_migrations_make_the_tables_that_the_code_names(store):
    with store.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), Table.metadata) == []


def test_what_is_acknowledged_is_forced_to_the_disk(store):
    with store.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_block_that_fails_writes_nothing(store):
    case = {"name": "a", "added": "t", "sha256": "s", "scan": "x", "thumbnail": "y", "shape": [1], "axes": "YX"}
    with pytest.raises(ZeroDivisionError), store.writing() as session:
        session.add(Case(id="1", format="png", notes=[], review="open", **case))
        session.flush()
        raise ZeroDivisionError
    with store.reading() as session:
        assert session.get(Case, "1") is None


def test_a_blob_that_is_being_named_survives_a_deletion(tmp_path):
    blobs = Blobs(tmp_path)
    with blobs.pinned(b"x") as (digest,):
        blobs.discard([digest], lambda _: False)
        assert blobs.read(digest) == b"x"
    blobs.discard([digest], lambda _: True)
    assert blobs.read(digest) == b"x"
    blobs.discard([digest], lambda _: False)
    assert not blobs.path(digest).exists()


def test_a_sweep_takes_what_nothing_names_and_half_written_files(tmp_path):
    blobs = Blobs(tmp_path)
    with blobs.pinned(b"x", b"y") as (kept, _):
        pass
    (tmp_path / kept[:2] / ".half.tmp").write_bytes(b"half")
    assert blobs.sweep(lambda: {kept}) == 2
    assert [path.read_bytes() for path in tmp_path.glob("*/*")] == [b"x"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 12)), max_size=40))
def test_what_is_kept_never_takes_more_than_allowed(steps):
    kept = Kept(20, len)
    for key, size in steps:
        kept.put(key, bytes(size))
        held = [value for value in map(kept.peek, "abcdef") if value is not None]
        assert sum(map(len, held)) <= 20
        assert kept.peek(key) == bytes(size)


def test_what_several_want_is_made_once():
    kept, made, start = Kept(100, len), [], threading.Barrier(8)

    def make():
        made.append(1)
        return b"x"

    def want():
        start.wait()
        assert kept.get("key", make) == b"x"

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert made == [1]


def test_a_failure_to_make_is_not_kept():
    kept = Kept(100, len)
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 // 0)
    assert kept.get("key", lambda: b"x") == b"x"


def test_urgent_work_goes_first_and_patient_work_is_not_starved():
    pool, gate, order = Pool(1, 100), threading.Event(), []
    first = pool.submit(gate.wait)
    patient = [pool.submit(lambda n=n: order.append(f"p{n}"), patient=True) for n in range(2)]
    urgent = [pool.submit(lambda n=n: order.append(f"u{n}")) for n in range(2 * FAIR)]
    gate.set()
    for future in (first, *patient, *urgent):
        future.result(20)
    assert order[0] == "u0" and [one for one in order if one[0] == "u"] == [f"u{n}" for n in range(2 * FAIR)]
    assert order.index("p0") < order.index(f"u{FAIR + 1}")
    pool.close()
    with pytest.raises(Problem) as caught:
        pool.submit(lambda: None)
    assert caught.value.status_code == 503


def test_an_error_in_the_pool_comes_out_where_it_was_asked_for():
    pool = Pool(1, 1)
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(20)
    assert pool.submit(lambda: 5).result(20) == 5
    assert pool.facts() == {"running": 0, "waiting": 0, "limit": 1} or pool.facts()["running"] <= 1
    pool.close()
