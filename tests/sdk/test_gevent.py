"""greenroom.blocking under gevent's monkey patching, as workers of web servers run it: in a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from greenroom.testing.fake_service import FakeService, make_token

pytestmark = pytest.mark.slow

LIMIT = 8.0
"""Seconds of each call; longer than a busy machine needs for one that works."""
PROGRAM = """
import sys
from gevent import monkey
patch, url, token, limit = sys.argv[1:]
monkey.patch_all(thread=patch == "all", select=patch == "all")

import json
import time
from greenroom.blocking import Greenroom

def report(what, call):
    began, result, error = time.monotonic(), None, None
    try:
        result = call()
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    took = time.monotonic() - began
    print(json.dumps({"what": what, "result": repr(result), "error": error, "took": took}), flush=True)

objects = []
for number in range(3):
    report("make", lambda: objects.append(Greenroom(url)))
    report("token", lambda: objects[number].initialize_token(token))
    report("open", lambda: objects[number].session.open(timeout=float(limit)))
for one in objects:
    report("is_open", one.session.is_open)
    report("get", one.session.get_participant)
    report("close", one.session.close)
    report("shut_down", one.shut_down)
"""


async def _calls_of_three_objects(patch: str) -> dict[str, list[dict[str, Any]]]:
    """What each call came to, by its name: one for each object."""
    async with FakeService() as service:
        arguments = (patch, service.url, make_token(external_id="ada"), str(LIMIT))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), 240)
    assert (process.returncode, err.decode()) == (0, "")
    calls: dict[str, list[dict[str, Any]]] = {}
    for line in out.splitlines():
        call = json.loads(line)
        assert call["took"] < LIMIT + 30.0, call
        calls.setdefault(call["what"], []).append(call)
    return calls


async def test_of_three_objects_under_patched_threads_one_works_and_the_others_say_what_to_do() -> None:
    calls = await _calls_of_three_objects("all")
    for what in ("token", "open", "get", "close"):
        first, *others = calls[what]
        assert first["error"] is None, first
        for call in others:
            assert call["error"].startswith("ServiceUnavailableError: The background thread"), call
            assert "Under gevent use one object, or patch neither threads nor select" in call["error"]
    assert [call["result"] for call in calls["is_open"]] == ["True", "False", "False"]
    assert [call["error"] for call in calls["shut_down"]] == [None, None, None]


async def test_where_neither_threads_nor_select_are_patched_three_objects_work() -> None:
    calls = await _calls_of_three_objects("neither threads nor select")
    assert {call["error"] for each in calls.values() for call in each} == {None}
    assert [call["result"] for call in calls["is_open"]] == ["True", "True", "True"]
