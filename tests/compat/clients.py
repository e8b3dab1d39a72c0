"""The platform's own clients: installed by name, version and hash into build/, and run unchanged against a service."""

from __future__ import annotations

import asyncio
import datetime
import fcntl
import hashlib
import ipaddress
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUILD = ROOT / "build" / "compat"
DRIVERS = HERE / "drivers"
HTTPS = 443
"""The port of the Node clients, which have no way to say another."""

Step = tuple[str, str, Any]
"""A name for the result, the client's function, its arguments."""


def python_client(version: str) -> Path:
    """Where PyPI's dolbyio-rest-apis of that version is installed, with what it needs."""
    requirements = HERE / "python" / f"{version}.txt"

    def install(target: Path) -> None:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "--no-input", "install"]
        _run([*pip, "--require-hashes", "--no-deps", "--target", str(target), "-r", str(requirements)])

    return _installed(f"python-{version}-{sys.version_info[0]}.{sys.version_info[1]}", [requirements], install)


def node_client(version: str) -> Path:
    """Where npm's @dolbyio/dolbyio-rest-apis-client of that version is installed, with what it needs."""
    files = [HERE / "node" / version / name for name in ("package.json", "package-lock.json")]

    def install(target: Path) -> None:
        target.mkdir(parents=True)
        for file in files:
            shutil.copy(file, target)
        npm = [str(node_bin() / "npm"), "ci", "--prefix", str(target), "--ignore-scripts", "--no-audit", "--no-fund"]
        _run(npm, cwd=target, env=os.environ | {"PATH": f"{node_bin()}{os.pathsep}{os.environ['PATH']}"})

    return _installed(f"node-{version}", files, install)


def node_bin() -> Path:
    """The directory of node and npm."""
    found = subprocess.run([ROOT / "scripts" / "node", "--bin-dir"], check=True, capture_output=True, text=True)
    return Path(found.stdout.strip())


def _installed(name: str, pinned: Sequence[Path], install: Callable[[Path], None]) -> Path:
    """Installs once for these pins; tests in several processes wait for one another."""
    BUILD.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256(b"\0".join(file.read_bytes() for file in pinned)).hexdigest()[:16]
    target = BUILD / f"{name}-{digest}"
    with (BUILD / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = target / ".done"
        if not done.exists():
            shutil.rmtree(target, ignore_errors=True)
            install(target)
            done.touch()
    return target


def _run(command: Sequence[str], **options: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, f"{command[0]} failed:\n{done.stdout}\n{done.stderr}"


@dataclass(frozen=True)
class Deployment:
    """Where the service is, and the authority that speaks for it. The clients are pointed there by the recipes of the
    migration guide, which the drivers hold; nothing inside them is replaced."""

    host: str
    port: int
    authority: Path

    async def python(self, client: Path, steps: Sequence[Step]) -> dict[str, Any]:
        """Results by name of calls of the Python client, each with keyword arguments."""
        # The client trusts what certifi lists, and nothing else: here that is the authority of the tests.
        trust = self.authority.parent / "trust"
        trust.mkdir(exist_ok=True)
        (trust / "certifi.py").write_text(f"def where() -> str:\n    return {str(self.authority)!r}\n")
        path = os.pathsep.join([str(trust), str(client)])
        command = [sys.executable, "-W", "ignore", str(DRIVERS / "driver.py")]
        environment = {"PYTHONPATH": path, "GREENROOM_HOST": f"{self.host}:{self.port}"}
        return await _drive(command, steps, os.environ | environment)

    async def node(self, client: Path, steps: Sequence[Step]) -> dict[str, Any]:
        """Results by name of calls of the Node client, each with a list of arguments."""
        node = await asyncio.to_thread(node_bin)
        environment = {
            "NODE_PATH": str(client / "node_modules"),
            "NODE_EXTRA_CA_CERTS": str(self.authority),
            "GREENROOM_HOST": self.host,
        }
        command = [str(node / "node"), str(DRIVERS / "driver.cjs")]
        if self.port != HTTPS:
            # Not root: the client's port cannot be had, and cannot be set in the client either.
            environment["GREENROOM_PORT"] = str(self.port)
            command[1:1] = ["--require", str(DRIVERS / "port.cjs")]
        return await _drive(command, steps, os.environ | environment)


def free_address() -> tuple[str, int]:
    """An address of loopback whose HTTPS port is free; without the right to bind it, 127.0.0.1 and any port (0)."""
    while True:
        host = f"127.0.44.{secrets.randbelow(250) + 2}"
        with socket.socket() as tried:
            try:
                tried.bind((host, HTTPS))
            except PermissionError:
                return "127.0.0.1", 0
            except OSError:
                continue
            return host, HTTPS


async def _drive(command: Sequence[str], steps: Sequence[Step], environment: dict[str, str]) -> dict[str, Any]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe, env=environment)
    out, err = await asyncio.wait_for(process.communicate(json.dumps(steps).encode()), 240)
    assert process.returncode == 0, f"the client's process failed:\n{out.decode()}\n{err.decode()}"
    # The Node client logs to stdout; the result is the last line.
    results: dict[str, Any] = json.loads(out.decode().rstrip().rsplit("\n", 1)[-1])
    return results


def make_authority(folder: Path, host: str = "127.0.0.1") -> Path:
    """The certificate of an authority of the tests; beside it server.pem and server.key, by which the authority speaks
    for the address."""
    certificate, key = _certified(folder, None, None, host)
    _certified(folder, certificate, key, host)
    return folder / "authority.pem"


def _certified(
    folder: Path, issuer: x509.Certificate | None, issuer_key: ec.EllipticCurvePrivateKey | None, host: str
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = "server" if issuer is not None else "authority"
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Greenroom tests: {name}")])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if issuer is None:
        usage = dict.fromkeys(_USAGES, False) | {"key_cert_sign": True, "crl_sign": True}
        builder = builder.add_extension(x509.KeyUsage(**usage), critical=True)
    else:
        names = [x509.IPAddress(ipaddress.ip_address(host))]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    if issuer_key is not None:
        identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
        builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(issuer_key or key, hashes.SHA256())
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / f"{name}.key").write_bytes(private)
    return certificate, key


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
