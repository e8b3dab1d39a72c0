"""Tokens that an application's own issuers sign: an identity provider, or its backend.

They are strangers' tokens, so nothing in them chooses how they are checked. The pair of ``iss`` and ``aud`` names the
issuer's record; the record and the key say the algorithm; a header that brings keys or asks for extensions is refused
(RFC 8725, sections 3.1 and 3.10). What differs from the service's own tokens: other header members (``x5t``, ``cat``)
are ignored, claims may be nested deeper and have fractions, and the token may have 8 KiB.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS, PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from greenroom.errors import GreenroomError, IllegalArgumentError, TokenExpiredError
from greenroom.external_ids import check_external_id
from greenroom.model import Application, RoomGrant, TokenIssuer, participant_id_of
from greenroom.room_names import check_room_grants
from greenroom.tokens.claims import TokenKind, VerifiedToken
from greenroom.tokens.reader import OWN_TYPES, ForeignParts, decode_base64url, refuse
from greenroom.tokens.scopes import SESSION_SCOPES
from greenroom.tokens.verifier import EXPIRY_LEEWAY, ISSUED_LEEWAY

MIN_RSA_BITS = 2_048
MAX_RSA_BITS = 8_192
"""A larger one would cost more to check than an open."""
MIN_SHARED_SECRET = 32
"""Bytes of an HS256 secret (RFC 7518, section 3.2)."""
MAX_KID = 256
MAX_AUDIENCES = 16
"""Values of one token's ``aud`` that are looked at."""
MAX_JTI = 256

_TYPES = frozenset({None, "jwt", "at+jwt", "application/jwt", "application/at+jwt"})
_KTY = {"EdDSA": "OKP", "ES256": "EC", "RS256": "RSA", "PS256": "RSA"}


# -- keys -------------------------------------------------------------------------------------------------------------


class IssuerKey:
    """One key that verifies tokens of an issuer. kid: None where it has no name. alg: the one that it is used with.

    Made by `key_of` or `shared_secret`.
    """

    __slots__ = ("_check", "alg", "kid")

    def __init__(self, kid: str | None, alg: str, check: Callable[[bytes, bytes], bool]) -> None:
        self.kid = kid
        self.alg = alg
        self._check = check

    def __repr__(self) -> str:
        return f"IssuerKey(kid={self.kid!r}, alg={self.alg})"

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's for `message`."""
        try:
            return self._check(signature, message)
        except InvalidSignature:
            return False


def key_of(jwk: Mapping[str, Any], algorithms: Sequence[str]) -> IssuerKey:
    """A public key from a JWK (RFC 7517, RFC 7518, RFC 8037).

    algorithms: those of the issuer. The key is for its ``alg``; where it has none, for the first of `algorithms` that
    fits its type. Raises `IllegalArgumentError`, which says why it is not used; never with parts of the key.
    """
    kid = jwk.get("kid")
    if kid is not None and (type(kid) is not str or not 1 <= len(kid) <= MAX_KID):
        raise IllegalArgumentError(f"A key's kid must be a string of 1 to {MAX_KID} characters.")
    name = "The key without kid" if kid is None else f"The key {kid[:64]!r}"
    if "d" in jwk or "k" in jwk:
        raise IllegalArgumentError(
            f"{name} is private, or a secret: register the public part.", hint="Take out d, or give --secret for HS256."
        )
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise IllegalArgumentError(f"{name} is not for signatures (use, key_ops).")
    fits = [one for one in algorithms if _KTY.get(one) == jwk.get("kty") and jwk.get("alg", one) == one]
    if not fits:
        raise IllegalArgumentError(f"{name} is for none of the issuer's algorithms: {', '.join(algorithms)}.")
    try:
        check = _MAKE[fits[0]](jwk)
    except (GreenroomError, ValueError, UnsupportedAlgorithm) as error:
        why = error.message if isinstance(error, IllegalArgumentError) else "its numbers do not make a key"
    else:
        return IssuerKey(kid, fits[0], check)
    # Out here: the first error could hold parts of the key.
    raise IllegalArgumentError(f"{name} cannot be used with {fits[0]}: {why}.")


def public_members(jwk: Mapping[str, Any]) -> dict[str, str]:
    """What `key_of` reads of a public key: all that is worth storing."""
    names = ("kty", "crv", "x", "y", "n", "e", "kid", "alg")
    return {name: value for name in names if isinstance(value := jwk.get(name), str)}


