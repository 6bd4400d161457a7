import pytest
import torch

from t2s.lifelong.averages import Averages


def trajectory(decay, values=(1.0, 3.0, 2.0)):
    parameter = torch.zeros(1)
    averages = Averages([parameter], decay)
    for value in values:
        parameter.fill_(value)
        averages.update()
    return parameter, averages


def test_without_decay_the_average_is_the_last_step():
    parameter, averages = trajectory(0.0)
    with averages.applied():
        assert parameter.item() == 2.0


def test_the_decay_grows_to_its_limit():
    parameter, averages = trajectory(0.2)
    first = (1 - 2 / 11) * 1.0  # decays 2/11, then 0.2 twice
    second = 0.2 * first + 0.8 * 3.0
    with averages.applied():
        assert parameter.item() == pytest.approx(0.2 * second + 0.8 * 2.0)


def test_learning_goes_on_from_the_last_step():
    parameter, averages = trajectory(0.9)
    with averages.applied():
        assert parameter.item() != 2.0
    assert parameter.item() == 2.0
