"""What needs no credentials: probes, the key set, and the description of the API."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec

from greenroom.codes import ErrorCode
from greenroom.errors import ServiceUnavailableError
from greenroom.server.routes import Answer, Call, Nothing, Origin, Route
from greenroom.server.tenants import JWKS_MAX_AGE
from greenroom.server.version import version


class Health(msgspec.Struct, frozen=True):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(msgspec.Struct, frozen=True):
    """The node takes traffic."""

    status: Literal["ready"] = "ready"


class Jwk(msgspec.Struct, frozen=True, kw_only=True):
    """A public key (RFC 7517, RFC 8037)."""

    kty: str
    crv: str
    x: str
    kid: str
    alg: str
    use: str


class JwkSet(msgspec.Struct, frozen=True):
    """The public keys of the tokens' signatures (RFC 7517, section 5)."""

    keys: list[Jwk]


async def healthz(_call: Call[Nothing, Nothing, Nothing]) -> Health:
    """Answers while the process does: restart it when this fails."""
    return Health()


async def readyz(call: Call[Nothing, Nothing, Nothing]) -> Readiness:
    """Answers 200 while the node should get traffic; else 503 with the reason."""
    why = call.service.not_ready()
    if why is not None:
        raise ServiceUnavailableError(f"The node is not ready: {why}.", hint="Try another node, or this one later.")
    await call.service.engine.healthy()
    return Readiness()


async def jwks(call: Call[Nothing, Nothing, Nothing]) -> JwkSet:
    """The key set, for services that check tokens themselves. A new key is here well before it signs."""
    return msgspec.convert(call.service.tenants.ring.jwks(), JwkSet)


async def openapi(_call: Call[Nothing, Nothing, Nothing]) -> Answer:
    """The description of everything under this host, made from the table of routes."""
    return Answer(_openapi_document())


@lru_cache(maxsize=1)
def _openapi_document() -> bytes:
    from greenroom.server.http import all_routes
    from greenroom.server.openapi import document

    return msgspec.json.encode(document(all_routes(), version=version()))


_PROBE = {"Cache-Control": "no-store"}

ROUTES = (
    Route(
        method="GET",
        path="/healthz",
        handler=healthz,
        summary="Whether the process is alive",
        tag="service",
        reply_type=Health,
        headers=_PROBE,
    ),
    Route(
        method="GET",
        path="/readyz",
        handler=readyz,
        summary="Whether the node takes traffic",
        tag="service",
        reply_type=Readiness,
        errors=(ErrorCode.SERVICE_UNAVAILABLE,),
        headers=_PROBE,
    ),
    Route(
        method="GET",
        path="/.well-known/jwks.json",
        handler=jwks,
        summary="The public keys of the tokens' signatures",
        tag="tokens",
        reply_type=JwkSet,
        headers={"Cache-Control": f"public, max-age={JWKS_MAX_AGE}"},
        origin=Origin.ANY,
    ),
    Route(
        method="GET",
        path="/openapi.json",
        handler=openapi,
        summary="This description",
        tag="service",
        reply_type=dict[str, Any],
        headers={"Cache-Control": "public, max-age=300"},
        origin=Origin.ANY,
    ),
)

__all__ = ["ROUTES", "Jwk", "JwkSet"]
