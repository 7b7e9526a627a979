"""``memaudit plant``: passages and canaries at known numbers of copies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from memaudit.cli.options import Seed, TextFlags
from memaudit.cli.output import echo


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantingFlags:
    """What is planted, and how often."""

    doses: Annotated[str, typer.Option(metavar="LIST", help="Numbers of copies; twins have none.")] = (
        "1,2,4,8,16,32,64,128,256"
    )
    per_dose: Annotated[int, typer.Option(min=0, help="Passages of each variant at each dose.")] = 12
    canaries: Annotated[int, typer.Option(min=0, help="Canaries of each variant at each dose.")] = 12
    words: Annotated[int, typer.Option(min=1, help="Words of a passage, and of a canary.")] = 100
    changed: Annotated[int, typer.Option(min=0, help="Words replaced in each fuzzy copy; 0: exact copies alone.")] = 4
    digits: Annotated[int, typer.Option(min=1, help="Digits of a canary's secret.")] = 6
    seed: Seed = 0


def plant(
    background: Annotated[
        tuple[str, ...],
        typer.Argument(metavar="BACKGROUND...", help="The training corpus: paths, globs, hf:..., or DOMAIN=SPEC."),
    ],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the planted corpus.")],
    passages: Annotated[
        tuple[str, ...],
        typer.Option(metavar="SPEC", help="Text to cut passages from; by default documents held back."),
    ] = (),
    planting: PlantingFlags,
    text: TextFlags,
) -> None:
    """Plant passages and canaries at known numbers of copies, to measure what a model trained on them memorises.

    Writes training.jsonl to train on, planted.jsonl and twins.jsonl to audit with, and manifest.json. Which passage
    gets how many copies, and which is never inserted, is drawn by the seed.

    \b
    Examples:
      memaudit plant train.jsonl --out dose
      memaudit plant web=web.jsonl code='src/*.py' --passages code=new.jsonl --doses 1,4,16,64 --out dose
      memaudit audit models/gpt --train dose/planted.jsonl --heldout dose/twins.jsonl --measure dose
    """
    from memaudit.report.terminal import announce_compilation
    from memaudit.text.planting.dose_kit import plant_corpus
    from memaudit.text.planting.planting import PlantOptions

    announce_compilation()
    made = plant_corpus(
        background,
        out,
        passages=passages,
        options=PlantOptions(
            doses=_doses(planting.doses),
            per_dose=planting.per_dose,
            canaries=planting.canaries,
            words=planting.words,
            changed=planting.changed,
            digits=planting.digits,
            seed=planting.seed,
        ),
        text_field=text.field,
        split=text.split,
        max_expand=text.max_expand,
    )
    copies = sum(document.copies or 0 for document in made.kit.planted)
    echo(
        f"{out}: {len(made.kit.planted):,} passages and canaries in {copies:,} copies among"
        f" {len(made.kit.training):,} documents, {len(made.kit.twins):,} twins in none;"
        f" {made.kit.held_back:,} documents held back"
    )


def _doses(listed: str) -> tuple[int, ...]:
    """Return the numbers of a list; 0, which is the twins', may stand in it."""
    from memaudit.errors import InputError

    names = [name.strip() for name in listed.split(",")]
    if not all(name.isascii() and name.isdecimal() and len(name) < 10 for name in names):
        raise InputError(f"--doses {listed}: not numbers of copies", "for example 1,4,16,64")
    return tuple(int(name) for name in names if int(name))
