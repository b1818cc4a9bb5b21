"""The socket that a server listens on, bound before anything else, so that a taken port is told at once."""

from __future__ import annotations

import os
import socket

from tumorscope.server.settings import Settings, SettingsError

BACKLOG = 128


def listen(settings: Settings) -> tuple[socket.socket, Settings]:
    """A bound socket, and the settings with the port that it got.

    Raises
    ------
    SettingsError
        If the address cannot be had.
    """
    try:
        kind, _, _, _, address = socket.getaddrinfo(
            settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(kind, socket.SOCK_STREAM)
    except OSError as error:
        raise SettingsError(f"host {settings.host}: is no address of this machine; use 127.0.0.1") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SettingsError(
            f"port {settings.port} on {settings.host}: cannot be had ({error.strerror}); choose another --port"
        ) from error
    return listener, settings.model_copy(update={"port": listener.getsockname()[1]})
