"""The simulated world: many SDKs, services and engines in one process, in virtual time, from one seed."""
