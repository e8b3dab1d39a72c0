"""The small HTTP framework: dispatcher, routes, decoding, problems, authentication, OpenAPI, static files."""
