"""Embeddings of another network are told from those that a model was trained on."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from helpers import ROOT
from networks import embed
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from faces import out_of_distribution
from faces.out_of_distribution import NUM_DIRECTIONS, OutOfDistributionDetector, draw_rows, rotated
from utils.errors import CheckpointError

REAL = ROOT.parent / "shared" / "data" / "utkface_embeddings.npz"


def fitted(num_rows: int = 3000, **changes: Any) -> OutOfDistributionDetector:
    check = OutOfDistributionDetector.fit(
        **{"train": embed(1, num_rows), "valid": embed(1, 300, seed=1), **changes}
    )
    assert check is not None
    return check


def random_directions(num_rows: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(0).standard_normal((num_rows, 512)).astype(np.float32)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def test_new_faces_of_the_same_network_are_familiar() -> None:
    assert fitted().is_in_distribution(embed(1, 2000, seed=2)).mean() > 0.995


@pytest.mark.parametrize("num_rows", [1000, 3000])
def test_faces_of_other_networks_are_not(num_rows: int) -> None:
    check = fitted(num_rows)
    faces = embed(1, 500, seed=2)
    order = np.random.default_rng(0).permutation(512)
    foreign = {
        "another network": embed(2, 500),
        "a third": embed(3, 500),
        "a rotation": rotated(faces, seed=7),
        "shuffled coordinates": faces[:, order],
        "flipped signs": faces * np.where(order % 2, 1, -1).astype(np.float32),
        "random directions": random_directions(500),
    }
    found = {name: check.foreign_share(vectors) for name, vectors in foreign.items()}
    assert all(share >= 0.99 for share in found.values()), found


def test_some_foreign_rows_in_the_training_data_do_no_harm() -> None:
    train, valid = embed(1, 3000), embed(1, 300, seed=1)
    train[::60], valid[::60] = embed(2, 50), embed(2, 5, seed=1)
    check = fitted(train=train, valid=valid)
    assert check.foreign_share(embed(2, 500, seed=2)) >= 0.99
    assert check.foreign_share(embed(1, 500, seed=2)) <= 0.01


def test_the_score_is_what_the_principal_components_leave_over() -> None:
    train, others = embed(1, 1500), embed(1, 50, seed=3)
    pca = PCA(512 - NUM_DIRECTIONS, svd_solver="full").fit(train.astype(np.float64))

    def left_over(faces: NDArray[np.float32]) -> NDArray[np.float64]:
        rest = faces - pca.inverse_transform(pca.transform(faces))
        squares: NDArray[np.float64] = (rest**2).sum(1)
        return squares

    expected = left_over(others) / left_over(train).mean()
    np.testing.assert_allclose(fitted(train=train).scores(others), expected, rtol=1e-3)


def test_training_rows_score_about_1() -> None:
    train = embed(1, 3000)
    assert fitted(train=train).scores(train).mean() == pytest.approx(1, rel=1e-3)


@pytest.mark.parametrize("valid", [None, embed(1, 99, seed=1)])
def test_without_enough_validation_rows_a_fifth_is_held_back(
    valid: NDArray[np.float32] | None,
) -> None:
    check = fitted(train=embed(1, 2000), valid=valid)
    assert check.num_rows == 1600
    assert check.foreign_share(embed(2, 500)) >= 0.99
    assert check.foreign_share(embed(1, 500, seed=2)) <= 0.01


def test_too_few_rows_give_no_verdict() -> None:
    valid = embed(1, 300, seed=1)
    assert OutOfDistributionDetector.fit(embed(1, 999), valid) is None
    assert (
        OutOfDistributionDetector.fit(embed(1, 1248)) is None
    )  # 999 are left beside those held back
    assert OutOfDistributionDetector.fit(embed(1, 1249)) is not None
    assert OutOfDistributionDetector.fit(embed(1, 0)) is None


def test_a_network_that_uses_all_directions_alike_gives_no_verdict() -> None:
    vectors = random_directions(4000)
    assert OutOfDistributionDetector.fit(vectors[:3000], vectors[3000:]) is None


def test_rows_that_are_all_the_same_give_no_verdict_or_a_finite_one() -> None:
    check = OutOfDistributionDetector.fit(np.repeat(embed(1, 1), 2000, axis=0))
    assert check is not None
    assert np.isfinite(check.threshold)
    assert check.foreign_share(embed(2, 100)) == 1


def test_no_more_rows_count_than_are_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(out_of_distribution, "MAX_ROWS", 1100)
    train = embed(1, 3000)
    assert fitted(train=train).num_rows == 1100
    first, same = fitted(train=train), fitted(train=train[:1100])
    np.testing.assert_array_equal(first.directions, same.directions)


def test_rows_are_drawn_at_random_by_the_seed() -> None:
    vectors = np.arange(100, dtype=np.float32)[:, None]
    rows = np.arange(0, 100, 2)
    drawn = draw_rows(vectors, rows, seed=1, most=20)[:, 0].tolist()
    assert len(set(drawn)) == 20
    assert set(drawn) <= set(rows.tolist())
    assert drawn != sorted(drawn)
    assert drawn == draw_rows(vectors, rows, seed=1, most=20)[:, 0].tolist()
    assert drawn != draw_rows(vectors, rows, seed=2, most=20)[:, 0].tolist()


def test_a_rotation_keeps_lengths_and_angles() -> None:
    faces = embed(1, 20).astype(np.float64)
    turned = rotated(faces)
    np.testing.assert_allclose(turned @ turned.T, faces @ faces.T, atol=1e-6)
    assert np.abs(turned - faces).max() > 0.1


# --- in a checkpoint ------------------------------------------------------------------------------


def reread(content: dict[str, Any]) -> dict[str, Any]:
    """Write and read as checkpoints are, with plain values and tensors alone."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    buffer.seek(0)
    read: dict[str, Any] = torch.load(buffer, weights_only=True)
    return read


