"""docs/reference/settings.md: every setting of the service, from greenroom.server.config."""

from __future__ import annotations

from greenroom.server.config import CONFIG_VARIABLE, settings

_HEAD = f"""# Settings

Made from `greenroom.server.config`. A setting comes from the command line, else from its variable, else from a TOML
file (`greenroom serve --config FILE`, or `{CONFIG_VARIABLE}`), else it has its default. In the file names are written
as here, without sections; a name that is not here is refused. `greenroom config` prints what is in effect and where it
came from; secrets are shown as `***`. Lists in variables are separated by commas or spaces.

The service refuses to start with settings that contradict each other: `renew_interval` must be at most a third of
`lease`, `fence_after` above `renew_interval` and more than 2 s below `lease`, `pong_timeout` below `ping_interval`,
`grace_left` and `grace_unconfirmed` not above `grace`, `reap_interval` at most 2 s, and `tls_cert` and `tls_key` go
together.

Limits per application (devices, sessions, watched participants, origins) are the application's own: see
`greenroom apps`.

| setting | variable | what it is | kind | unit | default |
|---|---|---|---|---|---|
"""


def generate() -> dict[str, str]:
    """The page."""
    rows = [
        f"| `{one.name}` | `{one.variable}` | {one.text} | {one.kind} | {one.unit} | `{one.default}` |"
        for one in settings()
    ]
    return {"reference/settings.md": _HEAD + "\n".join(rows) + "\n"}
