"""How two plans differ, in words: by the names of values, or by what a server answers otherwise."""

from __future__ import annotations

from typing import Any

from memaudit.runs.plan_changes import another_server, differing, same_models

ASIDE = ("command", "identity")


def plan(**server: Any) -> dict[str, Any]:
    endpoint = {"url": "http://h/v1", "fingerprint": "a", "gives": ["continuations"], **server}
    model = {"sha256": repr(sorted(endpoint.items())), "self_test": [-1.0], "endpoint": endpoint}
    return {"command": repr(server), "identity": repr(server), "model": model, "options": {"limit": 5}}


def test_differences_have_dotted_names_and_none_that_was_set_aside() -> None:
    other = plan(fingerprint="b")
    assert set(differing(plan(), other, ASIDE)) == {"model.endpoint.fingerprint", "model.sha256"}
    assert list(differing(plan(), plan(), ASIDE)) == []
    assert set(differing({"a": 1}, {"b": {"c": 2}}, ())) == {"a", "b"}


def test_a_server_that_answers_otherwise_is_named_by_what_it_does() -> None:
    said = another_server(plan(), plan(fingerprint=None, gives=["continuations", "infilling"]), ASIDE)
    assert said == (
        "http://h/v1: another model answers than when the run began: fingerprint was a and is none; gives was"
        " continuations and is continuations, infilling"
    )
    changed = plan()
    changed["model"]["self_test"] = [-2.0]
    assert another_server(plan(), changed, ASIDE).endswith("it answers the same questions otherwise")


def test_where_more_differs_or_another_address_it_is_another_plan() -> None:
    other = plan(fingerprint="b")
    other["options"] = {"limit": 6}
    assert another_server(plan(), other, ASIDE) == ""
    assert another_server(plan(), plan(url="http://other/v1"), ASIDE) == ""
    assert another_server({"model": {"sha256": "x"}}, {"model": {"sha256": "y"}}, ASIDE) == ""
    assert another_server({}, {"model": None}, ASIDE) == ""


def test_answers_hold_for_a_plan_that_asks_the_same_models() -> None:
    assert same_models(plan(), {**plan(), "options": {"limit": 6}})
    assert not same_models(plan(), plan(fingerprint="b"))
    assert not same_models(plan(), {**plan(), "membership": {"references": [{"sha256": "r"}]}})
    assert same_models({"results": []}, {"results": [1]})
