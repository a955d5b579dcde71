"""Response headers for browsers, built once."""

from typing import Final

Header = tuple[bytes, bytes]

NOSNIFF: Final[Header] = (b"x-content-type-options", b"nosniff")  # in every response: browsers must not guess a type


def page_headers(**sources: str) -> tuple[Header, ...]:
    """Headers of an HTML page that loads only from its own origin.

    `sources` adds to the content security policy, by directive with `_` for `-`: `img_src="data:"`.
    """
    policy = {
        "default-src": "'none'",
        "script-src": "'self'",
        "style-src": "'self'",
        "connect-src": "'self'",
        "object-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    for name, source in sources.items():
        directive = name.replace("_", "-")
        policy[directive] = f"{policy.get(directive, '')} {source}".strip()
    line = "; ".join(f"{directive} {source}" for directive, source in policy.items())
    return ((b"content-security-policy", line.encode()), (b"referrer-policy", b"no-referrer"))


# A picture that the user chose is blob:, the image that the model saw and the icons are data:.
PAGE: Final = page_headers(img_src="data: blob:", require_trusted_types_for="'script'", trusted_types="'none'")
DOCS: Final = page_headers(img_src="data:")  # Swagger needs no inline style, but makes HTML from strings
