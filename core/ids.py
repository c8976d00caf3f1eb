"""Stable ids: a prefix that names the type and a time-ordered body, so that an id alone says what it is and sorts."""

import secrets
import time

# Crockford's base32 keeps byte order in text order and leaves out letters that look alike.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def new_id(prefix: str) -> str:
    """`mdl_` + 26 characters: 48 bits of Unix milliseconds, then 80 random bits (the layout of ULID)."""
    number = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return f"{prefix}_{''.join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))}"
