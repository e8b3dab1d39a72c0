"""``python -m benchmarks [--quick | --soak]``: makes the figures, the plots and docs/explanation/performance.md.

--only NAME runs some jobs alone and writes nothing but build/bench/results.json; with --keep their figures take the
place of those of the last full run, and the page says when and under what load they were made. --page writes the page
again from the results there are.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time

from benchmarks import environment, machine, page, results
from benchmarks.jobs import FULL, JOBS, QUICK, Bench
from benchmarks.process import GENERATOR_CORE, ROOT, raise_file_limit


def main() -> int:
    """The exit code: 0, 1 where the guard found a slow-down or a job failed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--quick", action="store_true", help="the short form, up to 3 minutes")
    kind.add_argument("--soak", action="store_true", help="the long tests of endurance, an hour and more")
    kind.add_argument("--page", action="store_true", help="only write the page again, from the last results")
    parser.add_argument("--only", action="append", choices=sorted(JOBS), help="run this job only; repeatable")
    parser.add_argument("--keep", action="store_true", help="with --only: into the kept results and the page")
    parser.add_argument("--baseline", action="store_true", help="keep this run's ratios as the guard's baseline")
    options = parser.parse_args()
    if options.keep and (not options.only or options.quick):
        parser.error("--keep goes with --only, and not with --quick: the kept results are of the full form")
    if options.page:
        page.write(results.load())
        return 0
    if options.soak:
        from benchmarks.soak import run

        return run()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as Ctrl-C: servers are stopped on the way out
    started = time.monotonic()
    form = QUICK if options.quick else FULL
    described = machine.describe()
    environment.compiled_python(build=form.compiles)  # on all cores: from here on one is the servers'
    os.sched_setaffinity(0, {GENERATOR_CORE})
    raise_file_limit()
    bench = Bench(form, ROOT / "build" / "bench")
    try:
        bench.run(options.only)
    finally:
        bench.stop()
    described["load after"] = machine.load_average()
    found = results.collect(bench, described, time.monotonic() - started)
    if results.save(found, whole=not options.only):
        page.write(found)
    elif options.keep:
        page.write(results.keep(found))
    if options.baseline:
        results.save_baseline(found)
    results.show(found)
    return 1 if found["failed"] or found["guard"]["slower"] else 0


if __name__ == "__main__":
    sys.exit(main())
