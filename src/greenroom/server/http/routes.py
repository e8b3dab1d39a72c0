"""What the HTTP side is made of: a `Route` says everything about one path and method, a `Table` finds it.

Each module of `greenroom.server.api` exports ``ROUTES``, a tuple of these. The dispatcher puts them into one table and
checks what a route declares before its handler runs; `openapi` makes /openapi.json from the same rows. To add an
endpoint: write ``async def handler(call: Call[Path, Query, Body]) -> Reply`` and a row: `public`, `basic`, `api` or
`admin`, which say who may call it and read the types off the handler.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Generic, TypeVar, get_args, get_type_hints
from urllib.parse import unquote_to_bytes

import msgspec

from greenroom.codes import ErrorCode
from greenroom.model import Application
from greenroom.server.http import problems
from greenroom.server.http.context import HttpContext
from greenroom.server.http.problems import NO_STORE
from greenroom.tokens import VerifiedToken

MAX_BODY_BYTES = 16_384
"""Of nearly all routes; bodies are decoded on the event loop."""
MAX_LARGE_BODY_BYTES = 262_144
"""Of routes that take long lists."""


class Auth(Enum):
    """Who may call a route."""

    NONE = "none"
    BASIC = "basic"
    """App key and secret (RFC 7617)."""
    API = "api"
    """A Bearer API token, with the route's scope."""
    ADMIN = "admin"
    """The admin token as Bearer."""
    METRICS = "metrics"
    """The metrics token or the admin token; where the settings say so, also a request of this machine itself that came
    through no proxy."""


class Body(Enum):
    """How a body is written."""

    FORM = "application/x-www-form-urlencoded"
    JSON = "application/json"


class Origin(Enum):
    """Whether pages of any origin may read the answer (CORS, always without credentials)."""

    SAME = "same"
    ANY = "*"


class Nothing(msgspec.Struct, frozen=True):
    """No path parameters, no query, no body, or the empty object as a reply."""


PathT = TypeVar("PathT")
QueryT = TypeVar("QueryT")
BodyT = TypeVar("BodyT")


@dataclass(frozen=True, slots=True)
class Call(Generic[PathT, QueryT, BodyT]):
    """One request, checked: what a handler gets.

    application: whose credentials were given; None for Auth.NONE and Auth.ADMIN.
    token: the API token for Auth.API. address: the client's, after trusted proxies. now: Unix seconds.
    headers: by lower-case name, the last one where repeated. body_form: how the body was written, None: no body.
    """

    context: HttpContext
    path: PathT
    query: QueryT
    body: BodyT
    address: str
    now: float
    headers: Mapping[str, str]
    application: Application | None = None
    token: VerifiedToken | None = None
    body_form: Body | None = None

    @property
    def app(self) -> Application:
        """The application that was authenticated; only for Auth.BASIC and Auth.API."""
        if self.application is None:
            raise RuntimeError("this route authenticates no application")
        return self.application


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply with a status or headers of its own. A body of bytes is sent as it is, with `content_type`."""

    body: Any = field(default_factory=Nothing)
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"


Handler = Callable[[Any], Awaitable[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One row of the table.

    path: literal segments and ``{name}`` for one segment, decoded into the field of that name of path_type.
    query_type, body_type, reply_type: msgspec structs; `Nothing` is none.
    errors: what may be answered beside what auth and body imply; for /openapi.json.
    headers: sent with every answer of the route, refusals too.
    request_headers, reply_headers: what the handler reads and sets itself, name to description; for /openapi.json.
    max_body_bytes: larger is 413. body_forms: how a body may be written.
    strict: whether unknown fields of query and form are refused, else ignored. Unknown members of JSON always are.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    auth: Auth = Auth.NONE
    scope: str | None = None
    path_type: type[Any] = Nothing
    query_type: type[Any] = Nothing
    body_type: type[Any] = Nothing
    body_forms: tuple[Body, ...] = (Body.JSON,)
    reply_type: Any = Nothing
    reply_content_type: str = "application/json"
    status: int = 200
    errors: tuple[ErrorCode, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    request_headers: Mapping[str, str] = field(default_factory=dict)
    reply_headers: Mapping[str, str] = field(default_factory=dict)
    origin: Origin = Origin.SAME
    max_body_bytes: int = MAX_BODY_BYTES
    strict: bool = False

    @property
    def has_body(self) -> bool:
        """Whether the route takes a body."""
        return self.body_type is not Nothing


def public(endpoint: str, handler: Handler, summary: str, **more: Any) -> Route:
    """A row for everybody. endpoint: method and path, ``"GET /healthz"``. more: fields of `Route`; the types are those
    of the handler's annotations unless they are given."""
    method, _, path = endpoint.partition(" ")
    hints = get_type_hints(handler)
    reply = hints.pop("return")
    path_type, query_type, body_type = get_args(*hints.values())
    types = {"path_type": path_type, "query_type": query_type, "body_type": body_type}
    if reply is not Answer:
        types["reply_type"] = reply
    return Route(method=method, path=path, handler=handler, summary=summary, **{**types, **more})


