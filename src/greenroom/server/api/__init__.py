"""One module for each subject of the HTTP API, and the pages."""
