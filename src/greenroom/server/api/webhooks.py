"""The server API for webhook endpoints: add, change, remove, test, rotate secrets, dead letters, replay, attempts."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from greenroom.codes import ErrorCode
from greenroom.errors import ConflictError, NotFoundError
from greenroom.model import Application, Event, WebhookEndpoint
from greenroom.server.api.common import Limit
from greenroom.server.events.names import with_names
from greenroom.server.events.views import EVENT_TYPES, EventView, view_of_event
from greenroom.server.http.problems import illegal
from greenroom.server.http.routes import MAX_LARGE_BODY_BYTES, Call, Nothing, api
from greenroom.server.webhooks import dead_letters as keeping
from greenroom.server.webhooks import signing
from greenroom.server.webhooks.worker import AttemptView, reader_of
from greenroom.tokens.scopes import EVENTS_READ, SESSIONS_ADMIN

MAX_ENDPOINTS = 20
"""Of an application."""
SECRET_OVERLAP = 86_400.0
"""Seconds for which a replaced secret keeps signing, by default."""
_WILDCARDS = ("session.*", "participant.*")

Url = Annotated[str, Meta(min_length=1, max_length=2048, description="https://…, publicly reachable.")]
Filters = Annotated[
    tuple[str, ...],
    Meta(max_length=20, description="Event types, like `session.ended` or `session.*`; empty means all."),
]


class EndpointPath(msgspec.Struct, frozen=True):
    """Names an endpoint."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]


class DeadLetterPath(msgspec.Struct, frozen=True, rename="camel"):
    """Names a dead letter."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    event_id: Annotated[str, Meta(min_length=1, max_length=512)]


class NewEndpoint(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A new endpoint. signature: `v1` is HMAC-SHA256 with a shared secret, `v1a` is Ed25519 with a public key."""

    url: Url
    events: Filters = ()
    signature: Literal["v1", "v1a"] = "v1"


class EndpointPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change; the rest stays. An endpoint that is enabled again continues where it stopped."""

    url: Url | UnsetType = UNSET
    events: Filters | UnsetType = UNSET
    state: Literal["enabled", "disabled"] | UnsetType = UNSET


class EndpointView(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """An endpoint, without its secrets. public_keys: for `v1a`, newest first. disabled_reason null: it is enabled.

    created_at: Unix milliseconds."""

    id: str
    url: str
    events: tuple[str, ...]
    signature: Literal["v1", "v1a"]
    public_keys: tuple[str, ...]
    state: Literal["enabled", "disabled"]
    disabled_reason: str | None
    created_at: int


class EndpointList(msgspec.Struct, frozen=True):
    """All endpoints, oldest first."""

    items: tuple[EndpointView, ...]


class EndpointSecret(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint with what its messages are verified with: a secret, which is shown only once, or a public key."""

    endpoint: EndpointView
    secret: str


class RotateWebhookSecret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long the replaced secret keeps signing beside the new one."""

    overlap: Annotated[float, Meta(ge=0, le=2_592_000, description="Seconds.")] = SECRET_OVERLAP


class TestReply(msgspec.Struct, frozen=True, kw_only=True):
    """The result of the attempt. status null: no answer. took: seconds."""

    delivered: bool
    status: int | None
    why: str
    took: float


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """An event that could not be delivered, and why."""

    event: EventView
    why: str


class DeadLetterList(msgspec.Struct, frozen=True):
    """Dead letters, oldest first."""

    items: tuple[DeadLetter, ...]


class DeadLettersQuery(msgspec.Struct, frozen=True, kw_only=True):
    """How many."""

    limit: Limit = 100


class ReplayRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to send again: dead letters (all, or those of eventIds), or everything between two instants (Unix ms)."""

    dead_letters: bool = False
    event_ids: Annotated[tuple[str, ...], Meta(max_length=1000)] | None = None
    from_: Annotated[int, Meta(ge=0, le=253_402_300_799_000)] | None = msgspec.field(default=None, name="from")
    to: Annotated[int, Meta(ge=0, le=253_402_300_799_000)] | None = None


class ReplayReply(msgspec.Struct, frozen=True, kw_only=True):
    """queued: events taken, filters not counted. more: there is more than one call takes. next: `from` of the next
    call for a range."""

    queued: int
    more: bool
    next: int | None


class AttemptsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """after: the number of the last attempt seen."""

    after: Annotated[int, Meta(ge=0)] = 0


class AttemptList(msgspec.Struct, frozen=True, kw_only=True):
    """The latest attempts that this node made, oldest first. delivering: whether this node sends for the endpoint now;
    where not, another one does, or none. receiver: `up`, `down` or `gone`. waiting: events read and not done."""

    node: str
    delivering: bool
    receiver: str
    waiting: int
    items: tuple[AttemptView, ...]


async def list_webhooks(call: Call[Nothing, Nothing, Nothing]) -> EndpointList:
    """The application's endpoints."""
    return EndpointList(tuple(_view(call, call.app, each) for each in call.app.webhooks))


async def create_webhook(call: Call[Nothing, Nothing, NewEndpoint]) -> EndpointSecret:
    """Adds an endpoint. It gets what happens from now on."""
    context, body = call.context, call.body
    tenants = context.tenants
    endpoint_id = "wh_" + tenants.random_bytes(12).hex()
    secret = signing.new_secret(tenants.random_bytes, asymmetric=body.signature == "v1a")
    endpoint = WebhookEndpoint(
        id=endpoint_id,
        url=context.webhooks.sender.check(body.url),
        events=_checked(body.events),
        sealed_secrets=(signing.seal_secret(tenants.secrets, call.app.key, endpoint_id, secret),),
        asymmetric=body.signature == "v1a",
        created_at=int(call.now * 1000),
    )
    # Before it is known: a worker that finds no position would begin with the oldest event kept.
    outbox = context.engine.outbox
    await outbox.acknowledge(call.app.key, reader_of(endpoint_id), await outbox.newest(call.app.key))
    app = await tenants.change(call.app.key, lambda app: _with_endpoint(app, endpoint))
    await context.control.announce_directory()
    return EndpointSecret(endpoint=_view(call, app, endpoint), secret=secret.shown())


async def get_webhook(call: Call[EndpointPath, Nothing, Nothing]) -> EndpointView:
    """One endpoint."""
    return _view(call, call.app, _endpoint(call))


async def change_webhook(call: Call[EndpointPath, Nothing, EndpointPatch]) -> EndpointView:
    """Changes address, filters or state of an endpoint. Enabled again, it continues where it stopped, as far as
    events are still kept."""
    body = call.body
    _endpoint(call)
    changes: dict[str, Any] = {}
    if not isinstance(body.url, UnsetType):
        changes["url"] = call.context.webhooks.sender.check(body.url)
    if not isinstance(body.events, UnsetType):
        changes["events"] = _checked(body.events)
    if not isinstance(body.state, UnsetType):
        changes["disabled_reason"] = None if body.state == "enabled" else "Disabled through the API."
    return await _changed(call, lambda endpoint: msgspec.structs.replace(endpoint, **changes))


async def delete_webhook(call: Call[EndpointPath, Nothing, Nothing]) -> Nothing:
    """Removes an endpoint with its dead letters."""
    endpoint = _endpoint(call)

    def without(app: Application) -> Application:
        kept = tuple(each for each in app.webhooks if each.id != endpoint.id)
        return msgspec.structs.replace(app, webhooks=kept)

    await call.context.tenants.change(call.app.key, without)
    await call.context.control.announce_directory()
    await keeping.forget_endpoint(call.context.engine.outbox, call.app.key, endpoint.id)
    return Nothing()


async def rotate_webhook_secret(call: Call[EndpointPath, Nothing, RotateWebhookSecret]) -> EndpointSecret:
    """Makes a new secret. Messages carry signatures of both until `overlap` seconds have passed; then the replaced one
    is gone. An older one that was still in its overlap ends now."""
    tenants = call.context.tenants
    endpoint = _endpoint(call)
    secret = signing.new_secret(tenants.random_bytes, asymmetric=endpoint.asymmetric)
    fresh = signing.seal_secret(tenants.secrets, call.app.key, endpoint.id, secret)
    ends = int((call.now + call.body.overlap) * 1000)

    def rotated(stored: WebhookEndpoint) -> WebhookEndpoint:
        kept = signing.open_secrets(tenants.secrets, call.app.key, stored, call.now)[:1] if call.body.overlap else []
        old = [
            signing.seal_secret(
                tenants.secrets, call.app.key, stored.id, msgspec.structs.replace(each, expires_at=ends)
            )
            for each in kept
        ]
        return msgspec.structs.replace(stored, sealed_secrets=(fresh, *old))

    return EndpointSecret(endpoint=await _changed(call, rotated), secret=secret.shown())


