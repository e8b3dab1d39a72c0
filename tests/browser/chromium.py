"""Drives the system's Chromium over its DevTools protocol: windows, scripts, screenshots, the network, sleep.

async with chromium() as browser:
    page = await browser.open(url)
    await page.until("document.title === 'x'")
"""

from __future__ import annotations

import asyncio
import atexit
import base64
import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.patience import PATIENCE

SCREENSHOTS = Path(__file__).resolve().parents[2] / "build" / "test" / "screenshots"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run",
    "--no-default-browser-check", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-extensions", "--mute-audio", "--hide-scrollbars", "--remote-debugging-port=0",
    "--window-size=1180,820",
)  # fmt: skip


class ScriptError(Exception):
    """A script in the page threw."""


class Browser:
    """A running Chromium."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.pages: dict[str, Page] = {}
        self.context: str | None = None

    async def read(self) -> None:
        """Runs until the browser is gone."""
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                future = self._replies.pop(data["id"], None)
                if future is not None and not future.done():
                    future.set_result(data)
            elif data.get("sessionId") in self.pages:
                self.pages[data["sessionId"]].received(data["method"], data["params"])
        for future in self._replies.values():
            future.cancel()

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """A command of the protocol and its result."""
        number = next(self._numbers)
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = future
        command: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        await self._socket.send_str(json.dumps(command))
        reply = await asyncio.wait_for(future, PATIENCE)
        if "error" in reply:
            raise RuntimeError(f"{method}: {reply['error']}")
        result: dict[str, Any] = reply["result"]
        return result

    async def open(self, url: str, *, width: int = 1180, height: int = 820) -> Page:
        """A page in a window of its own, which is not hidden behind others; loaded."""
        target = await self.call(
            "Target.createTarget", url="about:blank", newWindow=True, width=width, height=height,
            browserContextId=self.context,
        )  # fmt: skip
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(self, target["targetId"], attached["sessionId"])
        self.pages[attached["sessionId"]] = page
        for domain in ("Page", "Runtime", "Network", "Log"):
            await page.call(f"{domain}.enable")
        await page.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=width < 600
        )
        await page.goto(url)
        return page


class Page:
    """One tab."""

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self.browser = browser
        self.target = target
        self.session = session
        self.problems: list[str] = []
        """What the page's console showed as errors: scripts that threw, what its policy forbade."""
        self._loaded = asyncio.Event()

    def received(self, method: str, params: dict[str, Any]) -> None:
        """An event of the protocol."""
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", details["text"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.problems.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self.browser.call(method, self.session, **params)

    async def goto(self, url: str) -> None:
        self._loaded.clear()
        await self.call("Page.navigate", url=url)
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def reload(self) -> None:
        self._loaded.clear()
        await self.call("Page.reload")
        await asyncio.wait_for(self._loaded.wait(), PATIENCE)

    async def evaluate(self, expression: str) -> Any:
        """The value of an expression, of its promise where it is one. Raises ScriptError."""
        result = await self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise ScriptError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    async def until(self, expression: str, seconds: float = PATIENCE) -> Any:
        """Wait until the expression is true; its value. Raises AssertionError."""
        end = time.monotonic() + seconds
        while True:
            value = await self.evaluate(expression)
            if value:
                return value
            assert time.monotonic() < end, f"did not come true in {seconds} s: {expression}; {self.problems}"
            await asyncio.sleep(0.05)

    async def screenshot(self, name: str) -> Path:
        """A picture in build/test/screenshots."""
        picture = await self.call("Page.captureScreenshot", format="png")
        path = SCREENSHOTS / f"{name}.png"
        await asyncio.to_thread(_write, path, base64.b64decode(picture["data"]))
        return path

    async def scheme(self, name: str) -> None:
        """light or dark."""
        await self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    async def offline(self, *, yes: bool) -> None:
        """The browser's network emulation; it fires the page's online and offline events."""
        await self.call(
            "Network.emulateNetworkConditions", offline=yes, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    async def freeze(self) -> None:
        """No script runs, no timer fires, until `thaw`."""
        await self.call("Page.setWebLifecycleState", state="frozen")

    async def thaw(self) -> None:
        await self.call("Page.setWebLifecycleState", state="active")

    async def close(self) -> None:
        """Close the tab as its user would."""
        self.browser.pages.pop(self.session, None)
        await self.browser.call("Target.closeTarget", targetId=self.target)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def executable() -> str:
    """The system's Chromium. Raises AssertionError."""
    found = next((path for path in map(shutil.which, _NAMES) if path), None)
    assert found is not None, "Chromium is needed: make system installs it"
    return found


def _end_with_parent() -> None:
    """Whatever ends the process that runs the tests, this one does not outlive it."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class _Program:
    """The Chromium that all tests of this process share: to start one takes longer than most of them."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._profile = ""

    def start(self) -> Path:
        """Unless it runs. The file into which it writes the address of its DevTools."""
        if self._process is None or self._process.poll() is not None:
            self.end()
            self._profile = tempfile.mkdtemp(prefix="greenroom-chromium-")
            self._process = subprocess.Popen(
                [executable(), *_FLAGS, f"--user-data-dir={self._profile}", "about:blank"],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=_end_with_parent,
            )  # fmt: skip
        return Path(self._profile) / "DevToolsActivePort"

    def end(self) -> None:
        """With all its processes and its profile."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            shutil.rmtree(self._profile, ignore_errors=True)
            self._process = None


_PROGRAM = _Program()
atexit.register(_PROGRAM.end)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Windows of a test's own, as private ones: no other test sees what they store."""
    address = await _devtools(_PROGRAM.start())
    async with aiohttp.ClientSession() as http, http.ws_connect(address, max_msg_size=0) as socket:
        browser = Browser(socket)
        reader = asyncio.create_task(browser.read())
        try:
            made = await browser.call("Target.createBrowserContext")
            browser.context = made["browserContextId"]
            yield browser
        finally:
            if browser.context is not None:
                with contextlib.suppress(RuntimeError, TimeoutError):
                    await browser.call("Target.disposeBrowserContext", browserContextId=browser.context)
            reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reader


async def _devtools(file: Path) -> str:
    """The address that Chromium writes down when it is ready."""
    end = time.monotonic() + PATIENCE
    while True:
        with contextlib.suppress(OSError, ValueError):
            port, path = (await asyncio.to_thread(file.read_text, "utf-8")).split()
            return f"ws://127.0.0.1:{int(port)}{path}"
        assert time.monotonic() < end, "Chromium did not start"
        await asyncio.sleep(0.05)
