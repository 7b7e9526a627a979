"""An audit of conversations: what a chat model is asked, how it is written, and what cannot be asked so."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from memaudit.audits.extraction.options import AuditOptions
from memaudit.audits.measures.names import MEASURES
from memaudit.audits.subject import AnyMeasure
from memaudit.errors import InputError, ModelError
from memaudit.models.base import LanguageModel
from memaudit.records import Capability, Document
from memaudit.runs.inputs import read_file
from memaudit.runs.plans import ChatDescription, SetAside
from memaudit.runs.schema import as_record
from memaudit.text.chat.replies import JOIN, ChatReader, ChatTemplate, template_of
from memaudit.text.corpus.read import Corpus
from memaudit.text.windows.conversation_windows import LEAST, Context, ReplySet, draw_replies
from memaudit.text.windows.windows import WindowOptions

_log = logging.getLogger("memaudit")

OF_REPLIES = ("probability", "near-verbatim", "taxonomy")
"""Measures of ours that are taken of replies too; others read documents from their start, or windows of one length."""


def are_conversations(corpora: Sequence[Corpus]) -> bool:
    """Whether the text of an audit is of conversations, which were checked before.

    Raises:
        InputError: One side is, and the other is not.
    """
    kinds = [corpus.conversations for corpus in corpora]
    if len(set(kinds)) > 1:
        chat, text = (" ".join(part.spec for part in corpora[kinds.index(kind)].parts) for kind in (True, False))
        raise InputError(f"{chat} holds conversations, {text} none", "both sides must be of one kind")
    return kinds[0]


def check_asked(measures: Sequence[AnyMeasure], options: AuditOptions) -> None:
    """Refuse what cannot be measured of conversations.

    Args:
        measures: That were asked for; those of other packages must see for themselves.
        options: Of the audit.

    Raises:
        InputError: A measure needs plain documents.
    """
    if options.membership is not None:
        raise InputError("--membership compares scores of plain texts", "leave it out: these are conversations")
    for measure in measures:
        if measure.name in set(MEASURES.builtin) - set(OF_REPLIES):
            taken = ", ".join(OF_REPLIES)
            raise InputError(
                f"the measure '{measure.name}' reads plain documents, and these are conversations",
                f"leave it out; of replies can be measured: {taken}",
            )


def draw_conversations(
    model: LanguageModel, corpora: tuple[Iterable[Document], Iterable[Document]], options: AuditOptions
) -> tuple[ReplySet, ChatDescription, bool]:
    """Return the windows of both sides, what a plan says of them, and whether the model begins texts as it does always.

    Raises:
        InputError: See `draw_replies`; there is no chat template, or it was given and cannot be read.
        ModelError: The template cannot be used, or the model is none that writes text.
    """
    if Capability.WRITING not in model.capabilities:
        raise ModelError(
            f"a {model.family} model cannot be audited on conversations", "it does not write from left to right"
        )
    template = _template(model, options)
    if options.prefix != WindowOptions().prefix:
        _log.warning(
            "memaudit: --prefix does not apply to conversations: the prefix of a reply is everything before it"
        )
    before = model.frame[0]
    context = Context(model.context_length, len(before))
    name = options.chat_template or f"the {model.family} model"
    with ChatReader(template, model.tokenizer, before, name) as reader:
        drawn = draw_replies(*corpora, reader, model.tokenizer, options, context, skip_bad=options.skip_bad)
    chat: ChatDescription = {
        "template": template.origin,
        "sha256": template.sha256,
        "least": LEAST,
        "longest_prompt": max((len(window.prefix) for window in drawn.drawn.windows), default=0),
        "cut": drawn.cut,
        "left_out": [as_record(entry, SetAside) for entry in drawn.left_out],
        "dated": reader.dated,
    }
    return drawn, chat, reader.begins is not False or not before


def _template(model: LanguageModel, options: AuditOptions) -> ChatTemplate:
    """Return the template that was given, or the model's own."""
    given = options.chat_template
    if given == JOIN:
        return ChatTemplate(None, "none: prompt and completion follow each other")
    if given is not None:
        try:
            content, _ = read_file(Path(given))
            return ChatTemplate(content.decode(), given)
        except OSError as error:
            raise InputError(f"{given}: {error.strerror}", "a chat template is a file of Jinja's") from None
        except UnicodeDecodeError:
            raise InputError(f"{given}: not UTF-8", "a chat template is a file of Jinja's") from None
    own = template_of(model.tokenizer)
    if own is None:
        raise InputError(
            "these are conversations, and the model has no chat template",
            f"name the one it was trained with: --chat-template FILE, or '{JOIN}' to join prompt and completion",
        )
    return own
