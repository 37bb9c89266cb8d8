"""Keys for one purpose each, made from the secret of the data folder.

What signs page tokens must not also open credentials: every purpose has a key of its own, from which neither
the secret nor the key of another purpose can be worked out.
"""

import hashlib
import hmac

CREDENTIALS = "credentials of outside hosts 1"
ACCESS_TOKENS = "access tokens of logins 1"
REFRESH_TOKENS = "refresh tokens of logins 1"
OPERATION_PARAMS = "secret parameters of operations 1"
OPERATION_TOKENS = "tokens of operations 1"


def derived(secret: bytes, purpose: str) -> bytes:
    """Return the 32 bytes that stand for a purpose; `secret` must be random and at least 16 bytes long."""
    if len(secret) < 16:
        raise ValueError(f"expected a secret of at least 16 bytes, got {len(secret)}")
    return hmac.digest(secret, f"ingot {purpose}".encode(), hashlib.sha256)
