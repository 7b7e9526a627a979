"""The README is a promise: its commands are lines that work, and CI runs the one it names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import datasets
import peft
import pytest
import transformers
import trl
import typer
from typer.testing import CliRunner

from memaudit.cli.app import app
from tests.text.chat.chat_data import conversation, new_tokenizer, train_chat_model, write_lines

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)


def commands(text: str) -> list[list[str]]:
    """Every memaudit command of a page or help text, as arguments."""
    lines = re.findall(rf"^ *(?:\.venv/bin/)?memaudit ((?:{'|'.join(NAMES)})\b.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


DOCUMENTED = [(page.name, arguments) for page in PAGES for arguments in commands(page.read_text(encoding="utf-8"))]


def parse(arguments: list[str]) -> None:
    """Parse a command without carrying it out."""
    command = typer.main.get_command(app)
    context = command.make_context("memaudit", list(arguments))
    while arguments := [*context._protected_args, *context.args]:
        name, child, rest = context.command.resolve_command(context, arguments)  # type: ignore[attr-defined]
        context = child.make_context(name, rest, parent=context)
        if not hasattr(child, "commands"):
            return


def test_the_two_commands_come_first() -> None:
    demo, tests = BLOCKS[:2]
    assert demo.strip().endswith("memaudit demo")
    assert tests.strip().endswith("-m pytest -n auto")
    assert all(len(block.strip().splitlines()) == 1 for block in (demo, tests))


def test_ci_does_what_the_second_command_does() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for step in ("python3 -m venv", "-e '.[dev]'", "-m pytest", "-n auto"):
        assert step in BLOCKS[1]
        assert step in script


@pytest.mark.filterwarnings("ignore")  # of trl and transformers, about each other
def test_a_fine_tuned_model_is_audited_as_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example runs as it stands there, on a chat model that learns the replies of eight conversations."""
    section = README.partition("does it recite my data?\n")[2].partition("\n## ")[0]
    [example] = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    [command] = commands(section)
    monkeypatch.chdir(tmp_path)
    sides = {"chats": range(8), "unseen": range(100, 108)}
    rows = {name: [conversation(number) for number in numbers] for name, numbers in sides.items()}
    for name, records in rows.items():
        write_lines(tmp_path / f"{name}.jsonl", records)
    tokenizer = new_tokenizer()
    train_chat_model(tokenizer, [conversation(number) for number in range(500, 508)], tmp_path / "base")
    args = trl.SFTConfig(
        output_dir="out", per_device_train_batch_size=8, max_steps=100, learning_rate=1e-2, use_cpu=True, seed=1,
        lr_scheduler_type="constant", save_strategy="no", report_to=[], disable_tqdm=True,
    )  # fmt: skip
    given = {
        **{name: datasets.Dataset.from_list(records) for name, records in rows.items()},
        "model": transformers.AutoModelForCausalLM.from_pretrained("base"),
        "tokenizer": tokenizer,
        "args": args,
        "lora": peft.LoraConfig(r=32, lora_alpha=64, target_modules="all-linear", task_type="CAUSAL_LM"),
    }
    exec(compile(example, "README.md", "exec"), given)
    logged = [
        entry["memorization_train"] for entry in given["trainer"].state.log_history if "memorization_train" in entry
    ]
    assert len(logged) == 6
    assert logged[0] == 0 < logged[-1]
    result = given["result"]
    assert result.verdict == "found"
    assert "its base model reproduces 0 of 8, so fine-tuning added" in result.report["headline"]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1, done.output
    assert "so fine-tuning added" in " ".join(done.output.split())


def test_pages_hold_commands() -> None:
    assert len(DOCUMENTED) >= 7


@pytest.mark.parametrize(
    ("page", "arguments"), DOCUMENTED, ids=lambda value: value if isinstance(value, str) else " ".join(value)[:60]
)
def test_documented_commands_parse(page: str, arguments: list[str]) -> None:
    parse(arguments)
    assert arguments[0] in NAMES


def test_examples_in_the_help_parse() -> None:
    group = typer.main.get_command(app)
    tops = group.commands.values()  # type: ignore[attr-defined]
    below = [command for top in tops for command in getattr(top, "commands", {}).values()]
    helps = [command.help or "" for command in (group, *tops, *below)]
    examples = [arguments for text in helps for arguments in commands(text)]
    for arguments in examples:
        parse(arguments)
    assert len(examples) >= 15


def test_parsing_refuses_what_does_not_exist() -> None:
    with pytest.raises(Exception, match="No such option"):
        parse(["audit", "models/gpt", "--train", "a", "--heldout", "b", "--no-such-flag"])


def test_links_between_pages_lead_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
