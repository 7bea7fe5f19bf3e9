import numpy as np

from serving.guess import Guess, Prediction

YEARS = np.array([0.0, 1.0, 2.0, 3.0], np.float32)


def rows(*probabilities: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(probabilities, np.float32)


def test_entropy_is_zero_where_sure_and_the_logarithm_of_the_classes_where_not() -> None:
    guess = Guess(rows([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]))
    np.testing.assert_allclose(guess.entropy, [0, np.log(4), np.log(2)], atol=1e-6)


def test_a_single_member_has_nobody_to_disagree_with() -> None:
    assert Guess.of_members([rows([0.5, 0.5])]).disagreement is None


def test_disagreement_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    one, other = rows([0.9, 0.1], [0.6, 0.4]), rows([0.2, 0.8], [0.6, 0.4])
    guess = Guess.of_members([one, other])
    np.testing.assert_allclose(guess.probabilities, [[0.55, 0.45], [0.6, 0.4]], atol=1e-6)

    def entropy(p: float) -> float:
        return float(-p * np.log(p) - (1 - p) * np.log(1 - p))

    expected = entropy(0.55) - (entropy(0.9) + entropy(0.2)) / 2
    assert guess.disagreement is not None
    np.testing.assert_allclose(guess.disagreement, [expected, 0], atol=1e-6)


def test_only_the_models_that_are_ensembles_tell_of_disagreement() -> None:
    age = Guess.of_members([rows([1, 0, 0, 0]), rows([0, 0, 0, 1])])
    prediction = Prediction(age, Guess(rows([0.5, 0.5])), YEARS, None)
    (face,) = prediction.uncertainty()
    assert list(face["mutual_information"]) == ["age"]
    np.testing.assert_allclose(face["mutual_information"]["age"], np.log(2), rtol=1e-6)
    assert prediction.is_of_ensemble
    assert prediction.ages.tolist() == [1.5]


def test_rows_are_those_of_every_part() -> None:
    age = Guess.of_members([rows([1, 0, 0, 0], [0, 1, 0, 0]), rows([0, 0, 0, 1], [0, 1, 0, 0])])
    gender = Guess(rows([0.5, 0.5], [0.1, 0.9]))
    part = Prediction(age, gender, YEARS, np.array([True, False])).rows(1, 2)
    assert part.ages.tolist() == [1.0]
    assert part.verdicts() == [False]
    np.testing.assert_allclose(part.gender.probabilities, [[0.1, 0.9]])
    assert part.age.disagreement is not None
    np.testing.assert_allclose(part.age.disagreement, [0], atol=1e-6)
