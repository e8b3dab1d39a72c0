"""Peers: the same work on other stacks. Installed on demand into build/peers, from locks."""
