"""The bag of words against scikit-learn on real and made texts, its optimiser on functions with known ends."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from vidro.core.errors import DataError, UsageError
from vidro.evals.baselines import BagOfWords, Majority, MostSimilar, minimise

Table = tuple[list[str], list[str]]


def made_texts(n: int, n_classes: int, *, seed: int = 0) -> Table:
    """Texts of 12 words, a third of them from their class's own range of the vocabulary."""
    rng = np.random.default_rng(seed)
    target = rng.integers(0, n_classes, n)
    common = rng.zipf(1.6, size=(n, 12)) % 400
    own = 400 + 30 * target[:, None] + rng.integers(0, 60, size=(n, 12))
    words = np.where(rng.random((n, 12)) < 0.33, own, common)
    return [" ".join(f"w{word}" for word in row) for row in words], [f"class {number}" for number in target]


@pytest.fixture(scope="module")
def sms(shared_data: Path) -> Table:
    lines = (shared_data / "classification" / "SMSSpamCollection.tsv").read_text(encoding="utf-8").rstrip("\n")
    rows = [line.split("\t", 1) for line in lines.split("\n")]
    return [text for _, text in rows], [label for label, _ in rows]


def assert_like_scikit_learn(table: Table, other: list[str], *, c: float = 1.0, tfidf: bool = False) -> None:
    """Trained on the same rows, both give the same probabilities: for these rows, and for texts never seen."""
    feature = pytest.importorskip("sklearn.feature_extraction.text")
    linear = pytest.importorskip("sklearn.linear_model")
    texts, labels = table
    counter = feature.TfidfVectorizer if tfidf else feature.CountVectorizer
    counts = counter(token_pattern=r"\w+", lowercase=False, preprocessor=str.casefold)
    theirs = linear.LogisticRegression(C=c, tol=1e-8, max_iter=1000).fit(counts.fit_transform(texts), labels)
    ours = BagOfWords(c=c, tfidf=tfidf).fit(texts, labels)
    assert ours.search.converged
    assert list(ours.classes) == theirs.classes_.tolist()
    assert list(ours.vocabulary) == counts.get_feature_names_out().tolist()
    for asked in (texts, other):
        assert np.abs(ours.probabilities(asked) - theirs.predict_proba(counts.transform(asked))).max() < 1e-3
    assert ours.predict(other) == theirs.predict(counts.transform(other)).tolist()


OTHER = ["", "never seen words", "w401 w401 w401 w3", "FREE entry! Call 09061701461 now", "ok lar... see you, Straße"]


@pytest.mark.parametrize("tfidf", [False, True])
@pytest.mark.parametrize("n_classes", [2, 3, 7])
def test_made_texts_as_in_scikit_learn(n_classes: int, tfidf: bool) -> None:
    other, _ = made_texts(100, n_classes, seed=1)
    assert_like_scikit_learn(made_texts(600, n_classes), OTHER + other, tfidf=tfidf)


def test_another_penalty_as_in_scikit_learn() -> None:
    assert_like_scikit_learn(made_texts(300, 3), OTHER, c=10.0)
    assert_like_scikit_learn(made_texts(300, 2), OTHER, c=0.1)


@pytest.mark.parametrize("tfidf", [False, True])
def test_sms_as_in_scikit_learn(sms: Table, tfidf: bool) -> None:
    texts, labels = sms
    assert_like_scikit_learn((texts[:4500], labels[:4500]), texts[4500:] + OTHER, tfidf=tfidf)


def test_three_classes_of_sms_as_in_scikit_learn(sms: Table) -> None:
    texts, labels = sms
    three = ["long" if label == "ham" and len(text) > 100 else label for text, label in zip(texts, labels, strict=True)]
    assert_like_scikit_learn((texts[:3000], three[:3000]), texts[3000:] + OTHER)


def test_sms_is_learned_within_seconds_and_beats_the_majority(sms: Table) -> None:
    texts, labels = sms
    start = time.process_time()
    BagOfWords().fit(texts, labels)
    assert time.process_time() - start < 5
    train, test = (texts[:4500], labels[:4500]), (texts[4500:], labels[4500:])
    found = [
        np.mean([a == b for a, b in zip(model.fit(*train).predict(test[0]), test[1], strict=True)])
        for model in (Majority(), BagOfWords())
    ]
    assert 0.84 < found[0] < 0.89
    assert found[1] > 0.97
    words = [word for word, _ in BagOfWords().fit(texts, labels).top_words("spam", 20)]
    assert {"txt", "call", "ringtone"} <= set(words)


def test_without_a_library_the_weights_are_at_the_lowest_point() -> None:
    """The slope of the penalised loss, written down anew with dense matrices, is zero at the weights."""
    texts, labels = made_texts(80, 3)
    bag = BagOfWords().fit(texts, labels)
    counts = np.array([[text.split().count(word) for word in bag.vocabulary] for text in texts], dtype=float)
    wrong = bag.probabilities(texts) - np.array([[label == name for name in bag.classes] for label in labels])
    assert counts.T @ wrong + bag.weights[:-1] == pytest.approx(np.zeros_like(bag.weights[:-1]), abs=1e-4)
    assert wrong.sum(axis=0) == pytest.approx(np.zeros(3), abs=1e-4)


def test_the_same_rows_in_another_order_give_the_same_model() -> None:
    texts, labels = made_texts(200, 3)
    turned = BagOfWords().fit(texts[::-1], labels[::-1])
    assert turned.probabilities(texts) == pytest.approx(BagOfWords().fit(texts, labels).probabilities(texts), abs=1e-4)
    again = BagOfWords().fit(texts, labels)
    assert np.array_equal(again.weights, BagOfWords().fit(texts, labels).weights)


