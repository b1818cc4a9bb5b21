"""What becomes of identifiers in DICOM files: the profile, and the pseudonyms that stand in for two of them.

The profile keeps a list of what stays, not of what goes:

- *kept*: pixel values (rescaled), rows and columns, spacing, position and orientation as one affine, modality, bits,
  photometric interpretation (applied), and the reader's own findings about the stack;
- *pseudonymised*: PatientID becomes ``patient-…`` and SeriesInstanceUID ``series-…``, so that slices of one patient
  stay in one group and a series is recognised when it comes again. Both are HMAC-SHA-256 under a key that lies in the
  workspace and nowhere else, cut to 64 bits; without the key they lead nowhere;
- *dropped*: every other element, private ones included: names, dates, institutions, free text, UIDs. File names of
  DICOM files count as identifiers too and are dropped unless the settings say otherwise.

What is burned into the pixels stays there: this profile does not look for it. Files that say of themselves that text
is burned in get a note.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from tumorscope.errors import OutputError, ScanError

KEY_FILE = "pseudonym.key"
KEY_BYTES = 32
DIGITS = 16  # hexadecimal digits of a pseudonym
READ = ("PatientID", "SeriesInstanceUID")


class Pseudonyms:
    """Names in place of identifiers, the same for the same one, under this workspace's key.

    Parameters
    ----------
    key : bytes

    Examples
    --------
    >>> names = Pseudonyms(b"0" * 32)
    >>> names.of("patient", "DOE^JANE") == names.of("patient", " DOE^JANE"), names.of("patient", "")
    (True, None)
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @classmethod
    def of_folder(cls, folder: Path) -> Pseudonyms:
        """With the key in a workspace, made and readable by its owner only where there is none."""
        path = folder / KEY_FILE
        try:
            if not path.exists():
                temporary = folder / f".{secrets.token_hex(6)}.tmp"
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                with os.fdopen(handle, "wb") as stream:
                    stream.write(secrets.token_bytes(KEY_BYTES))
                    stream.flush()
                    os.fsync(stream.fileno())
                os.replace(temporary, path)
            key = path.read_bytes()
        except OSError as error:
            raise OutputError(f"{path}: the key of the pseudonyms cannot be read; check its permissions") from error
        if len(key) < KEY_BYTES:
            raise OutputError(f"{path}: the key of the pseudonyms is cut short; restore the workspace from a copy")
        return cls(key)

    def of(self, kind: str, identifier: str) -> str | None:
        """``kind-`` and digits; None for an empty identifier."""
        text = identifier.strip()
        if not text:
            return None
        digest = hmac.new(self._key, f"{kind}\0{text}".encode("utf-8", "surrogateescape"), hashlib.sha256)
        return f"{kind}-{digest.hexdigest()[:DIGITS]}"

    def of_dicom(self, files: Sequence[Path]) -> tuple[str | None, str | None]:
        """Pseudonyms of the patient and of the series of DICOM files; None for what their first file does not say."""
        from tumorscope.io.dicom.header import element, load

        try:
            data = load(files[0], header_only=True, tags=list(READ))
        except ScanError:
            return None, None
        patient, series = (str(element(data, tag) or "") for tag in READ)
        return self.of("patient", patient), self.of("series", series)
