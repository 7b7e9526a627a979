"""What is asked of a server, against a real one, undisturbed and through a proxy that commits faults."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from memaudit.errors import EndpointError, MemauditError
from memaudit.models.remote import faults, waits
from memaudit.models.remote import transport as module
from memaudit.models.remote.journal import ANSWERS
from memaudit.models.remote.transport import BadAnswerError, RefusedRequestError
from tests.models.remote.asking import LENGTH, PATH, ask_all, body, job, tiny, transport
from tests.models.remote.proxy import FAULTS, HTML, Proxy, Seen
from tests.models.remote.servers import llama_cpp

pytest.importorskip("xllamacpp")

QUESTIONS = 24
SHORT = 1.5
"""Seconds after which a server is taken to hang; one that is merely slow is asked again, which does no harm."""
Made = tuple[int, dict[str, str], bytes]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with llama_cpp(tiny(), context=64) as url:
        yield url


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reach this machine, and wait next to nothing."""
    monkeypatch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")
    monkeypatch.setattr(waits, "FIRST", 1e-3)
    monkeypatch.setattr(waits, "BAD_FIRST", 1e-3)
    monkeypatch.setattr(waits, "LONGEST", 1e-2)


@pytest.fixture(scope="module")
def undisturbed(server: str) -> list[Any]:
    with pytest.MonkeyPatch.context() as patch, transport(server) as asker:
        patch.setenv("MEMAUDIT_TEST_LOOPBACK", "1")
        return ask_all(asker, QUESTIONS)


def always(status: int, told: Any = "", headers: dict[str, str] | None = None) -> Any:
    """Return what answers every POST in the server's place."""

    def answer(seen: Seen) -> Made | None:
        text = told if isinstance(told, str) else json.dumps(told)
        return (status, headers or {}, text.encode()) if seen.method == "POST" else None

    return answer


def refused(proxy: Proxy, kind: type[MemauditError] = EndpointError, **how: Any) -> tuple[MemauditError, list[str]]:
    """Ask one question in vain; return the error and what the user was told."""
    told: list[str] = []
    with transport(proxy.url, told.append, **how) as asker, pytest.raises(kind) as caught:
        ask_all(asker, 1)
    return caught.value, told


def test_answers_are_those_of_the_server(server: str, undisturbed: list[Any]) -> None:
    assert [len(answer) for answer in undisturbed] == [LENGTH] * QUESTIONS
    assert len({json.dumps(answer) for answer in undisturbed}) == QUESTIONS
    with transport(server) as asker:
        assert asker.get("/models")["data"]
        assert asker.get("^/props")["total_slots"] == 1
        assert asker.get("/nothing") is None
        assert ask_all(asker, 3) == undisturbed[:3]
        assert asker.spent == f"6 requests, {3 * (4 + LENGTH)} tokens, 0 asked again"
        assert asker.fingerprint


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_leaves_no_trace_in_the_answers(
    server: str, undisturbed: list[Any], fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "seconds_to_wait", lambda headers: 1e-3 * int(headers.get("retry-after", 0)))
    timeout, share = (SHORT, 0.1) if fault == "hang" else (20.0, 0.3)
    with ExitStack() as stack:
        proxy = stack.enter_context(Proxy(server, faults=[fault], share=share, seed=2))
        asker = stack.enter_context(transport(proxy.url, timeout=timeout, connections=4))
        assert ask_all(asker, QUESTIONS) == undisturbed
        spent = asker.spent
    assert set(proxy.committed) == {fault}
    again = len(proxy.posts) - QUESTIONS
    assert spent.startswith(f"{len(proxy.posts)} requests, ")
    assert spent.endswith(f", {again} asked again")
    assert again == len(proxy.committed) or (fault == "hang" and again > len(proxy.committed)), "or the machine is busy"


