"""Faults: a server killed in the middle, a disk that is full. What was acknowledged is there afterwards."""

import contextlib
import errno
import json
import os
import socket
import sqlite3
import threading
from functools import partial
from urllib.parse import urlsplit

import pytest

from tumorscope.client import Client, ServerError
from tumorscope.server import blobs

API = "/api/v1"


def files_of(folder):
    return {path for path in folder.rglob("*") if path.is_file()}


def blob_count(work):
    return len([path for path in (work / "blobs").glob("*/*") if path.is_file()])


def test_killed_during_an_upload_and_a_save(real, picture, tmp_path, until):
    server = real()
    client = Client(server.address)
    (tmp_path / "a.png").write_bytes(picture())
    case = client.upload(tmp_path / "a.png")[0]["id"]
    acknowledged = [client.annotate(case, annotator="a", decision="open")]
    place = urlsplit(server.address)

    def save():
        own = Client(server.address, patience=0)
        while True:
            try:
                acknowledged.append(own.change(acknowledged[-1], note=f"note {len(acknowledged)}"))
            except (ServerError, OSError, ValueError):
                return

    thread = threading.Thread(target=save)
    with socket.create_connection((place.hostname, place.port)) as line:
        head = f"POST {API}/cases HTTP/1.1\r\nHost: {place.netloc}\r\nContent-Length: 100000000\r\n"
        head += "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
        part = '--x\r\nContent-Disposition: form-data; name="files"; filename="b.png"\r\n\r\n'
        line.sendall(head.encode() + part.encode() + bytes(2**20))
        until(lambda: any(path.stat().st_size for path in (tmp_path / "work" / "incoming").rglob("0*")))
        thread.start()
        until(lambda: len(acknowledged) > 9)
        server.kill()
    thread.join()
    with contextlib.closing(sqlite3.connect(tmp_path / "work" / "store.sqlite")) as store:
        assert store.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    client = Client(real().address)
    assert [one["id"] for one in client.cases()] == [case]
    (found,) = client.annotations(case)
    assert found["revision"] in (len(acknowledged), len(acknowledged) + 1)  # one more may have been on its way
    assert found["revision"] > len(acknowledged) or found == acknowledged[-1]
    assert client.predict(case)["decision"] == "tumor"
    assert list((tmp_path / "work" / "incoming").iterdir()) == []
    assert blob_count(tmp_path / "work") == 3


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_during_a_batch_goes_on_and_does_each_case_once(real, picture, tmp_path, until, kills):
    paths = []
    for n in range(24):
        path = tmp_path / f"s{n:02d}.png"
        path.write_bytes(picture(seed=n, shape=(300, 260), blob=(120, 90, 20)))
        paths.append(path)
    server = real()
    client = Client(server.address)
    ids = [one["id"] for one in client.upload(*paths)]
    job = client.start_job()["id"]

    def moved(client, before):
        found = client.job(job)
        return found["done"] > before or found["state"] == "done"

    for _ in range(kills):
        until(partial(moved, client, client.job(job)["done"]))
        server.kill()
        server = real()
        client = Client(server.address)
    found = client.wait(job)
    assert (found["state"], found["done"], found["failed"]) == ("done", len(ids), 0)
    assert [len(client.predictions(one)) for one in ids] == [1] * len(ids)


@pytest.mark.skipif(os.name != "posix", reason="needs a limit on file sizes")
def test_files_that_may_not_grow_any_more(real, picture, tmp_path):
    """A real process whose files may have 1 MiB each: the store or a blob hits the limit, as on a full disk."""
    work = tmp_path / "work"
    limit = "import resource, signal, sys, runpy; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20)); sys.argv[0] = 'tumorscope'; "
    (tmp_path / "sitecustomize.py").write_text(limit.replace("; ", "\n"))
    server = real(environment={"PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"})
    client = Client(server.address)
    (tmp_path / "a.png").write_bytes(picture())
    case = client.upload(tmp_path / "a.png")[0]["id"]
    (tmp_path / "big.png").write_bytes(bytes(2 * 2**20))
    with pytest.raises(ServerError) as caught:
        client.upload(tmp_path / "big.png")
    assert (caught.value.status, caught.value.code) == (507, "full")
    saved, full = [], None
    for n in range(200):  # the store's log grows until it may not any more
        try:
            saved.append(client.annotate(case, annotator=f"a{n}", decision="open", note="x" * 19_000)["id"])
        except ServerError as error:
            full = error
            break
    assert full is not None and (full.status, full.code) == (507, "full")
    assert client.health()["status"] == "ok" and client.case(case)["id"] == case
    server.kill()
    after = Client(real().address)
    assert {one["id"] for one in after.annotations(case)} == set(saved)
    assert after.annotate(case, annotator="again", decision="open")["revision"] == 1
    assert list((work / "incoming").iterdir()) == []


