"""Tokens, keys and app secrets. Pure: time and randomness are passed in.

The front door. Names are resolved at first use (PEP 562), so that ``import greenroom.tokens.reader``, which an SDK
uses for a quick look at what a callback returned, loads neither joserfc nor cryptography.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from greenroom.tokens.claims import (
        API_TOKEN_LIFE,
        CLIENT_TOKEN_LIFE,
        MAX_LIFE,
        SessionPolicyClaim,
        TokenKind,
        VerifiedToken,
    )
    from greenroom.tokens.credentials import (
        BasicCredentials,
        hash_secret,
        new_app_key,
        new_secret,
        parse_basic,
        secret_matches,
    )
    from greenroom.tokens.keyring import Algorithm, KeyRing, SigningKey, generate_key
    from greenroom.tokens.mint import MintedToken, mint_api_token, mint_client_token, mint_refresh_token
    from greenroom.tokens.reader import MAX_TOKEN_BYTES, Glance, peek
    from greenroom.tokens.scopes import API_SCOPES, SESSION_SCOPES, has_scope, parse_scopes, require_scope
    from greenroom.tokens.sealing import open_key, open_sealed, seal, seal_key
    from greenroom.tokens.verifier import EXPIRY_LEEWAY, ISSUED_LEEWAY, MintedTokens, verify

_HOME = {
    "API_TOKEN_LIFE": "claims",
    "CLIENT_TOKEN_LIFE": "claims",
    "MAX_LIFE": "claims",
    "SessionPolicyClaim": "claims",
    "TokenKind": "claims",
    "VerifiedToken": "claims",
    "BasicCredentials": "credentials",
    "hash_secret": "credentials",
    "new_app_key": "credentials",
    "new_secret": "credentials",
    "parse_basic": "credentials",
    "secret_matches": "credentials",
    "Algorithm": "keyring",
    "KeyRing": "keyring",
    "SigningKey": "keyring",
    "generate_key": "keyring",
    "MintedToken": "mint",
    "mint_api_token": "mint",
    "mint_client_token": "mint",
    "mint_refresh_token": "mint",
    "MAX_TOKEN_BYTES": "reader",
    "Glance": "reader",
    "peek": "reader",
    "API_SCOPES": "scopes",
    "SESSION_SCOPES": "scopes",
    "has_scope": "scopes",
    "parse_scopes": "scopes",
    "require_scope": "scopes",
    "open_key": "sealing",
    "open_sealed": "sealing",
    "seal": "sealing",
    "seal_key": "sealing",
    "EXPIRY_LEEWAY": "verifier",
    "ISSUED_LEEWAY": "verifier",
    "MintedTokens": "verifier",
    "verify": "verifier",
}

__all__ = [
    "API_SCOPES",
    "API_TOKEN_LIFE",
    "CLIENT_TOKEN_LIFE",
    "EXPIRY_LEEWAY",
    "ISSUED_LEEWAY",
    "MAX_LIFE",
    "MAX_TOKEN_BYTES",
    "SESSION_SCOPES",
    "Algorithm",
    "BasicCredentials",
    "Glance",
    "KeyRing",
    "MintedToken",
    "MintedTokens",
    "SessionPolicyClaim",
    "SigningKey",
    "TokenKind",
    "VerifiedToken",
    "generate_key",
    "has_scope",
    "hash_secret",
    "mint_api_token",
    "mint_client_token",
    "mint_refresh_token",
    "new_app_key",
    "new_secret",
    "open_key",
    "open_sealed",
    "parse_basic",
    "parse_scopes",
    "peek",
    "require_scope",
    "seal",
    "seal_key",
    "secret_matches",
    "verify",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value
