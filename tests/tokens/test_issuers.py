"""Tokens of applications' own issuers: what is accepted, and the corpus of what must be refused, by each algorithm."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any, get_args

import pytest

from greenroom.core.server.services import Now, SessionLimits
from greenroom.errors import GreenroomError, IllegalArgumentError, TokenError, TokenExpiredError, TokenInvalidError
from greenroom.model import Application, RoomGrant, TokenIssuer, participant_id_of
from greenroom.server.api.issuers import Algorithm
from greenroom.server.sessions.admission import Admission
from greenroom.server.tenants.applications import Tenants
from greenroom.server.tenants.issuers import secret_context
from greenroom.server.wire.addresses import Limits
from greenroom.tokens import SESSION_SCOPES, TokenKind, VerifiedToken, verify
from greenroom.tokens.issuers import key_of, shared_secret
from greenroom.tokens.reader import OWN_TYPES, peek
from tests.server.issuers import ALGORITHMS, AUDIENCE, ISSUER, SECRET, Signer, good_claims, signer
from tests.tokens.corpus import corpus
from tests.tokens.forge import NOW, Work, encode
from tests.tokens.issuer_corpus import CATEGORIES, OWN_ISSUER, issuer_corpus

NAMESPACE = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
MOST_CALLS = 450
"""Calls of Python or C for one refusal, whatever it is, by all that looks at it and counts it."""


class Place:
    """A node that knows one application with an issuer, and another one with another issuer."""

    def __init__(self, alg: str, **changed: Any) -> None:
        self.tenants = Tenants(
            directory=None,  # type: ignore[arg-type]  # nothing is loaded
            master_key=bytes(32), clock=lambda: float(NOW), random_bytes=os.urandom,
        )  # fmt: skip
        self.tenants.keys.replace([self.tenants.keys.make(NOW - 1000.0)[1]])
        self.add("app-1", signer(alg).record(**changed))
        self.add("app-2", signer("ES256", "other").record(id="iss_2", audience="other-app"))
        self.admission = Admission(
            self.tenants, issuer=OWN_ISSUER, session_limits=SessionLimits(), limits=Limits(), opens_per_second=1e9,
            opens_per_participant=1e9, failed_auth=1e9, failed_resumes=1e9, protocol_violations=1e9,
            now=0.0,
        )  # fmt: skip

    def add(self, app: str, issuer: TokenIssuer) -> None:
        if issuer.algorithms == ("HS256",):
            import msgspec

            sealed = self.tenants.secrets.seal(SECRET, secret_context(app, issuer.id))
            issuer = msgspec.structs.replace(issuer, sealed_secret=sealed)
        self.tenants._keep(Application(key=app, name=app, namespace=NAMESPACE, issuers=(issuer,)))

    def verify(self, token: Any, *, now: float = NOW, mono: float = 0.0) -> VerifiedToken:
        return self.admission.verify(token, "192.0.2.1", Now(mono, now))


PLACES = {alg: Place(alg) for alg in ALGORITHMS}
CORPUS = [(alg, category, case) for alg in ALGORITHMS for category, case in issuer_corpus(alg)]


@pytest.fixture(autouse=True, scope="module")
def warm() -> None:
    """What is only done once is not the token's doing."""
    for alg, place in PLACES.items():
        place.verify(signer(alg).token(now=NOW))


def refusal(place: Place, token: Any) -> TokenError:
    try:
        place.verify(token)
    except TokenError as error:
        return error
    raise AssertionError("accepted")


