"""Tokens of an issuer that must be refused, for each algorithm. Unless the case is about the signature, it is genuine:
what is under test is then the only thing that is wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from greenroom.errors import TokenError, TokenExpiredError, TokenInvalidError
from greenroom.tokens.reader import OWN_TYPES
from tests.server.issuers import ALGORITHMS, AUDIENCE, ISSUER, SECRET, Signer, good_claims, signer
from tests.tokens.forge import NOW, as_bytes, encode, forge_hmac

OWN_ISSUER = "https://greenroom.example"


class Case(NamedTuple):
    """One token that must be refused; mentions: what the error's text must name, "" for nothing in particular."""

    name: str
    token: Any
    mentions: str = ""
    error: type[TokenError] = TokenInvalidError


def claims(**changed: Any) -> dict[str, Any]:
    return good_claims(NOW, **changed)


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in claims().items() if name not in names}


def raw(name: str, literal: str) -> str:
    """The good claims as text, one with a literal that Python would not write."""
    return json.dumps(claims(**{name: "@@@"}), separators=(",", ":")).replace('"@@@"', literal)


def alg_confusion(key: Signer) -> Iterator[Case]:
    head, body, signature = key.token(now=NOW).split(".")
    names = ["none", "None", "NONE", "", " ", f"{key.alg} ", key.alg.swapcase(), "HS384", "RS512", "ES256K", "Ed25519"]
    for alg in dict.fromkeys([*names, *(other for other in ALGORITHMS if other != key.alg)]):
        header = key.header(alg=alg)
        unsigned = f"{encode(as_bytes(header))}.{body}."
        yield Case(f"{alg!r} signed by the true key", key.token(header, claims()), "alg")
        yield Case(f"{alg!r} unsigned", unsigned)
        yield Case(f"{alg!r} with the good token's signature", unsigned + signature)
    for other in ALGORITHMS:
        if other != key.alg:
            stranger = signer(other, key.kid)
            yield Case(f"truly {other}, under our kid", stranger.token(now=NOW))
            forged = f"{head}.{body}.{encode(stranger.sign(f'{head}.{body}'.encode()))}"
            yield Case(f"our header, signed with {other}", forged, "signature" if key.kid else "")
    wrongs: list[Any] = [0, True, None, [key.alg], {}]
    for wrong in wrongs:
        yield Case(f"alg is {wrong!r}", key.token(key.header(alg=wrong), claims()))
    yield Case("no alg", key.token({"typ": "JWT", "kid": key.kid}, claims()))
    if key.jwk is not None:
        public = {"pem": key.pem, "pem-stripped": key.pem.strip(), "jwk": json.dumps(key.jwk).encode(), "empty": b""}
        for form, secret in public.items():
            for alg in ("HS256", key.alg):
                token = forge_hmac(secret, key.header(alg=alg), claims())
                yield Case(f"HMAC with the public key ({form}), alg {alg}", token)
    else:
        for form, secret in {"empty": b"", "cut": SECRET.encode()[:-1], "twice": SECRET.encode() * 2}.items():
            yield Case(f"HMAC with another secret ({form})", forge_hmac(secret, key.header(), claims()), "signature")


def header_injection(key: Signer) -> Iterator[Case]:
    stranger = signer("ES256", "stranger")
    members: dict[str, Any] = {
        "crit": ["exp"], "jwk": stranger.public, "jku": "https://evil.example/jwks.json", "x5c": ["AAAA"],
        "x5u": "https://evil.example/cert.pem", "b64": False, "zip": "DEF", "enc": "A128GCM", "epk": stranger.public,
    }  # fmt: skip
    for name, value in members.items():
        yield Case(f"header member {name}", key.token(key.header(**{name: value}), claims()))
        yield Case(f"header member {name}: null", key.token(key.header(**{name: None}), claims()))
    own = stranger.header(jwk=stranger.public, kid=key.kid)
    yield Case("a stranger's key in the header", stranger.token(own, claims()))
    for typ in ("logout+jwt", "secevent+jwt", "dpop+jwt", "", "*", "JWE"):
        yield Case(f"typ {typ!r}", key.token(key.header(typ=typ), claims()), "typ")
    for typ in sorted(OWN_TYPES):
        yield Case(f"typ {typ!r}", key.token(key.header(typ=typ), claims()))
    for value in (None, 7, True, ["JWT"], {}):
        yield Case(f"typ is {value!r}", key.token(key.header(typ=value), claims()))


def kid_tricks(key: Signer) -> Iterator[Case]:
    if key.jwk is None:
        return  # a shared secret has no name: whatever the header says, it is the only key
    kids: list[Any] = ["", " ", key.kid + " ", key.kid[:-1], key.kid.swapcase(), "*", "../../dev/null", "key-1\x00"]
    for kid in [*kids, "' OR 1=1 --", "x" * 2500, "stranger"]:
        yield Case(f"kid {kid[:40]!r}", key.token(key.header(kid=kid), claims()), "kid")
    for kid in (None, 0, 1, True, [key.kid], {"kid": key.kid}):
        yield Case(f"kid is {kid!r}", key.token(key.header(kid=kid), claims()))
    stranger = Signer(key.alg, "stranger") if key.alg in ("EdDSA", "ES256") else signer(key.alg, "stranger")
    yield Case("a stranger's, under our kid", stranger.token(key.header(), claims()), "signature")


