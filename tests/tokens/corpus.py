"""Tokens that must be refused, by category. All are made here; nothing is copied from elsewhere.

Unless the case is about the signature, it is genuine: what is under test is then the only thing that is wrong.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from greenroom.errors import TokenError, TokenExpiredError, TokenInvalidError
from greenroom.tokens import TokenKind
from greenroom.tokens.reader import decode_base64url
from tests.tokens.forge import (
    APP,
    CLAIMS,
    ED,
    HEADER,
    HS,
    ISSUER,
    NOW,
    ORDER,
    STRANGER,
    as_bytes,
    assemble,
    claims_raw,
    claims_with,
    claims_without,
    encode,
    forge,
    forge_hmac,
)


class Case(NamedTuple):
    """One token that must be refused; mentions: what the error's text must name, "" for nothing in particular."""

    name: str
    token: Any
    mentions: str = ""
    error: type[TokenError] = TokenInvalidError
    kind: TokenKind = TokenKind.CLIENT


GOOD = forge()
_H, _P, _S = GOOD.split(".")
_SIGNATURE = decode_base64url(_S, "signature")


def header_with(**changed: Any) -> dict[str, Any]:
    return {**HEADER, **changed}


def public_key_forms() -> dict[str, bytes]:
    """The public key in every form that a careless verifier may take for an HMAC secret."""
    jwk = ED.public_jwk()
    assert jwk is not None
    raw = decode_base64url(jwk["x"], "key")
    public = Ed25519PublicKey.from_public_bytes(raw)
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    ssh = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    forms = {"raw": raw, "x": jwk["x"].encode(), "der": spki, "pem": pem, "pem-stripped": pem.strip(), "ssh": ssh}
    return {**forms, "jwk": json.dumps(jwk).encode(), "hex": raw.hex().encode(), "empty": b"", "kid": ED.kid.encode()}


def alg_confusion() -> Iterator[Case]:
    names: list[Any] = ["none", "None", "NONE", "nOnE", "", " ", "eddsa", "EDDSA", "EdDSA ", "Ed25519", "Ed448", "dir"]
    names += ["HS256", "HS384", "HS512", "RS256", "PS256", "ES256", "ES256K", "A128KW", "RSA-OAEP", "HS256,EdDSA"]
    for alg in names:
        header = header_with(alg=alg)
        unsigned = f"{encode(as_bytes(header))}.{_P}."
        yield Case(f"{alg!r} signed by the true key", forge(header))
        yield Case(f"{alg!r} unsigned", unsigned)
        yield Case(f"{alg!r} with the good token's signature", unsigned + _S)
    for alg in (0, True, None, ["none"], ["EdDSA"], {"EdDSA": 1}):
        yield Case(f"alg is {alg!r}", forge(header_with(alg=alg)), "alg")
    yield Case("no alg", forge({"typ": "session+jwt", "kid": ED.kid}), "alg")
    for digest in ("sha256", "sha384", "sha512"):
        alg = f"HS{digest[3:]}"
        for form, secret in public_key_forms().items():
            yield Case(f"{alg} with the public key ({form})", forge_hmac(secret, header_with(alg=alg), digest=digest))
    secret = decode_base64url(json.loads(HS.to_bytes())["k"], "key")
    yield Case("HS256 under EdDSA's kid, by the true shared key", forge_hmac(secret, header_with(alg="HS256")))
    yield Case("EdDSA under HS256's kid, by the true key", forge(header_with(kid=HS.kid)))
    yield Case("header EdDSA, kid and signature of HS256", forge_hmac(secret, header_with(kid=HS.kid)))
    hs_header = header_with(kid=HS.kid, alg="HS256")
    yield Case("HS256 of the right key, cut to 16 bytes", forge_hmac(secret, hs_header)[:-22])
    yield Case("HS512 under the HS256 key", forge_hmac(secret, header_with(kid=HS.kid, alg="HS512"), digest="sha512"))
    yield Case("HS256 with an empty key", forge_hmac(b"", hs_header))


