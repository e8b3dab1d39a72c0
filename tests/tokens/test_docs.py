"""The pages about tokens are true: names, numbers, and code that runs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import KeySet

from greenroom.tokens import (
    API_SCOPES,
    SESSION_SCOPES,
    KeyRing,
    TokenKind,
    generate_key,
    mint_api_token,
    mint_client_token,
)
from greenroom.tokens.claims import ApiClaims, SessionClaims
from tests.tokens.corpus import header_injection, reencoded, signatures
from tests.tokens.forge import APP, ED, HS, ISSUER, NOW, PARTICIPANT, forge, stream

DOCS = Path(__file__).parents[2] / "docs"
REFERENCE = (DOCS / "reference" / "tokens.md").read_text()
HOW_TO = (DOCS / "how-to" / "verify-tokens-elsewhere.md").read_text()


def test_the_reference_names_every_claim_scope_and_kind() -> None:
    claims = {*ApiClaims.__struct_fields__, *SessionClaims.__struct_fields__}
    for name in (*claims, *API_SCOPES, *SESSION_SCOPES, *(kind.typ for kind in TokenKind)):
        assert f"`{name}`" in REFERENCE, name
    for kind in TokenKind:
        assert f"`{kind.audience}`" in REFERENCE


@pytest.fixture
def participant_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, KeySet], dict[str, Any]]:
    blocks = re.findall(r"```python\n(.*?)```", HOW_TO, re.DOTALL)
    assert len(blocks) == 1
    space: dict[str, Any] = {}
    exec(blocks[0], space)
    assert (space["ISSUER"], space["APP_KEY"]) == (ISSUER, APP)
    monkeypatch.setattr(space["time"], "time", lambda: float(NOW))
    function: Callable[[str, KeySet], dict[str, Any]] = space["participant_of"]
    return function


@pytest.mark.filterwarnings("ignore:EdDSA is deprecated")
def test_the_code_of_the_how_to_verifies(participant_of: Callable[[str, KeySet], dict[str, Any]]) -> None:
    ring = KeyRing(generate_key(stream("docs"), created_at=NOW), previous=(ED, HS))
    keys = KeySet.import_key_set(json.loads(json.dumps(ring.jwks())))
    common: dict[str, Any] = {"issuer": ISSUER, "app": APP, "scopes": (), "now": NOW, "random_bytes": stream("x")}
    good = mint_client_token(ring, version=2, participant_id=PARTICIPANT, external_id="anna", **common).token
    claims = participant_of(good, keys)
    assert (claims["sub"], claims["xid"]) == (PARTICIPANT, "anna")
    assert participant_of(forge(), keys)["xid"] == "anna"  # by the previous key

    bad = [mint_api_token(ring, **common).token]
    bad += [mint_client_token(ring, version=2, **{**common, **more}).token for more in ({"app": "b"}, {"issuer": "x"})]
    bad += [mint_client_token(ring, version=2, **{**common, "now": NOW + wrong}).token for wrong in (-3631, 6)]
    bad += [case.token for category in (signatures, header_injection) for case in category()]
    bad += [case.token for case in reencoded() if case.name.endswith(("inside", "alphabet", "encoded"))]
    for token in bad:
        with pytest.raises(ValueError, match="not a token"):
            participant_of(token, keys)
