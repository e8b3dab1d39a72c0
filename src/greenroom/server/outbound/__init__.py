"""What the service asks of others on an app's behalf: the guard, look-ups, key sets."""