def wrong_kind() -> Iterator[Case]:
    for typ in ("JWT", "jwt", "at+jwt", "", "SESSION+JWT", "application/session+jwt", "session+jwt ", "session", "*"):
        yield Case(f"typ {typ!r}", forge(header_with(typ=typ)), "typ")
    yield Case("typ of an API token", forge(header_with(typ="api+jwt")), "API token")
    yield Case("no typ", forge({"alg": "EdDSA", "kid": ED.kid}), "typ")
    others: list[Any] = [None, 1, True, ["session+jwt"], {}]
    for other in others:
        yield Case(f"typ is {other!r}", forge(header_with(typ=other)), "typ")
    auds: list[Any] = ["greenroom:api", "greenroom", "greenroom:session ", "Greenroom:Session", "*", "", APP, ISSUER]
    auds += [["greenroom:session"], ["greenroom:api", "greenroom:session"], {"greenroom:session": 1}]
    for aud in auds:
        yield Case(f"aud {aud!r}", forge(claims=claims_with(aud=aud)), "aud")
    isss: list[Any] = [ISSUER + "/", ISSUER.upper(), "http://greenroom.example", ISSUER[:-1], ISSUER + "x", "*", ""]
    isss += [[ISSUER], "https://greenroom.example@evil.example", ISSUER + "\n", "https://grееnroom.example", APP]
    for iss in isss:
        yield Case(f"iss {iss!r}", forge(claims=claims_with(iss=iss)), "iss")
    api = {"alg": "EdDSA", "typ": "api+jwt", "kid": ED.kid}
    yield Case("a client token as API token", GOOD, "client access token", kind=TokenKind.API)
    yield Case("an API header on session claims", forge(api), "aud", kind=TokenKind.API)
    api_claims = claims_with(aud="greenroom:api", sub=APP)
    yield Case("an API token of someone", forge(api, claims_with(aud="greenroom:api")), "sub", kind=TokenKind.API)
    yield Case("API claims under a session header", forge(claims=api_claims), "aud")
    yield Case("an API token as client token", forge(api, api_claims), "API token")


def grants_in_rooms() -> Iterator[Case]:
    """Claim ``rooms``: what it says is never read as more, or as something else (R7)."""
    good: dict[str, Any] = {"name": "team-*", "can": ["join"]}
    others: list[Any] = [None, True, "team-*", {"team-*": ["join"]}, ["team-*"], [["team-*", ["join"]]], [good] * 33]
    others += [[{"name": "a"}], [{"can": ["join"]}], [{**good, "unless": "bob"}], [{**good, "can": "join"}]]
    others += [[{**good, "can": can}] for can in ([], ["*"], ["Join"], ["join", "close"], [7], {"join": True})]
    for name in ("", "*a", "a*b", "a**", "a\nb", "x" * 251, "ü" * 126, 7, None, ["a"]):
        others.append([{**good, "name": name}])
    for rooms in others:
        yield Case(f"rooms {str(rooms)[:60]}", forge(claims=claims_with(rooms=rooms)), "rooms")


def claims_missing_or_mistyped() -> Iterator[Case]:
    required = ("iss", "aud", "app", "sub", "ver", "scope", "iat", "exp", "jti")
    for name in required:
        yield Case(f"no {name}", forge(claims=claims_without(name)), name)
        yield Case(f"{name} in capitals", forge(claims={**claims_without(name), name.upper(): CLAIMS[name]}), name)
        for value in (None, True, False, [CLAIMS[name]], {"value": CLAIMS[name]}):
            yield Case(f"{name} is {value!r}", forge(claims=claims_with(**{name: value})), name)
        other = 7 if isinstance(CLAIMS[name], str) else str(CLAIMS[name])
        yield Case(f"{name} is {other!r}", forge(claims=claims_with(**{name: other})), name)
    yield Case("no claims", forge(claims={}), "iss")
    for name in ("iss", "app", "sub"):
        yield Case(f"{name} of 257 characters", forge(claims=claims_with(**{name: "x" * 257})), name)
        yield Case(f"empty {name}", forge(claims=claims_with(**{name: ""})), name)
    for jti in ("", "short", "A" * 21, "A" * 65, "A" * 21 + "=", "A" * 21 + " ", "A" * 22 + "\n", "A" * 21 + "é"):
        yield Case(f"jti {jti!r}", forge(claims=claims_with(jti=jti)), "jti")
    for version in (0, 3, -1, 10**15):
        yield Case(f"ver {version}", forge(claims=claims_with(ver=version)), "ver")
    for scope in (" ", " a", "a ", "a  b", "a\tb", "a\nb", 'a"b', "a\\b", "sessión", "a\x00b", "a b\n"):
        yield Case(f"scope {scope!r}", forge(claims=claims_with(scope=scope)), "scope")
    xids: list[Any] = [None, "", 7, True, ["anna"], {}, "x" * 1025, "é" * 513]
    for xid in xids:
        yield Case(f"xid {str(xid)[:20]!r} of {type(xid).__name__}", forge(claims=claims_with(xid=xid)), "xid")
    yield Case("an external id without a participant", forge(claims=claims_with(sub=APP)), "sub")


