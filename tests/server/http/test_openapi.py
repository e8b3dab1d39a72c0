"""The OpenAPI description: valid, complete, served."""

from __future__ import annotations

from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from greenroom.server.api.routes import API_ROUTES
from greenroom.server.http.openapi import document
from greenroom.server.http.routes import Auth


def test_the_description_is_valid_openapi_3_1() -> None:
    validate(document(API_ROUTES, version="1"), cls=OpenAPIV31SpecValidator)


def test_the_description_has_all_rows_with_their_credentials_and_errors() -> None:
    paths = document(API_ROUTES, version="1")["paths"]
    for row in API_ROUTES:
        operation = paths[row.path][row.method.lower()]
        if row.auth is Auth.NONE:
            assert "security" not in operation
        else:
            needed: list[dict[str, list[str]]] = [{row.auth.value: []}]
            if row.auth is Auth.METRICS:
                needed = [{}, {"metrics": []}, {"admin": []}]
            assert operation["security"] == needed
            assert "401" in operation["responses"]
        assert ("requestBody" in operation) == row.has_body
        assert str(row.status) in operation["responses"]
