"""The rules of a session. No I/O, no clock, no dice: time and chance are arguments."""
