import random
from typing import Any

import numpy as np
import torch

from utils.runtime import generator


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()  # noqa: NPY002 - it must stay as it is
    words: list[int] = state[1].tolist()
    return words


def test_a_generator_is_a_function_of_seed_purpose_and_numbers() -> None:
    keys: list[tuple[int, str, tuple[int, ...]]] = [
        (42, "split", ()),
        (43, "split", ()),
        (42, "limit_data", ()),
        (42, "order", (1,)),
        (42, "order", (2,)),
        (43, "order", (1,)),
        (0, "split", ()),
        (2**63 - 1, "split", ()),
    ]
    draws = [generator(seed, purpose, *rest).integers(2**62) for seed, purpose, rest in keys]
    again = [generator(seed, purpose, *rest).integers(2**62) for seed, purpose, rest in keys]
    assert draws == again
    assert len(set(draws)) == len(draws)


def test_generators_neither_touch_nor_see_global_random_state() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    states = random.getstate(), numpy_state(), torch.get_rng_state()
    first = generator(7, "split").integers(2**62, size=5).tolist()
    assert random.getstate() == states[0]
    assert numpy_state() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])
    np.random.seed(2)  # noqa: NPY002
    assert generator(7, "split").integers(2**62, size=5).tolist() == first
