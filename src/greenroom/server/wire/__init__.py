"""Bytes and sockets: the front door, handshakes, WebSocket frames, addresses."""
