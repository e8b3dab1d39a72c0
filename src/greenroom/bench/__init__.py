"""The load generator behind ``greenroom bench`` and ``make bench``: raw WebSocket clients that cost little themselves.

It speaks the documented wire protocol and shares nothing with the service but the codes: what it measures is what any
client would see.
"""
