"""Public test tools: fake clock, engine contract suite, simulated cluster, fake service, ownership model."""

import sys

# What fails in the engine contract suite says what was compared, as in any test module. It has to be asked for before
# the modules are imported, and importing this package comes before them.
if "pytest" in sys.modules:
    sys.modules["pytest"].register_assert_rewrite("greenroom.testing.engine_contract", "greenroom.testing.engine_world")
