"""The HTTP side of the one port: one dispatcher over one table of routes; the front door calls it for each request.

Before a handler runs the dispatcher has found the route, checked who calls, bounded and read the body and turned
everything into the route's types; after it, it writes the reply, or the one error body. Nothing else answers: not
aiohttp's own error pages, and nothing that is not JSON unless a route says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import msgspec
from aiohttp import web
from multidict import CIMultiDict

from greenroom.errors import GreenroomError
from greenroom.server.http import problems
from greenroom.server.http.authentication import Authenticator
from greenroom.server.http.context import HttpContext
from greenroom.server.http.decoding import convert, decode_body, decode_fields
from greenroom.server.http.problems import Problem, ProblemError, problem_of
from greenroom.server.http.routes import Answer, Body, Call, Found, Origin, Route, Table, allowed

log = logging.getLogger("greenroom.http")

BODY_TIMEOUT = 10.0
"""Seconds a body may take, as a head may (promise 10)."""

_CORS = {"Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Retry-After, WWW-Authenticate"}
_PREFLIGHT = {"Access-Control-Allow-Headers": "Authorization, Content-Type", "Access-Control-Max-Age": "600"}
_ALWAYS = {"Server": "greenroom", "X-Content-Type-Options": "nosniff"}


class Dispatcher:
    """Answers requests from the table; the front door's `HttpHandler`. `handle` never raises but for a client that is
    gone.

    count: is called with each answer: the row (None where there is none) and the status.
    """

    def __init__(
        self,
        context: HttpContext,
        routes: Iterable[Route],
        count: Callable[[Route | None, int], None] = lambda _route, _status: None,
    ) -> None:
        self._count = count
        self.table = Table(routes)
        self._context = context
        self._authenticator = Authenticator(context)

    async def handle(self, request: web.BaseRequest, address: str) -> web.StreamResponse:
        """One request, one answer. address: the client's, after trusted proxies."""
        response, route = await self._answer(request, address)
        self._count(route, response.status)
        return response

    def malformed(self, status: int) -> web.Response:
        """See `greenroom.server.wire.http_protocol.HttpHandler`."""
        return _closing(problems.malformed(status))

    def failed(self) -> web.Response:
        """See `greenroom.server.wire.http_protocol.HttpHandler`."""
        return _closing(problems.internal())

    async def _answer(self, request: web.BaseRequest, address: str) -> tuple[web.StreamResponse, Route | None]:
        route: Route | None = None
        try:
            if request.method == "OPTIONS":
                return self._options(request), None
            found = self.table.find(request.method, request.rel_url.raw_path)
            route = found.route
            return _reply(await self._call(request, found, address), route), route
        except ProblemError as error:
            problem = error.problem
        except GreenroomError as error:
            problem = problem_of(error)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            # Path only: a query could hold anything.
            log.exception("unexpected error: method=%s path=%s", request.method, request.rel_url.raw_path)
            problem = problems.internal()
        return refusal(problem, route), route

    async def _call(self, request: web.BaseRequest, found: Found, address: str) -> Any:
        route = found.route
        if len(request.headers.getall("Authorization", ())) > 1:
            # RFC 9110, section 5.3: it is not a list.
            raise problems.illegal("The request has several Authorization headers. Send one.")
        who = self._authenticator.check(route, request.headers, address)
        path = convert(found.values, route.path_type, "path")
        query = decode_fields(request.rel_url.raw_query_string, route.query_type, "query", strict=route.strict)
        body, body_form = await self._body(request, route)
        call: Call[Any, Any, Any] = Call(
            context=self._context,
            path=path,
            query=query,
            body=body,
            address=address,
            now=self._context.tenants.now(),
            headers={name.lower(): value for name, value in request.headers.items()},
            application=who.application,
            token=who.token,
            body_form=body_form,
        )
        return await route.handler(call)

    async def _body(self, request: web.BaseRequest, route: Route) -> tuple[Any, Body | None]:
        if not route.has_body:
            return route.body_type(), None
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise problems.wrong_type([form.value for form in route.body_forms])
        raw = await read_body(request, route.max_body_bytes)
        form = _form_of(request, raw, route.body_forms)
        return decode_body(raw, form, route.body_type, strict=route.strict), form

    def _options(self, request: web.BaseRequest) -> web.Response:
        path = request.rel_url.raw_path
        if path == "*":
            return _response(204, {"Allow": "GET, HEAD, OPTIONS, POST"})
        methods = self.table.methods(path)
        allow = ", ".join(allowed(methods))
        headers = {"Allow": allow}
        if any(route.origin is Origin.ANY for route in methods.values()):
            headers |= {**_CORS, **_PREFLIGHT, "Access-Control-Allow-Methods": allow}
        return _response(204, headers)


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The body, at most `limit` bytes, within `BODY_TIMEOUT` seconds. Raises ProblemError 400, 408, 413, 417."""
    if request.content_length is not None and request.content_length > limit:
        raise problems.too_large(limit)
    await _say_continue(request)
    chunks: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            while not request.content.at_eof():
                chunk = await request.content.readany()
                size += len(chunk)
                if size > limit:
                    raise problems.too_large(limit)
                chunks.append(chunk)
    except TimeoutError:
        raise problems.too_slow() from None
    except web.RequestPayloadError:
        raise ProblemError(problems.malformed(400)) from None
    return b"".join(chunks)


async def _say_continue(request: web.BaseRequest) -> None:
    expected = request.headers.get("Expect")
    if expected is None:
        return
    if expected.lower() != "100-continue":
        raise problems.wrong_expectation()
    transport = request.transport
    if transport is not None and not request.content.at_eof():
        transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


def _form_of(request: web.BaseRequest, raw: bytes, forms: Iterable[Body]) -> Body:
    given = request.headers.get("Content-Type", "")
    kind, _, parameters = given.partition(";")
    charset = dict(part.strip().lower().partition("=")[::2] for part in parameters.split(";")).get("charset", "utf-8")
    if charset.strip('"') in ("utf-8", "utf8"):
        for form in forms:
            if kind.strip().lower() == form.value:
                return form
    raise problems.wrong_type([form.value for form in forms], given, looks_like_json=raw.lstrip()[:1] == b"{")


def _reply(result: Any, route: Route) -> web.Response:
    answer = result if isinstance(result, Answer) else Answer(result)
    raw = answer.body if isinstance(answer.body, bytes) else msgspec.json.encode(answer.body)
    headers = {**route.headers, **answer.headers, "Content-Type": answer.content_type}
    if route.origin is Origin.ANY:
        headers |= _CORS
    return _response(answer.status or route.status, headers, raw)


def refusal(problem: Problem, route: Route | None = None) -> web.Response:
    """The one error body as a response, with the headers of the route it belongs to."""
    headers = {**({} if route is None else route.headers), **problem.headers, "Content-Type": "application/json"}
    headers["Cache-Control"] = "no-store"
    if route is not None and route.origin is Origin.ANY:
        headers |= _CORS
    response = _response(problem.status, headers, problem.body())
    if problem.closes:
        response.force_close()
    return response


def _response(status: int, headers: Mapping[str, str], body: bytes | None = None) -> web.Response:
    return web.Response(status=status, headers=CIMultiDict({**_ALWAYS, **headers}), body=body)


def _closing(problem: Problem) -> web.Response:
    response = refusal(problem)
    response.force_close()
    return response
