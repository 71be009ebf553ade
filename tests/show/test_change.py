"""What W - W_0 and the heads became is drawn, with bounds where they hold; what is not known is said with the reason."""

import numpy as np
import pytest
import seen
import tiny

from minilte.show import change, drawing
from minilte.show.past import Moment, Named, read_run


@pytest.fixture
def undrawn(monkeypatch):
    """Figures without their lines, to be quick."""
    monkeypatch.setattr(drawing, "inline", lambda name, paint: "<svg ></svg>")


def finished(path, **changes) -> Named:
    """A tiny run that has ended, as a page names it."""
    tiny.go_on(tiny.begin(path, **changes))
    return Named(read_run(path), "A", 0)


def text_of(parts):
    return "".join(part.text for part in parts)


def test_a_run_of_no_steps_has_a_page(place, made):
    assert "no step was taken" in made(place / "nothing")


@pytest.mark.parametrize(
    ("kind", "bound"),
    [
        ("lte", 4),
        ("unequal-ranks", 4),
        ("mhlora", 4),
        ("lora", 2),
        ("absorbed", 4),
        ("allreduce", 4),
        ("full", None),
        ("reset-b", None),
        ("in-place", None),
        ("outer", None),
    ],
)
def test_a_bound_is_shown_where_law_l2_holds(tmp_path, undrawn, kind, bound):
    run = finished(tmp_path / "run", **tiny.KINDS[kind])
    assert change.bounds_of(run.run) == ({} if bound is None else {"layer1": bound})
    text = text_of(change.change(run))
    assert ("L2 allows" in text) == ("(L2): the dotted line" in text) == (bound is not None)
    assert f'<td class="number">{bound or "none"}</td>' in text


@pytest.mark.parametrize(
    ("kind", "kept"),
    [
        ("lte", True),
        ("server", True),
        ("skip-bad-heads", True),
        ("half-wire", True),
        ("nf4", True),
        ("reset-ab", False),
        ("allreduce", False),
        ("full", False),
        ("lora", False),
        ("mhlora", False),
    ],
)
def test_heads_are_compared_where_the_method_keeps_what_it_merged(tmp_path, undrawn, kind, kept):
    text = text_of(change.heads(finished(tmp_path / "run", **tiny.KINDS[kind])))
    assert ("Alignment of the heads at step 6" in text) == kept
    assert kept or not text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "undefined"),
        ({"undefined": "why"}, "undefined"),
        (4, "4"),
        (1e-9, "0"),
        (-0.25, "−0.25"),
        (1.23456, "1.23"),
    ],
    ids=str,
)
def test_a_measure_is_short(value, words):
    assert change.short(value) == words


# ---------------------------------------------------------------- what is drawn and tabled


OF = {"rank": 2, "stable_rank": 1.25, "effective_rank": 1.5, "cosine": -0.25, "grassmann": 0.75}


def moments(*steps, **layers):
    """Moments at these steps; the singular values of a layer grow with the step."""
    return [
        Moment(step, {name: OF | {"sigma": step * np.array(of)} for name, of in layers.items()}) for step in steps
    ]


@pytest.fixture(scope="module")
def known(place):
    """A measured run whose singular values are known: (4, 2) and (6, 3)."""
    run = read_run(place / "measured")
    return Named(run._replace(moments=moments(2, 3, layer1=[2.0, 1.0])), "B", 1)


def test_the_spectra_of_a_run_are_those_of_its_moments_with_the_bound_of_its_heads(known):
    with seen.pictures() as drawn:
        said = seen.figures(seen.parsed(*change.change(known)))
    (axes,) = drawn["b-layer1"].axes
    assert {step: seen.points(line) for step, line in seen.lines(axes).items()} == {
        "step 2": [(1, 4), (2, 2)],
        "step 3": [(1, 6), (2, 3)],
    }
    assert [x for x, *_ in seen.verticals(axes)] == [4.5]  # two heads of rank 2
    assert said["b-layer1"] == (
        "2 singular values of the change of layer1 at step 3, from 6 to 3",
        "layer1, 4 × 6; L2 allows the full rank, 4.",
    )


def test_what_was_measured_is_drawn_over_samples(known):
    with seen.pictures() as drawn:
        page = seen.parsed(*change.change(known), *change.heads(known))
    said, records = seen.figures(page), [one for one in known.run.records if one.measures]
    for measure, label in (change.RANKS | change.ALIGNMENT).items():
        name = f"b-{measure.replace('_', '-')}"
        line, of = seen.lines(*drawn[name].axes)["layer1"], [one.measures["layers"]["layer1"] for one in records]
        expected = [(one.samples, of[measure]) for one, of in zip(records, of) if not isinstance(of[measure], dict)]
        assert seen.points(line) == expected and expected
        assert seen.axes_of(drawn[name])[:2] == ("samples", label)
        assert said[name] == (
            f"{label} over samples; at the end layer1 {change.short(OF[measure])}",
            change.CAPTIONS[measure],
        )
    for index, line in seen.lines(*drawn["b-layer1-grew"].axes).items():
        layers = [(one.samples, one.measures["layers"]["layer1"]) for one in records]
        assert seen.points(line) == [(at, of[f"sigma_{index}"]) for at, of in layers if f"sigma_{index}" in of]
    assert list(seen.lines(*drawn["b-layer1-grew"].axes))[:2] == ["1", "2"]


