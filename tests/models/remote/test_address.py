"""Addresses as they are asked and shown, and the key that stands in none of them."""

from __future__ import annotations

import pytest

from memaudit.errors import InputError
from memaudit.models.remote.address import Endpoint, address_of, is_address, key_of, refuse_unused

SECRET = "sk-do-not-show"


@pytest.mark.parametrize(
    ("spec", "address"),
    [
        ("http://localhost:8000/v1", "http://localhost:8000/v1"),
        ("HTTPS://Api.Example.org/v1/", "https://api.example.org/v1"),
        ("http://[::1]:8000/v1", "http://[::1]:8000/v1"),
        ("http://h", "http://h"),
    ],
)
def test_an_address_is_shown_in_one_way(spec: str, address: str) -> None:
    assert is_address(spec)
    assert address_of(spec) == address


@pytest.mark.parametrize("spec", ["models/gpt", "org/name", "python:m:f", "./http", "model.gguf", ""])
def test_no_other_model_is_an_address(spec: str) -> None:
    assert not is_address(spec)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (f"http://user:{SECRET}@h/v1", "with a name or password"),
        (f"http://{SECRET}@h:99999999/v1", "no address"),
        (f"http://h/v1?key={SECRET}", "more behind its path"),
        (f"http://h/v1#{SECRET}", "more behind its path"),
        ("http:///v1", "without a host"),
    ],
)
def test_what_may_be_a_secret_is_refused_and_not_shown(spec: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refused:
        address_of(spec)
    assert SECRET not in str(refused.value)


def test_a_key_comes_from_the_variable_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THE_KEY", f" {SECRET}\n")
    assert key_of(Endpoint(api_key_env="THE_KEY")) == SECRET
    assert key_of(Endpoint()) == ""
    monkeypatch.setenv("THE_KEY", f"{SECRET}\nX-Other: 1")
    with pytest.raises(InputError, match="cannot be sent in a header") as refused:
        key_of(Endpoint(api_key_env="THE_KEY"))
    assert SECRET not in str(refused.value)
    with pytest.raises(InputError, match="--api-key-env: no variable NO_SUCH_KEY is set"):
        key_of(Endpoint(api_key_env="NO_SUCH_KEY"))
    with pytest.raises(InputError, match="no variable with this name is set") as refused:
        key_of(Endpoint(api_key_env="hf_AbCdEfGhIjKl"))
    assert "hf_" not in str(refused.value)
    with pytest.raises(InputError, match="it was given no name of a variable") as refused:
        key_of(Endpoint(api_key_env=SECRET))
    assert SECRET not in str(refused.value)


def test_how_an_address_is_reached_is_refused_where_there_is_none() -> None:
    refuse_unused(None, ["models/gpt"])
    refuse_unused(Endpoint(), ["models/gpt"])
    refuse_unused(Endpoint(timeout=3), [object(), "http://h/v1"])
    with pytest.raises(InputError, match="no model is one"):
        refuse_unused(Endpoint(timeout=3), ["models/gpt", object()])
