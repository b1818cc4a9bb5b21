"""A thin client of the server, with nothing but the standard library: each method is one route.

Examples
--------
::

    from tumorscope.client import Client

    server = Client("http://127.0.0.1:8765")
    case = server.upload("scan.jpg")[0]
    print(server.predict(case["id"])["decision"])
    answer = server.candidates(case["id"], points=[(90, 60)])
    saved = server.annotate(case["id"], [server.lesion(answer)], annotator="ada", decision="corrected")
    server.export_annotation(saved["id"], "mask.png")
"""

from __future__ import annotations

import json
import mimetypes
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode
from urllib.request import ProxyHandler, Request, build_opener

from tumorscope.errors import TumorscopeError

PREFIX = "/api/v1"
CHUNK = 1 << 16
TIMEOUT = 120.0  # seconds without a byte from the server
PATIENCE = 60.0  # seconds that a busy server is asked again
PAGE = 500  # cases fetched at once
POLL = 0.5  # seconds between looks at a batch
FINISHED = ("done", "failed", "cancelled")
FAMILIES = ("click", "sam2", "sam")  # how names of engines begin; all others are classical


class ServerError(TumorscopeError):
    """What a server answered instead of what was asked for.

    Parameters
    ----------
    error : str
        One line.
    status : int
        HTTP status; 0 where the server was not reached.
    code : str
        A short word, such as ``revision`` for a mask that somebody else saved since.
    """

    def __init__(self, error: str, status: int = 0, code: str = "unreachable") -> None:
        super().__init__(error)
        self.status, self.code = status, code


