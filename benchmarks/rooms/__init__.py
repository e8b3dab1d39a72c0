"""Rooms in the bench: what a join costs, a crowd in one room, memory, and how long Redis is held."""