def test_the_algorithms_here_are_those_that_issuers_may_have() -> None:
    assert get_args(Algorithm) == ALGORITHMS
    assert {kind.typ for kind in TokenKind} == OWN_TYPES


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_good_one_names_a_participant_of_the_application(alg: str) -> None:
    token = PLACES[alg].verify(signer(alg).token(now=NOW))
    assert (token.app, token.external_id, token.jti) == ("app-1", "auth0|anna", "e3b0c442")
    assert token.participant_id == participant_id_of(NAMESPACE, "auth0|anna")
    assert (token.issued_at, token.expires_at, token.version) == (NOW - 10, NOW + 3590, 2)
    assert (token.scopes, token.name, token.avatar_url) == (SESSION_SCOPES, None, None)
    assert token.kind is TokenKind.CLIENT


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize(
    ("header", "claims"),
    [
        pytest.param({"typ": "at+jwt"}, {}, id="an access token (RFC 9068)"),
        pytest.param({"typ": "jwt", "x5t": "AAAA", "cat": "cl_B7"}, {}, id="members that mean nothing here"),
        pytest.param({}, {"aud": ["https://id.example/userinfo", AUDIENCE]}, id="several audiences"),
        pytest.param({}, {"x": [[[[[[{"y": 1.5}]]]]]], "n": 10**20}, id="deep claims, fractions, large numbers"),
        pytest.param({}, {"nbf": NOW + 5, "iat": NOW + 5}, id="5 s ahead"),
        pytest.param({}, {"iat": NOW - 86_429, "exp": NOW - 29}, id="within the leeway, with the longest life"),
        pytest.param({}, {"x": "x" * 5000}, id="longer than a token of the service may be"),
        pytest.param({}, {"app": "app-2", "xid": "eve", "scope": "*", "ver": 1}, id="claims of the service's own"),
    ],
)
def test_neighbours_of_the_corpus_are_accepted(alg: str, header: dict[str, Any], claims: dict[str, Any]) -> None:
    key = signer(alg)
    token = PLACES[alg].verify(key.token(key.header(**header), good_claims(NOW, **claims)))
    assert (token.app, token.external_id, token.scopes) == ("app-1", "auth0|anna", SESSION_SCOPES)


def test_the_corpus_is_large_and_broad() -> None:
    for alg in ALGORITHMS:
        sizes = Counter(category for one, category, _ in CORPUS if one == alg)
        assert sum(sizes.values()) >= 250
        assert len(sizes) == (9 if alg == "HS256" else 10)


@pytest.mark.parametrize("category", [one.__name__ for one in CATEGORIES])
@pytest.mark.parametrize("alg", ALGORITHMS)
def test_refused(alg: str, category: str) -> None:
    for case in (case for one, kind, case in CORPUS if (one, kind) == (alg, category)):
        with Work() as work:
            error = refusal(PLACES[alg], case.token)
        assert type(error) is case.error, case.name
        assert case.mentions in str(error), case.name
        assert work.calls <= MOST_CALLS, (case.name, work.calls)


def test_no_refusal_shows_the_token() -> None:
    for alg, _, case in CORPUS:
        if isinstance(case.token, str) and len(case.token) > 100:
            text = f"{refusal(PLACES[alg], case.token)}"
            for segment in case.token.split("."):
                assert len(segment) < 20 or segment[:20] not in text


def test_what_is_refused_of_the_service_s_own_is_refused_where_there_are_issuers_too() -> None:
    place = PLACES["EdDSA"]
    for _, case in corpus():
        with pytest.raises(TokenError):
            place.verify(case.token)


@pytest.mark.parametrize("alg", ALGORITHMS)
@pytest.mark.parametrize("kind", TokenKind)
def test_none_passes_for_a_token_of_the_service(alg: str, kind: TokenKind) -> None:
    key = signer(alg)
    claims = good_claims(NOW, app="app-1", sub="app-1", scope="*", ver=2, aud=kind.audience, jti="A" * 22)
    for iss in (ISSUER, OWN_ISSUER):
        for typ in ("JWT", kind.typ):
            token = key.token(key.header(typ=typ), {**claims, "iss": iss})
            with pytest.raises(TokenInvalidError):
                verify(token, PLACES[alg].tenants.keys.ring, kind=kind, issuer=OWN_ISSUER, now=NOW)


def test_an_issuer_s_key_opens_no_other_application() -> None:
    place = PLACES["ES256"]
    assert place.verify(signer("ES256", "other").token(claims=good_claims(NOW, aud="other-app"))).app == "app-2"
    for token in (
        signer("ES256").token(claims=good_claims(NOW, aud="other-app")),
        signer("ES256", "other").token(claims=good_claims(NOW)),
        signer("ES256", "other").token(signer("ES256").header(), good_claims(NOW)),
    ):
        refusal(place, token)


# -- what the record says ----------------------------------------------------------------------------------------------