def test_words_are_unicode_words_without_case() -> None:
    bag = BagOfWords().fit(["Grüße, STRASSE!", "हिन्दी don't", ""], ["a", "b", "b"])
    assert set(bag.vocabulary) == {"grüsse", "strasse", "हिन्दी", "don", "t"}
    assert bag.n_unseen(["straße straße unseen", "UNSEEN"]) == 2
    assert bag.probabilities(["straße grüße"]) == pytest.approx(bag.probabilities(["STRASSE GRÜSSE unseen"]))


def test_top_words_of_two_and_of_more_classes() -> None:
    texts, labels = ["sun sea", "sun sand", "snow ski", "snow ice"], ["south", "south", "north", "north"]
    bag = BagOfWords().fit(texts, labels)
    assert [bag.top_words("south", 1)[0][0], bag.top_words("north", 1)[0][0]] == ["sun", "snow"]
    assert len(bag.top_words("south", 99)) == len(bag.vocabulary)
    more = BagOfWords().fit([*texts, "rain wind rain"], [*labels, "west"])
    assert more.top_words("west", 1)[0][0] == "rain"
    weights = [weight for _, weight in more.top_words("west", 9)]
    assert weights == sorted(weights, reverse=True)
    with pytest.raises(UsageError, match=r"there is no class 'nort'. Did you mean north\?"):
        bag.top_words("nort")


def test_probabilities_are_shares_even_for_extreme_texts() -> None:
    texts, labels = made_texts(100, 4)
    found = BagOfWords().fit(texts, labels).probabilities(["w430 " * 100_000, ""])
    assert np.isfinite(found).all()
    assert found.sum(axis=1) == pytest.approx([1.0, 1.0])
    assert BagOfWords().fit(texts, labels).probabilities([]).shape == (0, 4)


def test_the_majority_by_name_where_equal() -> None:
    model = Majority().fit(["", "", "", ""], ["b", "a", "b", "a"])
    assert model.predict(["x", "y"]) == ["a", "a"]
    assert model.probabilities(["x"]).tolist() == [[0.5, 0.5]]
    assert Majority().fit(["", "", ""], ["b", "a", "b"]).predict(["x"]) == ["b"]


@pytest.mark.parametrize("model", [Majority(), BagOfWords()])
def test_rows_that_teach_nothing(model: Majority | BagOfWords) -> None:
    with pytest.raises(DataError, match="there are no rows to learn from"):
        model.fit([], [])
    with pytest.raises(DataError, match="2 texts and 1 labels are not pairs"):
        model.fit(["a", "b"], ["x"])
    with pytest.raises(UsageError, match="has not learned anything yet"):
        model.predict(["a"])


def test_a_bag_needs_words_and_two_classes() -> None:
    with pytest.raises(DataError, match="all rows are of class 'spam'"):
        BagOfWords().fit(["a", "b"], ["spam", "spam"])
    with pytest.raises(DataError, match="there is no word in any of the texts"):
        BagOfWords().fit(["...", ""], ["spam", "ham"])
    with pytest.raises(UsageError, match=r"c must be above 0, not 0\.0"):
        BagOfWords(c=0.0)


def test_a_valley_whose_sides_are_much_steeper_than_its_floor() -> None:
    curvature = np.logspace(0, 3, 30)
    end = np.linspace(-1, 1, 30)
    calls = 0

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal calls
        calls += 1
        return float(0.5 * (curvature * (x - end) ** 2).sum()), curvature * (x - end)

    found = minimise(objective, np.zeros(30))
    assert found.converged
    assert found.largest_slope <= 1e-7
    assert found.at == pytest.approx(end, abs=1e-4)
    assert calls < 400


def test_a_search_that_is_cut_short_says_so() -> None:
    cut = minimise(lambda x: (float(np.cosh(x).sum()), np.sinh(x)), np.full(3, 5.0), most_steps=2)
    assert (cut.n_steps, cut.converged) == (2, False)
    stuck = minimise(lambda x: (float(np.abs(x).sum()), np.ones(3)), np.zeros(3))  # no way goes down
    assert (stuck.n_steps, stuck.converged) == (0, False)


def test_the_most_similar_text_as_in_scikit_learn() -> None:
    feature = pytest.importorskip("sklearn.feature_extraction.text")
    texts, _ = made_texts(500, 3)
    asked = made_texts(80, 3, seed=1)[0] + OTHER + texts[:20]
    counts = feature.TfidfVectorizer(token_pattern=r"\w+", lowercase=False, preprocessor=str.casefold)
    theirs = counts.fit_transform(texts).dot(counts.transform(asked).T).toarray().T
    similar = MostSimilar(texts)
    ours = np.stack([similar.similarities(text) for text in asked])
    assert np.abs(ours - theirs).max() < 1e-12
    for place, cosines in zip(similar.places(asked), theirs, strict=True):
        if place is None:
            assert not cosines.any()
        else:
            assert cosines[place] > cosines.max() - 1e-12
    assert similar.places(OTHER[:2]) == [None, None]
    assert similar.places(texts[:20]) == list(range(20))


def test_of_equally_similar_texts_the_first() -> None:
    similar = MostSimilar(["a cat", "the red hen", "hen red THE", "the red hen"])
    assert similar.places(["red hen?"]) == [1]
    with pytest.raises(DataError, match="there are no texts to compare with"):
        MostSimilar([])
    assert MostSimilar(["", "?"]).places(["a word"]) == [None]
