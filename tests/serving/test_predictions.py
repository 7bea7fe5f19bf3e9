import numpy as np

from serving.predictions import ClassProbabilities, FacePredictions

YEARS = np.array([0.0, 1.0, 2.0, 3.0], np.float32)


def rows(*probabilities: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return np.array(probabilities, np.float32)


def test_entropy_is_zero_where_sure_and_the_logarithm_of_the_classes_where_not() -> None:
    guess = ClassProbabilities(rows([1, 0, 0, 0], [0.25, 0.25, 0.25, 0.25], [0.5, 0.5, 0, 0]))
    np.testing.assert_allclose(guess.entropy, [0, np.log(4), np.log(2)], atol=1e-6)


def test_a_single_member_has_nobody_to_disagree_with() -> None:
    assert ClassProbabilities.of_members([rows([0.5, 0.5])]).mutual_information is None


def test_disagreement_is_the_entropy_of_the_mean_less_the_mean_entropy() -> None:
    one, other = rows([0.9, 0.1], [0.6, 0.4]), rows([0.2, 0.8], [0.6, 0.4])
    guess = ClassProbabilities.of_members([one, other])
    np.testing.assert_allclose(guess.probabilities, [[0.55, 0.45], [0.6, 0.4]], atol=1e-6)

    def entropy(p: float) -> float:
        return float(-p * np.log(p) - (1 - p) * np.log(1 - p))

    expected = entropy(0.55) - (entropy(0.9) + entropy(0.2)) / 2
    assert guess.mutual_information is not None
    np.testing.assert_allclose(guess.mutual_information, [expected, 0], atol=1e-6)


def test_only_the_models_that_are_ensembles_tell_of_disagreement() -> None:
    age = ClassProbabilities.of_members([rows([1, 0, 0, 0]), rows([0, 0, 0, 1])])
    prediction = FacePredictions(age, ClassProbabilities(rows([0.5, 0.5])), YEARS, None)
    (face,) = prediction.uncertainty
    assert list(face["mutual_information"]) == ["age"]
    np.testing.assert_allclose(face["mutual_information"]["age"], np.log(2), rtol=1e-6)
    assert prediction.is_of_ensemble
    assert prediction.ages == [1.5]


def test_rows_are_those_of_every_part() -> None:
    age = ClassProbabilities.of_members(
        [rows([1, 0, 0, 0], [0, 1, 0, 0]), rows([0, 0, 0, 1], [0, 1, 0, 0])]
    )
    gender = ClassProbabilities(rows([0.5, 0.5], [0.1, 0.9]))
    part = FacePredictions(age, gender, YEARS, np.array([True, False])).rows(slice(1, 2))
    assert part.ages == [1.0]
    assert part.in_distribution == [False]
    np.testing.assert_allclose(part.gender.probabilities, [[0.1, 0.9]])
    assert part.age.mutual_information is not None
    np.testing.assert_allclose(part.age.mutual_information, [0], atol=1e-6)
