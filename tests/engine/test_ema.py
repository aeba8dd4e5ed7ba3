"""Running averages of weights, with known answers."""

import pytest
import torch
from torch import nn

from cfrsam_d2.engine.ema import WeightAverage
from cfrsam_d2.errors import UserError


@pytest.fixture
def model() -> nn.Module:
    model = nn.ModuleDict(
        {"trained": nn.Linear(1, 1), "norm": nn.BatchNorm1d(1), "frozen": nn.Linear(1, 1)}
    )
    model["frozen"].requires_grad_(False)
    nn.init.zeros_(model["trained"].weight)
    return model


def started(model: nn.Module, decay: float = 0.75) -> WeightAverage:
    average = WeightAverage(model, decay)
    average.start()
    return average


def test_known_answer(model: nn.Module) -> None:
    average = started(model)
    for value in (4.0, 8.0):
        nn.init.constant_(model["trained"].weight, value)
        model["norm"].running_mean.fill_(value)
        average.update()
    state = average.state_dict()  # 0.25·4 = 1; 0.75·1 + 0.25·8 = 2.75
    assert state["trained.weight"].item() == 2.75
    assert state["norm.running_mean"].item() == 2.75


def test_holds_trainable_parameters_and_float_buffers(model: nn.Module) -> None:
    assert set(started(model).state_dict()) == {
        "trained.weight",
        "trained.bias",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
    }


def test_constant_weights_stay_exact(model: nn.Module) -> None:
    average = started(model, decay=0.99)
    for _ in range(100):
        average.update()
    assert torch.equal(average.state_dict()["trained.bias"], model["trained"].bias)


def test_applied_lends_the_averages(model: nn.Module) -> None:
    average = started(model)
    nn.init.constant_(model["trained"].weight, 4)
    average.update()

    def evaluate() -> None:
        with average.applied():
            assert model["trained"].weight.item() == 1
            raise RuntimeError("in evaluation")

    with pytest.raises(RuntimeError, match="in evaluation"):
        evaluate()
    assert model["trained"].weight.item() == 4
    assert average.state_dict()["trained.weight"].item() == 1


def test_loaded_averages_are_not_restarted(model: nn.Module) -> None:
    state = {name: torch.full_like(each, 5) for name, each in started(model).state_dict().items()}
    average = WeightAverage(model, 0.75)
    average.load_state_dict(state)
    average.start()
    average.update()
    assert average.state_dict()["trained.weight"].item() == 3.75
    assert state["trained.weight"].item() == 5  # what was loaded is a copy


def test_averages_of_other_weights(model: nn.Module) -> None:
    state = started(model).state_dict()
    model["frozen"].requires_grad_(True)
    with pytest.raises(UserError, match=r"2 missing \(first: frozen\.weight\): resume with the co"):
        WeightAverage(model, 0.75).load_state_dict(state)


def test_averages_of_another_shape(model: nn.Module) -> None:
    huge = {name: torch.ones(()).expand(10**5, 10**5) for name in started(model).state_dict()}
    with pytest.raises(UserError, match=r"of another shape \(first: trained.weight is \(100000, "):
        WeightAverage(model, 0.75).load_state_dict(huge)
