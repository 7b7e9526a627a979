"""Personal data in excerpts: addresses, telephone numbers, and keys that open something.

Patterns miss some forms, and names altogether: nobody may rely on them for more than a courtesy.
"""

from __future__ import annotations

import re

_ADDRESS = r"[\w.%+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,24}"
_NUMBER = r"(?<![\w.])(?:\+|\()?\d(?:[ ./()-]{0,2}\d){6,16}(?!\w)"
_PERSONAL, _TO_CALL = re.compile(f"{_ADDRESS}|{_NUMBER}"), re.compile(_NUMBER)
_DATE = re.compile(r"\d{1,2}[-./]\d{1,2}[-./]\d{4}|\d{4}[-./]\d{1,2}[-./]\d{1,2}")
_SIGNS = re.compile(r"\w")
_SECRET = re.compile(
    # Keys whose issuers give them a mark of their own: clouds, code hosts, model hubs, chats, payments ...
    r"\b(?:(?:AKIA|ASIA)[0-9A-Z]{16}|gh[opsur]_\w{30,255}|github_pat_\w{22,255}|glpat-[\w-]{20,64}|hf_[A-Za-z0-9]{30,64}"
    r"|sk-[\w-]{20,400}|[rs]k_live_[A-Za-z0-9]{16,99}|xox[abeprs]-[\w-]{10,250}|AIza[\w-]{35}|npm_[A-Za-z0-9]{36}"
    r"|pypi-[\w-]{50,250})(?![\w-])"
    # ... tokens that carry what they state, private keys, and a password before the host of an address.
    r"|\beyJ[\w-]{10,2000}\.eyJ[\w-]{10,4000}\.[\w-]{10,1000}"
    r"|(?:(?<=BEGIN PRIVATE KEY-----)|(?<=BEGIN RSA PRIVATE KEY-----)|(?<=BEGIN EC PRIVATE KEY-----)"
    r"|(?<=BEGIN OPENSSH PRIVATE KEY-----)|(?<=BEGIN DSA PRIVATE KEY-----)|(?<=BEGIN ENCRYPTED PRIVATE KEY-----)"
    r"|(?<=BEGIN PGP PRIVATE KEY BLOCK-----))[^-]{40,16000}"
    r"|(?<=://)[^\s/:@]{1,64}:[^\s/@]{1,128}(?=@)"
)
_NAMED = re.compile(
    r"(?i)((?:(?:password|passwd|secret(?:[_-]?key)?|token|api[_-]?key|access[_-]?key|credential)s?[\"']?\s{0,3}[:=]\s{0,3}"
    r"|bearer\s{1,3})[\"']?)([\w+/=.!@#$%^&*-]{8,200})"
)
"""A value that only what it is called gives away; letters and digits, so that code that names a variable stays."""


def mask(text: str) -> str:
    """Return a text with addresses, telephone numbers and keys illegible, each sign of a word as ``•``.

    The length stays, so that places in the text do.
    """
    hidden = _SECRET.sub(lambda match: _dots(match[0]), text)
    hidden = _NAMED.sub(lambda match: match[1] + (_dots(match[2]) if _is_mixed(match[2]) else match[2]), hidden)
    personal = _PERSONAL if "@" in hidden else _TO_CALL  # an address is looked for from every sign of a word
    return personal.sub(lambda match: _dots(match[0]) if _is_personal(match[0]) else match[0], hidden)


def _dots(found: str) -> str:
    return _SIGNS.sub("•", found)


def _is_mixed(value: str) -> bool:
    return any(map(str.isdigit, value)) and any(map(str.isalpha, value))


def _is_personal(found: str) -> bool:
    """Return whether what looks like an address or a number to call is none of years, dates, lists and lengths."""
    groups = re.findall(r"\d+", found)
    digits = sum(map(len, groups))
    if "@" in found or (found[0] in "+(" and 8 <= digits <= 15):
        return True
    if len(groups) < 2 or not 8 <= digits <= 13:
        return False
    if _DATE.fullmatch(found):
        return False
    return found[0] == "0" or (min(map(len, groups)) >= 3 and len(groups) <= 4 and digits >= 10)
