"""The operators' API, /admin/v1: applications, keys, status. The command line is its first client."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from greenroom.codes import ErrorCode
from greenroom.core.profile import MAX_ATTRIBUTE_NAME, MAX_ATTRIBUTES
from greenroom.core.rooms.names import LONGEST_INVITATION_TTL, MAX_DETAILED_MEMBERS
from greenroom.errors import NotFoundError
from greenroom.model import Application, ApplicationSettings
from greenroom.server.api.origins import normalised_origin
from greenroom.server.cluster.status import NodeStatus
from greenroom.server.http.context import HttpContext
from greenroom.server.http.routes import MAX_LARGE_BODY_BYTES, Call, Nothing, admin
from greenroom.server.tenants.applications import SECRET_OVERLAP
from greenroom.server.tenants.ceilings import check_within
from greenroom.server.tenants.keys import describe_key


class AppPath(msgspec.Struct, frozen=True):
    """Names one application."""

    app_key: str


class NewApplication(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a new application is called."""

    name: Annotated[str, Meta(min_length=1, max_length=100)]


class RotateSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the replaced secret stays valid."""

    overlap: Annotated[float, Meta(ge=0, le=2_592_000, description="Seconds.")] = SECRET_OVERLAP


class PolicyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Devices of a participant; see `greenroom.model.SessionPolicy`."""

    max_sessions: Annotated[int, Meta(ge=1, le=1_000_000)]
    when_full: Literal["reject", "replace_oldest"]
    same_device: Literal["replace", "allow"]


class RoomsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Rooms of an application; see `greenroom.model.RoomSettings`."""

    access: Literal["open", "granted"]
    roster_attributes: tuple[str, ...]
    invitation_ttl: float
    max_members: int
    max_rooms: int
    detailed_members: int


class SettingsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Settings of an application; see `greenroom.model.ApplicationSettings`."""

    policy: PolicyView
    max_application_sessions: int | None
    max_watched: int
    client_attributes: tuple[str, ...] | None
    open_profile: str
    allow_external_id_from_client: bool
    allowed_origins: tuple[str, ...]
    keep_offline_participants: float
    rooms: RoomsView


class PolicyPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to change of the policy."""

    max_sessions: Annotated[int, Meta(ge=1, le=1_000_000)] | UnsetType = UNSET
    when_full: Literal["reject", "replace_oldest"] | UnsetType = UNSET
    same_device: Literal["replace", "allow"] | UnsetType = UNSET


class RoomsPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to change of the settings for rooms."""

    access: (
        Annotated[
            Literal["open", "granted"],
            Meta(
                description="`open`: every session may join any room by its name; `granted`: what the token's"
                " `rooms` lists. A change to `granted` ends memberships that no token grants."
            ),
        ]
        | UnsetType
    ) = UNSET
    roster_attributes: (
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=MAX_ATTRIBUTE_NAME)], ...],
            Meta(
                max_length=MAX_ATTRIBUTES,
                description="Names of the attributes that rosters show, 1 KiB together for each member.",
            ),
        ]
        | UnsetType
    ) = UNSET
    invitation_ttl: Annotated[float, Meta(gt=0, le=LONGEST_INVITATION_TTL, description="Seconds.")] | UnsetType = UNSET
    max_members: Annotated[int, Meta(ge=1, description="Of one room.")] | UnsetType = UNSET
    max_rooms: Annotated[int, Meta(ge=1, description="That are open.")] | UnsetType = UNSET
    detailed_members: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_DETAILED_MEMBERS,
                description="The most members of a detailed room, whose changes name the members.",
            ),
        ]
        | UnsetType
    ) = UNSET


class SettingsPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to change; the rest stays."""

    policy: PolicyPatch | UnsetType = UNSET
    max_application_sessions: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    max_watched: Annotated[int, Meta(ge=0, le=100_000)] | UnsetType = UNSET
    client_attributes: (
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=64)], ...],
            Meta(
                max_length=100,
                description="Names of the attributes that clients may set; only the backend may set others. null: all.",
            ),
        ]
        | UnsetType
        | None
    ) = UNSET
    open_profile: Literal["any", "scope"] | UnsetType = UNSET
    allow_external_id_from_client: bool | UnsetType = UNSET
    allowed_origins: Annotated[tuple[str, ...], Meta(max_length=100)] | UnsetType = UNSET
    keep_offline_participants: Annotated[float, Meta(ge=0, le=315_360_000)] | UnsetType = UNSET
    rooms: RoomsPatch | UnsetType = UNSET


class CeilingsView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the application's settings may not exceed; null: the service's ceiling alone."""

    max_application_sessions: int | None
    max_watched: int | None
    max_sessions: int | None
    max_room_members: int | None
    max_rooms: int | None


class CeilingsPatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to change; the rest stays. null: the service's ceiling alone."""

    max_application_sessions: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    max_watched: Annotated[int, Meta(ge=0)] | UnsetType | None = UNSET
    max_sessions: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    max_room_members: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET
    max_rooms: Annotated[int, Meta(ge=1)] | UnsetType | None = UNSET


class ApplicationView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An application, without secrets. secrets: when each valid one was made and ends, newest first."""

    app_key: str
    name: str
    state: Literal["enabled", "disabled"]
    created_at: int
    secrets: tuple[SecretView, ...]
    settings: SettingsView
    ceilings: CeilingsView


class SecretView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """That there is a secret, not what it is. Unix milliseconds; expires_at null: it does not."""

    created_at: int
    expires_at: int | None


class ApplicationSecret(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A new secret. It is shown only once."""

    app_key: str
    app_secret: str
    name: str


class ApplicationList(msgspec.Struct, frozen=True):
    """All applications, by name."""

    items: tuple[ApplicationView, ...]


class KeyView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """A signing key, without its private part."""

    kid: str
    alg: str
    state: Literal["upcoming", "current", "previous"]
    created_at: int


class KeyList(msgspec.Struct, frozen=True):
    """The key ring: upcoming, current, previous."""

    items: tuple[KeyView, ...]


async def list_applications(call: Call[Nothing, Nothing, Nothing]) -> ApplicationList:
    """All applications."""
    return ApplicationList(tuple(view_of(app, call.now) for app in call.context.tenants.applications))


async def create_application(call: Call[Nothing, Nothing, NewApplication]) -> ApplicationSecret:
    """Makes an application."""
    application, secret = await call.context.tenants.create_application(call.body.name)
    await call.context.control.announce_directory()
    return ApplicationSecret(app_key=application.key, app_secret=secret, name=application.name)


async def get_application(call: Call[AppPath, Nothing, Nothing]) -> ApplicationView:
    """One application."""
    application = call.context.tenants.get(call.path.app_key)
    if application is None:
        raise NotFoundError("There is no application with that key.", hint="See: greenroom apps list.")
    return view_of(application, call.now)


async def rotate_secret(call: Call[AppPath, Nothing, RotateSecret]) -> ApplicationSecret:
    """Makes a new secret; the one that it replaces stays valid for `overlap` seconds."""
    application, secret = await call.context.tenants.rotate_secret(call.path.app_key, overlap=call.body.overlap)
    await call.context.control.announce_directory()
    return ApplicationSecret(app_key=application.key, app_secret=secret, name=application.name)


async def disable(call: Call[AppPath, Nothing, Nothing]) -> ApplicationView:
    """Ends the application's sessions, and issues and accepts no tokens of it until it is enabled again."""
    application = await call.context.tenants.disable(call.path.app_key)
    await call.context.control.announce_directory()
    return view_of(application, call.now)


async def enable(call: Call[AppPath, Nothing, Nothing]) -> ApplicationView:
    """Enables an application that was disabled."""
    application = await call.context.tenants.enable(call.path.app_key)
    await call.context.control.announce_directory()
    return view_of(application, call.now)


async def change_settings(call: Call[AppPath, Nothing, SettingsPatch]) -> ApplicationView:
    """Changes the settings named; the others stay."""
    return view_of(await change_settings_of(call.context, call.path.app_key, call.body), call.now)


