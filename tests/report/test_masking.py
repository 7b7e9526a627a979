"""What of an excerpt is illegible: addresses, numbers to call, keys; and what only looks like them stays."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memaudit.report.masking import mask


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("mail bob.smith@example.co.uk now", "mail •••.•••••@•••••••.••.•• now"),
        ("+49 30 1234567 or (030) 123 4567", "+•• •• ••••••• or (•••) ••• ••••"),
        ("0171-2345678", "••••-•••••••"),
        ("01 42 68 53 00", "•• •• •• •• ••"),
        ("555-123-4567", "•••-•••-••••"),
    ],
)
def test_addresses_and_numbers_to_call_are_masked(text: str, shown: str) -> None:
    assert mask(text) == shown
    assert len(mask(text)) == len(text)


@pytest.mark.parametrize(
    "text",
    [
        *("2021-03-04", "02/03/2020", "12/05/2020 and 2020", "1914-1918", "version 1.2.3.4", "1234567890"),
        *("3.14159265358979", "10 20 30 40 50 60 70", "1,234,567,890", "a@b", "@memaudit", "x = y[1:200]"),
    ],
)
def test_dates_versions_and_plain_numbers_stay(text: str) -> None:
    assert mask(text) == text


def drawn(alphabet: str, count: int) -> str:
    """A key that opens nothing; made here, so that no scanner takes this file for a leak."""
    lot = random.Random(count)
    return "".join(lot.choices(alphabet, k=count))


ALPHANUMERIC = string.ascii_letters + string.digits
KEYS = {
    "cloud": "AKIA" + drawn(string.ascii_uppercase + string.digits, 16),
    "code host": "ghp_" + drawn(ALPHANUMERIC, 36),
    "code host, fine": "github_pat_" + drawn(ALPHANUMERIC, 40),
    "model hub": "hf_" + drawn(string.ascii_letters, 34),
    "models": "sk-" + drawn(ALPHANUMERIC, 48),
    "payments": "sk_live_" + drawn(ALPHANUMERIC, 24),
    "chat": "xoxb-" + drawn(string.digits, 12) + "-" + drawn(ALPHANUMERIC, 24),
    "maps": "AIza" + drawn(ALPHANUMERIC, 35),
    "token": ".".join("eyJ" + drawn(ALPHANUMERIC, n) for n in (20, 40)) + "." + drawn(ALPHANUMERIC, 30),
}


@pytest.mark.parametrize("key", KEYS.values(), ids=KEYS)
@pytest.mark.parametrize("around", ["{}", "key = '{}'", "the key {} is his", "({})", "x: {}, y"])
def test_keys_are_illegible(key: str, around: str) -> None:
    shown = mask(around.format(key))
    assert not set(shown) & set(key) - set(around) - set("-_.")
    assert len(shown) == len(around.format(key))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("password: hunter2hunter2", "password: ••••••••••••••"),
        ("secret_key: 'abc123def456'", "secret_key: '••••••••••••'"),
        ("Authorization: Bearer abcdef0123456", "Authorization: Bearer •••••••••••••"),
        ("BEGIN PGP PRIVATE KEY BLOCK-----\n" + "Ab1/" * 20, "BEGIN PGP PRIVATE KEY BLOCK-----\n" + "•••/" * 20),
        ('"api_key": "a1b2c3d4e5f6"', '"api_key": "••••••••••••"'),
        ("SECRET=Tr0ub4dor&3x", "SECRET=•••••••••&••"),
        ("postgres://ann:pa55word@db.local/x", "postgres://•••:••••••••@db.local/x"),
        ("-----BEGIN PRIVATE KEY-----\n" + "Ab1/" * 20, "-----BEGIN PRIVATE KEY-----\n" + "•••/" * 20),
    ],
)
def test_what_is_called_a_secret_is_masked(text: str, shown: str) -> None:
    assert mask(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "password = get_password(user)", "the token is a word", "token: <eos>", "secrets: none", "sk-learn", "hf_hub",
        "sha256 = 9f86d081884c7d659a2feaa0c55ad015", "https://example.org:8080/path", "task-oriented dialogue",
        "-----END RSA PRIVATE KEY-----\nand then the story went on for a long while",
        "tokens = tokenizer(text)", "eyJust a word", "commit 1b80890d",
    ],
)  # fmt: skip
def test_words_code_and_digests_stay(text: str) -> None:
    assert mask(text) == text


@given(st.text(max_size=300))
def test_the_length_stays_and_nothing_is_masked_twice(text: str) -> None:
    shown = mask(text)
    assert len(shown) == len(text)
    assert mask(shown) == shown
