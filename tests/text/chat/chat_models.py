"""Chat templates in the styles that are common, and small tokenizers of the kinds that go with them."""

from __future__ import annotations

from typing import Any

import tokenizers
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

TEMPLATES = {
    "ChatML": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>'"
        " + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    ),
    "Llama 3": (
        "{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string ="
        " strftime_now('%d %b %Y') %}{%- endif %}{%- endif %}"
        "{{- bos_token }}{%- for message in messages %}{{- '<|start|>' + message['role'] + '<|end|>\\n\\n'"
        " + message['content'] | trim + '<|eot|>' }}{%- endfor %}{%- if add_generation_prompt %}"
        "{{- '<|start|>assistant<|end|>\\n\\n' }}{%- endif %}"
    ),
    "Llama 2": (
        "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message ="
        " '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% else %}{% set loop_messages = messages %}"
        "{% set system_message = '' %}{% endif %}{% for message in loop_messages %}"
        "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% set content = system_message + message['content'] if loop.index0 == 0 else message['content'] %}"
        "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
        "{% elif message['role'] == 'assistant' %}{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
    ),
    "a system prompt of its own": (
        "{% if messages[0]['role'] != 'system' %}{{ '<|im_start|>system\\nYou are helpful.<|im_end|>\\n' }}{% endif %}"
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}"
    ),
    "thoughts": (
        "{%- set ns = namespace(last=-1, opened=false) %}{%- for m in messages %}{%- if m.role == 'user' %}"
        "{%- set ns.last = loop.index0 %}{%- endif %}{%- endfor %}{%- for m in messages %}"
        "{{- '<|im_start|>' + m.role + '\n' }}{%- if m.role == 'assistant' and loop.index0 > ns.last %}"
        "{{- '<think>\n\n</think>\n\n' }}{%- endif %}{{- m.content + '<|im_end|>\n' }}{%- endfor %}"
        "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"
    ),
    "an end after all": (
        "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{{ eos_token }}\n{% else %}{{ m.role | upper }}: {{ m.content }}\n{% endif %}{% endfor %}"
    ),
}
SPECIAL = ["<s>", "</s>", "<unk>", "<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|eot|>"]
TEXTS = [
    "You are helpful. What is it? A stone, and nothing else.\n",
    "user assistant system [INST] SYS Hello  world",
] * 4


def byte_level() -> Any:
    """As GPT-2, Qwen and Llama 3 have it."""
    pipeline = tokenizers.Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=360, initial_alphabet=sorted(alphabet), special_tokens=SPECIAL, show_progress=False
    )
    pipeline.train_from_iterator(TEXTS, trainer)
    return pipeline


def metaspace(scheme: Any = "first") -> Any:
    """As SentencePiece writes it, with a space before the first word, or before that of every part."""
    pipeline = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    pipeline.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=False)
    pipeline.decoder = decoders.Sequence([decoders.Metaspace(prepend_scheme=scheme), decoders.ByteFallback()])
    return _with_bytes(pipeline)


def legacy() -> Any:
    """As Llama 2 has it: the spaces are made by a normaliser."""
    pipeline = tokenizers.Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    pipeline.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    pipeline.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return _with_bytes(pipeline)


def _with_bytes(pipeline: Any) -> Any:
    trainer = trainers.BpeTrainer(vocab_size=200, special_tokens=SPECIAL, show_progress=False)
    pipeline.train_from_iterator(TEXTS, trainer)
    return pipeline


def unigram() -> Any:
    """As T5 and XLNet have it: scores of pieces."""
    pipeline = tokenizers.Tokenizer(models.Unigram())
    pipeline.pre_tokenizer = pre_tokenizers.Metaspace()
    pipeline.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False)
    pipeline.train_from_iterator(TEXTS, trainer)
    return pipeline


KINDS = {
    "byte level": byte_level,
    "metaspace": metaspace,
    "metaspace of every part": lambda: metaspace("always"),
    "legacy": legacy,
    "unigram": unigram,
}


def chat_tokenizer(kind: str = "byte level", template: str | None = "ChatML", *, starts: bool = False) -> Any:
    """Return a tokenizer of transformers.

    Args:
        kind: Of `KINDS`.
        template: Of `TEMPLATES`, or a source.
        starts: Whether it puts ``<s>`` before a text by itself.
    """
    pipeline = KINDS[kind]()
    if starts:
        pipeline.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", pipeline.token_to_id("<s>"))]
        )
    source = None if template is None else TEMPLATES.get(template, template)
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pipeline, bos_token="<s>", eos_token="</s>", unk_token="<unk>", chat_template=source
    )