def policies() -> Iterator[Case]:
    values: list[Any] = [None, [], "reject", 1, True, {"maxSessions": 0}, {"maxSessions": -1}, {"maxSessions": True}]
    values += [{"maxSessions": "2"}, {"maxSessions": None}, {"maxSessions": 10**7}, {"whenFull": "kick"}]
    values += [{"whenFull": ""}, {"whenFull": 1}, {"sameDevice": "REPLACE"}, {"sameDevice": None}, {"max_sessions": 1}]
    values += [{"maxSessions": 2, "else": 1}, {"maxSessions": {"a": 1}}]
    for value in values:
        yield Case(f"pol {value!r}", forge(claims=claims_with(pol=value)), "pol")
    yield Case("pol with a fraction", forge(claims=claims_raw("pol", '{"maxSessions":2.0}')), "fraction")


def numbers() -> Iterator[Case]:
    for name in ("iat", "exp", "nbf"):
        for literal in ("1800000000.0", "1.8e9", "1e9", "18E8", "1800000000.5", "1e999", "-1.0", "0.0", "1e-9"):
            yield Case(f"{name} {literal}", forge(claims=claims_raw(name, literal)), "fraction")
        for literal in ("NaN", "Infinity", "-Infinity"):
            yield Case(f"{name} {literal}", forge(claims=claims_raw(name, literal)), "NaN")
        for literal in ("9" * 17, "1" + "0" * 400, "9" * 2000, "-" + "9" * 2000):
            token = forge(claims=claims_raw(name, literal))
            yield Case(f"{name} of {len(literal)} digits, {literal[0]}…", token, "out of range")
        for literal in (
            "+1800000000",
            "01800000000",
            "0" * 17 + "1",
            "0x6b49d200",
            "1_800_000_000",
            "١٨",
            "-",
            "1800000000L",
        ):
            yield Case(f"{name} {literal}", forge(claims=claims_raw(name, literal)), "JSON")
        for literal in ("-1", "-1800000000", "9007199254740993", "9999999999999999"):
            yield Case(f"{name} {literal}", forge(claims=claims_raw(name, literal)), name)

    for name in ("x", "pol"):  # also where nobody would look at the number
        yield Case(f"{name} of 2000 digits", forge(claims=claims_raw(name, f"[{'7' * 2000}]")), "out of range")


def times() -> Iterator[Case]:
    for ago in (30, 31, 3600, 86_400 * 365):
        claims = claims_with(iat=NOW - ago - 600, exp=NOW - ago)
        yield Case(f"expired {ago} s ago", forge(claims=claims), error=TokenExpiredError)
    yield Case("expired at birth of time", forge(claims=claims_with(iat=0, exp=1)), error=TokenExpiredError)
    for ahead in (6, 7, 60, 3600, 86_400 * 365, 10**12):
        claims = claims_with(iat=NOW + ahead, exp=NOW + ahead + 600)
        yield Case(f"made {ahead} s in the future", forge(claims=claims), "iat")
    for life in (0, -1, -3600):
        yield Case(f"a life of {life} s", forge(claims=claims_with(exp=CLAIMS["iat"] + life)), "exp")
    for life in (86_401, 90_000, 86_400 * 365, 10**14):
        yield Case(f"a life of {life} s", forge(claims=claims_with(exp=CLAIMS["iat"] + life)), "exp")
    yield Case("made in 1970, good today", forge(claims=claims_with(iat=0)), "exp")
    for ahead in (6, 3600):
        yield Case(f"not before {ahead} s from now", forge(claims=claims_with(nbf=NOW + ahead)), "nbf")


