"""``greenroom apps issuers`` and ``greenroom apps keys``: who besides the service may sign an application's tokens."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from greenroom.cli.options import Json, duration, with_backend

if TYPE_CHECKING:
    from greenroom.cli.backend import ServerApi

_READ, _ADMIN = "sessions:read", "sessions:read sessions:admin"


def add_to(apps: typer.Typer) -> None:
    """Adds the verbs to ``greenroom apps``."""
    issuers = typer.Typer(help="Issuers of an application's own tokens: add, list, remove, test.", no_args_is_help=True)
    for name, command in (("add", add), ("list", list_), ("remove", remove), ("test", try_)):
        issuers.command(name)(command)
    apps.add_typer(issuers, name="issuers")
    keys = typer.Typer(help="Keys with which a backend signs tokens itself: generate.", no_args_is_help=True)
    keys.command("generate")(generate)
    apps.add_typer(keys, name="keys")


@with_backend(_ADMIN)
def add(
    backend: ServerApi,
    issuer: Annotated[str, typer.Argument(help="The claim iss of its tokens; must match exactly.")],
    audience: Annotated[str, typer.Option("--audience", help="The claim aud, or one of its values.")],
    algorithm: Annotated[
        list[str] | None,
        typer.Option(
            "--algorithm",
            help="EdDSA, ES256, RS256 or PS256; repeatable. Left out: RS256, or HS256 with --hs256-secret.",
        ),
    ] = None,
    jwks_url: Annotated[
        str | None, typer.Option("--jwks-url", help="The URL of its key set: https://…", show_default=False)
    ] = None,
    jwks: Annotated[
        Path | None, typer.Option("--jwks", help="A file with its public keys: a key set or a JWK.", show_default=False)
    ] = None,
    hs256_secret: Annotated[
        str | None,
        typer.Option(
            "--hs256-secret", envvar="GREENROOM_ISSUER_SECRET", help="The shared secret, for HS256.", show_default=False
        ),
    ] = None,
    external_id_claim: Annotated[
        str, typer.Option("--external-id-claim", help="The claim with the external id.")
    ] = "sub",
    external_id_prefix: Annotated[str, typer.Option("--external-id-prefix", help="A prefix of the external id.")] = "",
    name_claim: Annotated[
        str | None, typer.Option("--name-claim", help="The claim with the name.", show_default=False)
    ] = None,
    avatar_url_claim: Annotated[
        str | None, typer.Option("--avatar-url-claim", help="The claim with the avatar URL.", show_default=False)
    ] = None,
    rooms_claim: Annotated[
        str | None, typer.Option("--rooms-claim", help="The claim with the permissions in rooms.", show_default=False)
    ] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", help="A session scope; repeatable. Left out: all.", show_default=False),
    ] = None,
    max_life: Annotated[
        float, duration("--max-life", help="The longest lifetime of its tokens.", least=60, most=86_400, shown="1d")
    ] = 86_400.0,
    json: Json = False,
) -> None:
    """Add an issuer: an identity provider, or your own backend. A key set is fetched at once, to check that it exists.

    Example: greenroom apps issuers add https://tenant.eu.auth0.com/ --audience https://api.app.example
    --jwks-url https://tenant.eu.auth0.com/.well-known/jwks.json --name-claim name
    """
    body: dict[str, Any] = {
        "issuer": issuer, "audience": audience, "externalIdClaim": external_id_claim,
        "externalIdPrefix": external_id_prefix, "nameClaim": name_claim, "avatarUrlClaim": avatar_url_claim,
        "algorithms": algorithm or (["RS256"] if hs256_secret is None else ["HS256"]), "sessionScopes": scope,
        "maxLife": int(max_life), "jwksUrl": jwks_url, "secret": hs256_secret, "roomsClaim": rooms_claim,
    }  # fmt: skip
    if jwks is not None:
        body["keys"] = _keys_in(jwks)
    _print_added(backend.call("POST", "/v1/issuers", body), json)


@with_backend(_READ)
def list_(backend: ServerApi, json: Json = False) -> None:
    """List an application's issuers, with the state of their key sets on the node that answers.

    Example: greenroom apps issuers list
    """
    from greenroom.cli.output import print_json, print_table

    items = backend.call("GET", "/v1/issuers")["items"]
    if json:
        print_json(items)
        return
    rows = [(one["id"], one["issuer"], one["audience"], " ".join(one["algorithms"]), _keys_of(one)) for one in items]
    print_table(("Id", "Issuer", "Audience", "Algorithms", "Keys"), rows, empty="There are no issuers.")


@with_backend(_ADMIN)
def remove(
    backend: ServerApi,
    issuer: Annotated[str, typer.Argument(help="The issuer's id, as `apps issuers list` shows it.")],
    json: Json = False,
) -> None:
    """Remove an issuer. Its tokens no longer open sessions; open sessions continue until their tokens expire.

    Example: greenroom apps issuers remove iss_5d1c…
    """
    from greenroom.cli.output import print_json
    from greenroom.cli.service import segment

    reply = backend.call("DELETE", "/v1/issuers/" + segment(issuer))
    if json:
        print_json(reply)
    else:
        print("Removed.")


@with_backend(_READ)
def try_(
    backend: ServerApi,
    token: Annotated[str, typer.Argument(help="The token, or - to read it from standard input.")],
    json: Json = False,
) -> None:
    """Show, claim by claim, how the service reads a token, and everything that is wrong with it. Exit code 1 if
    it is refused.

    Example: greenroom apps issuers test eyJhbGciOi…
    """
    from greenroom.cli.output import print_json, print_table

    if token == "-":
        token = typer.get_text_stream("stdin").read().strip()
    tested = backend.call("POST", "/v1/issuers/test", {"token": token})
    if json:
        print_json(tested)
    else:
        rows = [_row(one) for one in tested["findings"]]
        print_table(("Part", "", "What is made of it"), rows, empty="")
        print("A session opens with this token." if tested["accepted"] else "The token is refused.")
    if not tested["accepted"]:
        raise typer.Exit(1)


@with_backend(_ADMIN)
def generate(
    backend: ServerApi,
    max_life: Annotated[
        float,
        duration(
            "--max-life", help="The longest lifetime of tokens that the key signs.", least=60, most=86_400, shown="1d"
        ),
    ] = 86_400.0,
    json: Json = False,
) -> None:
    """Make a key pair, register its public half as an issuer, and print the private half, only once. It never leaves
    this machine. To replace a key: generate another, let the backend use it, remove the issuer of the old one.

    Example: greenroom apps keys generate --max-life 1h
    """
    import os

    from greenroom.cli.output import print_json
    from greenroom.tokens import generate_key

    key = json_module.loads(generate_key(os.urandom, created_at=0).to_bytes())
    names = {"iss": f"backend:{key['kid']}", "aud": "greenroom"}
    public = {name: key[name] for name in ("kty", "crv", "x", "kid", "alg")}
    made = backend.call(
        "POST", "/v1/issuers",
        {
            "issuer": names["iss"], "audience": names["aud"], "algorithms": ["EdDSA"], "keys": [public],
            "nameClaim": "name", "avatarUrlClaim": "picture", "roomsClaim": "rooms",
            "maxLife": int(max_life),
        },
    )  # fmt: skip
    private = {**public, "d": key["d"], **names}
    if json:
        print_json({"issuerId": made["id"], "key": private})
        return
    print(json_module.dumps(private, separators=(",", ":")))
    typer.echo(
        f"The line above is the private key, shown only once: store it where your backend reads it. Its issuer is"
        f" {made['id']}.",
        err=True,
    )


def _row(one: dict[str, Any]) -> tuple[str, str, str]:
    if one["error"] is None:
        return one["part"], "good", one["text"]
    return one["part"], "refused", f"{one['error']} {one['hint']}".strip()


def _keys_in(path: Path) -> list[Any]:
    from greenroom.cli.exits import CliError, Exit

    try:
        found = json_module.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CliError(f"{path} cannot be read as JSON: {type(error).__name__}.", Exit.USAGE) from None
    keys = found.get("keys", [found]) if isinstance(found, dict) else found
    if not isinstance(keys, list):
        raise CliError(f"{path} holds neither a key set nor a JWK.", Exit.USAGE)
    return keys


def _print_added(made: dict[str, Any], as_json: bool) -> None:
    from greenroom.cli.output import print_json, print_pairs

    if as_json:
        print_json(made)
        return
    print_pairs({"issuer": made["id"], "keys": _keys_of(made)})
    if made["keySet"] is not None and made["keySet"]["failures"]:
        print("The key set was not fetched. Until it can be, tokens are refused with a retryable error.")


def _keys_of(one: dict[str, Any]) -> str:
    key_set = one["keySet"]
    if key_set is None:
        return ", ".join(f"{key['alg']} {key['kid'] or 'without kid'}" for key in one["keys"]) or "a shared secret"
    if key_set["failures"]:
        return f"{key_set['keys']}; not fetched: {key_set['why']}"
    if key_set["age"] is None:
        return "fetched at the next token"
    return f"{key_set['keys']}, {key_set['age']:.0f} s old"
