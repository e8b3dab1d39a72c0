"""``python -m benchmarks.sampled FILE ARGUMENTS...``: runs `greenroom ARGUMENTS` and samples its stacks.

Every millisecond of CPU the process uses, a signal looks at the stacks of all threads; each is weighted with the CPU
that its thread has used since the last look, so that a thread that waits weighs nothing. Time in C and in the kernel is
the Python function's that called it. SIGUSR2 forgets what was sampled so far (a warming up); at the end FILE gets the
stacks as JSON: [[frame, frame, ...], seconds], the outermost first.
"""

from __future__ import annotations

import atexit
import json
import signal
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import FrameType

EVERY = 0.001
"""Seconds of CPU."""


class Sampler:
    """Stacks and their CPU, from `start` on."""

    def __init__(self) -> None:
        self.stacks: Counter[tuple[str, ...]] = Counter()
        self._used: dict[int, float] = {}
        self._names: dict[tuple[str, str], str] = {}

    def start(self) -> None:
        """Sample, in the main thread's signal handler."""
        signal.signal(signal.SIGPROF, self._look)
        signal.signal(signal.SIGUSR2, lambda *_: self.stacks.clear())
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)

    def stop(self) -> None:
        """Sample no more."""
        signal.setitimer(signal.ITIMER_PROF, 0)

    def _look(self, _number: int, frame: FrameType | None) -> None:
        frames = sys._current_frames()
        for thread in threading.enumerate():
            ident = thread.ident
            if ident is None:
                continue
            now = time.clock_gettime(time.pthread_getcpuclockid(ident))
            used, self._used[ident] = now - self._used.get(ident, now), now
            top = frame if thread is threading.main_thread() else frames.get(ident)
            if used > 0 and top is not None:
                self.stacks[self._stack(thread.name, top)] += used  # type: ignore[assignment]

    def _stack(self, thread: str, frame: FrameType | None) -> tuple[str, ...]:
        found = []
        while frame is not None:
            code = frame.f_code
            key = (code.co_filename, code.co_qualname)
            name = self._names.get(key)
            if name is None:
                name = self._names[key] = f"{module_of(code.co_filename)}:{code.co_qualname}"
            found.append(name)
            frame = frame.f_back
        return (thread, *reversed(found))


def module_of(path: str) -> str:
    """A file as a short name: below greenroom, else the last two parts."""
    _, within, rest = path.rpartition("/greenroom/")
    return rest if within else "/".join(Path(path).parts[-2:])


def main() -> None:
    """Samples until the service has stopped."""
    path = Path(sys.argv[1])
    sys.argv = ["greenroom", *sys.argv[2:]]
    from greenroom.cli import main as run

    sampler = Sampler()

    def write() -> None:
        sampler.stop()
        path.write_text(json.dumps([[stack, seconds] for stack, seconds in sampler.stacks.items()]))

    atexit.register(write)
    sampler.start()
    run()


if __name__ == "__main__":
    main()
