import pytest
import torch
from torch import Tensor, nn

from model.dropout import Dropout, keep_mask

SHAPES = [(4096, 64), (1000, 3), (7,), (1, 1), (5, 3, 2), (0, 4), ()]


def drop(p: float, values: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    dropped: Tensor = Dropout(p)(values)
    return dropped


@pytest.mark.parametrize("p", [0.05, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_activations_are_zeroed_at_the_rate_and_the_others_scaled(
    p: float, dtype: torch.dtype
) -> None:
    out = drop(p, torch.ones(1000, 1000, dtype=dtype))
    assert out.dtype is dtype
    share = (out == 0).double().mean().item()
    assert share == pytest.approx(p, abs=4 * (p * (1 - p)) ** 0.5 / 1000)  # four sigmas
    kept = out[out != 0].double()
    assert kept.min() == kept.max()
    rounding = 2**-16 / (1 - p) + torch.finfo(dtype).eps
    assert kept[0].item() == pytest.approx(1 / (1 - p), rel=rounding)
    tolerance = 4 * (p / (1 - p)) ** 0.5 / 1000 + torch.finfo(dtype).eps
    assert out.double().mean().item() == pytest.approx(1, abs=tolerance)


@pytest.mark.parametrize("lane", range(4))
def test_each_of_the_four_activations_that_share_a_draw_is_zeroed_at_the_rate(lane: int) -> None:
    zeroed = drop(0.3, torch.ones(400_000))[lane::4] == 0
    assert zeroed.double().mean().item() == pytest.approx(0.3, abs=4 * 0.21**0.5 / 100_000**0.5)


def test_neighbours_are_zeroed_independently() -> None:
    zeroed = (drop(0.3, torch.ones(400_000)) == 0).double()
    for distance in (1, 2, 3, 4):
        both = (zeroed[:-distance] * zeroed[distance:]).mean().item()
        assert both == pytest.approx(0.09, abs=0.003)


@pytest.mark.parametrize("p", [1e-9, 1 - 1e-9])
def test_extreme_rates_are_rounded_to_one_in_65536_and_stay_unbiased(p: float) -> None:
    mask = keep_mask(torch.Size([2000, 1000]), p, torch.float32)
    values = sorted(set(mask.flatten().tolist()))
    assert values == pytest.approx([0, 65536 / 65535 if p < 0.5 else 65536])
    assert 0 < (mask == (0 if p < 0.5 else 65536)).sum() < 100  # 31 expected


@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_is_kept_and_every_value_is_zero_or_scaled(shape: tuple[int, ...]) -> None:
    values = torch.rand(shape) + 1
    out = drop(0.25, values)
    assert out.shape == values.shape
    assert bool(((out == 0) | torch.isclose(out, values / 0.75)).all())


def test_strided_input_is_dropped_like_contiguous_input() -> None:
    values = torch.rand(6, 10)
    assert torch.equal(drop(0.5, values.t().contiguous().t()), drop(0.5, values))


def test_the_seed_governs_the_mask() -> None:
    values = torch.ones(50, 50)
    assert torch.equal(drop(0.5, values, seed=1), drop(0.5, values, seed=1))
    assert not torch.equal(drop(0.5, values, seed=1), drop(0.5, values, seed=2))


def test_two_calls_differ_and_a_restored_random_state_repeats_them() -> None:
    layer, values = Dropout(0.5), torch.ones(50, 50)
    state = torch.get_rng_state()
    first, second = layer(values), layer(values)
    assert not torch.equal(first, second)
    torch.set_rng_state(state)
    assert torch.equal(layer(values), first)
    assert torch.equal(layer(values), second)


def test_the_gradient_is_zero_and_scaled_where_the_output_is() -> None:
    values = torch.rand(100, 30).add(1).requires_grad_()
    out = drop(0.4, values)
    out.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    torch.testing.assert_close(values.grad * values.detach(), out.detach())
    assert 0 < int((values.grad == 0).sum()) < 3000


def test_evaluation_is_the_identity_and_draws_nothing() -> None:
    layer, values = Dropout(0.5).eval(), torch.rand(20, 20)
    state = torch.get_rng_state()
    assert torch.equal(layer(values), values)
    assert torch.equal(torch.get_rng_state(), state)


def test_rate_zero_is_the_identity_and_rate_one_leaves_nothing() -> None:
    values = torch.rand(20, 20)
    assert torch.equal(drop(0.0, values), values)
    assert torch.equal(drop(1.0, values), torch.zeros(20, 20))


def test_another_default_device_does_not_move_the_mask() -> None:
    values = torch.rand(20, 20)
    with torch.device("meta"):
        out = drop(0.5, values)
    assert torch.equal(out, drop(0.5, values))


def test_tensors_of_other_devices_take_the_dropout_of_torch() -> None:
    out = Dropout(0.5)(torch.empty(3, 4, device="meta"))
    assert (out.device.type, out.shape) == ("meta", (3, 4))


def test_it_is_a_dropout_to_those_who_look_for_one() -> None:
    layer = Dropout(0.3)
    assert isinstance(layer, nn.Dropout)
    assert repr(layer) == "Dropout(p=0.3, inplace=False)"
    assert layer.state_dict() == {}


def test_a_wrong_rate_is_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        Dropout(1.5)