@pytest.mark.parametrize("seed", range(2))
def test_all_faults_together_leave_no_trace(
    server: str, undisturbed: list[Any], seed: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(faults, "seconds_to_wait", lambda headers: 1e-3 * int(headers.get("retry-after", 0)))
    with Proxy(server, faults=FAULTS, seed=seed) as proxy, transport(proxy.url, timeout=SHORT, connections=4) as asker:
        asker.keep_in(tmp_path)
        assert ask_all(asker, QUESTIONS) == undisturbed
        assert sum(one.whole for one in proxy.posts) >= QUESTIONS
        before = len(proxy.posts)
        assert ask_all(asker, QUESTIONS) == undisturbed
        assert len(proxy.posts) == before
    assert len(set(proxy.committed)) >= 5


def test_what_was_answered_is_not_asked_again(server: str, undisturbed: list[Any], tmp_path: Path) -> None:
    with Proxy(server) as proxy:
        with transport(proxy.url) as asker:
            first = ask_all(asker, 4)
            asker.keep_in(tmp_path)
            ask_all(asker, 8)
        assert (tmp_path / ANSWERS).stat().st_mode & 0o777 == 0o600
        with transport(proxy.url) as asker:
            asker.keep_in(tmp_path)
            assert ask_all(asker, 10) == undisturbed[:10]
            assert asker.spent == f"10 requests, {10 * (4 + LENGTH)} tokens, 0 asked again"
            assert len(proxy.posts) == 10
            job(asker, 0, attempt=1)()
            job(asker, 0, kept=False)()
            job(asker, 0, kept=False)()
        assert len(proxy.posts) == 13
    assert first == undisturbed[:4]


def test_one_question_is_asked_once_however_many_ask_it(server: str) -> None:
    with Proxy(server) as proxy, transport(proxy.url, connections=8) as asker:
        answers = asker.each([job(asker, 0)] * 8)
        assert answers == [answers[0]] * 8
        assert len(proxy.posts) == 1


def test_no_connection_is_said_at_once(server: str) -> None:
    with Proxy(server) as proxy:
        pass  # nobody listens there any more
    error, told = refused(proxy)
    assert str(error).startswith(f"{proxy.url}: no connection: ")
    assert "\n" not in str(error)
    assert "refused" in str(error)
    assert told == []


def test_a_server_that_went_away_is_waited_for(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    with Proxy(server) as proxy, transport(proxy.url, told.append) as asker:
        ask_all(asker, 1)
        spent = asker.spent
        proxy.__exit__()
        with pytest.raises(EndpointError, match=r"no answer in 10 tries: .* \(what was answered is kept") as caught:
            ask_all(asker, 2)
        assert caught.value.__context__ is None
        assert asker.spent.partition(" tokens")[0] == spent.partition(" tokens")[0], "nothing of these was sent"
    assert len(told) == 1
    assert told[0].endswith("asked again (try 4)")


@pytest.mark.parametrize("status", [400, 404, 413, 422, 501])
def test_a_refusal_is_not_asked_again(server: str, status: int) -> None:
    with Proxy(server, answer=always(status, {"error": {"message": "no\x1b[2J" + "x" * 900}})) as proxy:
        error, _ = refused(proxy, RefusedRequestError)
        assert len(proxy.posts) == 1
    assert isinstance(error, RefusedRequestError)
    assert error.status == status
    assert f"{status}: no\\x1b[2Jxxx" in str(error)
    assert len(str(error)) < 300


QUOTA = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("status", "told", "said"),
    [
        (429, QUOTA, "a quota is used up: 429: insufficient_quota: You exceeded"),
        (402, "Pay", "a quota is used up: 402: Pay"),
        (429, {"detail": "Your credit balance is too low"}, "a quota is used up"),
        (401, {"error": "wrong key"}, "401: wrong key (name the variable with the key: --api-key-env)"),
        (403, "", "403 (name the variable"),
    ],
)
def test_what_only_a_person_can_settle_is_not_asked_again(server: str, status: int, told: Any, said: str) -> None:
    with Proxy(server, answer=always(status, told, {"retry-after": "0"})) as proxy:
        error, _ = refused(proxy)
        assert len(proxy.posts) == 1
    assert said in str(error)
    assert not isinstance(error, RefusedRequestError)


def test_a_redirection_is_not_followed(server: str) -> None:
    with Proxy(server) as other, Proxy(server) as proxy:
        proxy.answer = always(307, "", {"location": f"{other.url}{PATH}"})
        error, _ = refused(proxy)
        assert f"307: it has moved: {other.url}{PATH}" in str(error)
        assert other.seen == []


def test_a_page_instead_of_a_server_is_told_soon(server: str) -> None:
    with Proxy(server, answer=always(200, HTML.decode())) as proxy:
        error, _ = refused(proxy)
        assert len(proxy.posts) == module.BAD_TRIES
    assert "no JSON: <html><body><h1>Bad gateway" in str(error)


@pytest.mark.parametrize("told", [{}, {"choices": []}, {"choices": "no"}, [], 7, None, {"choices": [{"logprobs": 3}]}])
def test_answers_of_another_form_end_by_name(server: str, told: Any) -> None:
    with Proxy(server, change_answer=lambda *_: told) as proxy:
        error, _ = refused(proxy)
        assert len(proxy.posts) == module.BAD_TRIES
    assert "answers otherwise than it is asked" in str(error)


def test_an_error_with_status_200_is_quoted(server: str) -> None:
    with Proxy(server, change_answer=lambda *_: {"error": {"message": "overloaded\n"}}) as proxy:
        error, _ = refused(proxy)
    assert "answers otherwise than it is asked: overloaded\\x0a: no log-probabilities" in str(error)


def test_what_a_server_calls_itself_holds_no_key_and_stands_in_one_line(
    server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("THE_KEY", "sk-of-the-service-1234")
    name = "fp\x1b[2J\n" + "x" * 10_000
    change: Any = {"system_fingerprint": f"sk-of-the-service-1234 {name}", "usage": {"prompt_tokens": 2**64 - 1}}
    with (
        Proxy(server, change_answer=lambda _, __, answer: {**answer, **change}) as proxy,
        transport(proxy.url, api_key_env="THE_KEY") as asker,
    ):
        asker.ask(PATH, body(0), lambda answer: len(answer["choices"]), tokens=20)
        assert asker.fingerprint is not None
        assert asker.fingerprint.startswith("*** fp\\x1b[2J\\x0ax")
        assert len(asker.fingerprint) <= module.SHOWN


def test_a_count_beyond_all_numbers_is_none(server: str, tmp_path: Path) -> None:
    usage = {"prompt_tokens": 2**64 - 1, "completion_tokens": 2**64 - 1}
    counting = Proxy(server, change_answer=lambda _, __, answer: {**answer, "usage": usage})
    with counting as proxy, transport(proxy.url) as asker:
        asker.keep_in(tmp_path)
        asker.ask(PATH, body(0), lambda answer: len(answer["choices"]), tokens=20)
        assert asker.spent == "1 requests, 20 tokens, 0 asked again"


def test_a_value_that_json_does_not_have_is_not_kept(server: str) -> None:
    with transport(server) as asker, pytest.raises(EndpointError, match="answers otherwise"):
        asker.ask(PATH, body(0), lambda _: [float("nan"), None], tokens=20)


def test_waiting_is_said_once_for_all_and_only_up_to_a_cap(server: str) -> None:
    asked = threading.Event()

    def first(seen: Seen) -> Made | None:
        if asked.is_set() or seen.method != "POST":
            return None
        if len(proxy.posts) >= 2:
            asked.set()
        return 503, {"retry-after": "1"}, b""

    told: list[str] = []
    with Proxy(server, answer=first) as proxy, transport(proxy.url, told.append, connections=4) as asker:
        ask_all(asker, 4)
        assert told == [f"{proxy.url}: 503: waits 1 s, as the server asks"]
        proxy.answer = always(429, "slow down", {"retry-after": "121"})
        before = len(proxy.posts)
        with pytest.raises(
            EndpointError, match=r"asks to wait 121 s \(Retry-After\), longer than 120 s: 429: slow down"
        ):
            job(asker, 5)()
        assert len(proxy.posts) == before + 1


def test_another_fingerprint_ends_the_run(server: str, undisturbed: list[Any], tmp_path: Path) -> None:
    def renamed(_: str, asked: Any, answer: Any) -> Any:
        return {**answer, "system_fingerprint": None if asked["prompt"][1] == 11 else names[0]}

    names = ["fp_1"]
    with Proxy(server, change_answer=renamed) as proxy:
        with transport(proxy.url) as asker:
            asker.keep_in(tmp_path)
            ask_all(asker, 4)
            assert asker.fingerprint == "fp_1"
            names[0] = "fp_2"
            with pytest.raises(EndpointError, match="system_fingerprint was fp_1, is fp_2") as caught:
                ask_all(asker, 6)
            assert "run again in a new folder" in str(caught.value)
            assert ask_all(asker, 4) == undisturbed[:4], "what was answered before"
        for ask_first in (True, False):
            with transport(proxy.url) as asker, pytest.raises(EndpointError, match="was fp_1, is fp_2"):
                if ask_first:
                    ask_all(asker, 1)
                asker.keep_in(tmp_path)
                ask_all(asker, 6)


@pytest.mark.parametrize("connections", [1, 5])
@pytest.mark.parametrize("limit", ["requests", "tokens"])
def test_budgets_are_never_exceeded(server: str, tmp_path: Path, limit: str, connections: int) -> None:
    """Of all sessions together, with faults, the requests that went off unanswered included."""
    allowed = 13 if limit == "requests" else 13 * (4 + LENGTH) + 7
    how: dict[str, Any] = {f"max_{limit}": allowed, "connections": connections}
    kept = 0
    with Proxy(server, faults=["500", "missing"], share=0.2) as proxy:
        for session in range(3):
            with transport(proxy.url, **how) as asker:
                asker.keep_in(tmp_path)
                with pytest.raises(EndpointError, match="the budget is used up: ") as caught:
                    ask_all(asker, QUESTIONS)
            assert f"raise --max-{limit} and run the same again" in str(caught.value)
            assert len(proxy.posts) <= 13
            if session == 0:
                kept = sum(one.whole for one in proxy.posts)
        assert len(proxy.posts) == 13
        assert sum(one.whole for one in proxy.posts) >= kept > 5
        with transport(proxy.url, connections=connections) as asker:
            asker.keep_in(tmp_path)
            ask_all(asker, QUESTIONS)
        assert sum(one.whole for one in proxy.posts) == QUESTIONS, "each was answered once"


def test_tokens_that_were_not_needed_are_given_back(server: str) -> None:
    """Each books far more than it takes, so that they have to wait for each other; none is refused."""
    with Proxy(server) as proxy, transport(proxy.url, connections=4, max_tokens=400 + 20 * QUESTIONS) as asker:
        ask_all(asker, QUESTIONS, tokens=400)
        assert asker.spent == f"24 requests, 480 of {400 + 480} tokens, 0 asked again"


def test_a_prompt_beyond_the_context_is_refused_with_what_to_do(server: str) -> None:
    told = always(400, {"error": {"message": "exceeds the available context size"}})
    fewer = pytest.raises(RefusedRequestError, match="ask for fewer tokens: --prefix")
    with Proxy(server, answer=told) as proxy, transport(proxy.url) as asker, fewer:
        job(asker, 1)()


KEY = 'sk-Very/Secret"&Key-0123456789'


def test_the_key_is_sent_and_shown_nowhere(
    server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("THE_KEY", KEY)
    caplog.set_level(0)
    shown: list[str] = []
    echoes = [KEY, KEY[2:-3], json.dumps(KEY), KEY.replace("/", "\\/"), KEY[:12] + "*****" + KEY[-9:]]
    with Proxy(server) as proxy, ExitStack() as stack:
        asker = stack.enter_context(transport(proxy.url, shown.append, api_key_env="THE_KEY", timeout=0.3))
        asker.keep_in(tmp_path)
        ask_all(asker, 1)
        assert {one.headers["authorization"] for one in proxy.posts} == {f"Bearer {KEY}"}
        for status in (400, 401, 402, 429, 500, 302, 200):
            for echo in echoes:
                proxy.answer = always(status, f"you sent {echo}", {"location": f"http://h/?{echo}", "retry-after": "0"})
                with pytest.raises(MemauditError) as caught:
                    job(asker, 1)()
                shown += everything_of(caught.value)
        proxy.answer = always(200, {"text": f"you sent {KEY}.", "system_fingerprint": f"fp-{KEY}"})
        other = stack.enter_context(transport(proxy.url, shown.append, api_key_env="THE_KEY"))
        shown += [other.ask(PATH, body(3), lambda answer: answer["text"], tokens=20), str(other.fingerprint)]
        proxy.answer, proxy.faults, proxy.share = None, ["reset", "hang", "half"], 1 / 3
        monkeypatch.setattr(module, "TRIES", 2)
        for which in range(6):
            with pytest.raises(MemauditError) as caught:
                job(asker, 40 + which)()
            shown += everything_of(caught.value)
        proxy.answer = always(200, {"error": KEY, "choices": []})
        with pytest.raises(MemauditError) as caught:
            asker.ask(PATH, body(2), lambda answer: read_badly(answer["error"]), tokens=20)
        shown += [*everything_of(caught.value), repr(asker), repr(vars(asker)), repr(asker._secret)]
    shown += [caplog.text, (tmp_path / ANSWERS).read_text()]
    parts = {KEY[at : at + 9] for at in range(len(KEY) - 8)}
    assert [text for text in shown if any(part in text for part in parts)] == []


def read_badly(text: str) -> None:
    raise BadAnswerError(f"what is {text}?")


def everything_of(error: BaseException) -> list[str]:
    """Return all that can be seen of an error: its text, and the locals of the frames of the package and of others."""
    seen, left = [], [error]
    while left:
        one = left.pop()
        left += [other for other in (one.__cause__, one.__context__) if other is not None]
        seen += [str(one), repr(one)]
        frame = one.__traceback__
        while frame is not None:
            if "/tests/" not in frame.tb_frame.f_code.co_filename:
                seen += [repr(value) for value in frame.tb_frame.f_locals.values()]
            frame = frame.tb_next
    return seen


def test_an_interruption_ends_all_at_once(server: str) -> None:
    with Proxy(server, faults=["hang"], share=1.0) as proxy, transport(proxy.url, timeout=600.0) as asker:

        def interrupt() -> None:
            while len(proxy.posts) < 2:
                time.sleep(0.005)
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            ask_all(asker, QUESTIONS)
        thread.join()
        assert len(proxy.posts) == 2, "none was begun, and none asked again"
        proxy.faults = []
        assert len(ask_all(asker, 2)) == 2, "it can be used again"


def test_an_interruption_ends_a_wait(server: str) -> None:
    with Proxy(server, answer=always(503, "", {"retry-after": "100"})) as proxy:
        told: list[str] = []
        with transport(proxy.url, told.append) as asker:

            def interrupt() -> None:
                while not told:
                    time.sleep(0.005)
                os.kill(os.getpid(), signal.SIGINT)

            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt):
                ask_all(asker, 2)
            thread.join()
            assert len(told) == 1
