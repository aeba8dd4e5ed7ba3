"""Greedy suppression beside the loop that it stands for."""

import numpy as np

from cfrsam_d2.modeling.postprocessing import keep_greedily, pairs_within


def kept_by_a_loop(scores: np.ndarray, pairs: np.ndarray) -> list[int]:
    excluded: dict[int, set[int]] = {}
    for one, other in pairs.tolist():
        excluded.setdefault(one, set()).add(other)
        excluded.setdefault(other, set()).add(one)
    kept: list[int] = []
    removed: set[int] = set()
    for each in sorted(range(len(scores)), key=lambda i: -scores[i]):  # a stable sort
        if each not in removed:
            kept.append(each)
            removed |= excluded.get(each, set())
    return kept


def test_it_keeps_what_the_loop_keeps():
    """Many pairs and few, scores with ties, chains that fall in score from end to end."""
    rng = np.random.default_rng(0)
    for size, count in [(1, 0), (2, 1), (30, 20), (30, 200), (300, 300), (300, 3000)]:
        for levels in (3, 10**6):
            scores = (rng.integers(levels, size=size) / levels).astype(np.float32)
            pairs = rng.integers(size, size=(count, 2))
            pairs = pairs[pairs[:, 0] != pairs[:, 1]]
            assert keep_greedily(scores, pairs).tolist() == kept_by_a_loop(scores, pairs)
    chain = np.column_stack([np.arange(99), np.arange(1, 100)])
    falling = np.linspace(1, 0, 100)
    assert keep_greedily(falling, chain).tolist() == list(range(0, 100, 2))
    assert keep_greedily(falling, chain[::-1, ::-1]).tolist() == list(range(0, 100, 2))


def test_nothing_and_nothing_to_exclude():
    none = np.zeros((0, 2), dtype=np.int64)
    assert keep_greedily(np.zeros(0), none).tolist() == []
    assert keep_greedily(np.array([0.1, 0.3, 0.2]), none).tolist() == [1, 2, 0]
    assert pairs_within(np.zeros((0, 2)), 3.0).shape == (0, 2)
    assert pairs_within(np.zeros((1, 2)), 3.0).shape == (0, 2)


def test_pairs_at_exactly_the_radius_count():
    points = np.array([[0.0, 0.0], [3.0, 0.0], [6.1, 0.0]])
    assert pairs_within(points, 3.0).tolist() == [[0, 1]]
