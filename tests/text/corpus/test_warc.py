"""The texts of a WET file are documents; pages as they were sent are refused."""

from __future__ import annotations

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.corpus.read import read_corpus


def record(kind: str, content: bytes, *headers: str) -> bytes:
    head = ["WARC/1.0", f"WARC-Type: {kind}", *headers, f"Content-Length: {len(content)}"]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + content + b"\r\n\r\n"


INFO = record("warcinfo", b"Software-Info: a crawler\r\n", "WARC-Filename: a.wet.gz")
PAGE = ("WARC-Target-URI: http://example.org/a", "WARC-Date: 2024-05-01T10:00:00Z", "Content-Type: text/plain")

contents = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("\r\n"), max_size=200)


@settings(deadline=None, max_examples=60)
@given(st.lists(contents, min_size=1, max_size=6), st.sampled_from(["a.wet.gz", "a.txt", "a", "a.jsonl"]), st.data())
def test_every_text_of_a_crawl_is_a_document(tmp_path_factory, texts, name, data):
    records = [INFO, *(record("conversion", text.encode(), *PAGE) for text in [*texts, "last"])]
    packed = name.endswith(".gz") or data.draw(st.booleans())
    path = tmp_path_factory.mktemp("wet") / name
    path.write_bytes(b"".join(gzip.compress(r) if packed else r for r in records))
    corpus = read_corpus([str(path)])
    found = list(corpus)
    assert [document.text for document in found] == [text for text in [*texts, "last"] if text and not text.isspace()]
    assert corpus.summary()["empty"] == len(texts) + 1 - len(found)
    lines = b"".join(records).split(b"\n")
    for document in found:
        assert lines[int(document.source.rpartition(":")[2]) - 1] == b"WARC/1.0\r"
        assert document.date == "2024-05-01T10:00:00Z"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (INFO + record("response", b"HTTP/1.1 200 OK\r\n\r\n<p>a"), ":9: a WARC response record, which is a page"),
        (record("resource", b"a"), ":1: a WARC resource record, which is a page and no text (give the WET file"),
        (INFO + record("conversion", b"abc")[:-6], ":9: this WARC record is not all there"),
        (INFO + b"WARC/1.0\r\nWARC-Type: conv", ":9: the header of this WARC record does not end"),
        (INFO + b"abc\n", ":9: no WARC record begins here"),
        (INFO + record("conversion", b"a").replace(b"Length: 1", b"Length: -1"), ":9: a WARC record of -1 bytes"),
        (INFO + record("conversion", b"a").replace(b"Length: 1", b"Length: 999999999999"), ":9: a WARC record of"),
        (record("conversion", b"a\xff"), ":1: not UTF-8 at byte 2"),
    ],
)
def test_what_is_no_text_of_a_page_is_named(tmp_path, content, said):
    path = tmp_path / "a.warc"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_corpus([str(path)]))
    assert str(caught.value).startswith(f"{path}{said}")


def test_an_archive_without_texts_holds_no_records(tmp_path):
    (tmp_path / "a.warc").write_bytes(INFO)
    with pytest.raises(InputError, match="no records in"):
        list(read_corpus([f"{tmp_path}/a.warc"]))
