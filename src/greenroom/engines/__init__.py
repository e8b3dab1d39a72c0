"""Where shared state lives. `base` is the contract; `embedded` and `redis` keep it."""
