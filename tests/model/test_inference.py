from typing import Any

import pytest
import torch
from serving_helpers import network
from torch import nn

from model.inference import FoldedNet, layers_of, scale_and_shift
from model.model import ResMLP
from utils.legacy.configs import from_original

ARCHS: list[dict[str, Any]] = [
    {"num_residuals_per_block": residuals, "num_blocks": blocks, "add_residual": skip, "add_IC": ic}
    for residuals, blocks in ((0, 0), (0, 1), (0, 3), (1, 1), (1, 2), (3, 2))
    for skip in (True, False)
    for ic in (True, False)
]


@pytest.mark.parametrize("arguments", ARCHS, ids=str)
def test_a_folded_network_answers_as_the_network_in_eval_mode(arguments: dict[str, Any]) -> None:
    net = network(8, **arguments)
    x = torch.randn(50, 512)
    with torch.no_grad():
        expected = net(x).softmax(1)
    torch.testing.assert_close(FoldedNet(net)(x).softmax(1), expected, atol=1e-5, rtol=0)
    assert len(layers_of(net)) == sum(isinstance(each, nn.Linear) for each in net.modules())


@pytest.mark.parametrize(("num_blocks", "only_mlp"), [(0, False), (2, False), (2, True)])
def test_a_network_of_july_2021_is_folded_as_its_config_means_it(
    num_blocks: int, only_mlp: bool
) -> None:
    arguments = {
        "dropout": None,
        "num_residuals_per_block": 1,
        "num_blocks": num_blocks,
        "num_classes": 2,
        "num_initial_features": 64,
        "last_activation": None,
        "min_bound": None,
        "max_bound": None,
        "only_MLP": only_mlp,
    }
    config = from_original({"arch": {"type": "ResMLP", "args": arguments}})
    torch.manual_seed(0)
    net = ResMLP(**config["arch"]["args"]).eval()
    x = torch.randn(20, 64)
    with torch.no_grad():
        torch.testing.assert_close(FoldedNet(net)(x), net(x), atol=1e-5, rtol=1e-5)


def test_a_network_stays_as_it_is_and_its_input_too() -> None:
    net = network(8, num_residuals_per_block=1)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.randn(5, 512)
    copy = x.clone()
    folded = FoldedNet(net)
    assert torch.equal(folded(x), folded(x))
    assert torch.equal(x, copy)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_norm_in_eval_mode_is_a_scale_and_a_shift() -> None:
    norm = nn.BatchNorm1d(7)
    for values in (norm.weight, norm.bias, norm.running_mean, norm.running_var):
        assert values is not None
        nn.init.uniform_(values, 0.5, 1.5)
    x = torch.randn(11, 7)
    scale, shift = scale_and_shift(norm)
    torch.testing.assert_close((x.double() * scale + shift).float(), norm.eval()(x))


def test_a_norm_without_statistics_is_refused() -> None:
    with pytest.raises(ValueError, match="without running statistics"):
        scale_and_shift(nn.BatchNorm1d(3, track_running_stats=False))
