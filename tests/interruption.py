"""A training that breaks off, as by a kill between two iterations."""

from collections.abc import Callable

import pytest

from cfrsam_d2.engine import NucleusTrainer


class Interrupted(Exception):
    pass


def interrupt(train: Callable[[], object], iteration: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Call `train`, whose `NucleusTrainer` stops just before an iteration."""
    run_step = NucleusTrainer.run_step

    def step(trainer: NucleusTrainer) -> None:
        if trainer.iter == iteration:
            raise Interrupted
        run_step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(NucleusTrainer, "run_step", step)
        with pytest.raises(Interrupted):
            train()
