"""Settings of the server: from a TOML file, the environment, and the command line, the later one counting more."""

from __future__ import annotations

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from tumorscope.annotation.engine import DEFAULT, ENGINES
from tumorscope.errors import TumorscopeError, look_up

PREFIX = "TUMORSCOPE_SERVE_"
LEAST_TOKEN = 16  # characters: fewer can be guessed
MEBIBYTE = 2**20
MOST_WORKERS = 8  # more inferences at once cost memory and gain little


class SettingsError(TumorscopeError):
    """Settings of the server that cannot be."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Settings(BaseModel):
    """What can be set; the field's name is its key in the file, with `PREFIX` and in capitals in the environment.

    Examples
    --------
    >>> Settings.load(environment={"TUMORSCOPE_SERVE_PORT": "9000"}).port
    9000
    >>> Settings.load(environment={}, host="0.0.0.0")
    Traceback (most recent call last):
    ...
    tumorscope.server.settings.SettingsError: host 0.0.0.0: other machines could reach it and there is no token; ...
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workspace: Path = Field(default=Path("tumorscope-workspace"), description="folder with the store and the blobs")
    host: str = Field(default="127.0.0.1", min_length=1, description="address to listen on; loopback without a token")
    port: int = Field(default=8765, ge=0, le=65535, description="0 takes a free one")
    token: SecretStr | None = Field(default=None, description="what clients must show")
    token_file: Path | None = Field(default=None, description="file whose first line is the token")
    allowed_hosts: tuple[str, ...] = Field(default=(), description="more names that the Host header may have")
    model: Path | None = Field(default=None, description="bundle to predict with unless a request names another")
    models: tuple[Path, ...] = Field(default=(), description="further bundles")
    runs: Path | None = Field(default=None, description="folder of training runs, whose models are offered too")
    engine: str = Field(default=DEFAULT, description="engine that answers to clicks unless another is chosen")
    checkpoints: dict[str, Path] = Field(default_factory=dict, description="weights of engines, by name")
    channel: int | None = Field(default=None, ge=0, description="sequence to take from files that hold several")
    dicom_names: Literal["pseudonym", "file"] = Field(
        default="pseudonym", description="what DICOM cases are called: by a pseudonym, or as their files were"
    )
    workers: int = Field(
        default_factory=lambda: min(cores(), MOST_WORKERS), ge=1, le=64, description="inferences at once"
    )
    queue: int = Field(default=16, ge=1, description="requests that may wait for a worker; more are answered with 429")
    max_upload: int = Field(default=2048 * MEBIBYTE, ge=1, description="bytes of one upload")
    max_body: int = Field(default=64 * MEBIBYTE, ge=1, description="bytes of any other request")
    max_unpacked: int = Field(default=8192 * MEBIBYTE, ge=1, description="bytes that one ZIP may unpack to")
    max_ratio: int = Field(default=200, ge=1, description="bytes that one byte of a ZIP's member may become")
    max_members: int = Field(default=20_000, ge=1, description="files in one upload, those inside ZIPs included")
    max_pixels: int = Field(default=2**26, ge=1, description="values that one scan may hold")
    memory: int = Field(default=512 * MEBIBYTE, ge=1, description="bytes of scans, pictures and embeddings kept")

    @field_validator("allowed_hosts", "models", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("engine")
    @classmethod
    def _known(cls, value: str) -> str:
        return look_up(value, ENGINES, "engine", SettingsError)

    @classmethod
    def load(cls, file: Path | None = None, *, environment: Mapping[str, str] | None = None, **given: Any) -> Settings:
        """The settings of a file, overridden by the environment, overridden by what is ``given`` and not None.

        Raises
        ------
        SettingsError
            For an unknown key, an impossible value, a weak token, or an address that others reach without a token.
        """
        values = _of_file(file) if file is not None else {}
        for key, text in (os.environ if environment is None else environment).items():
            if key.startswith(PREFIX):
                values[key[len(PREFIX) :].lower()] = text
        values |= {key: value for key, value in given.items() if value is not None}
        for key in values:
            look_up(key, cls.model_fields, "setting", SettingsError)
        try:
            settings = cls(**values)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise SettingsError(f"setting {place}: {first['msg']}; see: tumorscope serve --help") from error
        return settings._with_token()

    def _with_token(self) -> Settings:
        """These settings with the token read from its file, and both checked."""
        settings = self
        if self.token_file is not None:
            try:
                text = self.token_file.read_text(encoding="utf-8").strip().splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise SettingsError(f"{self.token_file}: the token cannot be read; check the path") from error
            settings = self.model_copy(update={"token": SecretStr(text[0] if text else "")})
        token = settings.secret
        if token is not None and (len(token) < LEAST_TOKEN or not token.isascii() or not token.isprintable()):
            raise SettingsError(f"token: needs {LEAST_TOKEN} or more printable ASCII characters; make a longer one")
        if token is None and not is_loopback(settings.host):
            raise SettingsError(
                f"host {settings.host}: other machines could reach it and there is no token; "
                "give --token-file FILE, or keep 127.0.0.1"
            )
        return settings

    @property
    def secret(self) -> str | None:
        """The token in clear."""
        return None if self.token is None else self.token.get_secret_value()

    @property
    def hosts(self) -> frozenset[str]:
        """Names that a Host header may have, without port, in lower case."""
        own = {"127.0.0.1", "localhost", "::1"}
        if self.host not in ("0.0.0.0", "::", ""):
            own.add(self.host)
        return frozenset(name.lower() for name in (*own, *self.allowed_hosts))


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    Examples
    --------
    >>> is_loopback("127.0.0.1"), is_loopback("::1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _of_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as stream:
            return tomllib.load(stream)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: is no readable TOML file ({error}); check it") from error
