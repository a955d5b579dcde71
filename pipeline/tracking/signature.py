"""Signatures of registered models, for registries that others can write to: Ed25519, with keys in PEM files.

    openssl genpkey -algorithm ed25519 -out signing.pem
    openssl pkey -in signing.pem -pubout -out verify.pem

Not covered: which version has an alias. Who can write to the registry can return to an older version that was signed.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path

from pipeline.core.errors import TrackingError

TAG = "signature"


def sign(claims: Mapping[str, str], key_file: Path) -> str:
    """The signature over `claims`, in base64; the same each time. Raises TrackingError if the key cannot be used."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(key_file.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _not_a_key("MODEL_SIGNING_KEY", key_file, "private", str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _not_a_key("MODEL_SIGNING_KEY", key_file, "private", type(key).__name__)
    return base64.b64encode(key.sign(_message(claims))).decode()


def verify(claims: Mapping[str, str], signature: str | None, key_file: Path) -> None:
    """Raise TrackingError unless the signature over `claims` was made with the private key of this public key."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(key_file.read_bytes())
    except (OSError, ValueError) as error:
        raise _not_a_key("MODEL_VERIFY_KEY", key_file, "public", str(error)) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _not_a_key("MODEL_VERIFY_KEY", key_file, "public", type(key).__name__)
    remedy = "`make track` with MODEL_SIGNING_KEY signs the model that dvc.lock names"
    if signature is None:
        raise TrackingError(f"MODEL_VERIFY_KEY is set and got a version without a signature; {remedy}")
    try:
        key.verify(base64.b64decode(signature, validate=True), _message(claims))
    except (ValueError, InvalidSignature) as error:
        raise TrackingError(
            f"the signature is not that of {key_file} over this file, name, commit and data: the version was changed, "
            f"or signed with another key; {remedy}"
        ) from error


def _message(claims: Mapping[str, str]) -> bytes:
    return json.dumps(claims, sort_keys=True).encode()


def _not_a_key(variable: str, path: Path, kind: str, got: str) -> TrackingError:
    return TrackingError(f"{variable}: {path}: expected a {kind} Ed25519 key in PEM, got: {' '.join(got.split())}")