async def change_ceilings(call: Call[AppPath, Nothing, CeilingsPatch]) -> ApplicationView:
    """Changes what the application may set for itself at most. What it has set above that is lowered at once."""
    changes = _given(call.body)

    def changed(app: Application) -> Application:
        return msgspec.structs.replace(app, ceilings=msgspec.structs.replace(app.ceilings, **changes))

    application = await call.context.tenants.change(call.path.app_key, changed)
    await call.context.control.announce_directory()
    return view_of(application, call.now)


async def list_keys(call: Call[Nothing, Nothing, Nothing]) -> KeyList:
    """The key ring."""
    ring = call.context.tenants.keys.ring
    return KeyList(tuple(msgspec.convert(describe_key(key, ring), KeyView) for key in ring.keys))


async def rotate_key(call: Call[Nothing, Nothing, Nothing]) -> KeyList:
    """Makes a new signing key. It is published now and signs ten minutes later; the previous one is accepted until
    no token of it can be left."""
    await call.context.tenants.rotate_key()
    await call.context.control.announce_directory()
    return await list_keys(call)


async def status(call: Call[Nothing, Nothing, Nothing]) -> NodeStatus:
    """The state of this node."""
    return call.context.cluster.status()


def view_of(app: Application, now: float) -> ApplicationView:
    """An application as operators see it."""
    ends = now * 1000
    secrets = tuple(
        SecretView(created_at=secret.created_at, expires_at=secret.expires_at)
        for secret in app.secrets
        if secret.expires_at is None or secret.expires_at > ends
    )
    return ApplicationView(
        app_key=app.key,
        name=app.name,
        state="disabled" if app.disabled else "enabled",
        created_at=app.created_at,
        secrets=secrets,
        settings=msgspec.convert(app.settings, SettingsView, from_attributes=True),
        ceilings=msgspec.convert(app.ceilings, CeilingsView, from_attributes=True),
    )


async def change_settings_of(context: HttpContext, app_key: str, patch: SettingsPatch) -> Application:
    """Changes the settings that the patch names. Raises IllegalArgumentError for more than operators allow, and for an
    origin that can never match."""

    def changed(app: Application) -> Application:
        settings = patched(app.settings, patch)
        check_within(settings, app, context.config)
        return msgspec.structs.replace(app, settings=settings)

    application = await context.tenants.change(app_key, changed)
    await context.control.announce_directory()
    return application


def _given(patch: msgspec.Struct) -> dict[str, Any]:
    return {name: value for name in patch.__struct_fields__ if (value := getattr(patch, name)) is not UNSET}


def patched(settings: ApplicationSettings, patch: SettingsPatch) -> ApplicationSettings:
    """The settings with what the patch names. Raises IllegalArgumentError for an origin that can never match."""
    given = _given(patch)
    if "allowed_origins" in given:
        given["allowed_origins"] = tuple(dict.fromkeys(map(normalised_origin, given["allowed_origins"])))
    for name in ("policy", "rooms"):
        part = given.pop(name, None)
        if part is not None:
            given[name] = msgspec.structs.replace(getattr(settings, name), **_given(part))
    return msgspec.structs.replace(settings, **given)


_CHANGED = (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT)

ROUTES = (
    admin("GET /applications", list_applications, "List applications"),
    admin("POST /applications", create_application, "Create an application", status=201),
    admin("GET /applications/{app_key}", get_application, "Read an application", errors=_CHANGED),
    admin("POST /applications/{app_key}/rotate-secret", rotate_secret, "Make a new secret", errors=_CHANGED),
    admin("POST /applications/{app_key}/disable", disable, "Disable an application", errors=_CHANGED),
    admin("POST /applications/{app_key}/enable", enable, "Enable an application", errors=_CHANGED),
    admin(
        "PATCH /applications/{app_key}/settings",
        change_settings,
        "Change an application's settings",
        errors=_CHANGED,
        max_body_bytes=MAX_LARGE_BODY_BYTES,
    ),
    admin(
        "PATCH /applications/{app_key}/ceilings", change_ceilings, "Change an application's ceilings", errors=_CHANGED
    ),
    admin("GET /keys", list_keys, "List signing keys"),
    admin("POST /keys/rotate", rotate_key, "Make a new signing key", status=201),
    admin("GET /status", status, "Show the state of this node"),
)
