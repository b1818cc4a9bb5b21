"""``tumorscope serve``: the API and the viewer over one workspace."""

from __future__ import annotations

from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tumorscope.cli._console import answer, complain
from tumorscope.cli._options import Model
from tumorscope.errors import DataError, MissingExtra, look_up

if TYPE_CHECKING:
    from tumorscope.server.settings import Settings

PACKAGES = ("fastapi", "uvicorn", "sqlalchemy", "alembic", "python_multipart")
Checkpoints = Annotated[
    list[str] | None,
    typer.Option("--checkpoint", metavar="ENGINE=PATH", help="Weights of an engine, such as click=RUN/engine."),
]
GRACE = 10  # seconds that open requests have when the server is stopped


def serve(
    workspace: Annotated[
        Path | None, typer.Option("-w", "--workspace", metavar="DIR", help="Folder of cases and masks; made if absent.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; other than loopback needs a token.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="0 takes a free one.  [default: 8765]")] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="File with the token that clients must show.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Another name of this server, such as a proxy's.")
    ] = None,
    model: Model = None,
    checkpoint: Checkpoints = None,
    runs: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of training runs; their models are offered too.")
    ] = None,
    channel: Annotated[int | None, typer.Option(min=0, help="Sequence to take from files that hold several.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Inferences at once.  [default: one a core]")] = None,
    max_upload: Annotated[
        int | None, typer.Option(metavar="MIB", min=1, help="Largest upload.  [default: 2048]")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(metavar="FILE", help="TOML file of settings; the options here count more.")
    ] = None,
) -> int:
    """Serve the viewer and the API to this machine, or with a token to others.

    Every setting can also stand in the --config file, or in the environment as
    TUMORSCOPE_SERVE_ and its name: TUMORSCOPE_SERVE_PORT=9000.

    \b
    Examples
      tumorscope serve
      tumorscope serve -w study --port 9000 --model run/model.onnx
      tumorscope serve --host 0.0.0.0 --token-file token.txt --allowed-host scans.example.org
    """  # noqa: D301
    need_serving()
    from tumorscope.server.settings import MEBIBYTE, Settings

    settings = Settings.load(
        config,
        workspace=workspace,
        host=host,
        port=port,
        token_file=token_file,
        allowed_hosts=tuple(allowed_host) if allowed_host else None,
        model=model,
        checkpoints=checkpoints_of(checkpoint),
        runs=runs,
        channel=channel,
        workers=workers,
        max_upload=None if max_upload is None else max_upload * MEBIBYTE,
    )
    return run(settings)


def checkpoints_of(given: list[str] | None) -> dict[str, Path] | None:
    """Weights by engine, of ``ENGINE=PATH`` as typed; None where nothing was.

    Raises
    ------
    DataError
        For an unknown engine, or a path that is not there.

    Examples
    --------
    >>> checkpoints_of(["click=."])
    {'click': PosixPath('.')}
    """
    from tumorscope.annotation.engine import ENGINES

    found = {}
    for one in given or ():
        name, mark, path = one.partition("=")
        if not mark or not path:
            raise DataError(f"--checkpoint {one}: names no weights; write it as ENGINE=PATH")
        found[look_up(name, ENGINES, "engine", DataError)] = Path(path)
        if not Path(path).exists():
            raise DataError(f"--checkpoint {one}: there is no {path}; check the path")
    return found or None


def run(settings: Settings, opening: str = "", ready: str = "", browser: bool = False) -> int:
    """Serve until Ctrl-C.

    Parameters
    ----------
    settings : Settings
    opening : str
        What the page's address ends with.
    ready : str
        A line that is printed once the server answers.
    browser : bool
        Whether the page is opened.
    """
    import logging

    import uvicorn

    from tumorscope.server.app import create_app
    from tumorscope.server.listening import listen

    logging.basicConfig(format="%(asctime)s %(name)s %(message)s", level=logging.WARNING)
    logging.getLogger("tumorscope.server").setLevel(logging.INFO)
    listener, settings = listen(settings)
    with listener:
        app = create_app(settings)
        name = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{name}:{settings.port}/"
        answer(f"tumorscope: {address}{opening} (workspace {settings.workspace}; Ctrl-C stops it)")
        if ready:
            answer(ready)
        if browser:
            open_soon(address + opening)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, date_header=True, ws="none", lifespan="on",
            timeout_graceful_shutdown=GRACE, proxy_headers=False,
        )  # fmt: skip
        server = uvicorn.Server(config)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
    complain(f"stopped; everything saved is in {settings.workspace}")
    return 0


def open_soon(address: str) -> None:
    """Open a page in the browser from a thread, so that the server can begin to answer."""
    import threading
    import webbrowser

    threading.Timer(0.5, webbrowser.open, [address]).start()


def need_serving() -> None:
    """Raise `MissingExtra` unless the packages of the ``serve`` extra can be found."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtra("the server", package, "serve")
