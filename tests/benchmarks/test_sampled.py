"""The sampler of a profile."""

from __future__ import annotations

import signal
import threading
import time

from benchmarks.sampled import Sampler, module_of


def test_the_sampler_weighs_a_thread_with_the_cpu_it_has_used() -> None:
    def spin(until: float) -> None:
        while time.process_time() < until:
            pass

    sampler = Sampler()
    before = signal.getsignal(signal.SIGPROF), signal.getsignal(signal.SIGUSR2)
    waiting = threading.Event()
    idle = threading.Thread(target=waiting.wait, name="idle")
    idle.start()
    try:
        sampler.start()
        spin(time.process_time() + 0.1)
    finally:
        sampler.stop()
        signal.signal(signal.SIGPROF, before[0])
        signal.signal(signal.SIGUSR2, before[1])
        waiting.set()
        idle.join()
    used = {stack: seconds for stack, seconds in sampler.stacks.items() if stack[-1].endswith("spin")}
    assert sum(used.values()) > 0.05
    assert sum(seconds for stack, seconds in sampler.stacks.items() if stack[0] == "idle") < 0.01


def test_a_file_of_ours_is_named_below_the_package() -> None:
    assert module_of("/x/src/greenroom/core/states.py") == "core/states.py"
    assert module_of("/usr/lib/python3.11/asyncio/events.py") == "asyncio/events.py"
