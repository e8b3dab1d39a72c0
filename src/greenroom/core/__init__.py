"""The rules of a session. No I/O, no clock, no randomness: time and chance are arguments."""