def test_the_record_says_which_claims_are_read() -> None:
    place = Place(
        "ES256", external_id_claim="/https:~1~1app.example~1user/id", external_id_prefix="kc:", name_claim="name",
        avatar_url_claim="/user_metadata/avatar", session_scopes=("session:update",),
    )  # fmt: skip
    claims = good_claims(NOW, **{"https://app.example/user": {"id": "7"}, "user_metadata": {"avatar": "/a.png"}})
    token = place.verify(signer("ES256").token(claims=claims))
    assert (token.external_id, token.name, token.avatar_url) == ("kc:7", "Anna", "/a.png")
    assert token.scopes == ("session:update",)
    claims["https://app.example/user"] = {"id": {"deep": 1}}
    with pytest.raises(TokenInvalidError, match="is not a string"):
        place.verify(signer("ES256").token(claims=claims))
    with pytest.raises(TokenInvalidError, match="is missing"):
        place.verify(signer("ES256").token(now=NOW))


def test_r7_the_record_says_which_claim_grants_rooms() -> None:
    rooms = [{"name": "team-*", "can": ["join", "send"]}]
    claims = good_claims(NOW, rooms=rooms)
    assert Place("ES256").verify(signer("ES256").token(claims=claims)).room_grants == ()
    place = Place("ES256", rooms_claim="rooms")
    granted = place.verify(signer("ES256").token(claims=claims)).room_grants
    assert granted == (RoomGrant(name="team-*", can=("join", "send")),)
    assert place.verify(signer("ES256").token(claims=good_claims(NOW))).room_grants == ()
    others: list[Any] = ["team-*", {"team-*": ["join"]}, [{"name": "a"}], [{"name": "a", "can": ["close"]}], rooms * 33]
    others += [[{"name": "*a", "can": ["join"]}], [{"name": "a", "can": []}], [{**rooms[0], "unless": "bob"}]]
    for other in others:
        with pytest.raises(TokenInvalidError, match="The token's claim rooms is not"):
            place.verify(signer("ES256").token(claims=good_claims(NOW, rooms=other)))


def test_a_token_may_live_as_long_as_its_record_says() -> None:
    place = Place("EdDSA", max_life=600)
    place.verify(signer("EdDSA").token(claims=good_claims(NOW, iat=NOW, exp=NOW + 600)))
    with pytest.raises(TokenInvalidError, match="The token lives 601 s, and tokens of its issuer may live 600 s here"):
        place.verify(signer("EdDSA").token(claims=good_claims(NOW, iat=NOW, exp=NOW + 601)))


def test_a_token_without_jti_is_named_by_what_was_signed() -> None:
    place, key = PLACES["ES256"], signer("ES256")
    claims = good_claims(NOW)
    del claims["jti"]
    header, body = encode(b'{"alg":"ES256","kid":"key-1"}'), encode(str(claims).replace("'", '"').encode())
    one, same = key.assemble(header, body), key.assemble(header, body)
    assert one != same  # an ECDSA signature differs each time
    assert place.verify(one).jti == place.verify(same).jti
    assert place.verify(one).jti.startswith("~")
    assert place.verify(key.token(claims={**claims, "iat": NOW - 11})).jti != place.verify(one).jti


def test_where_the_key_has_no_name_it_is_the_only_one() -> None:
    key = signer("ES256")
    nameless = {name: value for name, value in key.public.items() if name != "kid"}
    place = Place("ES256", keys=(nameless,))
    for header in (key.header(), {"alg": "ES256"}, key.header(kid="another")):
        assert place.verify(key.token(header, good_claims(NOW))).app == "app-1"
    two = Place("ES256", keys=(key.public, signer("ES256", "other").public))
    assert two.verify(key.token(now=NOW)).app == "app-1"
    with pytest.raises(TokenInvalidError, match="has no kid"):
        two.verify(key.token({"alg": "ES256"}, good_claims(NOW)))


def test_an_rsa_key_without_alg_is_for_the_first_that_fits() -> None:
    for algorithms, alg in ((("RS256", "PS256"), "RS256"), (("EdDSA", "PS256", "RS256"), "PS256")):
        key = signer(alg)
        place = Place(alg, algorithms=algorithms, keys=({k: v for k, v in key.public.items() if k != "alg"},))
        place.verify(key.token(now=NOW))
        other = "PS256" if alg == "RS256" else "RS256"
        with pytest.raises(TokenInvalidError, match=f"alg is not {alg}"):
            place.verify(key.token(key.header(alg=other), good_claims(NOW)))


