"""Requests on an app's behalf: the guard against internal addresses, name look-ups, key sets."""
