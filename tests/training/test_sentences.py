"""What is trained on, and what never is."""

from __future__ import annotations

from itertools import islice

from training.sentences import heldout_sentences, sentences


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert list(islice(sentences(3), 50)) == list(islice(sentences(3), 50))
    assert list(islice(sentences(3), 50)) != list(islice(sentences(4), 50))


def test_heldout_sentences_are_a_hundred_everyday_ones() -> None:
    heldout = heldout_sentences()
    assert len(set(heldout)) == 100
    assert all(3 <= len(sentence.split()) <= 25 or sentence in ("Keep the change.",) for sentence in heldout)


def test_heldout_sentences_are_not_trained_on() -> None:
    assert not set(heldout_sentences()) & set(islice(sentences(5), 3000))
