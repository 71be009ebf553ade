"""Figure 10 again, to the last number."""

from fractions import Fraction

from minilte.cost import figure10
from minilte.cost.forms import FULL, LTE, sent


def test_the_numbers_are_those_of_the_formulas():
    computed = [one.computed for one in figure10.rows()]
    assert computed == [67_500_000, 28_725_000, 1_260_000_000, 22_320_000_000, 763_840_000, Fraction(35, 100)]


def test_what_is_printed_is_rounded_from_them_except_for_the_misprints():
    units = {"M": 10**6, "G": 10**9}
    for one in figure10.rows():
        if one.printed[-1] not in units:
            assert one.printed == "1/3 less" and one.computed != Fraction(2, 3) and one.remark
            continue
        digits = one.printed[:-1]
        last = Fraction(1, 10 ** len(digits.partition(".")[2])) * units[one.printed[-1]]
        rounded = abs(Fraction(digits) * units[one.printed[-1]] - one.computed) <= last / 2
        assert rounded == (not one.remark)


def test_all_gather_on_32_moves_more_than_a_ring_of_8_and_less_than_one_of_32():
    values = figure10.unsaid()
    assert values["ring_of_8"] == 315_000_000 and values["ring_of_32"] == 1_395_000_000
    assert values["ring_of_8"] < figure10.rows()[4].computed < values["ring_of_32"]
    assert values["lte_to_ring_of_8"] == Fraction(76384, 31500)


def test_a_server_sends_what_factors_and_codes_hold():
    assert figure10.unsaid()["server_of_32"] == Fraction(31 * (22_500_000 // 4 + 7_700_000), 10)
    paper = figure10.PAPER
    assert sent(paper, LTE["server"]) < sent(paper, FULL["ring"])


def test_left_out_are_gradients_the_factors_of_the_last_merge_and_scales():
    values = figure10.unsaid()
    assert (
        values["gradients_full_rank"] == 22_500_000
        and values["gradients_lte"] == values["merged_factors_lte"] == 7_700_000
    )
    assert values["scales_lte"] == Fraction(22_500_000, 32)  # 4 bytes for 64 weights, in numbers of 2 bytes
    assert float((values["scales_lte"] + paper_codes()) / 22_500_000) == 0.28125


def paper_codes():
    return figure10.PAPER.q * figure10.PAPER.M