def parties(key: Signer) -> Iterator[Case]:
    for iss in (ISSUER + "/", ISSUER.upper(), ISSUER[:-1], "http://id.example", "*", "", OWN_ISSUER, 7, None, [ISSUER]):
        yield Case(f"iss {iss!r}", key.token(claims=claims(iss=iss)))
    auds: list[Any] = [AUDIENCE + "x", AUDIENCE.upper(), AUDIENCE + " ", "*", "", None, 7, [], [7], [[AUDIENCE]], {}]
    auds += [["else"], {AUDIENCE: 1}, ["x"] * 16 + [AUDIENCE], "greenroom:session", [AUDIENCE, "other-app"]]
    for aud in auds:
        yield Case(f"aud {str(aud)[:40]!r}", key.token(claims=claims(aud=aud)))
    yield Case("aud of another application, which has another key", key.token(claims=claims(aud="other-app")))
    yield Case("no iss", key.token(claims=without("iss")))
    yield Case("no aud", key.token(claims=without("aud")))
    own = claims(iss=OWN_ISSUER, aud="greenroom:session", app="a", ver=2, scope="")
    yield Case("claims of a client access token", key.token(claims=own))
    yield Case("a client access token by its claims", key.token(key.header(typ="session+jwt"), own), "kid")


def claims_missing_or_mistyped(key: Signer) -> Iterator[Case]:
    for name in ("iat", "exp", "sub"):
        yield Case(f"no {name}", key.token(claims=without(name)), name)
        for value in (None, True, False, [1], {"a": 1}, "1800000000" if name != "sub" else 7, ""):
            yield Case(f"{name} is {value!r}", key.token(claims=claims(**{name: value})), name)
    for jti in ("", 7, True, ["x"], "x" * 257, "a\nb"):
        yield Case(f"jti {str(jti)[:9]!r}", key.token(claims=claims(jti=jti)), "jti")
    for sub in ("x" * 1025, "é" * 513, "a\x00b", "a\nb"):
        yield Case(f"sub {sub[:9]!r} of {len(sub)}", key.token(claims=claims(sub=sub)), "sub")


def numbers(key: Signer) -> Iterator[Case]:
    for name in ("iat", "exp", "nbf"):
        for literal in ("1800000000.0", "1.8e9", "18E8", "1800000000.5", "1e999", "-1.0", "-1", "9007199254740993"):
            yield Case(f"{name} {literal}", key.token(claims=raw(name, literal)), name)
        for literal in ("NaN", "Infinity", "-Infinity"):
            yield Case(f"{name} {literal}", key.token(claims=raw(name, literal)))
        for literal in ("1" + "0" * 400, "9" * 2000, "+1800000000", "01800000000", "0x6b49d200", "-"):
            yield Case(f"{name} {literal[:20]} of {len(literal)}", key.token(claims=raw(name, literal)))


def times(key: Signer) -> Iterator[Case]:
    for ago in (30, 31, 3600, 86_400 * 365):
        over = claims(iat=NOW - ago - 600, exp=NOW - ago)
        yield Case(f"expired {ago} s ago", key.token(claims=over), error=TokenExpiredError)
    for ahead in (6, 60, 86_400 * 365, 10**12):
        yield Case(f"made {ahead} s ahead", key.token(claims=claims(iat=NOW + ahead, exp=NOW + ahead + 60)), "iat")
    for life in (0, -1, -3600):
        yield Case(f"a life of {life} s", key.token(claims=claims(iat=NOW, exp=NOW + life)), "exp")
    for life in (86_401, 86_400 * 365, 10**14):
        yield Case(f"a life of {life} s", key.token(claims=claims(iat=NOW, exp=NOW + life)), "may live 86400 s")
    for ahead in (6, 3600):
        yield Case(f"not before {ahead} s from now", key.token(claims=claims(nbf=NOW + ahead)), "nbf")