def test_the_tables_have_the_ranks_and_the_alignment_of_the_newest_moment(known):
    with seen.pictures():
        page = seen.parsed(*change.change(known), *change.heads(known))
    ranks = seen.table(page, "Ranks of W − W₀ at step 3")
    assert ranks.head == ["layer", "shape", "bound (L2)", "rank", "stable rank", "effective rank"]
    assert ranks.rows == {"layer1": ["4 × 6", "4", "2", "1.25", "1.5"]}
    heads = seen.table(page, "Alignment of the heads at step 3")
    assert heads.head == ["layer", "cosine", "Grassmann distance"]
    assert heads.rows == {"layer1": ["−0.25", "0.75"]}
    assert "at steps 2 and 3: all that the folder keeps of W" in seen.words(page)
    assert "At step 3, means of all pairs of heads" in seen.words(page)


@pytest.mark.parametrize(
    ("law", "of"), [("L2", "the sum of the heads' ranks"), ("L26", "the rank of a basis times the number of bases")]
)
@pytest.mark.parametrize(
    ("bound", "dotted", "words"), [(3, [3.5], "allows rank 3"), (9, [], "allows the full rank, 4")]
)
def test_a_bound_is_drawn_and_said_as_far_as_it_binds(known, bound, dotted, words, law, of):
    built = known.run.built
    facts = built.method.facts._replace(bound={"layer1": bound}, bound_law=law)
    entry = known._replace(run=known.run._replace(built=built._replace(method=built.method._replace(facts=facts))))
    with seen.pictures() as drawn:
        page = seen.parsed(*change.change(entry))
    assert [x for x, *_ in seen.verticals(*drawn["b-layer1"].axes)] == dotted
    assert seen.figures(page)["b-layer1"][1] == f"layer1, 4 × 6; {law} {words}."
    assert seen.table(page, "Ranks of W − W₀ at step 3").cell("layer1", f"bound ({law})") == str(min(bound, 4))
    assert f"they end at {of} at the latest ({law})" in seen.words(page)


def test_after_a_change_of_heads_no_bound_is_drawn_and_none_is_spoken_of(known):
    with seen.pictures() as drawn:
        before = seen.parsed(*change.change(known))
        page = seen.parsed(*change.change(known._replace(run=known.run._replace(resized=True))))
    assert ["dotted line" in seen.words(one) for one in (before, page)] == [True, False]
    assert seen.verticals(*drawn["b-layer1"].axes) == []
    assert seen.figures(page)["b-layer1"][1] == "layer1, 4 × 6."
    assert seen.table(page, "Ranks of W − W₀ at step 3").cell("layer1", "bound (L2)") == "none"


def test_spectra_side_by_side_have_the_letter_of_their_own_run(known):
    other = known._replace(
        run=known.run._replace(moments=moments(5, layer1=[3.0, 2.0, 1.0], layer2=[1.0])), letter="A", number=0
    )
    with seen.pictures() as drawn:
        said = seen.figures(seen.parsed(*change.change_together([other, known])))
    lines = seen.lines(*drawn["all-layer1"].axes)
    assert {letter: (seen.points(line), seen.tone(line)) for letter, line in lines.items()} == {
        "A": ([(1, 15), (2, 10), (3, 5)], 1),
        "B": ([(1, 6), (2, 3)], 2),
    }
    assert said == {"all-layer1": ("Singular values of the change of layer1; how many: A 3, B 2", "layer1.")}
    assert seen.axes_of(drawn["all-layer1"]) == ("index", "singular value of W − W₀", "log")


# ---------------------------------------------------------------- more layers than are drawn


@pytest.fixture
def one_of_two(place, monkeypatch):
    """A measured run of two layers, of which the first is drawn."""
    monkeypatch.setattr(change, "LAYERS", 1)
    run = read_run(place / "measured")
    weights = run.built.task.weights
    built = run.built._replace(task=run.built.task._replace(weights=weights | {"layer2": weights["layer1"]}))
    records = [one._replace(measures=one.measures and twice(one.measures)) for one in run.records]
    told = run._replace(built=built, records=records, moments=moments(3, layer1=[2.0, 1.0], layer2=[4.0, 3.0]))
    return Named(told, "B", 1)


def twice(measures):
    """Measures with the numbers of layer1 for layer2 too."""
    return measures | {"layers": dict.fromkeys(("layer1", "layer2"), measures["layers"]["layer1"])}


def test_the_first_layers_are_drawn_and_all_are_in_the_tables(one_of_two):
    with seen.pictures() as drawn:
        page = seen.parsed(*change.change(one_of_two), *change.heads(one_of_two))
    over_samples = [f"b-{measure.replace('_', '-')}" for measure in change.RANKS | change.ALIGNMENT]
    assert list(drawn) == ["b-layer1", "b-layer1-grew", *over_samples]
    for name in over_samples:
        assert list(seen.lines(*drawn[name].axes)) == ["layer1"]
        assert "layer1" in seen.figures(page)[name][0] and "layer2" not in seen.figures(page)[name][0]
    assert "The first 1 of 2 layers." in seen.words(page)
    for caption in ("Ranks of W − W₀ at step 3", "Alignment of the heads at step 3"):
        assert list(seen.table(page, caption).rows) == ["layer1", "layer2"]


def test_side_by_side_too_the_first_layers_are_drawn_and_no_other(one_of_two):
    with seen.pictures() as drawn:
        page = seen.parsed(*change.change_together([one_of_two._replace(letter="A", number=0), one_of_two]))
    assert list(drawn) == list(seen.figures(page)) == ["all-layer1"]
    assert "at the newest step of each run. The first 1 of 2 layers." in seen.words(page)


def test_the_layers_of_side_by_side_are_counted_where_several_runs_have_them(one_of_two):
    alone = one_of_two._replace(run=one_of_two.run._replace(moments=moments(3, layer1=[2.0, 1.0])))
    page = seen.parsed(*change.change_together([alone, one_of_two]))
    assert len(seen.figures(page)) == 1 and "The first" not in seen.words(page)
