"""What needs no credentials: probes and the key set."""

from __future__ import annotations

from typing import Literal

import msgspec

from greenroom.codes import ErrorCode
from greenroom.server.http.routes import Call, Nothing, Origin, public
from greenroom.server.tenants.keys import JWKS_MAX_AGE


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
    """Answers 200 while the node should get traffic; else 503 with the reason. The engine is asked once a second."""
    await call.context.cluster.readiness.check()
    return Readiness()


async def jwks(call: Call[Nothing, Nothing, Nothing]) -> JwkSet:
    """The key set, for services that verify tokens themselves. A new key is published well before it signs."""
    return msgspec.convert(call.context.tenants.keys.ring.jwks(), JwkSet)


_PROBE = {"Cache-Control": "no-store"}

ROUTES = (
    public("GET /healthz", healthz, "Whether the process is alive", tag="service", headers=_PROBE),
    public(
        "GET /readyz",
        readyz,
        "Whether the node accepts traffic",
        tag="service",
        errors=(ErrorCode.SERVICE_UNAVAILABLE,),
        headers=_PROBE,
    ),
    public(
        "GET /.well-known/jwks.json",
        jwks,
        "The public keys of the tokens' signatures",
        tag="tokens",
        headers={"Cache-Control": f"public, max-age={JWKS_MAX_AGE}"},
        origin=Origin.ANY,
    ),
)
