"""Which functions of the service one request passes, in order: what the journeys of the architecture page are made of.

usage: python -m scripts.journeys [open|token|update|kick|join]... [--files] [--json] [--at-most FUNCTIONS FILES]

A real service (embedded engine, one free port on loopback) runs in this process; a client in a thread beside it sends
bytes over a socket. What is counted are the functions of `greenroom` that are called from the moment the bytes are
sent until the bytes of the answer can be read. Each journey is made several times on a warm service, and only what all
of them passed counts: timers that happened to fire are not part of the way.

  open    a `session.open` on a fresh connection, until its reply
  token   `POST /v2/client-access-token`, until its reply
  update  `session.updateParticipantInfo`, until a watcher on another connection is notified
  kick    `POST /v1/participants/{id}/kick`, until the kicked device is notified
  join    `rooms.join` of a room that someone is in, until its reply

With --at-most it fails where a journey passes more functions or files than that.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import http.client
import io
import json
import os
import queue
import secrets
import select
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCES = str(ROOT / "src" / "greenroom") + os.sep
JOURNEYS = ("open", "token", "update", "kick", "join")
ROUNDS = 5
WAIT = 60.0
"""Seconds that the start of the service, or any one answer, may take."""
TRIES = 10
"""Of a journey that others may disturb."""
SETTLE = 0.3
"""Seconds before a journey: the service still has to finish what came before."""


@dataclass(frozen=True)
class Step:
    """A function that was called. depth: callers of `greenroom` above it; file: relative to src/greenroom."""

    file: str
    function: str
    line: int
    depth: int

    @property
    def name(self) -> str:
        """As the architecture page writes it."""
        return f"{self.file}:{self.function}"


class Recorder:
    """A profiler for all threads but the client's. It records from `start` until `until` has something to read."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._recording = False
        self._until: socket.socket | None = None
        self._known: dict[CodeType, tuple[str, str, int] | None] = {}
        self._lock = threading.Lock()

    def start(self) -> None:
        """Forget what was recorded, and record."""
        with self._lock:
            self._steps, self._recording, self._until = [], True, None

    def until(self, answer: socket.socket) -> None:
        """Stop as soon as bytes of the answer are here."""
        with self._lock:
            self._until = answer

    def stop(self) -> list[Step]:
        """What was recorded."""
        with self._lock:
            self._recording, self._until = False, None
            return self._steps

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if not self._recording or event != "call":
            return
        code = frame.f_code
        if code not in self._known:
            self._known[code] = self._describe(code)
        found = self._known[code]
        if found is None:
            return
        with self._lock:  # the socket cannot be closed meanwhile
            if self._until is not None and select.select([self._until], [], [], 0)[0]:
                self._recording = False  # the answer is there: what follows is not part of the way
            if self._recording:
                self._steps.append(Step(*found, depth=self._depth(frame)))

    @staticmethod
    def _describe(code: CodeType) -> tuple[str, str, int] | None:
        # Expressions are no functions: not a comprehension (a frame of its own before Python 3.12), not a lambda.
        if not code.co_filename.startswith(SOURCES) or code.co_name.startswith("<"):
            return None
        name = code.co_qualname.replace(".<locals>", "")
        return code.co_filename.removeprefix(SOURCES), name, code.co_firstlineno

    def _depth(self, frame: FrameType) -> int:
        depth, above = 0, frame.f_back
        while above is not None:
            depth += above.f_code.co_filename.startswith(SOURCES)
            above = above.f_back
        return depth


class Client:
    """One WebSocket connection, by hand: the bytes are sent when we say so, and nothing reads ahead."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), WAIT)
        key = base64.b64encode(os.urandom(16)).decode()
        self.socket.sendall(
            f"GET /v1/session HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Protocol: greenroom.v1\r\n\r\n".encode()
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += self._read(1)
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise RuntimeError(head.decode())

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self.socket.recv(count - len(data))
            if not piece:
                raise RuntimeError("the service closed the connection")
            data += piece
        return data

    def frame(self, method: str, params: dict[str, Any]) -> bytes:
        """The bytes of a request, masked with zeros."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        size = bytes([0x80 | len(body)]) if len(body) < 126 else struct.pack("!BH", 0x80 | 126, len(body))
        return b"\x81" + size + bytes(4) + body

    def receive(self) -> dict[str, Any]:
        """The next message; pings are passed over."""
        while True:
            first, size = self._read(2)
            if size == 126:
                (size,) = struct.unpack("!H", self._read(2))
            body = self._read(size)
            if first & 15 == 1:
                message: dict[str, Any] = json.loads(body)
                return message

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """A request and its result; notifications are passed over."""
        self.socket.sendall(self.frame(method, params))
        return self.result()

    def result(self) -> dict[str, Any]:
        """The result of the request under way."""
        while True:
            message = self.receive()
            if "error" in message:
                raise RuntimeError(message["error"])
            if "result" in message:
                result: dict[str, Any] = message["result"]
                return result

    def settle(self) -> None:
        """Wait until the service has finished what came before, and read what it sent about it."""
        time.sleep(SETTLE)
        while select.select([self.socket], [], [], 0)[0]:
            self.receive()

    def close(self) -> None:
        """End the session, so that the next round finds none."""
        with contextlib.suppress(RuntimeError, OSError):
            self.call("session.close")
        self.socket.close()


