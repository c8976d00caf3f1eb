"""A digest is valid by construction, so no path can be made from anything else."""

import hashlib

import pytest

from storage.digests import Digest, Hasher, InvalidDigest

HEX = hashlib.sha256(b"abc").hexdigest()


def test_a_digest_reads_back_what_it_writes() -> None:
    digest = Digest.parse(f"sha256:{HEX}")
    assert (digest.hex, str(digest)) == (HEX, f"sha256:{HEX}")
    assert digest == Digest(HEX)


@pytest.mark.parametrize(
    "text",
    [
        "",
        HEX,
        "sha256:",
        f"sha512:{HEX}",
        f"sha256:{HEX.upper()}",
        f"sha256:{HEX}\n",
        f" sha256:{HEX}",
        f"sha256:{HEX}0",
        f"sha256:{HEX[:-1]}",
        f"sha256:sha256:{HEX}",
        "sha256:../../../../etc/passwd",
        "sha256:" + "../" * 21 + "a",
        f"sha256:{HEX[:-2]}/.",
        f"sha256:{HEX[:-1]}\0",
        "sha256:" + "\N{ARABIC-INDIC DIGIT ONE}" * 64,
        "sha256:" + "a" * 10_000,
    ],
)
def test_any_other_text_is_refused_in_a_short_sentence(text: str) -> None:
    with pytest.raises(InvalidDigest, match="64 lower-case hexadecimal digits") as caught:
        Digest.parse(text)
    assert caught.value.status == 422
    assert len(caught.value.message) < 500


def test_the_constructor_is_no_way_around_the_check() -> None:
    with pytest.raises(InvalidDigest):
        Digest("../" * 21 + "a")


def test_bytes_are_counted_and_hashed_as_they_pass() -> None:
    hasher = Hasher()
    for piece in (b"a", bytearray(b"b"), memoryview(b"c")):
        hasher.update(piece)
    assert (hasher.digest(), hasher.size_bytes) == (Digest(HEX), 3)