def signatures() -> Iterator[Case]:
    for keep in (0, 1, 2, 3, 31, 32, 33, 62, 63):
        yield Case(f"cut to {keep} bytes", f"{_H}.{_P}.{encode(_SIGNATURE[:keep])}", "signature")
    for cut in (1, 2, 3, 4, 43):
        yield Case(f"{cut} characters less", GOOD[:-cut], "signature")
    for extra in (b"\x00", b"\x01", b"\x00" * 32, _SIGNATURE):
        yield Case(f"{len(extra)} bytes more ({extra[:1]!r})", f"{_H}.{_P}.{encode(_SIGNATURE + extra)}", "signature")
    for bit in (0, 1, 7, 100, 255, 256, 300, 400, 500, 509, 510, 511):
        flipped = bytearray(_SIGNATURE)
        flipped[bit // 8] ^= 1 << bit % 8
        yield Case(f"bit {bit} flipped", f"{_H}.{_P}.{encode(bytes(flipped))}", "signature")
    r, s = _SIGNATURE[:32], int.from_bytes(_SIGNATURE[32:], "little")
    for factor in range(1, 15):
        if s + factor * ORDER < 2**256:  # the same signature, were S not required to be below the order
            twin = (s + factor * ORDER).to_bytes(32, "little")
            yield Case(f"S + {factor} L", f"{_H}.{_P}.{encode(r + twin)}", "signature")
    yield Case("-S", f"{_H}.{_P}.{encode(r + (ORDER - s).to_bytes(32, 'little'))}", "signature")
    yield Case("R and S swapped", f"{_H}.{_P}.{encode(_SIGNATURE[32:] + r)}", "signature")
    small = {"identity": b"\x01" + b"\x00" * 31, "zero": b"\x00" * 32, "order 2": b"\xec" + b"\xff" * 30 + b"\x7f"}
    small["identity, not reduced"] = b"\xee" + b"\xff" * 30 + b"\x7f"
    for name, point in small.items():
        yield Case(f"R {name}, S 0", f"{_H}.{_P}.{encode(point + bytes(32))}", "signature")
        yield Case(f"R {name}, S kept", f"{_H}.{_P}.{encode(point + _SIGNATURE[32:])}", "signature")
    for name, raw in {"ones": b"\xff" * 64, "DER zeros": bytes.fromhex("3006020100020100"), "64 A": b"A" * 64}.items():
        yield Case(name, f"{_H}.{_P}.{encode(raw)}", "signature")
    yield Case("a stranger's, under our kid", forge(key=STRANGER), "signature")
    yield Case("of the payload alone", f"{_H}.{_P}.{encode(ED.sign(_P.encode()))}", "signature")
    decoded = decode_base64url(_P, "claims")
    yield Case("of the decoded payload", f"{_H}.{_P}.{encode(ED.sign(decoded))}", "signature")
    yield Case("of another token", f"{_H}.{_P}.{forge(claims=claims_with(xid='bob')).rsplit('.', 1)[1]}", "signature")
    yield Case("claims swapped", f"{_H}.{encode(as_bytes(claims_with(scope='*')))}.{_S}", "signature")
    spaced = encode(json.dumps(HEADER).encode())
    yield Case("header written otherwise", f"{spaced}.{_P}.{_S}", "signature")


def reencoded() -> Iterator[Case]:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for position, name in ((0, "header"), (1, "claims"), (2, "signature")):
        segments = GOOD.split(".")
        text = segments[position]
        middle = len(text) // 2
        forms = {
            "one =": text + "=",
            "two =": text + "==",
            "= inside": text[:middle] + "=" + text[middle:],
            "space before": " " + text,
            "space after": text + " ",
            "space inside": text[:middle] + " " + text[middle:],
            "newline inside": text[:middle] + "\n" + text[middle:],
            "NUL inside": text[:middle] + "\x00" + text[middle:],
            "? inside": text[:middle] + "?" + text[middle:],
            "%2D inside": text[:middle] + "%2D" + text[middle:],
            "standard alphabet": text[:middle] + "+/" + text[middle + 2 :],
            "fullwidth letter": text[:middle] + "Ａ" + text[middle + 1 :],
            "one character more": text + "A" if len(text) % 4 == 0 else text + "A" * (5 - len(text) % 4),
            "zero width space": text[:middle] + "\u200b" + text[middle:],
            "percent-encoded": "".join(f"%{ord(char):02X}" for char in text[:300]),
            "doubly encoded": encode(text.encode()),
        }
        spare = len(text) % 4
        if spare:  # the last character has bits that mean nothing: only zeros are exact
            step = {2: 16, 3: 4}[spare]
            last = alphabet.index(text[-1])
            for other in range(last + 1, last - last % step + step):
                forms[f"spare bits {other % step}"] = text[:-1] + alphabet[other]
        for form, changed in forms.items():
            parts = [*segments[:position], changed, *segments[position + 1 :]]
            yield Case(f"{name}: {form}", ".".join(parts))
            if position < 2 and changed.isascii():  # signed as it stands, so that only the encoding is wrong
                yield Case(f"{name}: {form}, signed", assemble(parts[0], parts[1]))


def header_injection() -> Iterator[Case]:
    jwk = STRANGER.public_jwk()
    members: dict[str, Any] = {
        "crit": ["exp"],
        "jwk": jwk,
        "jku": "https://evil.example/jwks.json",
        "x5u": "https://evil.example/cert.pem",
        "x5c": ["AAAA"],
        "x5t": "AAAA",
        "x5t#S256": "AAAA",
        "b64": False,
        "zip": "DEF",
        "cty": "JWT",
        "enc": "A128GCM",
        "epk": jwk,
        "p2c": 2**31,
        "p2s": "AAAA",
        "iss": ISSUER,
        "exp": NOW + 60,
        "url": "https://evil.example",
        "nonce": "1",
        "Alg": "none",
        "ALG": "EdDSA",
        "": "",
        "__proto__": {"alg": "none"},
        "alg\x00": "none",
        "typ ": "session+jwt",
    }
    for name, value in members.items():
        yield Case(f"header member {name!r}", forge(header_with(**{name: value})), "members other than")
        yield Case(f"header member {name!r}: null", forge(header_with(**{name: None})), "members other than")
    yield Case("crit first and empty", forge({"crit": [], **HEADER}), "members other than")
    yield Case("a stranger's key in the header", forge(header_with(jwk=jwk), key=STRANGER), "members other than")
    yield Case("a stranger's key, kid and all", forge(header_with(kid=STRANGER.kid), key=STRANGER), "kid")


def kid_tricks() -> Iterator[Case]:
    yield Case("no kid", forge({"alg": "EdDSA", "typ": "session+jwt"}), "kid")
    kids: list[Any] = ["", " ", ED.kid + " ", " " + ED.kid, ED.kid[:-1], ED.kid + "A", ED.kid.swapcase(), "*", "0"]
    kids += ["../../../../dev/null", "/dev/null", "' OR 1=1 --", f"{ED.kid}' UNION SELECT 'x", "|id", "$(id)", "%00"]
    kids += [ED.kid + "\x00", "\x00", "http://evil.example/key", "x" * 2500, "ｋｉｄ", "__proto__", "constructor"]
    kids += [APP, ISSUER, f"{ED.kid},{HS.kid}", "\u202e" + ED.kid, "none", "null", "undefined", "-1"]
    for kid in kids:
        yield Case(f"kid {kid[:40]!r}", forge(header_with(kid=kid)), "kid")
    for kid in (None, 0, 1, True, [ED.kid], {"kid": ED.kid}):
        yield Case(f"kid is {kid!r}", forge(header_with(kid=kid)), "kid")
    yield Case(
        "kid with half a surrogate pair", forge(f'{{"alg":"EdDSA","typ":"session+jwt","kid":"{ED.kid}\\ud800"}}')
    )


def duplicates() -> Iterator[Case]:
    header = as_bytes(HEADER).decode()
    claims = as_bytes(CLAIMS).decode()
    for name in HEADER:
        same, hidden = json.dumps(HEADER[name]), f"\\u{ord(name[0]):04x}{name[1:]}"
        for label, key in (("twice", name), ("twice, once in escapes", hidden)):
            yield Case(f"header {name} {label}, last", forge(f'{header[:-1]},"{key}":{same}}}'), "twice")
            yield Case(f"header {name} {label}, first", forge(f'{{"{key}":"none",{header[1:]}'), "twice")
    for name in CLAIMS:
        same, hidden = json.dumps(CLAIMS[name]), f"\\u{ord(name[0]):04X}{name[1:]}"
        for label, key in (("twice", name), ("twice, once in escapes", hidden)):
            yield Case(f"{name} {label}, last", forge(claims=f'{claims[:-1]},"{key}":{same}}}'), "twice")
            yield Case(f"{name} {label}, first", forge(claims=f'{{"{key}":null,{claims[1:]}'), "twice")
    inner = claims_raw("pol", '{"maxSessions":1,"maxSessions":9}')
    yield Case("a member of pol twice", forge(claims=inner), "twice")
    yield Case(
        "a member of pol twice, in escapes", forge(claims=inner.replace("1,", '1,"max\\u0053essions":3,')), "twice"
    )
    yield Case("an unknown claim twice", forge(claims=f'{claims[:-1]},"x":1,"x":1}}'), "twice")
    yield Case("twice at depth 4", forge(claims=f'{claims[:-1]},"x":[[{{"y":1,"y":2}}]]}}'), "twice")
    yield Case("the empty name twice", forge(claims=f'{claims[:-1]},"":1,"":1}}'), "twice")


def not_json() -> Iterator[Case]:
    for position, good in (("header", as_bytes(HEADER)), ("claims", as_bytes(CLAIMS))):
        text = good.decode()
        forms: dict[str, bytes] = {
            "empty": b"",
            "white space": b"  \n",
            "null": b"null",
            "true": b"true",
            "a number": b"42",
            "a string": b'"EdDSA"',
            "an array": b"[" + good + b"]",
            "an empty array": b"[]",
            "a string of JSON": json.dumps(text).encode(),
            "cut": good[:-1],
            "only {": b"{",
            "trailing comma": good[:-1] + b",}",
            "trailing data": good + b"x",
            "two objects": good + good,
            "trailing NUL": good + b"\x00",
            "leading NUL": b"\x00" + good,
            "trailing }": good + b"}",
            "a comment": b"/**/" + good,
            "a comment after": good + b"//",
            "single quotes": text.replace('"', "'").encode(),
            "bare names": text.replace('"alg"', "alg").replace('"iss"', "iss").encode(),
            "UTF-8 BOM": b"\xef\xbb\xbf" + good,
            "UTF-16": text.encode("utf-16"),
            "UTF-16 BE": text.encode("utf-16-be"),
            "UTF-32": text.encode("utf-32"),
            "no-break space": b"\xc2\xa0" + good,
            "form feed": b"\x0c" + good,
            "vertical tab after": good + b"\x0b",
            "overlong {": b"\xc1\xbb" + good[1:],
            "a stray continuation byte": good[:-2] + b'\x80"}',
            "half a surrogate pair as bytes": good[:-2] + b'\xed\xa0\x80"}',
            "a byte 0xff": good[:-2] + b'\xff"}',
            "an open string": good[:-2],
            "a control character": good[:-2] + b'\x01"}',
            "a raw newline": good[:-2] + b'\n"}',
            "a bad escape": good[:-2] + b'\\x41"}',
            "half an escape": good[:-2] + b'\\u00"}',
            "only quotes": b'"' * 2500,
            "only escapes": b'"' + b"\\" * 2500,
            "escaped quotes without end": b'{"a":"' + b'\\"' * 1200,
            "gzip": b"\x1f\x8b\x08\x00" + good,
            "MessagePack": b"\x81\xa3alg\xa5EdDSA",
            "CBOR": b"\xa1calgeEdDSA",
        }
        for name, raw in forms.items():
            token = forge(header=raw) if position == "header" else forge(claims=raw)
            yield Case(f"{position}: {name}", token)
    half = claims_raw("xid", '"\\ud83d"')
    yield Case("claims: half a surrogate pair as an escape", forge(claims=half), "JSON")
    yield Case("claims: the halves in the wrong order", forge(claims=claims_raw("xid", '"\\ude00\\ud83d"')), "JSON")
    yield Case("claims: half a pair in an unknown name", forge(claims=claims_raw("x", '{"\\udfff":1}')), "JSON")
    yield Case("claims: half a pair in an unknown list", forge(claims=claims_raw("x", '["\\udfff"]')), "JSON")


def nesting() -> Iterator[Case]:
    for depth in (4, 5, 20, 500, 1000, 1400):
        for name, begin, end in (("arrays", "[", "]"), ("objects", '{"a":', "}")):
            if len(begin) * depth > 2600:
                continue
            middle = "1" if depth * (len(begin) + 1) < 2600 else ""
            literal = begin * depth + middle + (end * depth if middle else "")
            yield Case(f"{depth} {name} in a claim", forge(claims=claims_raw("x", literal)), "nested")
            yield Case(f"{depth} {name} for a header", forge(header=literal), "nested" if depth > 4 else "")
    yield Case("2500 [ and nothing else", forge(claims="[" * 2500), "nested")
    yield Case("2500 { and nothing else", forge(claims="{" * 2500), "nested")
    yield Case("brackets after a string of brackets", forge(claims=claims_raw("x", '["]]]]",[[[[1]]]]]')), "nested")
    yield Case("brackets after an escaped quote", forge(claims=claims_raw("x", '["\\"]]]]",[[[[1]]]]]')), "nested")
    yield Case("1200 ] first", forge(claims="]" * 1200 + "[" * 1200))


def shapes() -> Iterator[Case]:
    texts = [
        "",
        ".",
        "..",
        "...",
        "....",
        "a",
        "a.b",
        "a.b.c",
        "a.b.c.d",
        "a.b.c.d.e",
        "null",
        "undefined",
        "true",
        "{}",
    ]
    texts += [f".{GOOD}", f"{GOOD}.", f"{GOOD}.{_S}", f"{_H}.{_P}", f"{_H}..{_S}", f".{_P}.{_S}", f"..{_S}", _H]
    texts += [f"{_H}.{_P}.{_S}.{_S}.{_S}", f"Bearer {GOOD}", f"bearer:{GOOD}", f'"{GOOD}"', f"'{GOOD}'", f"<{GOOD}>"]
    texts += [
        f" {GOOD}",
        f"{GOOD} ",
        f"{GOOD}\n",
        f"\n{GOOD}",
        f"{GOOD}\r\n",
        f"\t{GOOD}",
        f"{GOOD}\x00",
        f"\ufeff{GOOD}",
    ]
    texts += [GOOD.replace(".", "。"), GOOD.replace(".", "．"), GOOD.replace(".", ","), GOOD.replace(".", "%2E")]
    texts += [
        GOOD.replace(".", ". "),
        GOOD.upper(),
        GOOD.lower(),
        GOOD[::-1],
        GOOD.swapcase(),
        f"{GOOD}#",
        f"{GOOD}?a=b",
    ]
    texts += [f"{GOOD},{GOOD}", f"{GOOD} {GOOD}", f"{GOOD};", f"token={GOOD}", f"{GOOD}\u200b", "\ud800.\ud800.\ud800"]
    texts += [json.dumps({"payload": _P, "protected": _H, "signature": _S})]
    texts += [json.dumps({"payload": _P, "signatures": [{"protected": _H, "signature": _S}]})]
    texts += ["../../etc/passwd", "' OR 1=1 --", "<script>alert(1)</script>", "%00.%00.%00", "é.é.é", "😀.😀.😀"]
    for text in texts:
        yield Case(f"shape {text[:24]!r} of {len(text)}", text)
    others: list[Any] = [
        None,
        0,
        1.5,
        True,
        GOOD.encode(),
        bytearray(GOOD.encode()),
        [GOOD],
        {"access_token": GOOD},
        object(),
    ]
    for other in others:
        yield Case(f"a {type(other).__name__} {str(other)[:8]}", other, "string" if other is not None else "")


def oversize() -> Iterator[Case]:
    room = 4096 - len(GOOD)
    for extra in (room + 1, 12_000, 100_000, 1_000_000):
        yield Case(f"the good one and {extra} A", GOOD + "A" * extra, "longer")
    for size in (4097, 16_384, 1_000_000):
        yield Case(f"{size} A", "A" * size, "longer")
        yield Case(f"{size} dots", "." * size, "longer")
    yield Case("4096 A", "A" * 4096)
    yield Case("4096 dots", "." * 4096)
    yield Case("genuine, but over the limit", forge(claims=claims_with(x="x" * 3000)), "longer")
    yield Case("genuine, with 16 KiB of claims", forge(claims=claims_with(x="x" * 12_000)), "longer")
    yield Case("genuine, with a long header", forge(header_with(kid="x" * 4000)), "longer")
    yield Case("2000 two-byte characters", "é" * 2000)
    yield Case("4096 four-byte characters", "😀" * 4096)


CATEGORIES = (
    alg_confusion,
    wrong_kind,
    grants_in_rooms,
    claims_missing_or_mistyped,
    policies,
    numbers,
    times,
    signatures,
    reencoded,
    header_injection,
    kid_tricks,
    duplicates,
    not_json,
    nesting,
    shapes,
    oversize,
)


def corpus() -> list[tuple[str, Case]]:
    """All cases with their category, each token once."""
    seen: set[Any] = set()
    cases = []
    for category in CATEGORIES:
        for case in category():
            mark = (case.token if isinstance(case.token, str) else id(case.token), case.kind)
            if mark not in seen:
                seen.add(mark)
                cases.append((category.__name__, case))
    return cases