# -- keys that are refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alg", "changed", "why"),
    [
        ("EdDSA", {"d": "AAAA"}, "is private"),
        ("EdDSA", {"k": "AAAA"}, "is private, or a secret"),
        ("EdDSA", {"use": "enc"}, "not for signatures"),
        ("EdDSA", {"key_ops": ["encrypt"]}, "not for signatures"),
        ("EdDSA", {"crv": "Ed448"}, "crv is not Ed25519"),
        ("EdDSA", {"x": "AAAA"}, "its numbers do not make a key"),
        ("EdDSA", {"x": 7}, "its numbers do not make a key"),
        ("EdDSA", {"alg": "ES256"}, "none of the issuer's algorithms"),
        ("EdDSA", {"kty": "oct"}, "none of the issuer's algorithms"),
        ("EdDSA", {"kid": ""}, "kid must be a string"),
        ("EdDSA", {"kid": 7}, "kid must be a string"),
        ("ES256", {"crv": "P-384"}, "crv is not P-256"),
        ("ES256", {"y": encode(bytes(32))}, "its numbers do not make a key"),
        ("ES256", {"x": encode(bytes(33))}, "coordinates do not have 32 bytes"),
        ("RS256", {"n": encode(b"\xff" * 128)}, "it has 1024 bits"),
        ("RS256", {"n": encode(b"\xff" * 1025)}, "it has 8200 bits"),
        ("RS256", {"e": "Aw"}, "exponent"),
        ("PS256", {"e": encode(b"\xff" * 9)}, "exponent"),
        ("RS256", {"e": encode(b"\x01\x00\x02")}, "its numbers do not make a key"),
    ],
)
def test_a_key_that_cannot_be_used_is_refused_with_the_reason(alg: str, changed: dict[str, Any], why: str) -> None:
    with pytest.raises(IllegalArgumentError, match=why) as caught:
        key_of({**signer(alg).public, **changed}, ALGORITHMS)
    assert caught.value.__context__ is None or isinstance(caught.value.__context__, GreenroomError)


@pytest.mark.parametrize("alg", ["RS256", "PS256"])
def test_a_small_rsa_key_is_refused(alg: str) -> None:
    with pytest.raises(IllegalArgumentError, match="it has 1024 bits, and 2048 to 8192 are allowed"):
        key_of(Signer(alg, bits=1024).public, (alg,))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(IllegalArgumentError, match="must have 32 bytes or more, and has 31"):
        shared_secret(b"x" * 31)


# -- the SDK's look at one ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_an_sdk_reads_when_it_ends_and_whose_it_is(alg: str) -> None:
    key = signer(alg)
    glance = peek(key.token(key.header(x5t="AAAA", typ="at+jwt"), good_claims(NOW, x="x" * 5000)))
    assert (glance.app, glance.external_id, glance.participant_id) == (ISSUER, "auth0|anna", None)
    assert (glance.issued_at, glance.expires_at) == (NOW - 10, NOW + 3590)
    for wrong in (good_claims(NOW, exp=None), good_claims(NOW, iss=None), good_claims(NOW, iat=1.5)):
        with pytest.raises(TokenInvalidError):
            peek(key.token(claims=wrong))


# -- admission ---------------------------------------------------------------------------------------------------------


def test_expired_is_said_of_good_ones_alone() -> None:
    key = signer("EdDSA")
    over = good_claims(NOW, iat=NOW - 4000, exp=NOW - 400)
    with pytest.raises(TokenExpiredError):
        PLACES["EdDSA"].verify(key.token(claims=over))
    with pytest.raises(TokenInvalidError, match="signature"):
        PLACES["EdDSA"].verify(key.token(claims=over)[:-4] + "AAAA")


def test_bad_ones_count_for_their_application() -> None:
    place = Place("EdDSA")
    token = signer("EdDSA").token(now=NOW)
    assert place.admission._application_named(token) == "app-1"
    assert place.admission._application_named(token[:-4] + "AAAA") == "app-1"
    assert place.admission._application_named(signer("EdDSA").token(claims=good_claims(NOW, aud="x"))) is None
