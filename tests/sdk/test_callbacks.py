"""The queue of callbacks; test_notifier shows what a slow one gets."""

from __future__ import annotations

from greenroom.sdk.callbacks import CallbackQueue


async def test_a_call_that_has_run_is_not_merged_into() -> None:
    calls: list[int] = []
    queue = CallbackQueue()
    for number in range(3):
        queue.put(None, calls.append, number, key="k")
        await queue.drained(1)
    assert calls == [0, 1, 2]
