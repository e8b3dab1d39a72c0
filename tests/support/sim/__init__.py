"""The simulated world: many SDKs, services and engines in one process, in virtual time, from one seed."""

from __future__ import annotations

import os

WALKS = int(os.environ.get("GREENROOM_WALKS", "80"))
"""How many random lives of one node `make test` walks, in some 25 s of one core. The variable asks for more; `make
soak` walks thousands."""
