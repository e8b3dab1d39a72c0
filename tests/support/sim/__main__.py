"""``python -m tests.support.sim SEED [SEED...]``: walk these again; the timeline of each, and what is wrong."""

from __future__ import annotations

import argparse
import logging
import sys

import structlog

from tests.support.sim.cluster_walk import walk_cluster, walk_lossy
from tests.support.sim.walk import WalkError, walk


def main() -> int:
    """0 where all walks were fine, 1 where one was not."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.sim", description=__doc__)
    parser.add_argument("seeds", nargs="+", type=int, metavar="SEED")
    parser.add_argument("--cluster", action="store_true", help="three nodes on a simulated Redis")
    parser.add_argument("--lossy", action="store_true", help="the same, on a Redis that loses data")
    parser.add_argument("--quiet", action="store_true", help="print failing walks only")
    arguments = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    one_walk = walk_lossy if arguments.lossy else walk_cluster if arguments.cluster else walk
    failed = 0
    for seed in arguments.seeds:
        try:
            notes = one_walk(seed)
        except WalkError as error:
            failed += 1
            print(error)
        else:
            if not arguments.quiet:
                print(f"seed {seed}: fine")
                print("\n".join(f"{at - 1000.0:9.3f}  {text}" for at, text in notes))
    print(f"{len(arguments.seeds) - failed} of {len(arguments.seeds)} walks were fine", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