class Client:
    """A server, by its address.

    Parameters
    ----------
    address : str
        Such as ``http://127.0.0.1:8765``.
    token : str or None
        Where the server asks for one.
    timeout : float
        Seconds without a byte from the server.
    patience : float
        A busy server (429) is asked again after the time that it names, for so many seconds in all.

    Examples
    --------
    >>> Client("http://127.0.0.1:1").health()
    Traceback (most recent call last):
    ...
    tumorscope.client.ServerError: http://127.0.0.1:1: cannot be reached (...); is the server running?
    """

    def __init__(
        self, address: str, token: str | None = None, *, timeout: float = TIMEOUT, patience: float = PATIENCE
    ) -> None:
        self.address = address.rstrip("/")
        self.timeout, self.patience = timeout, patience
        self._headers = {"Accept": "application/json"}
        if token is not None:
            self._headers["Authorization"] = f"Bearer {token}"
        self._opener = build_opener(ProxyHandler({}))  # scans go to the named server and to no proxy

    def health(self) -> dict[str, Any]:
        """Whether the server is there, its version and how busy it is."""
        return self._json("GET", "/health")  # type: ignore[no-any-return]

    def models(self) -> list[dict[str, Any]]:
        """Bundles and engines."""
        return self._json("GET", "/models")  # type: ignore[no-any-return]

    def cases(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Cases one after the other, all pages; filters as the API names them: ``q, decision, review, lesions``, ..."""
        offset = 0
        while True:
            page = self._json("GET", "/cases", query={"limit": PAGE, **filters, "offset": offset})
            yield from page["items"]
            offset += len(page["items"])
            if not page["items"] or offset >= page["total"]:
                return

    def case(self, case: str) -> dict[str, Any]:
        """A case with its newest prediction and its annotations."""
        return self._json("GET", f"/cases/{_name(case)}")  # type: ignore[no-any-return]

    def upload(self, *paths: str | Path, channel: int | None = None, strict: bool = True) -> list[dict[str, Any]]:
        """Cases made of files: images, NIfTI, DICOM, ZIPs; a folder stands for all files in it.

        Files are streamed, not read into memory.

        Raises
        ------
        ServerError
            If ``strict`` and a file was not taken; the others are stored all the same.
        """
        files = [file for path in paths for file in _files(Path(path))]
        fields = {} if channel is None else {"channel": str(channel)}
        answer = self._send_files("/cases", files, fields)
        if strict and answer["skipped"]:
            raise ServerError("; ".join(one["error"] for one in answer["skipped"]), 201, "skipped")
        return answer["created"]  # type: ignore[no-any-return]

    def delete_case(self, case: str) -> None:
        """Delete a case and all that belongs to it."""
        self._json("DELETE", f"/cases/{_name(case)}")

    def predict(self, case: str, model: str | None = None) -> dict[str, Any]:
        """What a model says about a case."""
        return self._json("POST", f"/cases/{_name(case)}/predictions", {"model": model})  # type: ignore[no-any-return]

    def predictions(self, case: str) -> list[dict[str, Any]]:
        """All predictions of a case, the newest first."""
        return self._json("GET", f"/cases/{_name(case)}/predictions")  # type: ignore[no-any-return]

    def candidates(
        self,
        case: str,
        *,
        points: Sequence[tuple[float, float] | tuple[float, float, bool]] = (),
        box: tuple[float, float, float, float] | None = None,
        scribbles: Sequence[Mapping[str, Any]] = (),
        engine: str = "click",
        axis: int = 0,
        index: int = 0,
        previous: str | Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Masks for prompts on a slice, the best first.

        Parameters
        ----------
        case : str
        points : sequence of (y, x) or (y, x, positive)
        box : (top, left, bottom, right) or None
        scribbles : sequence of mappings
            ``{"path": [[y, x], ...], "positive": True}``.
        engine : str
        axis, index : int
            The slice of a volume.
        previous : str, mapping or None
            What to correct: the token of a candidate, or a mask as run lengths.
        """
        corners = None if box is None else dict(zip(("top", "left", "bottom", "right"), box, strict=True))
        clicks = [{"y": one[0], "x": one[1], "positive": one[2] if len(one) > 2 else True} for one in points]
        body = {
            "engine": engine, "axis": axis, "index": index,
            "prompts": {"points": clicks, "box": corners, "scribbles": list(scribbles)},
            "previous": None if isinstance(previous, str) else previous,
            "previous_token": previous if isinstance(previous, str) else None,
        }  # fmt: skip
        answer: dict[str, Any] = self._json("POST", f"/cases/{_name(case)}/candidates", body)
        return {**answer, "prompts": {"axis": axis, "index": index, "prompts": body["prompts"]}}

    @staticmethod
    def lesion(answer: Mapping[str, Any], choice: int = 0, **changes: Any) -> dict[str, Any]:
        """A lesion of a 2-D scan from the answer of `candidates`, with its prompts and engine recorded."""
        chosen = answer["candidates"][choice]
        counts, area = chosen["mask"]["counts"], sum(chosen["mask"]["counts"][1::2])
        moment = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime())
        edit = {
            "kind": "engine",
            "time": moment,
            "axis": 0,
            "index": 0,
            "pixels": area,
            "detail": {"runs": len(counts)},
        }
        source = next((one for one in FAMILIES if str(answer["engine"]).startswith(one)), "classical")
        return {
            "mask": chosen["mask"], "source": source, "engine": answer["engine"],
            "engine_version": answer["engine_version"], "prompts": [answer["prompts"]], "candidate": choice,
            "candidates": len(answer["candidates"]), "quality": chosen["quality"], "edits": [edit], **changes,
        }  # fmt: skip

    def annotate(
        self,
        case: str,
        lesions: Iterable[Mapping[str, Any]] = (),
        *,
        annotator: str = "",
        decision: str = "corrected",
        note: str = "",
    ) -> dict[str, Any]:
        """Save a new annotation."""
        body = {"annotator": annotator, "decision": decision, "note": note, "lesions": list(lesions)}
        return self._json("POST", f"/cases/{_name(case)}/annotations", body)  # type: ignore[no-any-return]

    def change(self, annotation: Mapping[str, Any], **changes: Any) -> dict[str, Any]:
        """Save over an annotation as it was loaded, with these fields changed.

        Raises
        ------
        ServerError
            With the code ``revision`` where somebody else saved it since.
        """
        body = {key: annotation[key] for key in ("annotator", "decision", "note", "lesions", "revision")} | changes
        return self._json("PUT", f"/annotations/{_name(annotation['id'])}", body)  # type: ignore[no-any-return]

    def annotations(self, case: str) -> list[dict[str, Any]]:
        """All annotations of a case, the newest first."""
        return self._json("GET", f"/cases/{_name(case)}/annotations")  # type: ignore[no-any-return]

    def delete_annotation(self, annotation: str) -> None:
        """Delete an annotation."""
        self._json("DELETE", f"/annotations/{_name(annotation)}")

    def export_annotation(self, annotation: str, path: str | Path, form: str = "png") -> Path:
        """The mask of an annotation as a file: ``png, nifti, coco, npz, json``."""
        return self._file(f"/annotations/{_name(annotation)}/export", Path(path), {"format": form})

    def export(self, path: str | Path, form: str = "all", **filters: Any) -> Path:
        """All accepted and corrected annotations as a ZIP that ``tumorscope train`` reads once unpacked."""
        return self._file("/export", Path(path), {"format": form, **filters})

    def bring(self, path: str | Path, annotator: str = "") -> dict[str, Any]:
        """Import annotations from a ZIP: the number taken, and what was not with the reasons."""
        return self._send_files("/import", [(Path(path), Path(path).name)], {"annotator": annotator})

    def agreement(self, first: str, second: str) -> dict[str, Any]:
        """How far two annotators agree."""
        return self._json("GET", "/agreement", query={"a": first, "b": second})  # type: ignore[no-any-return]

    def start_job(self, cases: Sequence[str] | None = None, model: str | None = None) -> dict[str, Any]:
        """Begin to predict cases, or all that the model has not predicted."""
        body = {"kind": "predict", "cases": None if cases is None else list(cases), "model": model}
        return self._json("POST", "/jobs", body)  # type: ignore[no-any-return]

    def job(self, job: str) -> dict[str, Any]:
        """How far a batch is."""
        return self._json("GET", f"/jobs/{_name(job)}")  # type: ignore[no-any-return]

    def jobs(self) -> list[dict[str, Any]]:
        """Batches, the newest first."""
        return self._json("GET", "/jobs")  # type: ignore[no-any-return]

    def cancel_job(self, job: str) -> dict[str, Any]:
        """Cancel a batch; what it has done stays."""
        return self._json("DELETE", f"/jobs/{_name(job)}")  # type: ignore[no-any-return]

    def wait(self, job: str, timeout: float = 3600.0) -> dict[str, Any]:
        """A batch once it is finished.

        Raises
        ------
        ServerError
            If it is not after ``timeout`` seconds.
        """
        end = time.monotonic() + timeout
        while (found := self.job(job))["state"] not in FINISHED:
            if time.monotonic() > end:
                raise ServerError(f"job {job}: is not finished after {timeout:g} s; wait longer", 0, "timeout")
            time.sleep(POLL)
        return found

    def _json(self, method: str, path: str, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        with self._ask(method, path, query, lambda: data, headers) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def _file(self, path: str, target: Path, query: Mapping[str, Any]) -> Path:
        """Download to a file, which is there as a whole or not at all."""
        draft = target.with_name(f".{secrets.token_hex(6)}.tmp")
        try:
            with self._ask("GET", path, query, lambda: None, {}) as answer, draft.open("wb") as out:
                shutil.copyfileobj(answer, out, CHUNK)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)
        return target

    def _send_files(self, path: str, files: Sequence[tuple[Path, str]], fields: Mapping[str, str]) -> dict[str, Any]:
        boundary = f"tumorscope-{secrets.token_hex(16)}"
        parts = [_part(boundary, f'name="{key}"', "text/plain") + value.encode() for key, value in fields.items()]
        heads = [_head(boundary, name) for _, name in files]
        end = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, parts)) + sum(map(len, heads)) + len(end) + sum(file.stat().st_size for file, _ in files)

        def body() -> Iterator[bytes]:
            yield from parts
            for (file, _), head in zip(files, heads, strict=True):
                yield head
                with file.open("rb") as stream:
                    while chunk := stream.read(CHUNK):
                        yield chunk
            yield end

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
        with self._ask("POST", path, None, body, headers) as answer:
            return json.loads(answer.read())  # type: ignore[no-any-return]

    def _ask(
        self, method: str, path: str, query: Mapping[str, Any] | None, body: Any, headers: Mapping[str, str]
    ) -> IO[bytes]:
        """The answer to a request; a busy server is asked again, with the body made anew."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        url = self.address + PREFIX + path + (f"?{urlencode(given)}" if given else "")
        end = time.monotonic() + self.patience
        while True:
            request = Request(url, body(), {**self._headers, **headers}, method=method)
            try:
                return self._opener.open(request, timeout=self.timeout)  # type: ignore[no-any-return]
            except HTTPError as error:
                with error:
                    wait = float(error.headers.get("Retry-After") or 1)
                    if error.code != 429 or time.monotonic() + wait > end:
                        raise _error(error) from error
                time.sleep(wait)
            except (URLError, OSError) as error:
                reason = getattr(error, "reason", error)
                raise ServerError(f"{self.address}: cannot be reached ({reason}); is the server running?") from error


def _error(error: HTTPError) -> ServerError:
    try:
        answer = json.loads(error.read())
        return ServerError(str(answer["error"]), error.code, str(answer["code"]))
    except (ValueError, KeyError, TypeError):
        return ServerError(f"the server answered {error.code}; is this the address of tumorscope?", error.code, "http")


def _files(path: Path) -> list[tuple[Path, str]]:
    """A file with its name, or all files below a folder; hidden ones are passed over."""
    if not path.is_dir():
        return [(path, path.name)]
    found = sorted(file for file in path.rglob("*") if file.is_file())
    below = [(file, file.relative_to(path)) for file in found]
    return [(file, name.as_posix()) for file, name in below if not any(part.startswith(".") for part in name.parts)]


def _part(boundary: str, disposition: str, kind: str) -> bytes:
    return f"\r\n--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: {kind}\r\n\r\n".encode()


def _head(boundary: str, name: str) -> bytes:
    plain = name.replace("\\", "/").replace('"', "%22").replace("\r", "_").replace("\n", "_")
    plain = plain.encode("utf-8", "replace").decode()
    kind = mimetypes.guess_type(plain)[0] or "application/octet-stream"
    return _part(boundary, f'name="files"; filename="{plain}"', kind)


def _name(identifier: str) -> str:
    return quote(identifier, safe="")
