"""The HTTP API: limits, parsing, handlers, errors and its description."""
