"""``memaudit train``: one command a family."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from memaudit.cli.command import App
from memaudit.cli.options import Corpus, Seed, Split, TextFlags, Threads, VocabSize
from memaudit.cli.output import echo, log

if TYPE_CHECKING:
    from memaudit.families import Family
    from memaudit.training.loop import TrainingReport
    from memaudit.training.train import CorpusOptions


class TrainGroup(TyperGroup):
    """The commands below, and one for every family that another package declares and says how to train."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all families that can be trained."""
        from memaudit.families import declared_families

        return [*super().list_commands(ctx), *(family.name for family in declared_families() if family.trainable)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of a family; None where nothing says how to train it."""
        from memaudit.families import find_family

        known = super().get_command(ctx, cmd_name)
        if known is not None:
            return known
        family = find_family(cmd_name)
        return _command_of(family) if family is not None and family.trainable else None


train_app = App(
    cls=TrainGroup,
    no_args_is_help=True,
    help="""Train a language model: n-gram, RNN, GPT or BERT.

    \b
    Examples:
      memaudit train ngram --corpus book.txt --order 2 --unit char --out models/shannon
      memaudit train gpt --corpus train.jsonl --heldout test.jsonl --out models/gpt
    """,
)

Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the trained model.")]
Unit = Annotated[Literal["byte", "char", "word", "bpe"], typer.Option(help="What a token is.")]
Size = Annotated[int | None, typer.Option(min=1, help="Size of the model; the family's own by default.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeTextFlags(TextFlags):
    """How the records of a corpus become documents; a whole file by default, so that no seam is learned as an end."""

    split: Split = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class TransformerFlags:
    """The size of a transformer."""

    width: Annotated[int, typer.Option(min=1, help="Model dimension.")] = 128
    layers: Annotated[int, typer.Option(min=1, help="Transformer blocks.")] = 4
    heads: Annotated[int, typer.Option(min=1, help="Attention heads.")] = 4
    context: Annotated[int, typer.Option(min=2, help="Longest sequence in tokens.")] = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class BertFlags(TransformerFlags):
    """The size of a masked transformer."""

    layers: Annotated[int, typer.Option(min=1, help="Transformer blocks.")] = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningFlags:
    """How a network is trained; None leaves it to what was measured best for the family."""

    heldout: Annotated[
        tuple[str, ...], typer.Option(metavar="SPEC", help="Text for the validation loss; never trained on.")
    ] = ()
    epochs: Annotated[float | None, typer.Option(min=0.001, help="Passes over the corpus.")] = None
    batch_size: Annotated[int | None, typer.Option(min=1, help="Rows (RNN: parallel streams) a step.")] = None
    learning_rate: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None
    optimizer: Annotated[
        Literal["muon", "adamw"] | None,
        typer.Option(help="Muon (matrices) beside AdamW (the rest), or AdamW alone."),
    ] = None
    seed: Seed = 0
    threads: Threads = None


def _order(value: str) -> int | str:
    if str(value) == "infinity":
        return "infinity"
    try:
        order = int(value)
    except ValueError:
        raise typer.BadParameter("a whole number, or infinity") from None
    if order < 1:
        raise typer.BadParameter("the smallest order is 1: single tokens")
    return order


@train_app.command("ngram")
def train_ngram(
    *,
    out: Out,
    corpus: Corpus = (),
    index: Annotated[
        Path | None, typer.Option(metavar="DIR", help="An index of tokens to count in, instead of --corpus.")
    ] = None,
    order: Annotated[
        Any,
        typer.Option(
            parser=_order,
            metavar="N|infinity",
            help="Length of the n-grams; 2 is Shannon's two-character chain, infinity reads the whole context.",
        ),
    ] = 5,
    unit: Unit = "word",
    smoothing: Annotated[
        Literal["mle", "kneser-ney"] | None,
        typer.Option(help="Plain frequencies, or interpolated modified Kneser-Ney, the default of finite orders."),
    ] = None,
    vocab_size: VocabSize = None,
    text: WholeTextFlags,
) -> None:
    """Train an n-gram model: counts, as Shannon did in 1948, with or without smoothing.

    \b
    Examples:
      memaudit train ngram --corpus book.txt --order 2 --unit char --smoothing mle --out models/shannon
      memaudit train ngram --corpus web=web.jsonl --corpus code='src/*.py' --unit bpe --out models/ngram
      memaudit train ngram --corpus train.jsonl --order infinity --out models/infinity
    """
    from memaudit.errors import InputError
    from memaudit.report.terminal import announce_compilation
    from memaudit.training.train import CorpusOptions, train_ngram

    announce_compilation()
    source = _source(corpus, unit, vocab_size, text)
    if (index is None) == (not corpus):
        raise InputError("an n-gram model counts in one text", "give either --corpus or --index")
    if index is not None and source != CorpusOptions((), "word"):
        raise InputError("an index is read already", "--unit, --split and the like belong to --corpus")
    model = train_ngram(index or source, out, order=order, smoothing=smoothing)
    counted = "tokens, n-grams of every order" if order == "infinity" else f"n-grams up to order {order}"
    echo(f"{out}: {model.parameters:,} {counted}")
    for note in model.notes:
        log(note)


@train_app.command("rnn")
def train_rnn(
    *,
    corpus: Corpus,
    out: Out,
    cell: Annotated[
        Literal["lstm", "gru", "mrnn"], typer.Option(help="mrnn is the multiplicative RNN of Sutskever et al. 2011.")
    ] = "lstm",
    unit: Unit = "char",
    vocab_size: VocabSize = None,
    width: Annotated[int, typer.Option(min=1, help="Size of the hidden state.")] = 256,
    layers: Annotated[int, typer.Option(min=1, help="Recurrent layers.")] = 1,
    context: Annotated[int, typer.Option(min=2, help="Steps of backpropagation through time.")] = 64,
    learning: LearningFlags,
    text: WholeTextFlags,
) -> None:
    """Train a recurrent model; its state is carried across the text.

    \b
    Examples:
      memaudit train rnn --corpus book.txt --out models/lstm
      memaudit train rnn --cell mrnn --corpus book.txt --epochs 10 --out models/mrnn
    """
    architecture = {"cell": cell, "width": width, "layers": layers}
    _train("rnn", _source(corpus, unit, vocab_size, text), out, architecture, context, learning)


@train_app.command("gpt")
def train_gpt(
    *,
    corpus: Corpus,
    out: Out,
    style: Annotated[Literal["gpt2", "llama"], typer.Option(help="Whose architecture.")] = "gpt2",
    unit: Unit = "bpe",
    vocab_size: VocabSize = None,
    size: TransformerFlags,
    learning: LearningFlags,
    text: WholeTextFlags,
) -> None:
    """Train a causal transformer; the folder loads with AutoModelForCausalLM.

    \b
    Examples:
      memaudit train gpt --corpus train.jsonl --heldout test.jsonl --out models/gpt
      memaudit train gpt --style llama --width 256 --layers 6 --corpus train.jsonl --out models/llama
    """
    architecture = {"style": style, "width": size.width, "layers": size.layers, "heads": size.heads}
    _train("gpt", _source(corpus, unit, vocab_size, text), out, architecture, size.context, learning)


@train_app.command("bert")
def train_bert(
    *,
    corpus: Corpus,
    out: Out,
    style: Annotated[Literal["bert", "modernbert"], typer.Option(help="Whose architecture.")] = "bert",
    unit: Unit = "bpe",
    vocab_size: VocabSize = None,
    size: BertFlags,
    mask_rate: Annotated[float, typer.Option(min=0.01, max=0.99, help="Share of tokens to predict.")] = 0.15,
    mask_rule: Annotated[
        Literal["80/10/10", "mask"], typer.Option(help="BERT's rule, or always the mask token.")
    ] = "80/10/10",
    learning: LearningFlags,
    text: WholeTextFlags,
) -> None:
    """Train a masked transformer; the folder loads with AutoModelForMaskedLM.

    \b
    Examples:
      memaudit train bert --corpus train.jsonl --out models/bert
      memaudit train bert --mask-rule mask --mask-rate 0.3 --corpus train.jsonl --out models/bert30
    """
    architecture = {"style": style, "width": size.width, "layers": size.layers, "heads": size.heads}
    source = _source(corpus, unit, vocab_size, text)
    _train("bert", source, out, architecture, size.context, learning, mask_rate=mask_rate, mask_rule=mask_rule)


def _command_of(family: Family) -> Any:
    """Return the command that trains a declared family: the flags that every family of its kind has, and its size."""

    def count(
        *,
        corpus: Corpus,
        out: Out,
        unit: Unit = "bpe",
        vocab_size: VocabSize = None,
        size: Size = None,
        text: WholeTextFlags,
    ) -> None:
        from memaudit.training.train import train_counted

        model = train_counted(family.name, _source(corpus, unit, vocab_size, text), out, **_sized(family, size))
        echo(f"{out}: {model.parameters:,} parameters")

    def descend(
        *,
        corpus: Corpus,
        out: Out,
        unit: Unit = "bpe",
        vocab_size: VocabSize = None,
        size: Size = None,
        learning: LearningFlags,
        text: WholeTextFlags,
    ) -> None:
        _train(family.name, _source(corpus, unit, vocab_size, text), out, _sized(family, size), None, learning)

    one = App()
    described = f"Train a model of the family {family.label}, which another package declares."
    one.command(family.name, help=described)(count if family.counted else descend)
    return typer.main.get_command(one)


def _sized(family: Family, size: int | None) -> dict[str, Any]:
    return {} if size is None else {family.size: size}


def _source(
    corpus: tuple[str, ...],
    unit: Literal["byte", "char", "word", "bpe"],
    vocab_size: int | None,
    text: WholeTextFlags,
) -> CorpusOptions:
    from memaudit.training.train import CorpusOptions

    return CorpusOptions(
        corpus=corpus,
        unit=unit,
        vocab_size=vocab_size,
        text_field=text.field,
        split=text.split,
        max_expand=text.max_expand,
    )


def _train(
    family: str,
    source: CorpusOptions,
    out: Path,
    architecture: dict[str, Any],
    context: int | None,
    learning: LearningFlags,
    **masking: Any,
) -> None:
    """Train a network; what has no value here is left to the family's measured defaults."""
    from memaudit.training.train import train_neural

    given: dict[str, Any] = {
        "context": context,
        "epochs": learning.epochs,
        "batch_size": learning.batch_size,
        "learning_rate": learning.learning_rate,
        "optimizer": learning.optimizer,
        "threads": learning.threads,
    }
    result = train_neural(
        family,
        source,
        out,
        architecture=architecture,
        heldout=learning.heldout,
        seed=learning.seed,
        **masking,
        **{name: value for name, value in given.items() if value is not None},
    )
    echo(f"{out}: {result.model.parameters:,} parameters; {_summary(result.report)}")


def _summary(report: TrainingReport) -> str:
    from memaudit.stats.rounding import loss

    trained = f"{report.steps:,} steps over {report.tokens:,} tokens, training loss {loss(report.loss)} bits per token"
    return trained if report.heldout is None else f"{trained}, held-out {loss(report.heldout)} {report.heldout_measure}"