def shared_secret(secret: bytes) -> IssuerKey:
    """The HS256 key. Raises `IllegalArgumentError` for one of less than 32 bytes."""
    if len(secret) < MIN_SHARED_SECRET:
        raise IllegalArgumentError(
            f"An HS256 secret must have {MIN_SHARED_SECRET} bytes or more, and has {len(secret)}.",
            hint="Make one with: openssl rand -hex 32.",
        )
    return IssuerKey(None, "HS256", lambda sent, text: hmac.compare_digest(hmac.digest(secret, text, "sha256"), sent))


def _number(jwk: Mapping[str, Any], name: str) -> bytes:
    value = jwk.get(name)
    return decode_base64url(value if isinstance(value, str) else "", "key")


def _ed25519(jwk: Mapping[str, Any]) -> Callable[[bytes, bytes], bool]:
    if jwk.get("crv") != "Ed25519":
        raise IllegalArgumentError("its crv is not Ed25519")
    key = Ed25519PublicKey.from_public_bytes(_number(jwk, "x"))

    def check(signature: bytes, message: bytes) -> bool:
        if len(signature) != 64:
            return False
        key.verify(signature, message)
        return True

    return check


def _es256(jwk: Mapping[str, Any]) -> Callable[[bytes, bytes], bool]:
    x, y = _number(jwk, "x"), _number(jwk, "y")
    if jwk.get("crv") != "P-256" or not len(x) == len(y) == 32:
        raise IllegalArgumentError("its crv is not P-256, or its coordinates do not have 32 bytes")
    key = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1()).public_key()
    hashed = ECDSA(SHA256())

    def check(signature: bytes, message: bytes) -> bool:
        if len(signature) != 64:
            return False
        der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
        key.verify(der, message, hashed)
        return True

    return check


def _rsa(jwk: Mapping[str, Any], padding: PKCS1v15 | PSS) -> Callable[[bytes, bytes], bool]:
    modulus, exponent = int.from_bytes(_number(jwk, "n")), int.from_bytes(_number(jwk, "e"))
    bits = modulus.bit_length()
    if not MIN_RSA_BITS <= bits <= MAX_RSA_BITS:
        raise IllegalArgumentError(f"it has {bits} bits, and {MIN_RSA_BITS} to {MAX_RSA_BITS} are allowed")
    if not 65_537 <= exponent < 2**32:
        raise IllegalArgumentError("its exponent is not from 65537 to 2^32")
    key, size, hashed = RSAPublicNumbers(exponent, modulus).public_key(), (bits + 7) // 8, SHA256()

    def check(signature: bytes, message: bytes) -> bool:
        if len(signature) != size:
            return False
        key.verify(signature, message, padding, hashed)
        return True

    return check


_MAKE: dict[str, Callable[[Mapping[str, Any]], Callable[[bytes, bytes], bool]]] = {
    "EdDSA": _ed25519,
    "ES256": _es256,
    "RS256": lambda jwk: _rsa(jwk, PKCS1v15()),
    "PS256": lambda jwk: _rsa(jwk, PSS(MGF1(SHA256()), SHA256.digest_size)),
}


def find_key(keys: Sequence[IssuerKey], kid: str | None) -> IssuerKey | None:
    """The key that a header's kid names. Where the header, or the only key, has no name, the only key."""
    if len(keys) == 1 and (kid is None or keys[0].kid is None):
        return keys[0]
    return None if kid is None else next((key for key in keys if key.kid == kid), None)


# -- whose token it is ------------------------------------------------------------------------------------------------


def pairs_in(parts: ForeignParts) -> tuple[tuple[str, str], ...]:
    """The pairs of issuer and audience that a token names, unverified; none where it names none, or where it calls
    itself a token of the service."""
    issuer, audiences = parts.claims.get("iss"), parts.claims.get("aud")
    if parts.header.typ in OWN_TYPES or not isinstance(issuer, str):
        return ()
    if isinstance(audiences, str):
        audiences = [audiences]
    if not isinstance(audiences, list) or len(audiences) > MAX_AUDIENCES:
        return ()
    return tuple(dict.fromkeys((issuer, one) for one in audiences if isinstance(one, str)))


