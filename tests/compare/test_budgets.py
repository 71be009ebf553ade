"""Equal budgets: nobody uses more than the thriftiest, and everybody as much as its own grain allows."""

import pytest

from minilte.compare.budgets import equal, largest
from minilte.compare.entrants import entrants, entry
from minilte.compare.trial import Trial, forecast
from minilte.settings.config import Config

WORDS = ["full", "lte", "lte+outer", "diloco", "lora", "galore", "flora-projected", "lte+server"]
SHARED = dict(widths=(9,), batch=12, heads=3, steps=30)
OF_SOME = dict(rank=4, project_rank=4, alpha=8.0, merge_every=3)


def made(of, classes, words=WORDS, **changes):
    return equal(listed(words, **changes), of, classes)


def listed(words, **changes):
    return [found for word in words for found in entrants({word: entry(word)}, read(word, changes), {"lr": []})]


def read(word, changes):
    """The settings that an entry reads of those that are meant for it or for others."""
    known = Config(**entry(word).settings).flat()
    return {name: value for name, value in (SHARED | OF_SOME | changes).items() if name in known}


def cost(entrant, classes):
    return forecast(Trial(entrant.config, classes, "", entrant.own))


def test_at_equal_samples_nothing_changes(classes):
    assert made("samples", classes) == listed(WORDS)


def test_at_equal_bytes_all_send_what_the_thriftiest_sends_to_a_round(classes):
    whole = {each.name: cost(each, classes) for each in listed(WORDS)}
    budget = min(each.bytes[-1] for each in whole.values())
    found = made("bytes", classes)
    assert [each.name for each in found if each.config.steps == 30] == [
        name for name, of in whole.items() if of.bytes[-1] == budget
    ]
    for each in found:
        merges = whole[each.name].steps.index(each.config.steps)
        assert cost(each, classes).bytes[-1] <= budget
        assert each.config.steps == 30 or whole[each.name].bytes[merges + 1] > budget  # a round more is too much
        assert bool(each.note) == (each.config.steps < 30)


def test_who_cannot_merge_once_is_out(classes):
    found = {each.name: each for each in made("bytes", classes, ["lte", "full"], steps=3, widths=(64, 64), rank=1)}
    assert found["full"].out.startswith("its first merge alone sends") and not found["lte"].out


def test_at_equal_memory_ranks_fall_as_far_as_they_must_at_the_same_scale(classes):
    found = {each.name: each for each in made("memory", classes)}
    kept = {name: cost(each, classes).memory for name, each in found.items() if not each.out}
    budget = max(kept.values())
    for name, each in found.items():
        if each.out or not each.note:
            continue
        knob = "rank" if "rank" in each.config.flat() else "project_rank"
        rank = getattr(each.config, knob)
        more = each._replace(config=each.config.replace(**{knob: rank + 1}))
        assert rank < 4 and kept[name] <= budget < cost(more, classes).memory
        assert knob != "rank" or each.config.alpha / rank == 8.0 / 4
        assert f"rank {rank}" in each.note
    assert any(each.note for each in found.values())
    assert "no rank to lower" in found["full"].out and "no rank to lower" in found["diloco"].out


def test_who_holds_too_much_at_rank_one_is_out(classes):
    found = {each.name: each for each in made("memory", classes, ["lora", "lte"], heads=12, batch=24)}
    assert "even at rank 1" in found["lte"].out and not found["lora"].out


def test_what_changes_its_ranks_has_no_budget_of_bytes_and_sets_none(classes):
    found = {each.name: each for each in made("bytes", classes, ["dynamic", "full", "diloco"])}
    assert "changes with its ranks" in found["dynamic"].out and found["diloco"].config.steps == 30
    assert "which send" in found["full"].note and " of " in found["full"].note


def test_a_lone_head_sends_nothing_and_sets_no_budget(classes):
    alone = entrants({"alone": entry("full", heads=1)}, read("full", {}), {"lr": []})
    found = equal([*alone, *listed(["diloco", "full"])], "bytes", classes)
    assert [each.config.steps for each in found[:2]] == [30, 30] and not any(each.out for each in found)


def test_ranks_that_are_set_head_by_head_are_not_lowered_and_a_basis_is(classes):
    words = {
        "lora": entry("lora", rank=1),
        "heads": entry("lte", head_ranks=(4, 3, 2)),
        "basis": entry("shared-basis", basis_rank=6),
    }
    shared = {name: value for name, value in SHARED.items()}
    found = {each.name: each for each in equal(entrants(words, shared, {"lr": []}), "memory", classes)}
    assert "set head by head" in found["heads"].out
    assert found["basis"].config.basis_rank < 6 if not found["basis"].out else "rank 1" in found["basis"].out


def test_a_rank_that_another_setting_asks_for_is_not_gone_below(classes):
    words = {"lora": entry("lora", rank=1), "dynamic": entry("dynamic", rank=5, rank_rule="schedule", rank_from=4)}
    found = {each.name: each for each in equal(entrants(words, dict(SHARED), {"lr": []}), "memory", classes)}
    assert found["dynamic"].out or found["dynamic"].config.rank >= 4


@pytest.mark.parametrize("most", [1, 2, 9])
@pytest.mark.parametrize("bound", range(12))
def test_the_largest_number_below_that_fits(most, bound):
    assert largest(lambda number: number <= bound, most) == min(bound, most - 1)
