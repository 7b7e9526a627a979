"""A chat template is code: what it costs is limited, what it reaches for is refused, and no process stays behind."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError

from memaudit.errors import ModelError
from memaudit.text.chat import rendering, sandbox
from memaudit.text.chat.rendering import Renderer
from tests.faults.templates import RUNAWAY

SAID = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "[b]"}]


def test_conversations_are_rendered_in_one_process(monkeypatch):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(rendering.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1])
    template = "{{ bos_token }}{% for m in messages %}{{ m.role }}={{ m.content | tojson }};{% endfor %}"
    with Renderer("m", template, {"bos_token": "<s>"}, "[]") as renderer:
        answers = [answer for _ in range(4) for answer in renderer.render([SAID] * 500)]
    assert {answer.text for answer in answers} == {'<s>user="a";assistant="[b]";'}
    assert len(answers) == 2000
    assert len(started) == 1
    assert not Path(f"/proc/{started[0].pid}").exists()


@pytest.mark.parametrize("source", [RUNAWAY[name] for name in ("many", "class", "syntax", "deep", "globals")])
def test_a_hostile_template_is_one_line(monkeypatch, source):
    started = []
    start = subprocess.Popen
    monkeypatch.setattr(rendering.subprocess, "Popen", lambda *a, **k: started.append(start(*a, **k)) or started[-1])
    try:
        with Renderer("models/chat", source, {}, "[]") as renderer:
            (answer,) = renderer.render([SAID])
        assert answer.refused or not answer.text.strip()  # what it may not see is nothing, until more is asked of it
        assert "\n" not in answer.refused
    except ModelError as error:
        assert str(error).startswith("models/chat: the chat template cannot be used: ")
        assert "\n" not in str(error)
        assert len(str(error)) < 400
    assert started[0].poll() is not None
    assert not Path(f"/proc/{started[0].pid}").exists()


def test_a_template_may_keep_variables_and_none_of_pythons():
    kept = (
        "{% set ns = namespace(n=1, items={}) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}"
    )
    with Renderer("m", kept, {}, "[]") as renderer:
        (answer,) = renderer.render([SAID])
    assert (answer.text, answer.refused) == ("3", "")
    for name in ("namespace(_x=1)", "namespace({'__class__': 1})"):
        template = sandbox.compiled(f"{{% set ns = {name} %}}", sandbox.Dated())
        with pytest.raises(SecurityError, match="the variable _"):
            sandbox.rendered(template, SAID, {}, ask=False)
    template = sandbox.compiled("{% set ns = namespace() %}{% set ns.__class__ = 1 %}", sandbox.Dated())
    with pytest.raises(SecurityError, match="the variable __class__"):
        sandbox.rendered(template, SAID, {}, ask=False)


def test_what_a_template_says_of_a_conversation_is_told():
    with Renderer("m", "{{ raise_exception('roles\nmust\x1b alternate') }}", {}, "[]") as renderer:
        (answer,) = renderer.render([SAID])
    assert answer.refused == "roles\\x0amust\\x1b alternate"


def test_an_error_of_one_conversation_leaves_the_others():
    template = "{% if messages | length > 1 %}{{ messages[0].content.nothing() }}{% endif %}{{ messages[0].content }}"
    with Renderer("m", template, {}, "[]") as renderer:
        one, other = renderer.render([SAID, SAID[:1]])
    assert one.refused.startswith("UndefinedError: ")
    assert other.text == "a"


def test_the_environment_is_not_shown_to_the_process(monkeypatch):
    monkeypatch.setenv("MY_KEY", "secret")
    assert "MY_KEY" not in rendering._environment()


def test_a_template_knows_whether_it_asked_for_the_day():
    for source, dated in (("{{ strftime_now('%Y') }}", True), ("a", False)):
        with Renderer("m", source, {}, "[]") as renderer:
            renderer.render([SAID])
        assert renderer.dated is dated


def test_marks_that_a_template_loses_are_asked_for_again():
    clock = sandbox.Dated()
    template = sandbox.compiled("{% for m in messages %}{{ m.content[1:-1] }}|{% endfor %}", clock)
    assert sandbox.answer(template, SAID, "[]", {}) == {"plain": "||", "prompts": ["|"]}
    kept = sandbox.compiled("{% for m in messages %}{{ m.content }}|{% endfor %}", clock)
    assert sandbox.answer(kept, SAID, "[]", {}) == {"text": "a|[b]|"}


def test_a_generation_block_is_what_is_in_it():
    template = sandbox.compiled("{% generation %}\n{{ messages[0].content }}{% endgeneration %}\n.", sandbox.Dated())
    assert sandbox.rendered(template, SAID, {}, ask=False) == "a."
