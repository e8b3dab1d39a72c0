"""A link that goes silent in a real network: two network namespaces and a blackhole route (promise 4)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import pytest

from greenroom.core.backoff import LONGEST_DELAY

CLIENT = Path(__file__).with_name("client_process.py")
SERVICE_ADDRESS, CLIENT_ADDRESS, WATCHER_ADDRESS = "10.213.0.1", "10.213.0.2", "10.213.0.3"
PORT = 7465
TIMERS = {
    "GREENROOM_PING_INTERVAL": "1",
    "GREENROOM_PONG_TIMEOUT": "0.5",
    "GREENROOM_GRACE_UNCONFIRMED": "3",
    "GREENROOM_ADMIN_TOKEN": "network-test-admin-token-0123456789",
}
DETECTED = 1.0 + 0.5 + 1.0
"""Seconds: ping, pong, and a slot of the wheel with a busy machine's delay."""
PUBLISHED = 2.0 + 1.0
GRACE = 40.0
"""Seconds: as shipped. How long the SDK waits before its next attempt is chance, anything up to 20 s."""
BACK = LONGEST_DELAY + 2.0
SHORT_GRACE = 6.0
SPARE = 30.0
"""Seconds for a busy machine."""


def _ip(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)


class Namespaces:
    """A service's machine, a client's and a watcher's, on one switch. Nothing of it reaches beyond this machine."""

    def __init__(self) -> None:
        self.tag = f"gr{os.getpid() % 100_000}"
        self.service, self.client, self.watcher = (f"{self.tag}{letter}" for letter in "scw")

    def __enter__(self) -> Namespaces:
        if shutil.which("ip") is None or os.geteuid() != 0:
            pytest.skip("network namespaces are not permitted to this user")
        made = _ip("netns", "add", self.service, check=False)
        if made.returncode:
            pytest.skip("network namespaces are not permitted on this machine")
        for name in (self.client, self.watcher):
            _ip("netns", "add", name)
        self._in(self.service, "link", "add", "bridge", "type", "bridge")
        for name, address, index in ((self.client, CLIENT_ADDRESS, "c"), (self.watcher, WATCHER_ADDRESS, "w")):
            end = f"v{index}{self.tag}"[:15]
            self._in(self.service, "link", "add", end, "type", "veth", "peer", "name", "eth0", "netns", name)
            self._in(self.service, "link", "set", end, "master", "bridge", "up")
            self._in(name, "addr", "add", f"{address}/24", "dev", "eth0")
            self._in(name, "link", "set", "eth0", "up")
            self._in(name, "link", "set", "lo", "up")
        self._in(self.service, "addr", "add", f"{SERVICE_ADDRESS}/24", "dev", "bridge")
        self._in(self.service, "link", "set", "bridge", "up")
        self._in(self.service, "link", "set", "lo", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for name in (self.client, self.watcher, self.service):
            _ip("netns", "del", name, check=False)

    def _in(self, namespace: str, *arguments: str) -> None:
        _ip("-n", namespace, *arguments)

    def blackhole(self, namespace: str, address: str) -> None:
        """What this namespace sends to the address vanishes."""
        self._in(namespace, "route", "add", "blackhole", f"{address}/32")

    def heal(self, namespace: str, address: str) -> None:
        self._in(namespace, "route", "del", "blackhole", f"{address}/32")


class Process:
    """A process in a namespace that prints lines of JSON."""

    def __init__(self, namespace: str, *command: str, **settings: str) -> None:
        environment = {**os.environ, **TIMERS, **settings, "no_proxy": "*", "PYTHONUNBUFFERED": "1"}
        self._process = subprocess.Popen(
            ["ip", "netns", "exec", namespace, *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True,
        )  # fmt: skip
        self.said: list[dict[str, Any]] = []
        self._lines: Queue[dict[str, Any]] = Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                self._lines.put(json.loads(line))

    def expect(self, within: float, **what: Any) -> float:
        """Waits until it says this; how many seconds that took."""
        began = time.monotonic()
        while True:
            left = within - (time.monotonic() - began)
            try:
                line = self._lines.get(timeout=max(0.01, left))
            except Empty:
                raise AssertionError(f"{what} was not said within {within} s; said: {self.said}") from None
            self.said.append(line)
            if all(line.get(key) == value for key, value in what.items()):
                return time.monotonic() - began

    def values_of(self, key: str) -> list[Any]:
        """Every value it said under a key so far."""
        while not self._lines.empty():
            self.said.append(self._lines.get())
        return [line[key] for line in self.said if key in line]

    def end(self) -> None:
        process = self._process
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.terminate()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._reader.join(5)
        if process.stdout is not None:
            process.stdout.close()


@contextmanager
def _life(data: Path, grace: float = GRACE) -> Iterator[tuple[Namespaces, Process, Process]]:
    """Namespaces, a service, Anna in one and Bob, who watches her, in another."""
    greenroom = str(Path(sys.executable).with_name("greenroom"))
    url = f"http://{SERVICE_ADDRESS}:{PORT}"
    with ExitStack() as stack:
        spaces = stack.enter_context(Namespaces())
        serve = (greenroom, "serve", "--host", SERVICE_ADDRESS, "--port", str(PORT), "--data", str(data), "--json")
        service = Process(spaces.service, *serve, GREENROOM_GRACE=str(grace))
        stack.callback(service.end)
        service.expect(30.0, url=url)
        made = subprocess.run(
            ["ip", "netns", "exec", spaces.service, greenroom, "apps", "create", "network", "--url", url, "--json"],
            env={**os.environ, **TIMERS, "no_proxy": "*"}, capture_output=True, text=True, check=True, timeout=240,
        )  # fmt: skip
        app = json.loads(made.stdout)
        common = (sys.executable, str(CLIENT), url, app["appKey"], app["appSecret"])
        anna = Process(spaces.client, *common, "anna")
        stack.callback(anna.end)
        anna.expect(30.0, ready=True)
        bob = Process(spaces.watcher, *common, "bob", "anna")
        stack.callback(bob.end)
        bob.expect(30.0, ready=True)
        yield spaces, anna, bob


@pytest.mark.slow
@pytest.mark.waiting
def test_a_link_silent_in_both_directions_is_found_from_both_sides_and_resumed(tmp_path: Path) -> None:
    with _life(tmp_path) as (spaces, anna, bob):
        spaces.blackhole(spaces.client, SERVICE_ADDRESS)
        spaces.blackhole(spaces.service, CLIENT_ADDRESS)
        anna.expect(2.0 + SPARE, state="reconnecting")
        bob.expect(DETECTED + PUBLISHED + SPARE, saw="anna", presence="unreachable")
        spaces.heal(spaces.client, SERVICE_ADDRESS)
        spaces.heal(spaces.service, CLIENT_ADDRESS)
        anna.expect(BACK + SPARE, state="connected")
        bob.expect(SPARE, saw="anna", presence="online")
        assert anna.values_of("reopened") == []
        assert "offline" not in bob.values_of("presence")


@pytest.mark.slow
@pytest.mark.waiting
def test_a_client_that_cannot_send_is_found_and_ends_after_its_grace(tmp_path: Path) -> None:
    with _life(tmp_path, SHORT_GRACE) as (spaces, anna, bob):
        spaces.blackhole(spaces.client, SERVICE_ADDRESS)
        bob.expect(DETECTED + PUBLISHED + SPARE, saw="anna", presence="unreachable")
        bob.expect(SHORT_GRACE + 2.0 + SPARE, saw="anna", presence="offline")
        assert anna.values_of("state")[-1] == "reconnecting"


@pytest.mark.slow
@pytest.mark.waiting
def test_a_client_that_cannot_be_sent_to_notices_by_itself(tmp_path: Path) -> None:
    with _life(tmp_path) as (spaces, anna, _):
        spaces.blackhole(spaces.service, CLIENT_ADDRESS)
        anna.expect(2.0 + SPARE, state="reconnecting")
        spaces.heal(spaces.service, CLIENT_ADDRESS)
        anna.expect(BACK + SPARE, state="connected")