def basic(endpoint: str, handler: Handler, summary: str, **more: Any) -> Route:
    """A row for app key and secret; pages of any origin may read the answer, as on the platform."""
    defaults = {"auth": Auth.BASIC, "headers": NO_STORE, "origin": Origin.ANY, "body_forms": tuple(Body)}
    return public(endpoint, handler, summary, **{**defaults, **more})


def api(endpoint: str, handler: Handler, summary: str, scope: str, **more: Any) -> Route:
    """A row of the server API: for API tokens with the scope, never cached, and the engine may be away."""
    errors = (*more.pop("errors", ()), ErrorCode.SERVICE_UNAVAILABLE)
    defaults = {
        "auth": Auth.API, "scope": scope, "errors": errors, "headers": {"Cache-Control": "no-store"}, "strict": True
    }  # fmt: skip
    return public(endpoint, handler, summary, **{**defaults, **more})


def admin(endpoint: str, handler: Handler, summary: str, **more: Any) -> Route:
    """A row of /admin/v1, for the admin token. endpoint: the path is below that one."""
    method, _, path = endpoint.partition(" ")
    defaults = {"tag": "admin", "auth": Auth.ADMIN, "headers": NO_STORE, "strict": True}
    return public(f"{method} /admin/v1{path}", handler, summary, **{**defaults, **more})


@dataclass(frozen=True, slots=True)
class Found:
    """A route and the values of its path's ``{names}``, decoded. `method` is what was asked: GET's row answers HEAD."""

    route: Route
    values: Mapping[str, str]


class Table:
    """All rows, found by path and method. Raises ValueError for two rows of one method and path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self.routes: tuple[Route, ...] = tuple(routes)
        self._literal: dict[str, dict[str, Route]] = {}
        self._patterns: dict[int, list[tuple[tuple[str, ...], dict[str, Route]]]] = {}
        for route in self.routes:
            methods = self._methods_of(route.path)
            if route.method in methods:
                raise ValueError(f"two routes for {route.method} {route.path}")
            methods[route.method] = route

    def _methods_of(self, path: str) -> dict[str, Route]:
        if "{" not in path:
            return self._literal.setdefault(path, {})
        segments = tuple(path.split("/"))
        rows = self._patterns.setdefault(len(segments), [])
        for known, methods in rows:
            if known == segments:
                return methods
        rows.append((segments, {}))
        return rows[-1][1]

    def find(self, method: str, raw_path: str) -> Found:
        """The row for a request. raw_path: as it came, percent-encoded, without query.

        Raises ProblemError: 404, 405 with Allow, 400 for a segment that is not percent-encoded UTF-8.
        """
        methods, values = self._match(raw_path)
        route = methods.get("GET" if method == "HEAD" else method)
        if route is None:
            raise problems.wrong_method(allowed(methods))
        return Found(route, values)

    def methods(self, raw_path: str) -> dict[str, Route]:
        """The rows of a path by method, for OPTIONS. Raises ProblemError: 404."""
        return self._match(raw_path)[0]

    def _match(self, raw_path: str) -> tuple[dict[str, Route], dict[str, str]]:
        methods = self._literal.get(raw_path)
        if methods is not None:
            return methods, {}
        segments = raw_path.split("/")
        for pattern, found in self._patterns.get(len(segments), ()):
            values = _values(pattern, segments)
            if values is not None:
                return found, values
        raise problems.no_such_path()


def allowed(methods: Iterable[str]) -> list[str]:
    """What Allow says: the rows' methods, HEAD beside GET, and OPTIONS."""
    names = set(methods)
    if "GET" in names:
        names.add("HEAD")
    return [*sorted(names), "OPTIONS"]


def _values(pattern: tuple[str, ...], segments: list[str]) -> dict[str, str] | None:
    values: dict[str, str] = {}
    for expected, given in zip(pattern, segments, strict=True):
        if expected.startswith("{"):
            if not given:
                return None
            values[expected[1:-1]] = _decoded(given)
        elif expected != given:
            return None
    return values


def _decoded(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode("utf-8")
    except UnicodeError:
        # Encoding too: raw bytes of a request line come as lone surrogates.
        raise problems.illegal("The path is not percent-encoded UTF-8.") from None
