"""The Python package of this very service as a wheel, for `pip install --find-links <service>/sdk/ greenroom`.

Made from the files that are running, whether they were installed from a wheel or are a source tree.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from base64 import urlsafe_b64encode
from functools import lru_cache
from importlib import metadata, resources
from pathlib import Path
from typing import NamedTuple

NAME = "greenroom"
_WHEEL = "Wheel-Version: 1.0\nGenerator: greenroom\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_MADE_AT = (1980, 1, 1, 0, 0, 0)
"""The same bytes in every process, behind every load balancer."""


class Wheel(NamedTuple):
    """file: its name. sha256: of `content`, in hexadecimal digits."""

    file: str
    content: bytes
    sha256: str


@lru_cache(maxsize=1)
def wheel() -> Wheel:
    """Takes some 0.3 s the first time."""
    distribution = metadata.distribution(NAME)
    stem = f"{NAME}-{distribution.version}"
    files = _package_files()
    for name in ("METADATA", "entry_points.txt"):
        text = distribution.read_text(name)
        if text:
            files[f"{stem}.dist-info/{name}"] = text.encode()
    files[f"{stem}.dist-info/WHEEL"] = _WHEEL.encode()
    record = f"{stem}.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(content)},{len(content)}" for name, content in files.items()]
    files[record] = "\n".join([*lines, f"{record},,", ""]).encode()
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _MADE_AT)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    content = written.getvalue()
    return Wheel(f"{stem}-py3-none-any.whl", content, hashlib.sha256(content).hexdigest())


def _package_files() -> dict[str, bytes]:
    root = Path(str(resources.files(NAME)))
    paths = (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {f"{NAME}/{path.relative_to(root).as_posix()}": path.read_bytes() for path in paths}


def _digest(content: bytes) -> str:
    return urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
