"""Rooms: who is in this call, document or channel (rules R1 to R12). Pure."""
