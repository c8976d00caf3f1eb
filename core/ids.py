"""Stable ids: a prefix that names the type and a time-ordered body, so that an id alone says what it is and sorts."""

import secrets
import time

# Crockford's base32 keeps byte order in text order and leaves out letters that look alike.
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = tuple(first + second for first in ALPHABET for second in ALPHABET)  # each request has an id


def new_id(prefix: str) -> str:
    """`mdl_` + 26 characters: 48 bits of Unix milliseconds, then 80 random bits (the layout of ULID)."""
    return _spelled(prefix, (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80))


def id_at(prefix: str, micros: int) -> str:
    """The least id that could be made at an instant: a bound for a search by age through the primary key."""
    return _spelled(prefix, (micros // 1000) << 80)


def micros_of(spelled: str) -> int:
    """The instant at which an id was made, in microseconds, exact to a millisecond."""
    number = 0
    for letter in spelled.rpartition("_")[2]:
        number = number << 5 | ALPHABET.index(letter)
    return (number >> 80) * 1000


def _spelled(prefix: str, number: int) -> str:
    return f"{prefix}_{''.join([PAIRS[number >> shift & 1023] for shift in range(120, -1, -10)])}"
