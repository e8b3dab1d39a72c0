"""What all scenarios share: an application, its tokens, and fresh servers that know them.

One service is started to mint the tokens; its data directory is then copied for each run, so that every run begins
with the same empty registry and nobody has to mint again.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import urllib.request
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

from benchmarks import environment
from benchmarks.process import ROOT, Server
from greenroom.bench.client import Target
from greenroom.bench.dialect import Dialect, GreenroomDialect
from greenroom.bench.minting import mint

ISSUER = "https://bench.example"
SETTINGS = f"""\
# For benchmarks: limits that would refuse a crowd from one address are out of the way. All else is default.
host = "127.0.0.1"
port = 0
issuer = "{ISSUER}"
connections_per_address = 1000000
opens_per_second = 1000000.0
opens_per_participant_per_minute = 1000000
ids_per_second = 1000000.0
ids_burst = 1000000
messages_per_second = 1000000.0
messages_burst = 1000000
log_level = "warning"
log_format = "json"
"""


class World:
    """folder: where everything is kept; emptied first. tokens: how many participants there are; hs256: how many of them
    get a token signed with a shared secret too. env: of the service that makes the application and mints."""

    def __init__(self, folder: Path, tokens: int, hs256: int = 0, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._env = env or {}
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.external_ids = [f"bench-{number}" for number in range(tokens)]
        self.hs256 = hs256
        self.tokens: list[str] = []
        self.hs256_tokens: list[str] = []
        self.peer_tokens: list[str] = []
        self._runs = 0

    def prepare(self) -> None:
        """Make the application and mint the tokens."""
        settings = self.folder / "settings.toml"
        settings.write_text(SETTINGS)
        (self.folder / "public-key").write_text(self._mint("template", self._env, self.external_ids, self.tokens))
        if self.hs256:
            env = {"GREENROOM_SIGNING_ALG": "HS256"}
            self._mint("template-hs256", env, self.external_ids[: self.hs256], self.hs256_tokens)

    def _mint(self, name: str, env: dict[str, str], external_ids: list[str], tokens: list[str]) -> str:
        """Fills `tokens`; the public key in hex, "" where there is none."""
        server = self._start(self.folder / name, env, core=None)
        try:
            url = server.ready["url"]
            tokens += asyncio.run(mint(url, server.ready["appKey"], server.ready["appSecret"], external_ids))
            with urllib.request.urlopen(url + "/.well-known/jwks.json") as reply:
                keys = json.load(reply)["keys"]
        finally:
            server.stop()
        return urlsafe_b64decode(keys[0]["x"] + "=").hex() if keys else ""

    def greenroom(
        self, env: dict[str, str] | None = None, *, hs256: bool = False, python: Path | None = None
    ) -> Server:
        """A fresh service with the application and no session. python: None is the source tree's."""
        self._runs += 1
        data = self.folder / f"run-{self._runs}"
        shutil.copytree(self.folder / ("template-hs256" if hs256 else "template"), data)
        return self._start(data, env or {}, python)

    def _start(self, data: Path, env: dict[str, str], python: Path | None = None, **more: Any) -> Server:
        program = str(python or environment.python())
        command = [program, "-m", "greenroom", "serve", "--dev", "--json", "--data", str(data)]
        settings = {"GREENROOM_CONFIG": str(self.folder / "settings.toml"), **env}
        # Not in ROOT: the package is the one that is installed in that environment.
        return Server(command, log=self.folder / f"{data.name}.log", env=settings, cwd=self.folder, **more)

    def on_redis(self, url: str, env: dict[str, str], python: Path | None = None) -> Server:
        """A node on the Redis engine. Applications live in the engine, so the tokens are of its own."""
        self._runs += 1
        return self._start(self.folder / f"run-{self._runs}", {"GREENROOM_ENGINE": url, **env}, python)

    def sampled(self, python: Path, stacks: Path) -> Server:
        """A fresh service whose stacks are sampled, and written to that file when it stops."""
        self._runs += 1
        data = self.folder / f"run-{self._runs}"
        shutil.copytree(self.folder / "template", data)
        command = [
            str(python),
            "-m",
            "benchmarks.sampled",
            str(stacks),
            "serve",
            "--dev",
            "--json",
            "--data",
            str(data),
        ]
        env = {"GREENROOM_CONFIG": str(self.folder / "settings.toml")}
        return Server(command, log=self.folder / f"{data.name}.log", env=env, cwd=ROOT)

    def floor(self, module: str, alg: str, key: Path) -> Server:
        """A floor. key: a file with the key, in hex."""
        self._runs += 1
        command = [str(environment.python()), "-m", f"benchmarks.{module}", alg, str(key)]
        return Server(command, log=self.folder / f"floor-{self._runs}.log", cwd=ROOT)

    def target(self, server: Server, dialect: Dialect | None = None, tokens: list[str] | None = None) -> Target:
        """The server as the generator sees it."""
        host, _, port = server.ready["url"].rpartition("/")[2].rpartition(":")
        return Target(host, int(port), tokens or self.tokens, self.external_ids, dialect or GreenroomDialect())


__all__ = ["ISSUER", "World"]