class Traveller:
    """Makes the journeys. port, key, secret: of the running service and its demo application."""

    def __init__(self, recorder: Recorder, port: int, key: str, secret: str) -> None:
        self._recorder, self._port = recorder, port
        self._basic = "Basic " + base64.b64encode(f"{key}:{secret}".encode()).decode()
        form = {"Content-Type": "application/x-www-form-urlencoded", "Authorization": self._basic}
        self._api = "Bearer " + self._post("/v1/auth/token", "grant_type=client_credentials", form)["access_token"]

    def _post(self, path: str, body: str, headers: dict[str, str]) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=WAIT)
        connection.request("POST", path, body, headers)
        answer: dict[str, Any] = json.loads(connection.getresponse().read() or b"{}")
        connection.close()
        return answer

    def _json_post(self, path: str, body: dict[str, Any]) -> bytes:
        text = json.dumps(body)
        return (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {self._api}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\nConnection: close\r\n\r\n{text}"
        ).encode()

    def _token(self, external_id: str) -> str:
        headers = {"Content-Type": "application/json", "Authorization": self._api}
        reply = self._post("/v2/client-access-token", json.dumps({"externalId": external_id}), headers)
        token: str = reply["access_token"]
        return token

    def _open_params(self, external_id: str) -> dict[str, Any]:
        return {
            "token": self._token(external_id),
            "openId": secrets.token_hex(16),
            "resumeSecret": secrets.token_urlsafe(32),
            "participant": {"name": external_id.title(), "avatarUrl": "https://app.example/face.png"},
            "device": {"id": "laptop", "name": "Laptop"},
            "sdk": {"name": "journeys", "version": "1"},
        }

    def _travel(self, sender: Client, data: bytes, receiver: Client) -> list[Step]:
        """Send `data` and record until `receiver` has an answer."""
        receiver.settle()
        self._recorder.start()
        self._recorder.until(receiver.socket)
        sender.socket.sendall(data)
        return self._arrive(receiver.socket)

    def _arrive(self, receiver: socket.socket) -> list[Step]:
        if not select.select([receiver], [], [], WAIT)[0]:
            raise RuntimeError("no answer")
        return self._recorder.stop()

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        """A connection for one HTTP request; what accepts it is recorded."""
        time.sleep(SETTLE)
        self._recorder.start()
        with socket.create_connection(("127.0.0.1", self._port), WAIT) as link:
            yield link

    def open(self) -> list[Step]:
        client = Client(self._port)
        steps = self._travel(client, client.frame("session.open", self._open_params("anna")), client)
        client.result()
        client.call("ping")
        client.close()
        return steps

    def token(self) -> list[Step]:
        with self._connected() as link:
            self._recorder.until(link)
            link.sendall(self._json_post("/v2/client-access-token", {"externalId": "anna"}))
            return self._arrive(link)

    def update(self) -> list[Step]:
        anna, ben = Client(self._port), Client(self._port)
        participant = anna.call("session.open", **self._open_params("anna"))["participant"]["id"]
        ben.call("session.open", **self._open_params("ben"))
        ben.call("participants.watch", ids=[participant])
        params = {"updateId": secrets.token_hex(16), "name": "Anna " + secrets.token_hex(4)}
        steps = self._travel(anna, anna.frame("session.updateParticipantInfo", params), ben)
        ben.receive()
        anna.result()
        anna.close()
        ben.close()
        return steps

    def join(self) -> list[Step]:
        room = "room-" + secrets.token_hex(4)
        anna, ben = Client(self._port), Client(self._port)
        for client, name in ((anna, "anna"), (ben, "ben")):
            client.call("session.open", **self._open_params(name))
        ben.call("rooms.join", room=room)
        steps = self._travel(anna, anna.frame("rooms.join", {"room": room}), anna)
        anna.result()
        anna.close()
        ben.close()
        return steps

    def kick(self) -> list[Step]:
        """On a busy machine the change of her own presence may reach the kicked one first: then once more."""
        first = ""
        for _ in range(TRIES):
            steps, first = self._kick()
            if first == "session.ended":
                return steps
        raise RuntimeError(f"{first} came before session.ended {TRIES} times")

    def _kick(self) -> tuple[list[Step], str]:
        anna = Client(self._port)
        name = "anna-" + secrets.token_hex(4)
        participant = anna.call("session.open", **self._open_params(name))["participant"]["id"]
        anna.call("ping")
        anna.settle()
        with self._connected() as link:
            self._recorder.until(anna.socket)
            link.sendall(self._json_post(f"/v1/participants/{participant}/kick", {}))
            steps = self._arrive(anna.socket)
            link.recv(65536)
        first: str = anna.receive().get("method", "a reply")
        anna.socket.close()
        return steps, first


