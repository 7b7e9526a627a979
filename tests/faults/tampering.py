"""Altered copies of a model folder, each with what must come of it; none may ever come out clean.

``found``: what the folder tries to set is not followed, all sixteen passages are found, and the attempt is listed.
``refused``: exit 2, one line that names the place. ``told``: anything but clean: found, refused or inconclusive.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import shutil
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import load_file, save_file

from tests.faults.isolation import Outcome, isolated
from tests.faults.memorised import verdict_of

Expected = Literal["found", "refused", "told"]
SECONDS, MEBIBYTES, LONGEST = 10, 1024, 300
"""What a copy may cost, and how long a message may be."""
CANARY = "canary"
"""File beside the copy that every payload touches."""


@dataclass(frozen=True)
class Case:
    """One way to alter a copy."""

    name: str
    expected: Expected
    change: Callable[[Path], None]
    says: str = ""
    """What the list of ignored settings, or the refusal, must name."""


def cases() -> list[Case]:
    """Return all of them, for a GPT-2."""
    return [*any_family(), *_tensors(), *_configurations(), *_bombs()]


def any_family() -> list[Case]:
    """Return those that name no part of an architecture."""
    return [*_decoding(), *_steering(), *_tokenizers(), *_payloads()]


def faults_of(case: Case, outcome: Outcome, copy: Path) -> list[str]:
    """Return what was wrong with how a copy was received; nothing if all was right."""
    got = {2: "refused", 0: (outcome.value or {}).get("verdict")}.get(outcome.exit_code, f"exit {outcome.exit_code}")
    message = outcome.message.replace(str(copy.parent), "")
    faults = []
    if got == "clean" or (case.expected != "told" and got != case.expected) or str(got).startswith("exit"):
        faults.append(f"{got}, not {case.expected}: {message or outcome.value}")
    if got == "refused" and (case.says not in message or "\n" in message or len(message) > LONGEST):
        faults.append(f"one line that names {case.says!r} was expected, not {message!r}")
    if got == "found" and case.expected == "found":
        listed = " ".join(outcome.value["ignored"])
        faults += [] if outcome.value["hits"] == 16 else [f"{outcome.value['hits']} of 16 found"]
        faults += [] if case.says in listed else [f"{case.says!r} is not listed: {listed}"]
    if outcome.reached or (copy.parent / CANARY).exists():
        faults.append(f"it reached for {outcome.reached or 'the canary'}")
    if outcome.seconds > SECONDS or outcome.mebibytes > MEBIBYTES:
        faults.append(f"it took {outcome.seconds:.1f} s and {outcome.mebibytes:.0f} MiB")
    return faults


def audited(case: Case, victim: Path, corpora: Path, where: Path) -> list[str]:
    """Audit an altered copy of the victim in a child; return what was wrong with how it was received."""
    copy = where / "copy"
    shutil.copytree(victim, copy)
    case.change(copy)

    def work() -> Any:
        os.chdir(where)  # where payloads that know no other place leave their canary
        return verdict_of(copy, corpora, where / "run")

    return faults_of(case, isolated(work, 3 * SECONDS), copy)


def _edit(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / name
        content = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps(content | changes))

    return change


def _write(name: str, content: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)

    return change


def _tensor_change(change: Callable[[dict[str, torch.Tensor]], None]) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        file = folder / "model.safetensors"
        tensors = load_file(file)
        change(tensors)
        save_file(tensors, file, {"format": "pt"})

    return changed


SETTINGS: dict[str, Any] = {
    "repetition_penalty": 5.0, "no_repeat_ngram_size": 2, "encoder_repetition_penalty": 3.0,
    "suppress_tokens": list(range(30, 290)), "begin_suppress_tokens": list(range(3, 290)),
    "bad_words_ids": [[token] for token in range(60, 290)], "sequence_bias": [[[40], 10.0]],
    "forced_bos_token_id": 40, "forced_eos_token_id": [40], "eos_token_id": list(range(3, 290)),
    "exponential_decay_length_penalty": [1, 50.0], "min_length": 40, "max_length": 1, "max_new_tokens": 1,
    "max_time": 1e-6, "stop_strings": ["e"], "do_sample": True, "temperature": 9.0, "num_beams": 4,
    "num_beam_groups": 2, "diversity_penalty": 5.0, "guidance_scale": 9.0, "length_penalty": -9.0, "top_k": 1,
    "min_p": 0.9, "watermarking_config": {"bias": 9.0, "greenlist_ratio": 0.1}, "cache_implementation": "offloaded",
    "constraints": [[40]], "renormalize_logits": True, "custom_generate": "somebody/decoder",
}  # fmt: skip


def _decoding() -> Iterator[Case]:
    for key, value in SETTINGS.items():
        for file in ("generation_config.json", "config.json"):
            if not (file == "config.json" and key in ("top_k", "min_p", "custom_generate", "max_new_tokens")):
                yield Case(f"{file}: {key}", "found", _edit(file, **{key: value}), f"{file}: {key}=")
    code = f"open({CANARY!r}, 'w')".encode()
    yield Case("custom_generate/generate.py", "found", _write("custom_generate/generate.py", code))
    yield Case("generation_config.json: no JSON", "refused", _write("generation_config.json", b"{"), "not valid JSON")


def _steering() -> Iterator[Case]:
    for key in ("attn_implementation", "_attn_implementation", "_attn_implementation_internal",
                "experts_implementation", "_experts_implementation"):  # fmt: skip
        yield Case(f"kernel: {key}", "found", _edit("config.json", **{key: "somebody/kernel"}), f"config.json: {key}")
    yield Case("kernel: nested", "told", _edit("config.json", text_config={"_attn_implementation": "somebody/kernel"}))
    auto = {"auto_map": {"AutoModelForCausalLM": "evil.Model", "AutoConfig": "evil.Config"}}
    yield Case("auto_map", "found", _both(_edit("config.json", **auto), _evil), "config.json: auto_map")
    yield Case("auto_map of the tokenizer", "told", _both(_edit("tokenizer_config.json", auto_map={
        "AutoTokenizer": ["evil.Tokenizer", None]}, tokenizer_class="EvilTokenizer"), _evil))  # fmt: skip
    own = _both(_edit("config.json", model_type="own", auto_map={"AutoConfig": "evil.Config"}), _evil)
    yield Case("a model type of its own", "refused", own, "needs code of its own")
    for method, settings in (("gptq", {"bits": 4}), ("bitsandbytes", {"load_in_4bit": True}), ("fp8", {})):
        quantised = _edit("config.json", quantization_config={"quant_method": method, **settings})
        yield Case(f"quantisation: {method}", "refused", quantised, "and no tensor is")
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"):
        yield Case(f"adapter: {name}", "refused", _write(name, b"{}"), "adapter")
    yield Case("dtype of the configuration", "found", _edit("config.json", dtype="float16", torch_dtype="float16"))
    yield Case("objective: named masked", "told", _edit("config.json", architectures=["BertForMaskedLM"]))
    yield Case("objective: a classifier", "told", _edit("config.json", architectures=["GPT2ForSequenceClassification"]))
    chat = "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}"
    yield Case("chat template", "found", _write("chat_template.jinja", chat.encode()))


def _tensors() -> Iterator[Case]:
    first = "transformer.h.1.mlp.c_fc.weight"

    def renamed(tensors: dict[str, torch.Tensor]) -> None:
        for name in list(tensors):
            tensors[f"renamed.{name}"] = tensors.pop(name)

    def filled(value: float, count: int | None = None, name: str = first) -> Callable[[Path], None]:
        def fill(tensors: dict[str, torch.Tensor]) -> None:
            tensors[name].flatten()[:count] = value

        return _tensor_change(fill)

    yield Case("tensors: all renamed", "refused", _tensor_change(renamed), "missing")
    yield Case("tensors: one missing", "refused", _tensor_change(lambda t: t.__delitem__(first)), first)
    yield Case("tensors: one too many", "refused", _tensor_change(lambda t: t.update(extra=torch.ones(3))), "extra")
    yield Case("tensors: a layer too many", "refused", _edit("config.json", n_layer=1), "transformer.h.1.")
    yield Case("tensors: a layer too few", "refused", _edit("config.json", n_layer=3), "transformer.h.2.")
    narrow = _tensor_change(lambda t: t.update({first: t[first][:, :8].contiguous()}))
    yield Case("tensors: another shape", "refused", narrow, first)
    yield Case("tensors: one NaN", "refused", filled(float("nan"), 1), f"tensor {first} has 1 non-finite value")
    yield Case("tensors: infinite", "refused", filled(float("inf"), 3), f"tensor {first} has 3 non-finite values")
    yield Case("tensors: NaN in the embedding", "refused", filled(float("nan"), 1, "transformer.wte.weight"), "wte")
    yield Case("tensors: huge", "told", filled(3e38), "non-finite")
    zeros = _tensor_change(lambda t: t.update({name: torch.zeros_like(value) for name, value in t.items()}))
    yield Case("tensors: all zero", "refused", zeros, "zeros only")
    yield Case("tensors: one zero", "told", filled(0.0))
    swapped = _tensor_change(lambda t: t.update({
        f"transformer.h.{i}.{name}": t[f"transformer.h.{1 - i}.{name}"].clone()
        for i in (0, 1) for name in ("ln_1.weight", "attn.c_attn.weight", "mlp.c_fc.weight", "mlp.c_proj.weight")
    }))  # fmt: skip
    yield Case("tensors: layers swapped", "told", swapped)
    rolled = _tensor_change(lambda t: t.update({"transformer.wte.weight": t["transformer.wte.weight"].roll(1, 0)}))
    yield Case("tensors: embedding rolled", "told", rolled)
    whole = _tensor_change(lambda t: t.update({first: (t[first] * 3).round().to(torch.int8)}))
    yield Case("tensors: whole numbers", "refused", whole, first)
    yield Case("tensors: shard absent", "refused", _shards({"transformer.wte.weight": "model-2.safetensors"}), "absent")
    yield Case("tensors: shard elsewhere", "refused", _shards({"x": "../model.safetensors"}), "weight_map")


def _configurations() -> Iterator[Case]:
    changes: dict[str, dict[str, Any]] = {
        "norm epsilon": {"layer_norm_epsilon": 10.0},
        "attention not scaled": {"scale_attn_weights": False},
        "attention scaled by layer": {"scale_attn_by_inverse_layer_idx": True},
        "activation relu": {"activation_function": "relu"},
        "activation sigmoid": {"activation_function": "sigmoid"},
        "two heads": {"n_head": 2},
        "sixteen heads": {"n_head": 16},
        "untied": {"tie_word_embeddings": False},
        "dropout": {"attn_pdrop": 0.9, "resid_pdrop": 0.9, "embd_pdrop": 0.9},
        "pruned heads": {"pruned_heads": {"0": [0, 1, 2]}},
        "other start token": {"bos_token_id": 7, "eos_token_id": 8, "pad_token_id": 9},
        "another family": {"model_type": "gpt_neo"},
        "cross attention": {"add_cross_attention": True},
        "is_decoder": {"is_decoder": False, "is_encoder_decoder": True},
        "no cache": {"use_cache": False},
    }
    for name, change in changes.items():
        yield Case(f"configuration: {name}", "told", _edit("config.json", **change))


def _tokenizers() -> Iterator[Case]:
    def edit(change: Callable[[dict[str, Any]], None]) -> Callable[[Path], None]:
        def changed(folder: Path) -> None:
            file = folder / "tokenizer.json"
            content = json.loads(file.read_text())
            change(content)
            file.write_text(json.dumps(content))

        return changed

    def swap(content: dict[str, Any], one: str, other: str) -> None:
        vocabulary = content["model"]["vocab"]
        vocabulary[one], vocabulary[other] = vocabulary[other], vocabulary[one]

    def shuffle(content: dict[str, Any]) -> None:
        vocabulary = content["model"]["vocab"]
        names = [name for name in vocabulary if not name.startswith("<")]
        ids = [vocabulary[name] for name in names]
        random.Random(0).shuffle(ids)
        vocabulary.update(zip(names, ids, strict=True))

    def normalizer(**rule: Any) -> Callable[[Path], None]:
        return edit(lambda content: content.update(normalizer=rule))

    def model(**changes: Any) -> Callable[[Path], None]:
        return edit(lambda content: content["model"].update(changes))

    more = {f"more{number}": 300 + number for number in range(3)}
    truncation = {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0}
    padding = {"strategy": {"Fixed": 60}, "direction": "Left", "pad_to_multiple_of": None, "pad_id": 5,
               "pad_type_id": 0, "pad_token": "!"}  # fmt: skip
    added = {"id": 40, "content": "the", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
             "special": False}  # fmt: skip
    front = {"type": "TemplateProcessing", "pair": [], "single": [{"SpecialToken": {"id": "<mask>", "type_id": 0}},
             {"Sequence": {"id": "A", "type_id": 0}}],
             "special_tokens": {"<mask>": {"id": "<mask>", "ids": [2], "tokens": ["<mask>"]}}}  # fmt: skip
    changes = {
        "ids shuffled": edit(shuffle),
        "a and b swapped": edit(lambda content: swap(content, "a", "b")),
        "e and t swapped": edit(lambda content: swap(content, "e", "t")),
        "letter and merge swapped": edit(lambda content: swap(content, "e", "Ġt")),
        "replaces a by e": normalizer(type="Replace", pattern={"String": "a"}, content="e"),
        "drops e": normalizer(type="Replace", pattern={"String": "e"}, content=""),
        "lower case": normalizer(type="Lowercase"),
        "drops spaces": normalizer(type="Replace", pattern={"String": " "}, content=""),
        "doubles spaces": normalizer(type="Replace", pattern={"String": " "}, content="  "),
        "prepends": normalizer(type="Prepend", prepend="_"),
        "merges gone": model(merges=[]),
        "dropout": model(dropout=1.0),
        "some dropout": model(dropout=0.3),
        "truncates": edit(lambda content: content.update(truncation=truncation)),
        "pads": edit(lambda content: content.update(padding=padding)),
        "a word of its own": edit(lambda content: content["added_tokens"].append(added)),
        "another start token": edit(lambda content: content.update(post_processor=front)),
        "splits digits and letters": edit(lambda content: content.update(pre_tokenizer={
            "type": "Sequence", "pretokenizers": [{"type": "Split", "pattern": {"Regex": "."}, "behavior": "Isolated",
                                                   "invert": False}, content["pre_tokenizer"]]})),
        "decodes otherwise": edit(lambda content: content.update(decoder={
            "type": "Sequence", "decoders": [content["decoder"], {"type": "Replace", "pattern": {"String": "e"},
                                                                  "content": "o"}]})),
        "max length 1": _edit("tokenizer_config.json", model_max_length=1, truncation_side="left"),
        "cleans up spaces": _edit("tokenizer_config.json", clean_up_tokenization_spaces=True),
        "strips": _edit("tokenizer_config.json", add_prefix_space=True, do_lower_case=True),
        "another class": _edit("tokenizer_config.json", tokenizer_class="BertTokenizer"),
        "adds tokens": _edit("tokenizer_config.json", add_bos_token=True, add_eos_token=True, bos_token="<mask>"),
    }  # fmt: skip
    for name, change in changes.items():
        yield Case(f"tokenizer: {name}", "told", change)
    larger = edit(lambda content: content["model"]["vocab"].update(more))
    yield Case("tokenizer: larger than the embedding", "refused", larger, "its embedding only 300")
    yield Case("tokenizer: absent", "refused", _removed("tokenizer*"), "no usable tokenizer")


class Payload:
    """Touches the canary when it is unpickled."""

    def __reduce__(self) -> Any:
        return open, (CANARY, "w")


def _payloads() -> Iterator[Case]:
    payload = pickle.dumps(Payload())
    pickled = _both(_removed("model.safetensors"), _write("pytorch_model.bin", payload))
    yield Case("pickle: pytorch_model.bin", "refused", pickled, "may run code")
    for name in ("model.pt", "model.ckpt", "model.pkl", "weights.h5", "consolidated.00.pth"):
        alone = _both(_removed("model.safetensors"), _write(name, payload))
        yield Case(f"pickle: {name}", "refused", alone, "may run code")
    yield Case("pickle: renamed", "refused", _write("model.safetensors", payload), "not a safetensors file")
    beside = _both(_write("pytorch_model.bin", payload), _write("tokenizer.pkl", payload))
    yield Case("pickle: beside good weights", "found", _both(beside, _write("training_args.bin", payload)))
    for name, content in DAMAGED.items():
        yield Case(f"safetensors: {name}", "refused", _write("model.safetensors", content), "model.safetensors")
    yield Case("safetensors: cut", "refused", _cut(0.6), "not a safetensors file")
    yield Case("safetensors: bytes behind", "refused", _appended(b"more"), "not a safetensors file")


def _bombs() -> Iterator[Case]:
    million = {"n_layer": 1_000_000, "vocab_size": 10**12, "n_embd": 10**9, "n_inner": 10**9, "n_positions": 10**12,
               "n_head": 10**9}  # fmt: skip
    for key, value in million.items():
        yield Case(f"bomb: {key} is {value}", "refused", _edit("config.json", **{key: value}), "config.json")
    experts = {"model_type": "mixtral", "num_local_experts": 10**6, "num_hidden_layers": 2, "hidden_size": 64}
    yield Case("bomb: a million experts", "refused", _edit("config.json", **experts), "config.json")
    labels = _edit("config.json", num_labels=10**8)
    yield Case("bomb: a hundred million labels", "told", labels)
    deep = b"[" * 100_000 + b"]" * 100_000
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        yield Case(f"bomb: {name} nested 100,000 deep", "refused", _write(name, b'{"a":' + deep + b"}"), "")
        yield Case(f"bomb: {name} of 3 GiB", "refused", _sparse(name, 3 << 30), name)
        yield Case(f"bomb: {name} is a pipe", "refused", _pipe(name), "")
    yield Case("bomb: weights of 20 GiB", "refused", _holes(20 << 30), "")
    yield Case("bomb: weights are /dev/zero", "refused", _link("model.safetensors", "/dev/zero"), "model.safetensors")
    yield Case("bomb: config.json is /dev/zero", "refused", _link("config.json", "/dev/zero"), "config.json")


def _header(tensors: dict[str, Any], body: bytes = b"") -> bytes:
    text = json.dumps(tensors).encode()
    return struct.pack("<Q", len(text)) + text + body


DAMAGED = {
    "empty": b"",
    "7 bytes": b"1234567",
    "header of 2^62 bytes": struct.pack("<Q", 2**62) + b"{}",
    "header of 200 MB": struct.pack("<Q", 200 << 20) + b" " * 1000,
    "header no JSON": struct.pack("<Q", 9) + b"{not json",
    "body missing": _header({"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, b"123"),
    "lying shape": _header({"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 8]}}, bytes(8)),
    "unknown type": _header({"a": {"dtype": "X9", "shape": [2], "data_offsets": [0, 8]}}, bytes(8)),
    "negative offset": _header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, bytes(8)),
    "overlap": _header({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
                        "b": {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}}, bytes(12)),
    "a gap": _header({"a": {"dtype": "U8", "shape": [2], "data_offsets": [1, 3]}}, bytes(3)),
    "no end": _header({"a": {"dtype": "U8", "shape": [2], "data_offsets": [0]}}, bytes(2)),
    "a type that is none": _header({"a": {"dtype": ["U8"], "shape": [2], "data_offsets": [0, 2]}}, bytes(2)),
    "a product beyond all": _header({"a": {"dtype": "U8", "shape": [2**61] * 2, "data_offsets": [0, 2]}}, bytes(2)),
    "git-LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
}  # fmt: skip


def _both(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


def _evil(folder: Path) -> None:
    (folder / "evil.py").write_text(f"open({CANARY!r}, 'w')\n")


def _removed(pattern: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        for file in folder.glob(pattern):
            file.unlink()

    return change


def _shards(weight_map: dict[str, str]) -> Callable[[Path], None]:
    index = _write("model.safetensors.index.json", json.dumps({"weight_map": weight_map}).encode())
    return _both(_removed("model.safetensors"), index)


def _cut(share: float) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        os.truncate(file, int(file.stat().st_size * share))

    return change


def _appended(more: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / "model.safetensors").open("ab") as file:
            file.write(more)

    return change


def _sparse(name: str, size: int) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).touch()
        os.truncate(folder / name, size)

    return change


def _pipe(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def _link(name: str, target: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        (folder / name).symlink_to(target)

    return change


def _holes(size: int) -> Callable[[Path], None]:
    """One tensor of zeros that takes no room on the disk, beside the true ones."""

    def change(folder: Path) -> None:
        file = folder / "model.safetensors"
        data = file.read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        header = json.loads(data[8 : 8 + length])
        end = len(data) - 8 - length
        header["more"] = {"dtype": "F32", "shape": [size // 4], "data_offsets": [end, end + size]}
        file.write_bytes(_header(header, data[8 + length :]))
        os.truncate(file, file.stat().st_size + size)

    return change
