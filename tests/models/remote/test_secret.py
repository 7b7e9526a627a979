"""A key that is sent and never shown."""

from __future__ import annotations

import copy
import html
import json
import pickle
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from memaudit.models.remote.secret import STRUCK, Secret

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=50)
FORMS = (str, lambda key: json.dumps(key)[1:-1], html.escape, lambda key: quote(key, safe=""))


@given(PRINTABLE, PRINTABLE, PRINTABLE)
@example("sk-abc/def", "(", ")")
def test_a_key_is_struck_out_in_every_form(key: str, before: str, behind: str) -> None:
    secret = Secret(key)
    assert secret.header() == {"Authorization": f"Bearer {key}"}
    for form in FORMS:
        shown = secret.struck_from(before + form(key) + behind)
        assert key not in shown.replace(STRUCK, "") or len(key) < 4
        assert STRUCK in shown


@given(PRINTABLE)
def test_longer_parts_are_struck_out(key: str) -> None:
    for length in range(8, len(key) + 1):
        assert key[-length:] not in Secret(key).struck_from(f"you sent {key[-length:]}.") or STRUCK in key


def test_nothing_shows_it() -> None:
    secret = Secret("sk-123456789")
    assert repr(secret) == str(secret) == "Secret(***)"
    for write in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            write(secret)


@pytest.mark.parametrize("form", ["{}", "my {} model", '"{}"'])
def test_an_answer_is_without_a_long_key(form: str) -> None:
    key = 'sk/a"very-long-key'
    for body in (json.dumps({"id": form.format(key)}), json.dumps(form.format(key)).replace("/", "\\/")):
        struck = Secret(key).struck_from_answer(body.encode())
        assert b"very-long-key" not in struck
        assert STRUCK in str(json.loads(struck))
    assert Secret("EMPTY").struck_from_answer(b'{"text": "EMPTY"}') == b'{"text": "EMPTY"}'
    assert Secret("").struck_from_answer(b"any") == b"any"


def test_without_a_key_nothing_is_sent_or_struck_out() -> None:
    assert Secret("").header() == {}
    assert Secret("").struck_from("any text") == "any text"
    assert repr(Secret("")) == "Secret(none)"


def test_other_text_stays() -> None:
    assert Secret("sk-123456789").struck_from("model 'sk-1' not found: 12345678") == "model 'sk-1' not found: ***"
    assert Secret("sk-123456789").struck_from("no such model") == "no such model"


def test_an_answer_holds_no_key_and_any_other_text() -> None:
    key = 'sk-Very/Secret"&Key-0123456789'
    for form in (key, json.dumps(key)[1:-1], key.replace("/", "\\/")):
        assert Secret(key).struck_from_answer(f"fp_{form}-1".encode()) == b"fp_***-1"
    assert Secret("EMPTY").struck_from_answer(b"THE BOX IS EMPTY") == b"THE BOX IS EMPTY"
    assert Secret("").struck_from_answer(b"any") == b"any"