def test_a_full_disk_under_a_blob(client, upload, picture, case, monkeypatch):
    write = blobs.write_durably

    def full(path, content):
        path.write_bytes(content[:10])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    before = files_of(client.workspace.folder / "blobs")
    monkeypatch.setattr(blobs, "write_durably", full)
    answer = client.post(f"{API}/cases", files=[("files", ("b.png", picture(seed=9)))])
    assert (answer.status_code, answer.json()["code"]) == (507, "full")
    assert client.post(f"{API}/cases/{case}/predictions").status_code == 507
    assert files_of(client.workspace.folder / "blobs") == before
    assert client.get(f"{API}/cases").json()["total"] == 1
    monkeypatch.setattr(blobs, "write_durably", write)
    assert client.post(f"{API}/cases/{case}/predictions").status_code == 201
    assert len(upload(client, {"b.png": picture(seed=9)})["created"]) == 1


def test_a_full_disk_holds_a_batch_up_and_loses_nothing(client, upload, picture, until, monkeypatch):
    from tumorscope.server import jobs

    monkeypatch.setattr(jobs, "PATIENCE", 0.05)
    ids = [one["id"] for one in upload(client, {f"s{n}.png": picture(seed=n) for n in range(3)})["created"]]
    write, tried = blobs.write_durably, []

    def full(path, content):
        tried.append(path)
        if len(tried) < 4:
            raise OSError(errno.ENOSPC, "full")
        write(path, content)

    monkeypatch.setattr(blobs, "write_durably", full)
    job = client.post(f"{API}/jobs", json={}).json()["id"]
    found = until(lambda: (one := client.get(f"{API}/jobs/{job}").json())["finished"] and one)
    assert (found["state"], found["done"], found["failed"]) == ("done", 3, 0)
    assert [len(client.get(f"{API}/cases/{one}/predictions").json()) for one in ids] == [1, 1, 1]


def test_a_result_and_its_mark_are_stored_together_or_not_at_all(client, case, until, monkeypatch):
    from tumorscope.server import jobs

    monkeypatch.setattr(jobs, "PATIENCE", 0.05)
    mark, seen = jobs.mark, []

    def stopped(*given, **named):
        seen.append(len(client.get(f"{API}/cases/{case}/predictions").json()))
        marked = mark(*given, **named)
        if len(seen) < 3:
            raise OSError(errno.ENOSPC, "full")  # as if the process ended here
        return marked

    monkeypatch.setattr(jobs, "mark", stopped)
    job = client.post(f"{API}/jobs", json={}).json()["id"]
    until(lambda: client.get(f"{API}/jobs/{job}").json()["finished"])
    assert seen == [0, 0, 0]
    assert len(client.get(f"{API}/cases/{case}/predictions").json()) == 1


def test_a_damaged_blob_is_told_and_the_rest_goes_on(client, case, upload, picture):
    other = upload(client, {"b.png": picture(seed=5)})["created"][0]["id"]
    with client.workspace.store.reading() as session:
        from tumorscope.server.tables import Case

        path = client.workspace.blobs.path(session.get(Case, case).scan)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    answer = client.post(f"{API}/cases/{case}/predictions")
    assert answer.status_code == 500 and set(answer.json()) == {"error", "code"}
    assert client.post(f"{API}/cases/{other}/predictions").status_code == 201


def test_a_store_that_is_none_or_newer_stops_the_start(settings, tmp_path):
    from tumorscope.errors import OutputError
    from tumorscope.server.workspace import Workspace

    work = tmp_path / "work"
    opened = Workspace(settings())
    opened.close()
    with contextlib.closing(sqlite3.connect(work / "store.sqlite")) as store, store:
        store.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(OutputError, match="newer"):
        Workspace(settings())
    (work / "store.sqlite").write_bytes(b"no store" * 1000)
    for extra in work.glob("store.sqlite-*"):
        extra.unlink()
    with pytest.raises(OutputError, match="cannot be opened"):
        Workspace(settings())


def test_stopping_finishes_what_runs_and_the_next_start_does_the_rest(serving, upload, picture, until):
    with serving(workers=1) as client:
        ids = [one["id"] for one in upload(client, {f"s{n}.png": picture(seed=n) for n in range(8)})["created"]]
        job = client.post(f"{API}/jobs", json={"cases": ids}).json()["id"]
        until(lambda: client.get(f"{API}/jobs/{job}").json()["done"])
    with serving(workers=1) as client:
        found = until(lambda: (one := client.get(f"{API}/jobs/{job}").json())["finished"] and one)
        assert found["done"] == 8
        assert all(len(client.get(f"{API}/cases/{one}/predictions").json()) == 1 for one in ids)
        assert json.dumps(found)