def common(rounds: list[list[Step]]) -> list[Step]:
    """Of the first round, in order and each function once, what every round passed."""
    shared = set.intersection(*({step.name for step in steps} for steps in rounds))
    seen: dict[str, Step] = {}
    for step in rounds[0]:
        if step.name in shared:
            seen.setdefault(step.name, step)
    return list(seen.values())


class _Lines(io.StringIO):
    """Standard output while the service runs: the line with --dev's JSON goes to whoever waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: queue.Queue[str] = queue.Queue()

    def write(self, text: str) -> int:
        for line in text.splitlines():
            if line.strip():
                self.lines.put(line)
        return len(text)


def record(names: tuple[str, ...] = JOURNEYS) -> dict[str, list[Step]]:
    """Make the journeys; their steps by name. To be called once in a process, in its main thread."""
    from greenroom.cli import main

    recorder = Recorder()
    found: dict[str, list[Step]] = {}
    failures: list[BaseException] = []
    printed = _Lines()

    def travel() -> None:
        sys.setprofile(None)
        try:
            ready = json.loads(printed.lines.get(timeout=WAIT))
            port = int(ready["url"].rsplit(":", 1)[1])
            traveller = Traveller(recorder, port, ready["appKey"], ready["appSecret"])
            for name in names:
                journey: Callable[[], list[Step]] = getattr(traveller, name)
                journey()  # warm: caches are filled, modules loaded
                found[name] = common([journey() for _ in range(ROUNDS)])
        except BaseException as error:
            failures.append(error)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    with tempfile.TemporaryDirectory() as data, _profiled(recorder), contextlib.redirect_stdout(printed):
        thread = threading.Thread(target=travel)
        thread.start()
        os.environ["GREENROOM_LOG_LEVEL"] = "warning"
        sys.argv = ["greenroom", "serve", "--dev", "--json", "--port", "0", "--data", data]
        try:
            main()
        except SystemExit as end:
            printed.lines.put(f"the service ended with exit code {end.code}")  # so that nobody waits for it
        thread.join()
    if failures:
        raise failures[0]
    return found


@contextlib.contextmanager
def _profiled(recorder: Recorder) -> Iterator[None]:
    threading.setprofile(recorder)
    sys.setprofile(recorder)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


def show(name: str, steps: list[Step], *, files_only: bool) -> str:
    """The journey as text: a line for each function, indented by depth."""
    files = list(dict.fromkeys(step.file for step in steps))
    lines = [f"{name}: {len(steps)} functions in {len(files)} files"]
    if files_only:
        return "\n".join(lines + [f"  {file} ({sum(step.file == file for step in steps)})" for file in files])
    low = min((step.depth for step in steps), default=0)
    return "\n".join(lines + ["  " * (step.depth - low + 1) + f"{step.name} (line {step.line})" for step in steps])


def run(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(JOURNEYS)} (all)")
    parser.add_argument("--files", action="store_true", help="files with the number of their functions, no functions")
    parser.add_argument("--json", action="store_true", help="one JSON object: journeys, each a list of file:function")
    parser.add_argument("--at-most", nargs=2, type=int, metavar=("FUNCTIONS", "FILES"), help="fail beyond these")
    options = parser.parse_args(arguments)
    unknown = set(options.names) - set(JOURNEYS)
    if unknown:
        parser.error(f"unknown journey {sorted(unknown)[0]!r}: one of {', '.join(JOURNEYS)}")
    found = record(tuple(options.names) or JOURNEYS)
    if options.json:
        print(json.dumps({name: [step.name for step in steps] for name, steps in found.items()}))
    else:
        print("\n\n".join(show(name, steps, files_only=options.files) for name, steps in found.items()))
    if options.at_most is None:
        return 0
    functions, files = options.at_most
    over = [n for n, steps in found.items() if len(steps) > functions or len({s.file for s in steps}) > files]
    for name in over:
        print(f"journeys: {name} passes more than {functions} functions or {files} files", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
