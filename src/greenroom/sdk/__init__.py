"""The Python SDK: the shell around `greenroom.core.client.ClientSession`. Its public names are in `greenroom`."""
