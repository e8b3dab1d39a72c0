"""Webhooks: events posted to an app's own addresses, signed as Standard Webhooks says, in order for each participant.

The rules are `greenroom.core.delivery`; here is the shell: `signing`, one attempt over HTTP (`sending`), one worker for
each endpoint (`worker`), and who runs the workers (`dispatcher`).
"""