def test_it_decides_the_same_after_it_was_stored() -> None:
    check = fitted()
    stored = reread({"embeddings": check.to_plain()})
    again = OutOfDistributionDetector.from_checkpoint(stored)
    assert again is not None
    faces = np.concatenate([embed(1, 100, seed=2), embed(2, 100)])
    np.testing.assert_array_equal(again.scores(faces), check.scores(faces))
    np.testing.assert_array_equal(again.is_in_distribution(faces), check.is_in_distribution(faces))
    assert again.describe() == check.describe()
    assert set(check.describe()) == {"method", "threshold", "num_rows"}


@pytest.mark.parametrize("content", [{}, {"embeddings": None}])
def test_a_checkpoint_without_statistics_gives_no_verdict(content: dict[str, Any]) -> None:
    assert OutOfDistributionDetector.from_checkpoint(content) is None


DAMAGE: dict[str, Any] = {
    "method": "another one",
    "directions": torch.zeros(512, NUM_DIRECTIONS, dtype=torch.float64),
    "centre": torch.zeros(NUM_DIRECTIONS + 1),
    "threshold": float("nan"),
    "num_rows": True,
}


@pytest.mark.parametrize("name", DAMAGE)
@pytest.mark.parametrize("kind", ["missing", "None", "text", "wrong"])
def test_statistics_that_are_damaged_are_an_error(name: str, kind: str) -> None:
    plain = fitted(1000).to_plain()
    assert OutOfDistributionDetector.from_checkpoint({"embeddings": plain}) is not None
    plain[name] = {"missing": None, "None": None, "text": "7", "wrong": DAMAGE[name]}[kind]
    if kind == "missing":
        del plain[name]
    with pytest.raises(CheckpointError, match="damaged or of another version") as caught:
        OutOfDistributionDetector.from_checkpoint({"embeddings": plain})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "plain",
    [
        7,
        [1, 2],
        {},
        fitted(1000).to_plain() | {"threshold": 0.0},
        fitted(1000).to_plain() | {"threshold": 10**400},
        fitted(1000).to_plain() | {"num_rows": 0},
        fitted(1000).to_plain() | {"centre": torch.full((NUM_DIRECTIONS,), torch.nan)},
        fitted(1000).to_plain() | {"centre": torch.zeros(NUM_DIRECTIONS).to_sparse()},
        fitted(1000).to_plain() | {"centre": torch.zeros(NUM_DIRECTIONS, device="meta")},
    ],
)
def test_statistics_of_another_form_are_an_error(plain: Any) -> None:
    with pytest.raises(CheckpointError, match="damaged or of another version"):
        OutOfDistributionDetector.from_checkpoint({"embeddings": plain})


# --- real embeddings ------------------------------------------------------------------------------


@pytest.mark.skipif(not REAL.is_file(), reason="no real embeddings in ../shared/data")
@pytest.mark.parametrize("num_rows", [1500, 3000, 5500])
@pytest.mark.parametrize("seed", [0, 1])
def test_real_embeddings_are_told_from_rotated_ones(num_rows: int, seed: int) -> None:
    with np.load(REAL) as file:
        faces = file["embedding"].astype(np.float32)
    faces = faces[np.random.default_rng(seed).permutation(len(faces))]
    check = OutOfDistributionDetector.fit(
        faces[:num_rows], faces[num_rows : num_rows + num_rows // 10]
    )
    assert check is not None
    others = faces[-800:]
    assert check.foreign_share(others) <= 0.01
    assert check.foreign_share(rotated(others, seed=seed + 5)) >= 0.99
    assert check.foreign_share(others[:, ::-1]) >= 0.99