async def try_webhook(call: Call[EndpointPath, Nothing, Nothing]) -> TestReply:
    """Sends a `webhook.test` event now, once, also to an endpoint that is disabled, and returns the result."""
    endpoint = _endpoint(call)
    tenants = call.context.tenants
    event = Event(
        id="test:" + tenants.random_bytes(12).hex(), type="webhook.test", at=int(call.now * 1000), app=call.app.key
    )
    outcome = await call.context.webhooks.post(call.app, endpoint, event)
    return TestReply(delivered=outcome.delivered, status=outcome.status, why=outcome.why, took=round(outcome.took, 3))


async def list_dead_letters(call: Call[EndpointPath, DeadLettersQuery, Nothing]) -> DeadLetterList:
    """Events that could not be delivered, oldest first. At most 10,000 are kept for an endpoint."""
    endpoint = _endpoint(call)
    kept = await call.context.engine.outbox.aside(call.app.key, reader_of(endpoint.id), call.query.limit)
    redacted = call.context.tenants.revocations.redacted
    named = await with_names(call.context.engine.registry, call.app.key, [event for event, _ in kept])
    return DeadLetterList(
        tuple(
            DeadLetter(event=view_of_event(redacted(event)), why=why)
            for event, (_, why) in zip(named, kept, strict=True)
        )
    )


async def drop_dead_letter(call: Call[DeadLetterPath, Nothing, Nothing]) -> Nothing:
    """Drops one dead letter that is not wanted."""
    endpoint = _endpoint(call)
    dropped = await call.context.engine.outbox.drop_aside(call.app.key, reader_of(endpoint.id), [call.path.event_id])
    if not dropped:
        raise NotFoundError("There is no such dead letter.", hint="See the endpoint's dead-letters.")
    return Nothing()


async def replay_webhook(call: Call[EndpointPath, Nothing, ReplayRequest]) -> ReplayReply:
    """Sends events again, with their old ids: dead letters, or everything between two instants that is still kept
    (72 hours). Takes up to 1,000 a call; `more` says that there is more."""
    body, endpoint = call.body, _endpoint(call)
    outbox = call.context.engine.outbox
    is_range = body.from_ is not None or body.to is not None
    if is_range == (body.dead_letters or body.event_ids is not None):
        raise illegal("Say what to replay: deadLetters, eventIds of dead letters, or a range by from and to.")
    following: int | None = None
    if is_range:
        last = int(call.now * 1000) if body.to is None else body.to
        queued, following = await keeping.replay_range(outbox, call.app.key, endpoint, body.from_ or 0, last)
        more = following is not None
    else:
        queued, more = await keeping.replay_dead_letters(outbox, call.app.key, endpoint.id, body.event_ids)
    call.context.webhooks.poke_replays(call.app.key, endpoint.id)
    return ReplayReply(queued=queued, more=more, next=following)


async def list_attempts(call: Call[EndpointPath, AttemptsQuery, Nothing]) -> AttemptList:
    """The latest attempts of the node asked, at most 200: for `greenroom webhooks tail`."""
    endpoint = _endpoint(call)
    worker = call.context.webhooks.worker(call.app.key, endpoint.id)
    node = call.context.webhooks.node
    if worker is None:
        receiver = "up" if endpoint.disabled_reason is None else "gone"
        return AttemptList(node=node, delivering=False, receiver=receiver, waiting=0, items=())
    return AttemptList(
        node=node,
        delivering=worker.is_delivering,
        receiver=worker.receiver.value,
        waiting=worker.held,
        items=tuple(each for each in worker.counts.recent if each.number > call.query.after),
    )


def _endpoint(call: Call[Any, Any, Any]) -> WebhookEndpoint:
    for each in call.app.webhooks:
        if each.id == call.path.id:
            return each
    raise _unknown()


def _unknown() -> NotFoundError:
    return NotFoundError("There is no such webhook endpoint.", hint="See GET /v1/webhooks.")


