"""A run that is gone on with: its folder, and the model that answered when it began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from memaudit.errors import EndpointError
from memaudit.models.remote.address import Endpoint
from memaudit.models.remote.dialects.text import Text
from memaudit.models.remote.model import RemoteModel
from memaudit.models.remote.probe import Probed
from memaudit.models.remote.resumed import going_on_in, resumed_folder
from memaudit.models.remote.transport import Transport
from memaudit.text.tokenize import train_tokenizer

TOKENIZER = train_tokenizer("byte", [])
MARKS = [[-0.5, -3.0], [-7.25, None]]


def model(marks: list[Any], again: list[Any] | None = None, noise: float = 1e-3) -> RemoteModel:
    """Return a model of which nothing is asked."""
    transport = Transport("http://127.0.0.1:9/v1", Endpoint(), lambda _: None)
    told = marks if again is None else again
    probed = Probed(Text(transport, "m", TOKENIZER), "m", None, (), (), {}, marks, noise, lambda: told)
    return RemoteModel(transport, probed, TOKENIZER, {}, "")


def test_the_folder_is_known_while_models_are_loaded() -> None:
    assert resumed_folder() is None
    with going_on_in("runs/one"):
        assert resumed_folder() == Path("runs/one")
        with going_on_in(None):
            assert resumed_folder() is None
    assert resumed_folder() is None


def test_a_run_goes_on_with_the_model_that_it_began_with_alone(tmp_path: Path) -> None:
    model(MARKS).keep_in(tmp_path)
    model([[-0.55, -2.96], [-7.2, None]]).keep_in(tmp_path)  # the same, as a server that rounds says it another time
    with pytest.raises(EndpointError, match="another model answers than when the run began"):
        model([[-0.5, -3.4], [-7.25, None]]).keep_in(tmp_path)
    model(MARKS).keep_in(tmp_path)


def test_a_run_whose_model_was_exchanged_meanwhile_is_given_up_for_good(tmp_path: Path) -> None:
    steady = model(MARKS)
    steady.keep_in(tmp_path)
    steady.check_unchanged()
    exchanged = model(MARKS, [[-2.5, -3.0], [-7.25, None]])
    exchanged.keep_in(tmp_path)
    with pytest.raises(EndpointError, match="another model answers at the end of a session"):
        exchanged.check_unchanged()
    with pytest.raises(EndpointError, match="another model answers at the end of a session"):
        model(MARKS).keep_in(tmp_path)
