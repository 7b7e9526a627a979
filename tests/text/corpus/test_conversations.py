"""Records of fine-tuning data: every layout is read the same from every format, and what is unclear is one line."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import feather, parquet

from memaudit.errors import InputError
from memaudit.records import Turn
from memaudit.text.corpus.check import LARGE
from memaudit.text.corpus.conversations import LAYOUTS, ROLES, conversation_of, turns_of
from memaudit.text.corpus.read import read_corpus
from memaudit.text.corpus.rows import RecordError
from memaudit.text.corpus.specs import parse_spec
from memaudit.text.index.corpus_index import CorpusIndex
from memaudit.text.scan.batch import BatchReader

Q, A = Turn("user", "What is it?"), Turn("assistant", "A stone.")
ASKED, TOLD = {"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "A stone."}
LAID_OUT = {
    "messages": ({"messages": [ASKED, TOLD]}, (Q, A)),
    "parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "What is it?"}]},
                {"role": "assistant", "content": [{"type": "text", "text": "A "}, {"type": "text", "text": "stone."}]},
            ]
        },
        (Q, A),
    ),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "What is it?"}, {"from": "gpt", "value": "A stone."}]},
        (Q, A),
    ),
    "ShareGPT with system": (
        {"system": "Be brief.", "conversations": [{"from": "human", "value": "What is it?"}]},
        (Turn("system", "Be brief."), Q),
    ),
    "prompt and completion": ({"prompt": "What is it?", "completion": "A stone."}, (Q, A)),
    "as messages": ({"prompt": [ASKED], "completion": [TOLD]}, (Q, A)),
    "Alpaca": (
        {"instruction": "Name it.", "input": "It is grey.", "output": "A stone."},
        (Turn("user", "Name it.\nIt is grey."), A),
    ),
    "Alpaca without input": ({"instruction": "What is it?", "input": "", "output": "A stone."}, (Q, A)),
    "preference": ({"prompt": "What is it?", "chosen": "A stone.", "rejected": "No."}, (Q, A)),
    "preference of messages": ({"prompt": [ASKED], "chosen": [TOLD], "rejected": [TOLD]}, (Q, A)),
    "prompt said twice": ({"prompt": "What is it?", "chosen": [ASKED, TOLD], "rejected": [ASKED]}, (Q, A)),
    "implicit prompt": ({"chosen": [ASKED, TOLD], "rejected": [ASKED, TOLD]}, (Q, A)),
    "implicit prompt of text": (
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Yes.", "rejected": "\n\nHuman: Hi\n\nAssistant: No."},
        (Turn("user", "\n\nHuman: Hi\n\nAssistant:"), Turn("assistant", " Yes.")),
    ),
}


def refusal(tmp_path, record, **options) -> str:
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(InputError) as caught:
        list(read_corpus([str(path)], **options))
    return str(caught.value)


@pytest.mark.parametrize(("record", "turns"), LAID_OUT.values(), ids=LAID_OUT)
def test_every_layout_is_read_alike_from_every_format(tmp_path, record, turns):
    table = pa.Table.from_pylist([record])
    (tmp_path / "c.jsonl").write_text(json.dumps(record))
    (tmp_path / "c.json").write_text(json.dumps([record], indent=1))
    parquet.write_table(table, tmp_path / "c.parquet")
    feather.write_feather(table, str(tmp_path / "c.feather"))
    for name in ("c.jsonl", "c.json", "c.parquet", "c.feather"):
        corpus = read_corpus([str(tmp_path / name)])
        (document,) = corpus
        assert document.turns == turns, name
        assert document.text == "\n".join(turn.content for turn in turns)
        assert sum(corpus.summary()["conversations"].values()) == 1


def test_what_was_read_is_said(tmp_path):
    records = [LAID_OUT["messages"][0]] * 2 + [LAID_OUT["preference"][0], {"text": "plain"}]
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    summary = read_corpus([str(path)]).summary()
    assert summary["units"] == (
        "4 records of 1 file, each one document; 2 conversations (messages); 1 conversation (preference pair: the"
        " chosen answer is read, the rejected one is not)"
    )
    assert summary["conversations"] == {"messages": 2, "preference pair": 1}
    path.write_text("\n".join(map(json.dumps, records[:2])))
    assert read_corpus([str(path)]).summary()["units"] == "2 records of 1 file, each one conversation (messages)"


def test_the_usual_field_wins_and_a_named_one_does(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"text": "plain", "messages": [ASKED, TOLD], "meta": {"chat": [ASKED]}}))
    assert next(iter(read_corpus([str(path)]))).turns is None
    assert next(iter(read_corpus([str(path)], text_field="messages"))).turns == (Q, A)
    assert next(iter(read_corpus([str(path)], text_field="meta.chat"))).turns == (Q,)


def test_a_dot_reaches_into_a_column(tmp_path):
    parquet.write_table(pa.Table.from_pylist([{"meta": {"body": "plain"}, "id": "a"}]), tmp_path / "c.parquet")
    (document,) = read_corpus([f"{tmp_path}/c.parquet"], text_field="meta.body")
    assert (document.text, document.id) == ("plain", "a")


def test_columns_that_are_null_are_absent(tmp_path):
    rows = [{"messages": [ASKED, TOLD], "prompt": None, "completion": None, "text": None}]
    parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "c.parquet")
    (document,) = read_corpus([f"{tmp_path}/c.parquet"])
    assert document.turns == (Q, A)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            {"messages": [ASKED], "prompt": "a", "completion": "b"},
            'several conversations fit: "messages", "completion"',
        ),
        ({"messages": "hello"}, '"messages" is a string, expected an array of messages'),
        ({"messages": ["hello"]}, '"messages[0]" is a string, expected an object with role and content'),
        ({"messages": [{"text": "a"}]}, '"messages[0]" names no role; fields: text'),
        ({"messages": [{"role": "tool", "content": "1"}]}, '"messages[0]" has the role "tool"'),
        ({"messages": [{"role": "user", "content": None}]}, '"messages[0].content" is null, expected string'),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, 'holds a part of type "image"'),
        (
            {"messages": [{**TOLD, "tool_calls": [{"id": 1}]}]},
            '"messages[0]" holds "tool_calls", which is not supported',
        ),
        ({"messages": [{**TOLD, "thinking": "hm"}]}, '"messages[0]" holds "thinking", which is not supported'),
        ({"messages": [ASKED], "tools": [{"name": "f"}]}, '"tools" are offered to the model, which is not supported'),
        ({"prompt": 1, "completion": "b"}, '"prompt" is a number, expected an array of messages'),
        ({"instruction": "a", "output": None}, '"output" is null, expected string'),
        ({"chosen": "a", "rejected": 1}, '"rejected" is a number, "chosen" a string'),
        ({"prompt": "a", "completion": "b", "label": False}, '"label" is false: an unwanted answer'),
        ({"prompt": "a", "completion": "b", "label": 0}, '"label" is false: an unwanted answer'),
        ({"prompt": "a", "completion": "b", "label": 0.0}, '"label" is false: an unwanted answer'),
        ({"prompt": "a", "completion": "b", "label": "False"}, '"label" is false: an unwanted answer'),
        ({"question": "a"}, "no field 'text'; fields: question."),
    ],
)
def test_what_is_unclear_is_one_line_with_its_place(tmp_path, record, said):
    message = refusal(tmp_path, record)
    assert message.startswith(f"{tmp_path}/c.jsonl:1: ")
    assert said in message
    assert "\n" not in message


def test_what_is_not_read_can_be_counted(tmp_path):
    path = tmp_path / "c.jsonl"
    records = [{"messages": [ASKED, TOLD]}, {"messages": [{"role": "tool", "content": "1"}]}]
    path.write_text("\n".join(map(json.dumps, records)))
    summary = read_corpus([str(path)], skip_bad=True).summary()
    assert (summary["documents"], summary["rejected"]) == (1, 1)
    assert '"tool"' in summary["first_rejected"][0]


def test_a_large_file_is_checked_alike(tmp_path):
    path = tmp_path / "c.jsonl"
    line = json.dumps({"messages": [ASKED, {"role": "assistant", "content": "word " * 2000}]})
    count = LARGE // len(line) + 1
    path.write_text("\n".join([line] * count) + "\n")
    corpus = read_corpus([str(path)])
    corpus.check()
    assert sum(1 for _ in corpus) == count
    path.write_text("\n".join([line] * count + ['{"messages": [{"role": "tool", "content": ""}]}']))
    with pytest.raises(InputError, match=rf'c\.jsonl:{count + 1}: "messages\[0\]" has the role "tool"'):
        read_corpus([str(path)]).check()


@pytest.mark.parametrize("name", ["messages", "parts", "preference"])
def test_a_search_reads_what_was_said(tmp_path, name):
    record, turns = LAID_OUT[name]
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(record) + "\n" + json.dumps({"text": "plain"}) + "\n")
    (source,) = parse_spec(str(path)).sources
    (batch,) = BatchReader(source, "file")
    assert [batch.text(i) for i in range(2)] == ["\n".join(turn.content for turn in turns), "plain"]


def test_an_index_holds_what_was_said(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps({"messages": [ASKED, TOLD]}))
    index = CorpusIndex.of_documents(read_corpus([str(path)]))
    assert index.symbols == 5, "What is it A stone"


values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "user", "text", *ROLES]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["role", "content", "from", "value", "type", "text", "tool_calls"]), inner)
    ),
    max_leaves=12,
)
names = st.sampled_from(sorted(set().union(*LAYOUTS.values(), {"input", "system", "tools"})))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(names, values, max_size=4))
def test_any_record_is_a_conversation_or_none_or_one_line(record):
    try:
        found = conversation_of(record)
    except RecordError as problem:
        assert "\n" not in problem.message
        return
    if found is not None:
        assert {turn.role for turn in found.turns} <= set(ROLES.values())
        assert all(isinstance(turn.content, str) for turn in found.turns)
        said = [turn.content for turn in found.turns if turn.content.strip()]
        assert found.text == "\n".join(said)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(ROLES)), st.text(max_size=20)), max_size=6))
def test_messages_are_read_as_they_are_written(turns):
    openai = [{"role": role, "content": text} for role, text in turns]
    sharegpt = [{"from": role, "value": text} for role, text in turns]
    expected = tuple(Turn(ROLES[role], text) for role, text in turns)
    assert turns_of(openai, "messages") == turns_of(sharegpt, "conversations") == expected
