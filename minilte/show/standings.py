"""A ladder as words: every row's scores with their intervals, what they cost, and what was tuned; for a terminal and for a page.

A ladder is a dict here, as `compare.ladder.Ladder.plain` gives it and as it stands in a file.
"""

from collections.abc import Iterator, Sequence

from minilte.cost.units import brief, human

SCORES = {"train_loss": "training loss", "test_loss": "test loss", "test_accuracy": "accuracy (%)"}


def letter(number: int) -> str:
    """A, B, … Z, AA, AB …: the letter of a row."""
    return (letter(number // 26 - 1) if number >= 26 else "") + chr(ord("A") + number % 26)


def factor(score: str) -> int:
    """Accuracies are shown in percent."""
    return 100 if score.endswith("accuracy") else 1


def known(ladder: dict) -> list[str]:
    """The scores that the rows have: of a regression there is no accuracy."""
    return [name for name in SCORES if any(name in row["scores"] for row in ladder["rows"])]


def spread(of: dict, score: str) -> str:
    """The mean, and half the width of its interval: "0.2710 ± 0.0021", "88.12 ± 0.14"."""
    digits, times = (2, 100) if factor(score) == 100 else (4, 1)
    return f"{times * of['mean']:.{digits}f} ± {times * (of['high'] - of['low']) / 2:.{digits}f}"


def behind(of: dict, score: str) -> str:
    """How far behind the leader, "level" where the interval of the paired difference holds zero."""
    if not any(of["values"]):
        return "leads"
    return f"{spread(of, score)}{', level' if of['low'] <= 0 <= of['high'] else ''}"


def seconds(link_bytes: float, mbit: float) -> float:
    """Seconds that bytes take through a link of `mbit` Mbit/s."""
    return 8 * link_bytes / (1e6 * mbit)


def head(ladder: dict) -> list[str]:
    """The names of the columns."""
    mbit = f"{ladder['rules']['mbit']:g}"
    scores = [SCORES[name] for name in known(ladder)]
    return [
        "",
        "entry",
        *scores,
        "behind in test loss",
        "sent",
        f"seconds at {mbit} Mbit/s",
        "memory a worker",
        "tuned to",
    ]


def cells(ladder: dict) -> list[list[str]]:
    """The rows, each with its letter; a star stands at those on the frontier."""
    return [row_cells(ladder, row, letter(number)) for number, row in enumerate(ladder["rows"])]


def row_cells(ladder: dict, row: dict, name: str) -> list[str]:
    """A row of the table."""
    if not row["scores"]:
        return [name, row["name"], *["—"] * (len(known(ladder)) + 4), words(row["tuned"])]
    scores = [spread(row["scores"][score], score) for score in known(ladder)]
    sent, took = human(row["bytes"]), brief(seconds(row["link_bytes"], ladder["rules"]["mbit"]))
    star = " *" if row["frontier"] else ""
    chased = behind(row["behind"]["test_loss"], "test_loss")
    return [name, row["name"] + star, *scores, chased, sent, took, human(row["memory"]), words(row["tuned"])]


def words(point: dict) -> str:
    """A point of a grid: "lr 0.002, weight-decay 0.1"."""
    return ", ".join(f"{name.replace('_', '-')} {value:g}" for name, value in point.items()) or "as set"


def remarks(ladder: dict) -> Iterator[str]:
    """What must be known of the rows, in sentences."""
    for row in ladder["rows"]:
        if row["trouble"]:
            yield f"{row['name']}: {row['trouble']}."
        if row["note"]:
            yield f"{row['name']}: {row['note']}."
        for edge in row["edges"]:
            yield f"{row['name']}: {edge.replace('_', '-')}; its best may lie beyond."


def grid(row: dict) -> str:
    """All that was tried for a row, in the order of the values: "lr 0.001, weight-decay 0: 0.4312; …"."""
    return "; ".join(f"{words(point)}: {'diverged' if score is None else f'{score:.4f}'}" for point, score in sorted(
        row["grid"], key=lambda tried: list(tried[0].values())
    ))  # fmt: skip


def conditions(ladder: dict) -> str:
    """How it was measured, in a few sentences."""
    rules, data = ladder["rules"], ladder["data"]
    seeds = f"{rules['tune_seeds']} seed{'s' * (rules['tune_seeds'] > 1)} from 1000"
    how = f"tuned by {rules['by'].replace('_', ' ')} with rows held out, {seeds}"
    tuned = how if any(row["grid"] for row in ladder["rows"]) else "nothing is tuned"
    return (
        f"{data['name']}, {data['rows']:,} training rows; equal {rules['equal']}; {rules['seeds']} seeds from 0, mean ±"
        f" half the 95 % interval; {tuned}."
        " Bytes are those of a head on every process. * no other is as good in test loss, bytes and memory, and better in"
        " one of them."
    )


def matches(ladder: dict) -> tuple[list[str], list[list[str]]]:
    """(head, rows) of samples-to-match; no rows where nothing was to be matched."""
    found: dict[str, dict] = {}
    for match in ladder["matches"]:
        found.setdefault(match["name"], {})[match["score"]] = match
    scores = list(dict.fromkeys(match["score"] for match in ladder["matches"]))
    opponent = ladder["rules"]["match"]
    names = [f"samples to match {opponent} in {SCORES[score].split(' (')[0]}" for score in scores]
    return ["entry", *names], [[name, *(ratio(of[score]) for score in scores)] for name, of in found.items()]


def ratio(match: dict) -> str:
    """S'/S in words; how many seeds never reached, or already did with the fewest samples."""
    ratios, count = match["ratios"], len(match["ratios"])
    if match["short"]:
        return f"more than {max(ratios):.3g} ({match['short']} of {count} seeds)"
    if match["early"]:
        return f"at most {min(ratios):.3g} ({match['early']} of {count} seeds)"
    return f"{match['mean']:.2f} ({match['low']:.2f} to {match['high']:.2f})"


def text(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table for a terminal."""
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in (head, *rows)]


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The same for a page in Markdown."""
    lines = [f"| {' | '.join(cell.replace('*', chr(92) + '*') for cell in line)} |" for line in (head, *rows)]
    return [lines[0], "|" + "---|" * len(head), *lines[1:]]
