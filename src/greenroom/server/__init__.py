"""The service: the shell around ServerSession."""