def claim_named(claims: Mapping[str, Any], name: str) -> Any:
    """A claim by its name, or by a JSON pointer (RFC 6901) where the name begins with ``/``; else None."""
    if not name.startswith("/"):
        return claims.get(name)
    found: Any = claims
    for step in name[1:].split("/"):
        found = found.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(found, dict) else None
    return found


# -- verification -----------------------------------------------------------------------------------------------------


class IssuedToken(NamedTuple):
    """A token with all that it is checked against. find: the issuer's key of that name, or None; may raise a
    retryable error where the key set has to be fetched first. now: Unix seconds."""

    parts: ForeignParts
    issuer: TokenIssuer
    application: Application
    find: Callable[[str | None], IssuerKey | None]
    now: float


class ExaminedPart(NamedTuple):
    """What is made of one part of a token. error: why it is refused; None where it is fine."""

    part: str
    text: str
    error: GreenroomError | None


def verify_issued(token: IssuedToken) -> VerifiedToken:
    """The token as a client access token, if it is genuine, in time, and names a participant.

    Raises `TokenExpiredError` where it is good but its time is over, `TokenInvalidError` for all else, and what
    `IssuedToken.find` raises. Revocation is not checked here.
    """
    _check_type(token)
    key = _check_signature(token)
    issued_at, expires_at = _check_times(token)
    external_id = _external_id(token)
    jti = _jti(token)
    verified = VerifiedToken(
        kind=TokenKind.CLIENT,
        issuer=token.issuer.issuer,
        app=token.application.key,
        participant_id=participant_id_of(token.application.namespace, external_id),
        external_id=external_id,
        scopes=_scopes(token.issuer),
        issued_at=issued_at,
        expires_at=expires_at,
        jti=jti,
        kid=key.kid or "",
        version=2,
        room_grants=_room_grants(token),
        name=_text(token, token.issuer.name_claim),
        avatar_url=_text(token, token.issuer.avatar_url_claim),
    )
    _check_end(token)
    return verified


def examine(token: IssuedToken) -> Iterator[ExaminedPart]:
    """Part by part what is made of a token: everything that is wrong with it, not only the first. It is good where no
    finding has an error."""
    for part, look in _LOOKS:
        try:
            yield ExaminedPart(part, look(token), None)
        except GreenroomError as error:
            yield ExaminedPart(part, "", error)


def _check_type(token: IssuedToken) -> str:
    typ = token.parts.header.typ
    if (typ if typ is None else typ.lower()) not in _TYPES:
        refuse("The token's header member typ is neither JWT nor at+jwt.", "Pass an access token or an ID token.")
    return typ or "none"


def _key(token: IssuedToken) -> IssuerKey:
    header = token.parts.header
    key = token.find(header.kid)
    if key is None and header.kid is None:
        refuse("The token's header has no kid, and the issuer has several keys.", "Let the issuer name its key.")
    if key is None:
        refuse("The token's header member kid names no key of its issuer.", "See: greenroom apps issuers test.")
    if header.alg != key.alg:
        refuse(f"The token's header member alg is not {key.alg}, which its issuer's key is for.")
    return key


def _check_signature(token: IssuedToken) -> IssuerKey:
    key = _key(token)
    if not key.verifies(token.parts.signing_input, token.parts.signature):
        refuse("The token's signature is not good.", "Pass the token of the issuer unchanged.")
    return key


def _seconds(token: IssuedToken, name: str) -> int:
    value = token.parts.claims.get(name)
    if type(value) is not int or not 0 <= value <= 2**53:
        problem = "is missing" if value is None else "is not whole seconds since 1970"
        refuse(f"The token's claim {name} {problem}.", "Its issuer sets it.")
    return value


def _check_times(token: IssuedToken) -> tuple[int, int]:
    issued_at, expires_at = _check_issued(token), _seconds(token, "exp")
    life, most = expires_at - issued_at, token.issuer.max_life
    if life < 1:
        refuse("The token's claim exp is not after iat.", "Its issuer sets both.")
    if life > most:
        refuse(
            f"The token lives {life} s, and tokens of its issuer may live {most} s here.",
            "Let the issuer make shorter ones, or raise maxLife (86400 at most).",
        )
    _check_begin(token)
    return issued_at, expires_at


def _check_issued(token: IssuedToken) -> int:
    issued_at = _seconds(token, "iat")
    if not issued_at <= token.now + ISSUED_LEEWAY:
        refuse("The token's claim iat is in the future: the clocks of issuer and service differ.")
    return issued_at


