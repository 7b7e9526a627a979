"""What a probe finds out about real servers, about honest ones of every dialect, and about six liars of each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from pydoc_data.topics import topics
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import pytest
import torch

from memaudit.errors import ModelError
from memaudit.findings import Control
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.probe import Probed, probe
from memaudit.models.remote.probing.agreement import AGREEMENT, ALONE, GREEDILY, READ, SPACES
from memaudit.models.remote.probing.counting import BEYOND, START, TOKENIZATION, WHOLE
from memaudit.models.remote.probing.ending import END, NOT_SEEN
from memaudit.models.remote.probing.trials import are_of_one_model
from memaudit.models.remote.transport import Transport
from memaudit.models.transformer import CausalTransformer, new_gpt
from memaudit.text.tokenize import TrainedTokenizer, train_tokenizer
from tests.gguf_files import write_gguf
from tests.models.remote.proxy import FAULTS, Proxy, shift
from tests.models.remote.servers import LOOPBACK, llama_cpp
from tests.models.remote.speaking import speaking

CONTEXT = 96
FINGERPRINT = "the server's fingerprint"
_FOLDER = TemporaryDirectory(prefix="probed-")


@cache
def tokenizer(text: str = "while") -> TrainedTokenizer:
    return train_tokenizer("bpe", [topics[text], " ".join(sorted(topics))], 300)


@cache
def model(seed: int = 1) -> CausalTransformer:
    """Return a model that has seen some text: a new one writes the same token again and again."""
    made = new_gpt(tokenizer(), style="llama", width=32, layers=1, heads=2, context_length=CONTEXT, seed=seed)
    [text] = tokenizer().encode_batch([topics["while"] + topics["lists"]])
    rows = torch.tensor(np.stack([text.ids[at : at + 33] for at in range(0, len(text) - 33, 16)])).long()
    optimizer = torch.optim.AdamW(made.module.parameters(), lr=1e-2, foreach=False)
    for _ in range(60):
        logits = made.module(input_ids=rows[:, :-1]).logits
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return made


@cache
def gguf(seed: int = 1) -> Path:
    folder = Path(_FOLDER.name) / str(seed)
    model(seed).save(folder)
    write_gguf(folder, folder / "model.gguf")
    return folder / "model.gguf"


@pytest.fixture(autouse=True)
def loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LOOPBACK, "1")


@pytest.fixture(scope="module")
def llama() -> Iterator[str]:
    """A real server; every test of this file may ask it."""
    with llama_cpp(gguf(), context=CONTEXT) as address:
        yield address


def found(address: str, *, of: TrainedTokenizer | None = None, **options: Any) -> Probed:
    """Return what a probe finds out, with a transport of its own, as in a session of its own."""
    endpoint = Endpoint(**options)
    transport = Transport(address, endpoint, lambda _: None)
    try:
        return probe(transport, endpoint, of or tokenizer())
    finally:
        transport.close()


def refused(address: str, **options: Any) -> str:
    with pytest.raises(ModelError) as caught:
        found(address, **options)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{address}: ")
    return str(caught.value)


def outcomes(probed: Probed) -> dict[str, bool | None]:
    return {control.name: control.passed for control in probed.controls}


def detail(probed: Probed, name: str) -> str:
    return next(control.detail for control in probed.controls if control.name == name)


SCORING = (TOKENIZATION, START, WHOLE, READ, AGREEMENT, GREEDILY, ALONE, BEYOND)


def test_a_real_server_passes_every_check_and_is_found_the_same_again(llama: str) -> None:
    probed = found(llama)
    assert outcomes(probed) == dict.fromkeys((*SCORING, END, FINGERPRINT), True)
    assert probed.dialect.name == "llamacpp"
    assert probed.context_length == CONTEXT
    assert probed.facts["sends"] == "token ids"
    assert probed.facts["end"] == "stops and says so, with an entry for the end token"
    assert f"one of {CONTEXT + 8} tokens" in detail(probed, BEYOND)
    again = found(llama)
    assert (again.facts, again.behaviour, again.controls) == (probed.facts, probed.behaviour, probed.controls)
    json.dumps([dict(probed.facts), probed.behaviour], allow_nan=False)


def test_a_probe_costs_few_requests_and_keeps_nothing(llama: str, tmp_path: Path) -> None:
    with Proxy(llama) as before:
        transport = Transport(before.url, Endpoint(), lambda _: None)
        transport.keep_in(tmp_path)
        probe(transport, Endpoint(), tokenizer())
        asked = len(before.posts)
        probe(transport, Endpoint(), tokenizer())
        transport.close()
    assert len(before.posts) == 2 * asked
    assert asked <= 90


def test_another_model_behind_the_same_name_is_another(llama: str) -> None:
    with llama_cpp(gguf(2), context=CONTEXT, slots=2) as other:
        changed = found(other)
    assert outcomes(changed)[ALONE] is True
    assert changed.behaviour != found(llama).behaviour


def prompts(change: Callable[[list[int]], list[int]]) -> Callable[[str, Any], Any]:
    """Return a change of the prompts that are sent as ids."""

    def changed(_: str, body: Any) -> Any:
        return {**body, "prompt": change(body["prompt"])} if isinstance(body.get("prompt"), list) else body

    return changed


def doubled(ids: list[int]) -> list[int]:
    return [cast("int", tokenizer().bos_id), *ids]


def missing(ids: list[int]) -> list[int]:
    return ids[1:] if ids[0] == tokenizer().bos_id else ids


def cut(ids: list[int]) -> list[int]:
    return ids[-20:]


def cut_within(ids: list[int]) -> list[int]:
    return ids if len(ids) <= 28 else [*ids[:6], *ids[-22:]]


def templated(ids: list[int]) -> list[int]:
    head, tail = tokenizer().encode_batch(["User: ", "\nAssistant: "])
    return [*head.ids.tolist(), *ids, *tail.ids.tolist()]


def shifted(_: str, __: Any, answer: Any) -> Any:
    shift(answer)
    return answer


def uncounted(_: str, body: Any, answer: Any) -> Any:
    """Count what was sent, whatever was read."""
    if isinstance(body.get("prompt"), list):
        for part, name in ((answer.get("usage", {}), "prompt_tokens"), (answer, "tokens_evaluated")):
            if name in part:
                part[name] = len(body["prompt"])
    return answer


REASONS = {
    "start-doubled": "puts a start token of its own before every prompt",
    "start-missing": "the start token is missing",
    "prompt-cut": "cuts prompts",
    "template": "wraps every prompt in",
    "shifted": "log-probabilities are shifted by one",
    "echo-ignored": "drops echo",
}


@pytest.mark.parametrize(
    ("lie", "change"),
    [("start-doubled", doubled), ("start-missing", missing), ("prompt-cut", cut), ("template", templated)],
)
def test_a_real_server_behind_one_that_changes_prompts_is_refused(
    llama: str, lie: str, change: Callable[[list[int]], list[int]]
) -> None:
    with Proxy(llama, change_request=prompts(change)) as liar:
        assert REASONS[lie] in refused(liar.url)


@pytest.mark.parametrize(
    ("lie", "change"), [("start-missing", missing), ("prompt-cut", cut), ("prompt-cut", cut_within)]
)
def test_what_is_done_to_prompts_shows_where_counts_hide_it(
    llama: str, lie: str, change: Callable[[list[int]], list[int]]
) -> None:
    with Proxy(llama, change_request=prompts(change), change_answer=uncounted) as liar:
        told = refused(liar.url)
    assert REASONS[lie] in told
    assert "to the last bit" in told


def test_a_real_server_behind_one_that_shifts_values_is_refused(llama: str) -> None:
    with Proxy(llama, change_answer=shifted) as liar:
        assert REASONS["shifted"] in refused(liar.url)


def test_faults_change_nothing_of_what_is_found(llama: str) -> None:
    some = [fault for fault in FAULTS if fault not in ("hang", "429", "500")]  # which take time alone
    with Proxy(llama, faults=some, share=0.04) as faulty:
        probed = found(faulty.url)
        assert faulty.committed
    true = found(llama)
    assert (probed.facts, probed.behaviour, probed.controls) == (true.facts, true.behaviour, true.controls)


@cache
def honest(speech: Any) -> Probed:
    with speaking(model(), speech, context=CONTEXT) as server:
        return found(server.address)


@pytest.mark.parametrize("speech", ["vllm", "sglang", "echo"])
def test_an_honest_server_that_scores_passes_every_check(speech: Any) -> None:
    probed = honest(speech)
    assert outcomes(probed) == dict.fromkeys((*SCORING, FINGERPRINT), True)
    assert probed.dialect.name == speech
    assert probed.behaviour == honest("vllm").behaviour
    assert probed.facts["end"] == NOT_SEEN


@pytest.mark.parametrize("puts", [False, True])
def test_who_puts_the_start_token_before_text_is_found_out(puts: bool) -> None:
    with speaking(model(), "text", context=CONTEXT, puts_start=puts) as server:
        probed = found(server.address)
        bodies = [body for path, body in server.asked if body is not None]
    assert outcomes(probed) == dict.fromkeys((TOKENIZATION, START, WHOLE, SPACES, GREEDILY, ALONE, BEYOND), True)
    assert (probed.dialect.name, probed.dialect.puts_start, probed.facts["sends"]) == ("text", puts, "text")
    assert ("put by the server" if puts else "written before the text") in probed.facts["start"]
    assert bodies[-2]["prompt"].startswith("<eos>") is not puts


@pytest.mark.parametrize("speech", ["vllm", "sglang", "echo"])
@pytest.mark.parametrize("lie", REASONS)
def test_a_server_that_lies_is_refused_by_the_reason(speech: Any, lie: str) -> None:
    with speaking(model(), speech, [lie], context=CONTEXT) as server:
        assert REASONS[lie] in refused(server.address)


@pytest.mark.parametrize("lie", ["start-missing", "prompt-cut", "template"])
def test_a_server_of_text_that_lies_is_refused_by_the_reason(lie: str) -> None:
    with speaking(model(), "text", [lie], context=CONTEXT) as server:
        assert REASONS[lie] in refused(server.address)


def test_a_start_token_that_is_put_twice_before_text_is_refused() -> None:
    with speaking(model(), "text", ["start-doubled"], context=CONTEXT, puts_start=True) as server:
        assert "a start token is doubled" in refused(server.address)


def test_text_alone_is_asked_for_where_that_is_wanted() -> None:
    """Whoever names a text for the recital control knows what cannot be measured."""
    with speaking(model(), "echo", ["echo-ignored"], context=CONTEXT) as server:
        assert "name --recital" in refused(server.address)
        assert found(server.address, recital="known.txt").facts["gives"] == [
            "continuations",
            "text written from left to right",
        ]


def test_messages_are_asked_for_and_the_template_is_named(llama: str) -> None:
    probed = found(llama, api="chat")
    assert outcomes(probed) == dict.fromkeys((GREEDILY, ALONE, FINGERPRINT), True)
    assert (probed.dialect.name, probed.facts["sends"]) == ("chat", "messages")
    assert len(probed.facts["template_sha256"]) == 64
    assert len(probed.behaviour) == 3


def test_a_long_prompt_that_is_cut_where_it_should_be_refused() -> None:
    with speaking(model(), "text", ["long-cut"], context=CONTEXT) as server:
        assert "beyond its context" in refused(server.address)


def test_answers_that_move_are_measured() -> None:
    with speaking(model(), "vllm", ["noisy"], context=CONTEXT) as server:
        probed = found(server.address)
        assert are_of_one_model(probed.marks, found(server.address).marks, probed.noise)
    assert outcomes(probed)[ALONE] is False
    assert "differ by at most 1e-1 nats" in detail(probed, ALONE)
    assert probed.behaviour == ()


def test_sharpened_log_probabilities_of_a_prompt_are_refused() -> None:
    with speaking(model(), "vllm", ["sharpened"], context=CONTEXT) as server:
        assert "not those of the same text written" in refused(server.address)


def test_a_server_that_samples_at_temperature_0_is_found() -> None:
    with speaking(model(), "text", ["temperature-ignored"], context=CONTEXT) as server:
        probed = found(server.address)
    assert outcomes(probed)[GREEDILY] is False
    with speaking(model(), "vllm", ["temperature-ignored"], context=CONTEXT) as server:
        assert "greedy decoding does not take the likeliest token" in refused(server.address)


def test_a_tokenizer_of_another_model_is_refused(llama: str) -> None:
    other = tokenizer("lists")
    assert other.sha256 != tokenizer().sha256
    assert "--tokenizer" in refused(llama, of=other)
    with speaking(model(), "text", context=CONTEXT) as server:
        assert "cuts text into other tokens than --tokenizer does" in refused(server.address, of=other)


def test_controls_are_worded_for_a_report(llama: str) -> None:
    for control in found(llama).controls:
        assert isinstance(control, Control)
        assert len(control.name) < 80
        assert any(c.isdigit() for c in control.detail) or control.name in (END, READ)
