"""The gate end to end: what is planted is found, nothing else is, and no order of anything shows."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest

import memaudit
from memaudit.audits.contamination.conclude import Judgement
from memaudit.audits.contamination.run import Contamination, contamination, merge
from memaudit.errors import InputError, RunError
from memaudit.report.formats.names import FORMATS
from memaudit.text.scan.patterns import Needle, build_patterns
from memaudit.text.scan.stream import scan_texts

WORDS = re.findall(
    r"\w+",
    "amber basin cedar delta ember fjord grove haven inlet jetty knoll ledge marsh north ocean perch quarry ridge "
    "shore tundra upland valley willow yarrow zephyr anchor beacon canyon dune estuary falcon glacier harbor island "
    "juniper kestrel lagoon meadow nectar orchard prairie quartz ravine summit thicket umber vista wharf",
)
ZWSP, RLO, PDF, CYRILLIC_A = "\u200b", "\u202e", "\u202c", "\u0430"


def sentence(seed: str, length: int = 14) -> str:
    lot = random.Random(seed)
    return " ".join(lot.choice(WORDS) for _ in range(length)).capitalize() + "."


def passage(seed: str, sentences: int = 6) -> str:
    return " ".join(sentence(f"{seed}/{i}") for i in range(sentences))


def items(count: int) -> list[dict[str, str]]:
    return [{"question": sentence(f"q{i}", 24), "answer": sentence(f"a{i}", 10)} for i in range(count)]


def write_jsonl(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def write_corpus(path: Path, texts: list[str]) -> str:
    return write_jsonl(path, [{"text": text} for text in texts])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def clean_documents(count: int) -> list[str]:
    return [passage(f"d{i}") for i in range(count)]


def planted(question: str) -> str:
    return f"{passage('before')}\n{question}\n{passage('after')}"


def run(benchmark: str, corpus: str | list[str], **changes: object) -> Contamination:
    return contamination(benchmark, corpus, formats=(), **changes)  # type: ignore[arg-type]


def found(result: Contamination) -> list[str]:
    return [finding["item"] for finding in result.report["findings"]]


DISGUISES = {
    "verbatim": lambda text: text,
    "upper case": str.upper,
    "line wraps": lambda text: text.replace(" ", "\n    ", 9),
    "zero width between letters": lambda text: ZWSP.join(text),
    "bidirectional controls": lambda text: " ".join(RLO + word + PDF for word in text.split()),
    "tag characters": lambda text: "".join(c + chr(0xE0061) for c in text),
    "Cyrillic lookalikes": lambda text: text.replace("a", CYRILLIC_A).replace("e", "\u0435").replace("o", "\u043e"),
    "full width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text),
    "no punctuation": lambda text: "".join(c for c in text if c.isalnum() or c.isspace()),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "accents": lambda text: text.replace("e", "e\u0301"),
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_a_disguised_item_is_found_and_only_it(folder: Path, disguise: str) -> None:
    rows = items(20)
    benchmark = write_jsonl(folder / "bench.jsonl", rows)
    documents = clean_documents(50)
    documents[30] = planted(DISGUISES[disguise](rows[7]["question"]))
    result = run(benchmark, write_corpus(folder / "corpus.jsonl", documents))
    [finding] = result.report["findings"]
    assert (result.verdict, result.exit_code) == ("found", 1)
    assert (finding["number"], finding["source"]) == (8, f"{benchmark}:8")
    assert finding["evidence"][0]["source"] == f"{folder / 'corpus.jsonl'}:31"
    assert finding["match"] == ("raw" if disguise == "verbatim" else "normalised")
    assert result.items[7].verdict == "contaminated"
    assert {item.verdict for item in result.items if item.number != 8} == {"clean"}


def test_edited_words_do_not_hide_an_item(folder: Path) -> None:
    rows = items(20)
    words = rows[3]["question"].split()
    for place in (4, 13, 20):
        words[place] = "changed"
    documents = clean_documents(50)
    documents[11] = planted(" ".join(words))
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    [finding] = result.report["findings"]
    assert (finding["number"], finding["match"]) == (4, "edited")
    assert 0.8 <= finding["score"] < 1
    copied = "".join(piece for piece, marked in finding["evidence"][0]["item_pieces"] if marked)
    assert "changed" not in copied
    assert copied.split()[0] == rows[3]["question"].split()[0]
    joined = "".join(piece for piece, _ in finding["evidence"][0]["item_pieces"])
    assert joined == rows[3]["question"]


def test_an_answer_alone_and_a_short_item_are_found(folder: Path) -> None:
    rows = [*items(10), {"question": sentence("short", 8), "answer": "Yes."}]
    documents = clean_documents(30)
    documents[2] = planted(rows[4]["answer"])
    documents[9] = planted(rows[10]["question"])
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    assert {(f["number"], f["part"]) for f in result.report["findings"]} == {(5, "answer"), (11, "question")}


def test_boilerplate_convicts_nobody_and_moves_no_verdict(folder: Path) -> None:
    rows, documents = items(40), clean_documents(200)
    documents[17] = planted(rows[5]["question"])
    before = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    boilerplate = sentence("boilerplate", 18)
    for number in (5, 6, 7):
        rows[number]["question"] += " " + boilerplate
    documents = [text + "\n" + boilerplate if i % 2 else text for i, text in enumerate(documents)]
    after = run(write_jsonl(folder / "b2.jsonl", rows), write_corpus(folder / "c2.jsonl", documents))
    assert [f["number"] for f in before.report["findings"]] == [6]
    assert [f["number"] for f in after.report["findings"]] == [6]
    assert {item.verdict for item in after.items if item.number != 6} == {"clean"}


@pytest.mark.parametrize("disguise", [str, str.upper])
@pytest.mark.parametrize("part", ["both", "question"])
def test_an_item_in_every_document_is_found_as_in_one(folder: Path, part: str, disguise) -> None:
    rows, documents = items(20), clean_documents(60)
    held = rows[3]["question"] + (f"\n{rows[3]['answer']}" if part == "both" else "")
    documents = [f"{text}\n{disguise(held)}\n{sentence(f'after{i}')}" for i, text in enumerate(documents)]
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    assert (result.verdict, result.exit_code) == ("found", 1)
    assert [(f["number"], f["documents"]) for f in result.report["findings"]] == [(4, 60)]


PIECES = {
    "windows": lambda item, lot: item[(start := lot.randrange(len(item) - 18)) : start + 18],
    "thirds": lambda item, lot: item[(start := lot.choice([0, 20, 36])) : start + 24],
    "halves": lambda item, lot: lot.choice([item[:30], item[30:]]),
    "scattered": lambda item, lot: [
        w for start in lot.sample(range(0, 60, 10), 4) for w in [*item[start : start + 10], *passage("s").split()]
    ],
}


@pytest.mark.parametrize("pieces", PIECES)
@pytest.mark.parametrize("edits", [0, 6])
def test_no_number_of_pieces_hides_a_copy(pieces: str, edits: int) -> None:
    """Decoys hold every seed of the item many times, and stand before, around and behind the one copy."""
    lot = random.Random(f"{pieces}{edits}")
    item = [f"{lot.choice(WORDS)}{number}" for number in range(60)]
    patterns = build_patterns([Needle(0, "question", " ".join(item))])
    copy = [f"edited{i}" if i in range(5, 60, 10) and edits else word for i, word in enumerate(item)]
    for count in (10, 30, 200):
        decoys = [planted(" ".join(PIECES[pieces](item, lot))) for _ in range(count)]
        for place in (0, count // 2, count):
            texts = [*decoys[:place], planted(" ".join(copy)), *decoys[place:], *clean_documents(10 * count)]
            scan = scan_texts(texts, patterns, [f"c:{line}" for line in range(len(texts))])
            assert f"c:{place}" in {match.candidate.source for match in scan.matches if match.found}


def test_items_too_short_are_not_judged_and_said_so(folder: Path) -> None:
    rows = [*items(3), {"question": "Why not?", "answer": "4"}]
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", clean_documents(5)))
    assert (result.verdict, result.exit_code) == ("clean", 0)
    assert result.items[3].verdict == "not judged"
    assert result.report["benchmark"]["not_judged"][0]["count"] == 1
    mostly = write_jsonl(folder / "b2.jsonl", [rows[0], *[{"question": f"Why {i}?", "answer": "4"} for i in range(3)]])
    assert run(mostly, str(folder / "c.jsonl")).exit_code == 3


def test_the_report_counts_the_four_classes_of_llama2(folder: Path) -> None:
    """One item stands whole in the corpus, one to a half, one not at all; the fourth is too short to be asked about."""
    rows = [{"text": sentence(f"item {i}", 40)} for i in range(3)]
    rows.append({"text": "Why is that not so?"})
    half = " ".join(rows[1]["text"].split(" ")[:20])
    corpus = write_corpus(folder / "c.jsonl", [*clean_documents(5), planted(rows[0]["text"]), planted(half)])
    report = run(write_jsonl(folder / "b.jsonl", rows), corpus).report
    estimates = {row["metric"]: row for row in report["estimates"]}
    counts = {entry["name"]: entry["count"] for entry in estimates["llama2"]["classes"]}
    assert counts == {"clean": 1, "not clean": 2, "not dirty": 2, "dirty": 1}
    assert (estimates["llama2"]["hits"], estimates["llama2"]["n"], estimates["llama2"]["undefined"]) == (1, 3, 1)
    assert all(row["classes"] == [] for name, row in estimates.items() if name != "llama2")
    assert not any({"low", "high"} & set(row) for row in estimates.values()), "a census has no interval"


def outputs(folder: Path) -> dict[str, bytes]:
    names = ("report.json", "report.html", "junit.xml", "results.sarif", "items.jsonl")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture
def sharded(folder: Path) -> tuple[str, list[str]]:
    rows, documents = items(30), clean_documents(320)
    for i in range(12):
        documents[25 * i] = planted(rows[i]["question"])
    documents[100] = documents[200] = documents[300] = planted(rows[4]["question"].upper())
    (folder / "parts").mkdir()
    names = [write_corpus(folder / "parts" / f"part-{i:02}.jsonl", documents[5 * i : 5 * i + 5]) for i in range(64)]
    return write_jsonl(folder / "b.jsonl", rows), names


ALL = ("html", "json", "junit", "sarif")


def test_no_order_of_files_processes_or_shares_shows(folder: Path, sharded: tuple[str, list[str]]) -> None:
    benchmark, names = sharded
    contamination(benchmark, names, out=folder / "one", formats=ALL)
    shuffled = random.Random(0).sample(names, len(names))
    contamination(benchmark, shuffled, out=folder / "two", processes=2, formats=ALL)
    shares = [folder / f"share-{i}" for i in range(1, 6)]
    for number, share in enumerate(shares, 1):
        partial = contamination(benchmark, names, out=share, shard=(number, 5), formats=("html",))
        assert (partial.exit_code, partial.report["complete"]) == (3, False)
    merged = merge(list(reversed(shares)), folder / "merged", formats=ALL)
    assert merged.exit_code == 1
    expected = outputs(folder / "one")
    assert outputs(folder / "two") == expected
    assert outputs(folder / "merged") == expected


def test_one_file_or_many_give_the_same_findings(folder: Path, sharded: tuple[str, list[str]]) -> None:
    benchmark, names = sharded
    many = run(benchmark, names).report
    whole = folder / "whole.jsonl"
    whole.write_bytes(b"".join(Path(name).read_bytes() for name in names))
    one = run(benchmark, str(whole)).report

    def place(source: str) -> int:
        name, _, line = source.rpartition(":")
        return int(line) if name == str(whole) else 5 * names.index(name) + int(line)

    for report in (one, many):
        for finding in report["findings"]:
            for evidence in finding["evidence"]:
                evidence["source"] = place(evidence["source"])
    for part in ("findings", "spared", "estimates", "parts", "verdict", "reasons", "groups"):
        assert one[part] == many[part]


def test_an_interrupted_run_goes_on_and_a_new_policy_needs_no_new_scan(
    folder: Path, sharded: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    benchmark, names = sharded
    contamination(benchmark, names, out=folder / "one", formats=ALL)
    stopped: list[int] = []

    def stop(done: int, total: int) -> None:
        stopped.append(total)
        if done == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contamination(benchmark, names, out=folder / "two", progress=stop)
    seen: list[int] = []
    contamination(benchmark, names, out=folder / "two", formats=ALL, progress=lambda done, total: seen.append(done))
    assert seen == list(range(21, 65))
    assert outputs(folder / "two") == outputs(folder / "one")
    lenient = contamination(
        benchmark, names, out=folder / "two", formats=(), judgement=Judgement(max_items=12), progress=stop
    )
    assert stopped[-1] == 64
    assert len(stopped) == 20  # not one file was read again
    assert (lenient.verdict, lenient.exit_code) == ("clean", 0)


def test_skipped_records_never_give_a_clean_verdict(folder: Path) -> None:
    benchmark = write_jsonl(folder / "b.jsonl", items(5))
    corpus = folder / "c.jsonl"
    corpus.write_text('{"text": "' + passage("x") + '"}\n{not json}\n')
    with pytest.raises(InputError, match=r"c\.jsonl:2: not valid JSON"):
        run(benchmark, str(corpus))
    skipped = run(benchmark, str(corpus), skip_bad=True)
    assert (skipped.verdict, skipped.exit_code) == ("inconclusive", 3)
    assert any("c.jsonl:2" in reason for reason in skipped.report["reasons"])


def test_a_corpus_with_nothing_in_it_is_refused(folder: Path) -> None:
    benchmark = write_jsonl(folder / "b.jsonl", items(5))
    (folder / "empty.jsonl").write_text("\n\n")
    write_corpus(folder / "c.jsonl", clean_documents(3))
    for corpus in ([str(folder / "empty.jsonl")], [str(folder / "c.jsonl"), str(folder / "empty.jsonl")]):
        with pytest.raises(InputError, match=r"no records in .*empty\.jsonl"):
            run(benchmark, corpus)
    with pytest.raises(InputError, match="nothing to search"):
        run(benchmark, [])


def test_accepted_findings_pass_and_new_ones_fail(folder: Path) -> None:
    from memaudit.audits.contamination.baseline import write_baseline

    rows, documents = items(20), clean_documents(40)
    documents[3], documents[8] = planted(rows[1]["question"]), planted(rows[2]["question"])
    first = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    accepted = folder / "accepted.json"
    write_baseline(first.report, accepted)
    text = accepted.read_text()
    assert not any(word in text.lower() for word in rows[1]["question"].lower().split() if len(word) > 4)
    (folder / "elsewhere").mkdir()
    moved = write_jsonl(folder / "elsewhere" / "renamed.jsonl", [*items(3)[:0], rows[19], *rows[:19]])
    judgement = Judgement(baseline=str(accepted))
    again = run(moved, str(folder / "c.jsonl"), judgement=judgement)
    assert (again.exit_code, len(again.report["findings"])) == (0, 2)
    assert again.report["baseline"]["accepted"] == 2
    documents[20] = planted(rows[6]["question"])
    new = run(moved, write_corpus(folder / "c2.jsonl", documents), judgement=judgement)
    assert new.exit_code == 1
    assert [f["number"] for f in new.report["findings"] if not f["accepted"]] == [8]


def test_an_index_gives_the_verdict_of_its_corpus(folder: Path) -> None:
    from memaudit.text.index.corpus_index import build_index

    rows, documents = items(20), clean_documents(60)
    documents[3], documents[8] = planted(rows[1]["question"]), planted(rows[2]["question"].upper())
    benchmark, corpus = write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents)
    build_index([corpus], folder / "index")
    streamed = run(benchmark, corpus).report
    indexed = contamination(benchmark, index=folder / "index", formats=()).report
    for part in ("findings", "spared", "estimates", "parts", "verdict"):
        assert indexed[part] == streamed[part]
    assert indexed["corpus"] == streamed["corpus"] | {"index": str(folder / "index")}
    with (folder / "c.jsonl").open("a") as file:
        file.write("{not json}\n")
    build_index([corpus], folder / "index2", skip_bad=True)
    others = write_jsonl(folder / "b2.jsonl", items(30)[25:])
    skipped = contamination(others, index=folder / "index2", formats=()).report
    assert (skipped["verdict"], skipped["corpus"]["rejected"]) == ("inconclusive", 1)


def test_shares_of_other_plans_are_not_merged(folder: Path) -> None:
    benchmark = write_jsonl(folder / "b.jsonl", items(5))
    one, two = (
        write_corpus(folder / "1.jsonl", clean_documents(3)),
        write_corpus(folder / "2.jsonl", clean_documents(4)),
    )
    run(benchmark, one, out=folder / "a")
    run(benchmark, two, out=folder / "b")
    with pytest.raises(RunError, match="another plan"):
        merge([folder / "a", folder / "b"], folder / "c")


def test_redacted_outputs_hold_no_text(folder: Path) -> None:
    rows, documents = items(10), clean_documents(20)
    documents[3] = planted(rows[1]["question"])
    benchmark, corpus = write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents)
    contamination(
        benchmark, corpus, out=folder / "run", formats=tuple(FORMATS.targets()), judgement=Judgement(redact=True)
    )
    span = " ".join(rows[1]["question"].split()[3:7])
    for path in (folder / "run").iterdir():
        if path.name != "items.log":
            assert span.encode() not in path.read_bytes()


def test_the_function_is_public(folder: Path) -> None:
    benchmark = write_jsonl(folder / "b.jsonl", items(3))
    result = memaudit.contamination(benchmark, write_corpus(folder / "c.jsonl", clean_documents(4)))
    assert str(result).startswith("clean: 0 of 3 items")
    assert (result.folder / "report.html").exists()
    assert [path.name for path in (folder / "runs").iterdir()] == [result.folder.name]


def test_long_boilerplate_hides_neither_a_short_nor_an_edited_item(folder: Path) -> None:
    boilerplate = sentence("notice", 30)
    rows, documents = items(40), clean_documents(200)
    short, edited = sentence("short", 9), rows[9]["question"].split()
    edited[5], edited[15] = "changed", "replaced"
    documents[40] = planted(short)
    documents[51] = planted(" ".join(edited))
    rows[3]["question"] = f"{short} {boilerplate}"
    rows[9]["question"] += " " + boilerplate
    rows[20]["question"] += " " + boilerplate  # what a few texts share is the benchmark's, what two share may be theirs
    documents = [f"{text}\n{boilerplate}" if i % 2 else text for i, text in enumerate(documents)]
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    assert {(f["number"], f["evidence"][0]["source"].rpartition(":")[2]) for f in result.report["findings"]} == {
        (4, "41"),
        (10, "52"),
    }


def test_a_file_that_changed_is_not_mixed_into_a_resumed_run(folder: Path, sharded: tuple[str, list[str]]) -> None:
    benchmark, names = sharded
    contamination(benchmark, names, out=folder / "run", shard=(1, 2))
    text = Path(names[0]).read_text()
    Path(names[0]).write_text(text.replace(text[20:24], text[20:24].swapcase(), 1))
    with pytest.raises(RunError, match=r"part-00\.jsonl: changed since this run read it"):
        contamination(benchmark, names, out=folder / "run")
    Path(names[0]).write_text(text)
    assert contamination(benchmark, names, out=folder / "run").report["complete"]


def test_a_very_long_edited_item_is_found(folder: Path) -> None:
    words = sentence("long", 2000).split()
    rows = [*items(3), {"question": " ".join(words), "answer": "Yes."}]
    words[100::20] = ["changed"] * len(words[100::20])
    documents = clean_documents(20)
    documents[4] = planted(" ".join(words))
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    [finding] = result.report["findings"]
    assert (finding["number"], finding["match"]) == (4, "edited")
    assert 0.9 < finding["score"] < 1


@pytest.mark.parametrize("side", ["benchmark", "corpus"])
def test_reasons_of_a_redacted_run_quote_no_record(folder: Path, side: str) -> None:
    secret = "hypotenuse of the amber triangle"
    benchmark, corpus = folder / "b.jsonl", folder / "c.jsonl"
    write_jsonl(benchmark, items(5))
    write_corpus(corpus, clean_documents(5))
    bad, field = (benchmark, "question") if side == "benchmark" else (corpus, "text")
    with bad.open("a") as file:
        file.write(json.dumps({secret: 1}) + "\n" + json.dumps({field: {secret: 1}}) + "\n{" + secret + "\n")
    options = {"out": folder / "run", "skip_bad": True, "fields": ("question",)}
    shown = contamination(str(benchmark), str(corpus), formats=tuple(FORMATS.targets()), **options)  # type: ignore[arg-type]
    assert secret[:10] in json.dumps(shown.report)  # else there would be nothing to leave out
    hidden = contamination(
        str(benchmark), str(corpus), formats=tuple(FORMATS.targets()), judgement=Judgement(redact=True), **options  # type: ignore[arg-type]
    )  # fmt: skip
    assert hidden.report[side]["rejected"] == 3
    assert hidden.report[side]["first_rejected"] == [f"{bad}:{line}" for line in (6, 7, 8)]
    for path in (folder / "run").iterdir():
        if path.name != "items.log":
            assert secret[:10].encode() not in path.read_bytes(), path.name


def test_shares_that_contradict_each_other_are_refused(folder: Path, sharded: tuple[str, list[str]]) -> None:
    benchmark, names = sharded
    run(benchmark, names, out=folder / "one", shard=(1, 2))
    run(benchmark, names, out=folder / "again", shard=(1, 2))
    first = Path(names[0])
    text = first.read_text()
    first.write_text(text.replace(text[20:24], text[20:24].swapcase(), 1))  # of the same size: the same plan
    run(benchmark, names, out=folder / "other", shard=(1, 2))
    run(benchmark, names, out=folder / "two", shard=(2, 2))
    with pytest.raises(RunError, match=r"other: read another .*part-00\.jsonl than the shares before it"):
        merge([folder / "one", folder / "two", folder / "other"], folder / "merged")
    merged = merge([folder / "one", folder / "again", folder / "two"], folder / "merged-2", formats=())
    assert merged.report["complete"]


@pytest.mark.parametrize("count", [1, 25])
def test_a_text_file_is_searched_whole_unless_it_is_cut_on_purpose(folder: Path, count: int) -> None:
    words = sentence("cut", 400).split()
    halves = " ".join(words[:200]), " ".join(words[200:])
    benchmark = write_jsonl(folder / "b.jsonl", [*items(4), {"question": " ".join(words), "answer": "Yes."}])
    (folder / "c").mkdir()
    for number in range(count):
        (folder / "c" / f"{number}.txt").write_text(passage(f"filler {number}", 40) + "\n")
    with (folder / "c" / "0.txt").open("a") as file:
        file.write("\n\n".join([passage("before", 30), *halves, passage("after", 30)]))
    whole = run(benchmark, "c/*.txt")
    assert found(whole) == ["5"]
    assert whole.report["findings"][0]["match"] == "normalised"
    assert whole.report["findings"][0]["evidence"][0]["source"] == "c/0.txt"
    assert whole.report["corpus"]["documents"] == count
    assert not any("--split" in limit for limit in whole.report["limits"])


@pytest.mark.parametrize(("split", "count"), [("line", 2), ("paragraph", 1), ("block", 1), ("auto", 0), ("file", 0)])
def test_items_that_a_cut_goes_through_are_counted_as_a_limit(folder: Path, split: str, count: int) -> None:
    rows = [*items(5), *({"question": sentence(f"l{i}", 24), "answer": "Yes."} for i in range(2))]
    rows[1]["question"] = rows[1]["question"].replace(" ", "\n", 3) + "\n"
    rows[2]["question"] = rows[2]["question"].replace(" ", "\n \n", 1)
    rows[3]["question"] += "\n\n"
    (folder / "c.txt").write_text("\n\n".join(clean_documents(20)))
    result = run(write_jsonl(folder / "b.jsonl", rows), "c.txt", split=split)
    limits = [limit for limit in result.report["limits"] if "--split" in limit]
    assert len(limits) == (count > 0)
    items_are = "2 items span" if count == 2 else "1 item spans"
    assert all(f"(--split {split}): {items_are} more than one" in limit for limit in limits)
    assert result.verdict == "clean"  # a limit, no doubt


def test_the_limits_name_what_words_in_order_do_not_find(folder: Path) -> None:
    rows = items(12)
    hidden = [" ".join(reversed(rows[3]["question"].split())), " ".join(rows[5]["question"])]
    documents = [*clean_documents(30), *map(planted, hidden)]
    result = run(write_jsonl(folder / "b.jsonl", rows), write_corpus(folder / "c.jsonl", documents))
    assert found(result) == []
    assert any("reordered" in limit and "h e l l o" in limit for limit in result.report["limits"])


def test_one_is_singular(folder: Path) -> None:
    rows = [*items(1), {"question": "Why?", "answer": "4"}]
    corpus = folder / "c.jsonl"
    write_corpus(corpus, [planted(rows[0]["question"])])
    with corpus.open("a") as file:
        file.write("{}\n")
    result = run(write_jsonl(folder / "b.jsonl", rows), str(corpus), skip_bad=True)
    assert result.report["headline"] == f"1 of 1 item occurs in {corpus} (1 document)"
    assert any(reason.startswith("1 record of the corpus was skipped, first") for reason in result.report["reasons"])
    assert "1 item was not judged: fewer than 5 words in every part." in result.report["limits"]
    assert not re.search(r"\b1 (items|records|documents|texts)\b", json.dumps(result.report))
