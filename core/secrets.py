"""Secrets at rest: tokens as SHA-256, everything that must be read again sealed by AES-256-GCM (NIST SP 800-38D).

The key lies in `DATA/secret.key` (0600) or comes from `PORTSIDE_SECRET_KEY`; a sealed value is bound to its `purpose`.
"""

import base64
import hashlib
import hmac
import os
import secrets
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from core.errors import PlatformError

NONCE_BYTES = 12
KEY_BYTES = 32


class SecretUnreadable(PlatformError):
    """A sealed value does not open with this key: the key file was replaced or the value was moved."""

    code = "secret_unreadable"


class Vault:
    """Seals and opens small secrets with one key, and derives from it the tokens that our processes show each other."""

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)
        # A key of its own: the one that encrypts is used for nothing else.
        self._token_key = hmac.digest(key, b"portside tokens", "sha256")

    def seal(self, plain: str, purpose: str) -> str:
        """Base64 of nonce and ciphertext; opens only with the same `purpose`."""
        nonce = os.urandom(NONCE_BYTES)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, plain.encode(), purpose.encode())).decode()

    def open(self, sealed: str, purpose: str) -> str:
        """The plain text again. Raises `SecretUnreadable`."""
        raw = base64.b64decode(sealed)
        try:
            return self._cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], purpose.encode()).decode()
        except InvalidTag as error:
            raise SecretUnreadable(f"the secret for {purpose} was sealed with another key") from error

    def replica_token(self, replica_id: str) -> str:
        """What a gateway shows to this replica over TCP: HMAC-SHA-256 of its id, the same in every process."""
        return self._derived(f"replica:{replica_id}")

    def node_token(self) -> str:
        """What the API shows to the node that it reads logs from."""
        return self._derived("node")

    def _derived(self, purpose: str) -> str:
        return hmac.digest(self._token_key, purpose.encode(), "sha256").hex()


def read_key(text: str) -> bytes:
    """The key from its base64 text; raises ValueError unless it is 32 bytes."""
    key = base64.b64decode(text.strip(), validate=True)
    if len(key) != KEY_BYTES:
        raise ValueError(f"the secret key must be {KEY_BYTES} bytes in base64, this one has {len(key)}")
    return key


def load_key(file: Path) -> bytes:
    """The key in `file`, which is made (0600) when it does not exist yet; it is there whole or not at all.

    The caller holds the data folder's lock: two that make one would each seal with their own.
    """
    if not file.exists():
        _make_key(file)
    return read_key(file.read_text())


def _make_key(file: Path) -> None:
    # Half a key, left by a process that was killed here, would keep every later start from its secrets.
    descriptor, unfinished = tempfile.mkstemp(prefix=f"{file.name}.", dir=file.parent)
    try:
        with os.fdopen(descriptor, "w") as handle:
            handle.write(base64.b64encode(os.urandom(KEY_BYTES)).decode())
            handle.flush()
            os.fsync(handle.fileno())
        Path(unfinished).replace(file)
    finally:
        Path(unfinished).unlink(missing_ok=True)


def new_token() -> str:
    """A bearer token: `pst_` and 256 random bits."""
    return f"pst_{secrets.token_urlsafe(32)}"


def hash_token(token: str) -> str:
    """What is stored of a token: SHA-256 in hex (a token is random, so no slow hash is needed)."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_webhook_secret() -> str:
    """A Standard Webhooks secret: `whsec_` and standard base64 of 32 random bytes."""
    return f"whsec_{base64.b64encode(os.urandom(32)).decode()}"
