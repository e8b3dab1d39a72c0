"""Applications, keys, revocations, secrets."""
