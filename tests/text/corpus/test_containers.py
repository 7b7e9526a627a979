"""Compressed files are read whole or refused; what is no text is named."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zipfile
from itertools import pairwise

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from memaudit.errors import InputError
from memaudit.text.corpus import containers
from memaudit.text.corpus.containers import ByteStream, split_lines


def write(path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def read(name: str, **options) -> bytes:
    return b"".join(ByteStream(name, **options))


def refusal(name: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        read(name, **options)
    return str(caught.value)


ZSTD = zstandard.ZstdCompressor(write_checksum=True).compress
COMPRESS = {"gz": gzip.compress, "zst": ZSTD, "zstd": ZSTD}
TEXT = b"".join(b"line %d of a text that is long enough to fill blocks\n" % i for i in range(40_000))


@pytest.mark.parametrize("ending", COMPRESS)
def test_compressed_file_is_read_whole_and_hashed_as_it_lies_there(tmp_path, ending):
    content = COMPRESS[ending](TEXT)
    stream = ByteStream(write(tmp_path / f"a.txt.{ending}", content))
    assert b"".join(stream) == TEXT
    assert (stream.sha256, stream.bytes) == (hashlib.sha256(content).hexdigest(), len(content))


@pytest.mark.parametrize("ending", COMPRESS)
@settings(deadline=None, max_examples=25)
@given(parts=st.lists(st.binary(max_size=2000), min_size=1, max_size=5))
def test_all_frames_are_read(tmp_path_factory, ending, parts):
    name = tmp_path_factory.mktemp("frames") / f"a.txt.{ending}"
    whole = b"x" + b"".join(parts)
    name.write_bytes(COMPRESS[ending](b"x") + b"".join(map(COMPRESS[ending], parts)))
    try:
        assert read(str(name)) == whole.removeprefix(b"\xef\xbb\xbf")
    except InputError as error:
        assert "UTF-16" in str(error)


@pytest.mark.parametrize("ending", COMPRESS)
@pytest.mark.parametrize("share", [0.01, 0.25, 0.5, 0.9, 0.999])
def test_half_a_download_is_refused(tmp_path, ending, share):
    content = COMPRESS[ending](TEXT)
    cut = int(len(content) * share)
    name = write(tmp_path / f"a.txt.{ending}", content[:cut])
    assert refusal(name).startswith(f"{name}: truncated stream after {cut:,} bytes")


@pytest.mark.parametrize("ending", COMPRESS)
def test_every_truncation_is_refused(tmp_path, ending):
    content = COMPRESS[ending](b"first ") + COMPRESS[ending](b"second")
    boundary = len(COMPRESS[ending](b"first "))
    for cut in range(len(content)):
        if cut != boundary:
            assert "truncated stream" in refusal(write(tmp_path / f"a.txt.{ending}", content[:cut]))


@pytest.mark.parametrize("ending", COMPRESS)
def test_bytes_after_the_end_and_damage_are_refused(tmp_path, ending):
    content = COMPRESS[ending](TEXT)
    path = tmp_path / f"a.txt.{ending}"
    assert "bytes after the end of the" in refusal(write(path, content + b"trailing garbage"))
    assert "damaged" in refusal(write(path, b"plain text, not compressed"))
    middle = len(content) // 2
    flipped = content[:middle] + bytes(b ^ 0xFF for b in content[middle : middle + 8]) + content[middle + 8 :]
    message = refusal(write(path, flipped))
    assert "damaged" in message or "truncated" in message


@pytest.mark.parametrize(
    ("ending", "content"),
    [
        ("zst", zstandard.ZstdCompressor(level=19).compress(bytes(256 << 20))),
        ("gz", gzip.compress(b"a" * (96 << 20), mtime=0)),
        ("zst", b"".join([zstandard.compress(b"a" * (1 << 20))] * 100)),
    ],
)
def test_expansion_bomb_is_refused_before_it_is_held(tmp_path, ending, content):
    name = write(tmp_path / f"a.txt.{ending}", content)
    seen = largest = 0
    with pytest.raises(InputError, match=r"expands over limit .*--max-expand"):
        for chunk in ByteStream(name):
            seen, largest = seen + len(chunk), max(largest, len(chunk))
    assert max(seen, largest) <= 64 << 20
    if len(content) < 1 << 20:
        assert sum(map(len, ByteStream(name, max_expand=256 << 20))) >= 96 << 20
        assert "more than 1,000 bytes" in refusal(name, max_expand=1000)


def test_well_compressible_small_file_is_no_bomb(tmp_path):
    content = b"the same line\n" * 1_000_000
    assert read(write(tmp_path / "a.txt.zst", zstandard.compress(content))) == content


def tar_bytes() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("../escaped.txt"))
    return buffer.getvalue()


def zip_bytes() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../escaped.txt", "text")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.txt", tar_bytes(), "a tar archive"),
        ("a.txt.gz", gzip.compress(tar_bytes(), mtime=0), "a tar archive"),
        ("a.txt", zip_bytes(), "a zip archive"),
        ("a.txt.gz", gzip.compress(gzip.compress(b"text", mtime=0), mtime=0), "gzip data, compressed once more"),
        ("a.txt", zstandard.compress(zstandard.compress(b"text")), "zstd data, compressed once more"),
        ("a.txt", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a git-LFS pointer"),
        ("a.gz", gzip.compress(b"PAR1\x15rest", mtime=0), "a Parquet file"),
        ("a.txt", "text".encode("utf-16"), "UTF-16, not UTF-8 at byte 1"),
        ("a.txt", "long text".encode("utf-16-le"), "UTF-16, not UTF-8 at byte 1"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, name, content, problem):
    spec = write(tmp_path / name, content)
    assert refusal(spec).startswith(f"{spec}: {problem}")


@pytest.mark.parametrize("name", ["a", "a.txt", "a.gz", "a.zst"])
@pytest.mark.parametrize("pack", [lambda data: gzip.compress(data, mtime=0), ZSTD])
def test_first_bytes_say_how_a_file_is_compressed(tmp_path, name, pack):
    assert read(write(tmp_path / name, pack(TEXT))) == TEXT


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=40), st.integers(0, 70_000)), min_size=1, max_size=4))
def test_gzip_may_be_padded_with_zeros(tmp_path_factory, parts):
    """As tapes and block devices leave it, and as ``gzip -t`` takes it."""
    name = tmp_path_factory.mktemp("padded") / "a.gz"
    name.write_bytes(b"".join(gzip.compress(b"x" + part) + bytes(zeros) for part, zeros in parts))
    assert read(str(name)) == b"".join(b"x" + part for part, _ in parts)
    name.write_bytes(name.read_bytes() + bytes(10) + b"garbage")
    assert "bytes after the end of the gzip stream" in refusal(str(name))


def test_zstd_frames_that_are_to_be_skipped_are(tmp_path):
    skipped = b"\x50\x2a\x4d\x18" + (4).to_bytes(4, "little") + b"abcd"
    assert read(write(tmp_path / "a.jsonl", skipped + ZSTD(TEXT) + skipped)) == TEXT


def test_unreadable_file_is_one_sentence(tmp_path):
    assert refusal(str(tmp_path / "gone.txt")) == f"{tmp_path}/gone.txt: No such file or directory"


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=60) | st.text("a\n\r", max_size=30).map(str.encode), st.lists(st.integers(0, 60)))
def test_lines_are_cut_at_line_feeds_wherever_the_chunks_end(content, cuts):
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    chunks = [content[first:last] for first, last in pairwise(places)]
    lines = list(split_lines(iter(chunks), "x"))
    expected = content.split(b"\n")
    assert lines == (expected[:-1] if not expected[-1] else expected)


def test_endless_line_is_refused(monkeypatch):
    monkeypatch.setattr(containers, "MAX_RECORD", 100)
    chunks = iter([b"short\n", b"x" * 60, b"x" * 60, b"never read"])
    with pytest.raises(InputError, match="x:2: line longer than 100 bytes"):
        list(split_lines(chunks, "x"))
    assert next(chunks) == b"never read"