async def _changed(call: Call[Any, Any, Any], how: Any) -> EndpointView:
    def changed(app: Application) -> Application:
        if all(each.id != call.path.id for each in app.webhooks):
            raise _unknown()
        webhooks = tuple(how(each) if each.id == call.path.id else each for each in app.webhooks)
        return msgspec.structs.replace(app, webhooks=webhooks)

    app = await call.context.tenants.change(call.app.key, changed)
    await call.context.control.announce_directory()
    return _view(call, app, next(each for each in app.webhooks if each.id == call.path.id))


def _with_endpoint(app: Application, endpoint: WebhookEndpoint) -> Application:
    if len(app.webhooks) >= MAX_ENDPOINTS:
        raise ConflictError(f"The application has {MAX_ENDPOINTS} webhook endpoints.", hint="Remove one first.")
    return msgspec.structs.replace(app, webhooks=(*app.webhooks, endpoint))


def _checked(filters: tuple[str, ...]) -> tuple[str, ...]:
    for each in filters:
        if each not in EVENT_TYPES and each not in _WILDCARDS:
            raise illegal(
                f"The event type {each[:64]!r} does not exist. Allowed: {', '.join((*EVENT_TYPES, *_WILDCARDS))}."
            )
    return tuple(dict.fromkeys(filters))


def _view(call: Call[Any, Any, Any], app: Application, endpoint: WebhookEndpoint) -> EndpointView:
    keys: tuple[str, ...] = ()
    if endpoint.asymmetric:
        secrets = signing.open_secrets(call.context.tenants.secrets, app.key, endpoint, call.now)
        keys = tuple(secret.shown() for secret in secrets)
    return EndpointView(
        id=endpoint.id,
        url=endpoint.url,
        events=endpoint.events,
        signature="v1a" if endpoint.asymmetric else "v1",
        public_keys=keys,
        state="enabled" if endpoint.disabled_reason is None else "disabled",
        disabled_reason=endpoint.disabled_reason,
        created_at=endpoint.created_at,
    )


_NOT_FOUND = (ErrorCode.NOT_FOUND,)
_CHANGED = (ErrorCode.NOT_FOUND, ErrorCode.CONFLICT)

ROUTES = (
    api("GET /v1/webhooks", list_webhooks, "List webhook endpoints", EVENTS_READ, tag="webhooks"),
    api(
        "POST /v1/webhooks",
        create_webhook,
        "Add an endpoint",
        SESSIONS_ADMIN,
        tag="webhooks",
        status=201,
        errors=(ErrorCode.CONFLICT,),
    ),
    api("GET /v1/webhooks/{id}", get_webhook, "Read an endpoint", EVENTS_READ, tag="webhooks", errors=_NOT_FOUND),
    api(
        "PATCH /v1/webhooks/{id}", change_webhook, "Change an endpoint", SESSIONS_ADMIN, tag="webhooks", errors=_CHANGED
    ),
    api(
        "DELETE /v1/webhooks/{id}",
        delete_webhook,
        "Remove an endpoint",
        SESSIONS_ADMIN,
        tag="webhooks",
        errors=_CHANGED,
    ),
    api(
        "POST /v1/webhooks/{id}/rotate-secret",
        rotate_webhook_secret,
        "Make a new secret",
        SESSIONS_ADMIN,
        tag="webhooks",
        errors=_CHANGED,
    ),
    api(
        "POST /v1/webhooks/{id}/test",
        try_webhook,
        "Send a test event",
        SESSIONS_ADMIN,
        tag="webhooks",
        errors=_NOT_FOUND,
    ),
    api(
        "GET /v1/webhooks/{id}/dead-letters",
        list_dead_letters,
        "List dead letters",
        EVENTS_READ,
        tag="webhooks",
        errors=_NOT_FOUND,
    ),
    api(
        "DELETE /v1/webhooks/{id}/dead-letters/{eventId}",
        drop_dead_letter,
        "Drop a dead letter",
        SESSIONS_ADMIN,
        tag="webhooks",
        errors=_NOT_FOUND,
    ),
    api(
        "POST /v1/webhooks/{id}/replay",
        replay_webhook,
        "Send events again",
        SESSIONS_ADMIN,
        tag="webhooks",
        errors=_NOT_FOUND,
        max_body_bytes=MAX_LARGE_BODY_BYTES,
    ),
    api(
        "GET /v1/webhooks/{id}/attempts",
        list_attempts,
        "List the latest attempts",
        EVENTS_READ,
        tag="webhooks",
        errors=_NOT_FOUND,
    ),
)
