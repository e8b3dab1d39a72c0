"""The server API for an application's own settings: devices, limits, origins, the external-id opt-in."""

from __future__ import annotations

import msgspec

from greenroom.codes import ErrorCode
from greenroom.model import Application
from greenroom.server.api.admin import SettingsPatch, SettingsView, change_settings_of
from greenroom.server.http.routes import MAX_LARGE_BODY_BYTES, Call, Nothing, api
from greenroom.tokens.scopes import SESSIONS_ADMIN, SESSIONS_READ


async def get_settings(call: Call[Nothing, Nothing, Nothing]) -> SettingsView:
    """The application's settings."""
    return _view(call.app)


async def change_own_settings(call: Call[Nothing, Nothing, SettingsPatch]) -> SettingsView:
    """Changes the settings named; the others stay. They count for what is opened from now on."""
    return _view(await change_settings_of(call.context, call.app.key, call.body))


def _view(app: Application) -> SettingsView:
    return msgspec.convert(app.settings, SettingsView, from_attributes=True)


_CHANGED = (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT)

ROUTES = (
    api("GET /v1/settings", get_settings, "Read the application's settings", SESSIONS_READ, tag="sessions"),
    api(
        "PATCH /v1/settings",
        change_own_settings,
        "Change the application's settings",
        SESSIONS_ADMIN,
        tag="sessions",
        errors=_CHANGED,
        max_body_bytes=MAX_LARGE_BODY_BYTES,
    ),
)