def signatures(key: Signer) -> Iterator[Case]:
    token = key.token(now=NOW)
    head, body, text = token.split(".")
    good = key.sign(f"{head}.{body}".encode())
    for keep in (0, 1, 31, 32, 33, len(good) - 1):
        yield Case(f"cut to {keep} bytes", f"{head}.{body}.{encode(good[: min(keep, len(good) - 1)])}", "signature")
    for extra in (b"\x00", b"\x00" * 32, good):
        yield Case(f"{len(extra)} bytes more", f"{head}.{body}.{encode(good + extra)}", "signature")
    for bit in range(0, len(good) * 8, len(good)):
        flipped = bytearray(good)
        flipped[bit // 8] ^= 1 << bit % 8
        yield Case(f"bit {bit} flipped", f"{head}.{body}.{encode(bytes(flipped))}", "signature")
    half = len(good) // 2
    wrongs = {"zeros": bytes(len(good)), "ones": b"\xff" * len(good), "R alone": good[:half] + bytes(half)}
    wrongs |= {"S alone": bytes(half) + good[half:], "halves swapped": good[half:] + good[:half]}
    for name, wrong in wrongs.items():
        yield Case(name, f"{head}.{body}.{encode(wrong)}", "signature")
    yield Case("of the payload alone", f"{head}.{body}.{encode(key.sign(body.encode()))}", "signature")
    yield Case("claims swapped", f"{head}.{encode(as_bytes(claims(sub='bob')))}.{text}", "signature")
    other = key.token(claims=claims(sub="bob"))
    yield Case("of another token", f"{head}.{body}.{other.rsplit('.', 1)[1]}", "signature")
    spaced = encode(json.dumps(key.header()).encode())
    yield Case("header written otherwise", f"{spaced}.{body}.{text}", "signature")


def texts(key: Signer) -> Iterator[Case]:
    good = key.token(now=NOW)
    head, body, text = good.split(".")
    for position, name in ((0, "header"), (1, "claims"), (2, "signature")):
        segments = good.split(".")
        middle = len(segments[position]) // 2
        part = segments[position]
        forms = {repr(one): part[:middle] + one + part[middle:] for one in ("=", " ", "\n", "\0", "%2D")}
        forms |= {"= after": part + "=", "standard alphabet": part[:middle] + "+/" + part[middle + 2 :]}
        for form, changed in forms.items():
            parts = [*segments[:position], changed, *segments[position + 1 :]]
            yield Case(f"{name}: {form}", ".".join(parts))
            if position < 2:
                yield Case(f"{name}: {form}, signed", key.assemble(parts[0], parts[1]))
    shapes = ["", ".", "..", "a.b.c", f".{good}", f"{good}.", f"{good}.{text}", f"{head}.{body}", f"{head}..{text}"]
    shapes += [f"Bearer {good}", f'"{good}"', f" {good}", f"{good}\n", f"{good},{good}", good.upper(), good[::-1]]
    for shape in shapes:
        yield Case(f"shape {shape[:24]!r} of {len(shape)}", shape)
    for other in (None, 0, True, good.encode(), [good], {"access_token": good}):
        yield Case(f"a {type(other).__name__}", other)
    for size in (8193, 100_000, 1_000_000):
        yield Case(f"{size} A", "A" * size)
        yield Case(f"the good one and {size} A", good + "A" * size)
    yield Case("genuine, but over the limit", key.token(claims=claims(x="x" * 6000)))


def json_tricks(key: Signer) -> Iterator[Case]:
    header, text = json.dumps(key.header()), json.dumps(claims())
    for name in ("alg", "kid", "typ"):
        yield Case(f"header {name} twice", key.token(f'{header[:-1]},"{name}":"x"}}', claims()))
        yield Case(f"header {name} twice, first", key.token(f'{{"{name}":"none",{header[1:]}', claims()))
    for name in claims():
        hidden = f"\\u{ord(name[0]):04x}{name[1:]}"
        yield Case(f"{name} twice", key.token(claims=f'{text[:-1]},"{name}":"x"}}'))
        yield Case(f"{name} twice, once in escapes", key.token(claims=f'{{"{hidden}":"x",{text[1:]}'))
    yield Case("twice, deep", key.token(claims=f'{text[:-1]},"x":{{"y":[{{"z":1,"z":2}}]}}}}'))
    for name, good in (("header", header.encode()), ("claims", text.encode())):
        wrongs = {"empty": b"", "null": b"null", "array": b"[" + good + b"]", "cut": good[:-1], "two": good + good}
        wrongs |= {"trailing comma": good[:-1] + b",}", "BOM": b"\xef\xbb\xbf" + good, "NUL": good + b"\x00"}
        wrongs |= {"UTF-16": good.decode().encode("utf-16"), "a comment": b"/**/" + good}
        wrongs["0xff"] = good[:-2] + b'\xff"}'
        for form, wrong in wrongs.items():
            token = key.token(wrong, claims()) if name == "header" else key.token(claims=wrong)
            yield Case(f"{name}: {form}", token)
    yield Case("half a surrogate pair", key.token(claims=raw("sub", '"\\ud83d"')))
    for depth in (8, 20, 500, 1400):
        yield Case(f"{depth} arrays in a claim", key.token(claims=raw("x", "[" * depth + "1" + "]" * depth)))
    yield Case("2500 [", key.token(claims="[" * 2500))


CATEGORIES = (
    alg_confusion, header_injection, kid_tricks, parties, claims_missing_or_mistyped, numbers, times, signatures, texts,
    json_tricks,
)  # fmt: skip


def issuer_corpus(alg: str) -> list[tuple[str, Case]]:
    """All cases for an issuer with this algorithm, with their category."""
    key = signer(alg)
    return [(category.__name__, case) for category in CATEGORIES for case in category(key)]
