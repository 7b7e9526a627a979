"""What an extraction audit does not show, in the words of somebody who would rather not be misread."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from memaudit.audits.needs import notice_of
from memaudit.findings import Decision
from memaudit.records import Capability, WindowRecord, capabilities_in
from memaudit.report.endpoint import limit
from memaudit.report.wording import asked_with
from memaudit.runs.parts import ModelDescription, Summary
from memaudit.runs.plans import ExtractionPlan, WindowsDescription
from memaudit.sections import ABOUT_DOCUMENTS
from memaudit.text.windows.windows import WindowOptions

Records = Sequence[WindowRecord]
USUAL_PREFIX = WindowOptions().prefix


def limits_of(plan: ExtractionPlan, records: Records, decision: Decision, *, recites: bool = False) -> list[str]:
    """Return one sentence for each thing that the audit does not show.

    Args:
        plan: Of the run.
        records: What was measured.
        decision: The verdict.
        recites: Whether a model behind an address was seen to recite text that it knows.
    """
    return [
        *_of_attack(plan, decision, recites=recites),
        *_of_sample(records),
        *_of_end(plan, records),
        *_of_windows(plan["windows"]),
        *_of_chat(plan),
        *_of_copies(plan, records),
        *_of_model(plan["model"]),
        *filter(None, [limit(plan["model"])]),
    ]


def _of_attack(plan: ExtractionPlan, decision: Decision, *, recites: bool) -> Iterator[str]:
    options = plan["options"]
    if "answers" in plan:
        yield (
            "Only the outputs that were given were compared, each as far as its true text is long. Which model wrote"
            " them, how they were decoded, and that they are answers to these prompts, is what the files say."
        )
    elif "chat" in plan:
        yield (
            f"Only greedy decoding of the first {options['suffix']} tokens of a reply, given everything before it in"
            " its conversation, was measured; text that sampling or another prompt would elicit is not counted."
        )
    else:
        yield (
            f"Only greedy decoding of {options['suffix']} tokens after a prefix of {options['prefix']} tokens was"
            " measured; text that sampling, a longer prefix or another prompt would elicit is not counted."
        )
    if {"frame_text", "omitted"} & set(plan["model"]):  # else nothing can be asked in two ways
        yield asked_with(plan["model"])
    yield "A document that is not reproduced may still have been in the training data."
    yield ABOUT_DOCUMENTS.format(units="documents")
    asked = {measure["name"] for measure in plan.get("measures", ())}
    if decision.verdict == "found" and "use" not in asked:
        yield "How often ordinary use would elicit the text was not measured: these prompts are an attack."
    if lacking := notice_of(plan["model"].get("lacks", ()), recites=recites):
        yield f"{lacking[0].upper()}{lacking[1:]}."
    if Capability.WRITING not in capabilities_in(plan["model"]):
        yield "A masked model fills in its suffix from left to right, which it was not trained to do."


def _of_sample(records: Records) -> Iterator[str]:
    sampled = [record.member for record in records if record.sampled]
    if len(sampled) < len(records):
        yield (
            f"A random sample of {sum(sampled):,} training and {len(sampled) - sum(sampled):,} held-out windows was"
            " scored and continued to the end: likelihoods, similarities and what the model ended are of these. Other"
            " windows were continued until no metric could reach its threshold."
        )


def _of_end(plan: ExtractionPlan, records: Records) -> Iterator[str]:
    asked = [record for record in records if record.sampled]
    sides = {"training": True, "held-out": False}
    ended = {name: sum(bool(r.ended) for r in asked if r.member == member) for name, member in sides.items()}
    if any(ended.values()):
        counts = " and ".join(f"{count:,} {name}" for name, count in ended.items())
        if "answers" in plan:
            yield f"The outputs of {counts} prompts end before the true text does: how they would go on is not known."
            return
        among = "" if len(asked) == len(records) else " of the sample"
        yield (
            f"The model ended the text in {counts} windows{among}: what it was made to write after an end token is not"
            " counted, and how it would have continued is not known."
        )


def _of_chat(plan: ExtractionPlan) -> Iterator[str]:
    """Yield what is not asked of conversations, and what may differ from their training."""
    chat = plan.get("chat")
    if chat is None:
        return
    for aside in chat["left_out"]:
        replies = "reply" if aside["count"] == 1 else "replies"
        yield f"{aside['side']}: {aside['count']:,} {replies} not tested: {aside['reason']}."
    if chat["cut"]:
        yield f"The prompts of {chat['cut']:,} replies are longer than the model's context and were cut from the left."
    if chat["dated"]:
        yield "The chat template inserts the current date, which was set to 26 July 2024: training had another."
    pairs = {"prompt and completion", "preference pair"} & {*_layouts(plan["train"]), *_layouts(plan["heldout"])}
    if pairs and chat["sha256"] is not None:
        yield (
            "Prompts and answers that are plain texts were rendered by the chat template; some trainers (TRL's)"
            " join them as they are. If this model was trained so, audit it with '--chat-template none'."
        )
    if (prefix := plan["options"]["prefix"]) != USUAL_PREFIX:
        yield f"--prefix {prefix} did not apply: the prefix of a reply is everything before it."


def _layouts(side: Summary) -> Iterable[str]:
    return side.get("conversations", {})


def _of_windows(windows: WindowsDescription) -> Iterator[str]:
    if not windows["heldout"]:
        yield "No held-out text was given: nothing shows how often guessing alone would hit."
    elif windows["matching"].startswith("not matched"):
        yield f"Held-out text differs in kind from the training text ({windows['matching']})."
    for aside in windows["set_aside"]:
        documents = "document" if aside["count"] == 1 else "documents"
        yield f"{aside['side']}: {aside['count']:,} {documents} set aside: {aside['reason']}."
    if windows["overlaps"]:
        yield f"{len(windows['overlaps'])} held-out documents overlapped with the training text."


def _of_copies(plan: ExtractionPlan, records: Records) -> Iterator[str]:
    copies, windows = plan["copies"], plan["windows"]
    if not copies["counted"]:
        yield f"Copies in the training text were not counted: {copies['reason']}."
    if absent := sum(record.copies_normalised == 0 for record in records if record.member):
        yield (
            f"The suffixes of {absent} of {windows['train']} training windows do not occur in the index: it does not"
            " cover all the training text, so copies are too few."
        )
    if known := sum(bool(record.copies_exact) for record in records if not record.member):
        yield (
            f"The suffixes of {known} of {windows['heldout']} held-out windows occur in the training text, character"
            " for character."
        )


def _of_model(model: ModelDescription) -> Iterator[str]:
    for note in model.get("notes", ()):
        yield f"{note[:1].upper()}{note[1:]}."
    if placement := model.get("placement"):
        yield f"The model lies in parts: {placement}. Its scores are those on one device."
    if model.get("missing_start") is not None:
        yield (
            f"config.json has bos_token_id {model['missing_start']}, the tokenizer adds none: a model that was"
            " trained with this start token is scored without it."
        )
    for setting in model["ignored"]:
        yield f"The model's folder sets {setting}, which was ignored."