def _check_begin(token: IssuedToken) -> str:
    if "nbf" not in token.parts.claims:
        return "none"
    if not _seconds(token, "nbf") <= token.now + ISSUED_LEEWAY:
        refuse("The token's claim nbf is in the future.")
    return str(_seconds(token, "nbf"))


def _check_end(token: IssuedToken) -> None:
    if not token.now < _seconds(token, "exp") + EXPIRY_LEEWAY:
        raise TokenExpiredError


def _external_id(token: IssuedToken) -> str:
    name, prefix = token.issuer.external_id_claim, token.issuer.external_id_prefix
    value = claim_named(token.parts.claims, name)
    if not isinstance(value, str) or not value:
        problem = "is missing" if value is None else "is not a string with something in it"
        refuse(f"The token's claim {name} {problem}: it is the external id.", "Its issuer sets it; or name another.")
    try:
        check_external_id(prefix + value)
    except IllegalArgumentError as error:
        refuse(f"The token's claim {name} does not make an external id: {error.message}")
    return prefix + value


def _jti(token: IssuedToken) -> str:
    """What one token is revoked by. One without a name is named by what was signed, which nobody else can alter."""
    value = token.parts.claims.get("jti")
    if value is None:
        return "~" + urlsafe_b64encode(sha256(token.parts.signing_input).digest()).decode().rstrip("=")
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_JTI or not value.isprintable():
        refuse(f"The token's claim jti is not a string of 1 to {MAX_JTI} printable characters.", "Its issuer sets it.")
    return value


def _scopes(issuer: TokenIssuer) -> tuple[str, ...]:
    return SESSION_SCOPES if issuer.session_scopes is None else issuer.session_scopes


def _text(token: IssuedToken, name: str | None) -> str | None:
    value = None if name is None else claim_named(token.parts.claims, name)
    return value if isinstance(value, str) else None


def _room_grants(token: IssuedToken) -> tuple[RoomGrant, ...]:
    name = token.issuer.rooms_claim
    value = None if name is None else claim_named(token.parts.claims, name)
    if value is None:
        return ()
    problem = ""
    grants: tuple[RoomGrant, ...] = ()
    try:
        grants = check_room_grants(msgspec.convert(value, tuple[RoomGrant, ...]))
    except IllegalArgumentError as error:
        problem = f"is not right: {error.message}"
    except msgspec.ValidationError:
        problem = "is not a list of objects of name and can (join, watch, send, invite, kick)."
    if problem:  # out here, because msgspec's error quotes values
        refuse(f"The token's claim {name} {problem}", "Its issuer sets it; it is the issuer's roomsClaim.")
    return grants


def _grants_text(token: IssuedToken) -> str:
    return ", ".join(f"{one.name}: {' '.join(one.can)}" for one in _room_grants(token)) or "none"


def _life(token: IssuedToken) -> str:
    _issued_at, expires_at = _check_times(token)
    _check_end(token)
    return f"{expires_at}, in {expires_at - int(token.now)} s"


def _key_text(token: IssuedToken) -> str:
    key = _key(token)
    return f"{key.alg}, {'the only key' if token.parts.header.kid is None else key.kid or 'the only key'}"


def _signature(token: IssuedToken) -> str:
    _check_signature(token)
    return "made with that key"


def _participant(token: IssuedToken) -> str:
    external_id = _external_id(token)
    return f"external id {external_id!r}, participant {participant_id_of(token.application.namespace, external_id)}"


_LOOKS: tuple[tuple[str, Callable[[IssuedToken], str]], ...] = (
    ("typ", _check_type),
    ("alg and kid", _key_text),
    ("signature", _signature),
    ("iss", lambda token: token.issuer.issuer),
    ("aud", lambda token: token.issuer.audience),
    ("iat", lambda token: str(_check_issued(token))),
    ("exp", _life),
    ("nbf", _check_begin),
    ("externalIdClaim", _participant),
    ("jti", _jti),
    ("nameClaim", lambda token: _text(token, token.issuer.name_claim) or "none"),
    ("avatarUrlClaim", lambda token: _text(token, token.issuer.avatar_url_claim) or "none"),
    ("roomsClaim", _grants_text),
    ("sessionScopes", lambda token: " ".join(_scopes(token.issuer)) or "none"),
)
