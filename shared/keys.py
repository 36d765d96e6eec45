"""Keys as the settings carry them: base64 of 32 bytes, and rings of them by key id."""

import binascii
from base64 import b64decode

KEY_BYTES = 32  # AES-256, and the block of HMAC-SHA256


def read_key(text: str) -> bytes:
    """Raises ValueError, without the text, for anything but base64 of 32 bytes."""
    try:
        key = b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != KEY_BYTES:
        raise ValueError("must be base64 of 32 bytes")
    return key


def read_ring(text: str) -> dict[str, bytes]:
    """`kid:base64,kid2:base64` in its order. Raises ValueError, without the text, for a ring that is not one."""
    ring: dict[str, bytes] = {}
    for item in text.split(","):
        kid, _, encoded = item.partition(":")
        if not kid or kid in ring:
            raise ValueError("each entry of a key ring is kid:base64 of 32 bytes, each kid once")
        try:
            ring[kid] = read_key(encoded)
        except ValueError:
            raise ValueError("each entry of a key ring is kid:base64 of 32 bytes, each kid once") from None
    return ring
