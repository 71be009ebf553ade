"""What the bench counts as the floor of a step are the products that the step does."""

from collections import Counter

import pytest

from minilte.bench import step
from minilte.bench.step import Size, products, rounds, shapes


def flops(size):
    return sum(2 * rows * inner * columns * times for rows, inner, columns, times in shapes(size))


def test_the_floor_counts_every_product_of_a_step():
    size = Size(widths=(5, 4, 3), batch=12, heads=2, rank=2, every=4)
    expected = 0
    for i, (n, m) in enumerate([(5, 4), (4, 3)]):
        r, b, N = 2, 6, 2
        forward = b * n * m + b * n * 2 * r + b * 2 * r * m  # x W^T, x A^T, (x A^T) B^T
        back = b * m * 2 * r + r * b * n + m * b * r  # dy B, dA, dB
        dx = (b * m * n + b * 2 * r * n) if i else 0  # dy W, u A; the first layer needs none
        expected += 2 * (N * (forward + back + dx) + m * 2 * r * N * n / 4)  # and a merge every fourth step
    assert flops(size) == expected


def test_a_longer_round_spreads_the_merge():
    one, ten = flops(Size()), flops(Size(every=10))
    merge = 2 * sum(m * 2 * min(8, m) * 8 * n for n, m in [(784, 1024), (1024, 1024), (1024, 10)])
    assert one - ten == pytest.approx(0.9 * merge, rel=1e-9)  # floating-point counts


def test_a_round_trains_and_the_products_run():
    size = Size(widths=(6, 5, 3), batch=8, heads=2, rank=2, every=2)
    one_round = rounds(size)
    assert [one_round().step for _ in range(3)] == [2, 4, 6]
    products(size)()


@pytest.mark.parametrize(("heads", "every"), [(1, 1), (1, 3), (2, 1), (3, 4)])
@pytest.mark.parametrize("threads", [1, 2])
def test_the_floor_multiplies_every_product_of_a_round_as_often_as_the_round_does(monkeypatch, heads, every, threads):
    size, done = Size(widths=(6, 5, 3), batch=12, heads=heads, rank=2, every=every), Counter()
    work, matmul = products(size, threads), step.np.matmul

    def counted(a, b, out):
        done[(*a.shape, b.shape[1])] += 1
        return matmul(a, b, out=out)

    monkeypatch.setattr(step.np, "matmul", counted)
    work()
    expected = Counter()
    for rows, inner, columns, times in shapes(size):
        expected[rows, inner, columns] += round(times * every)
    assert done == expected
