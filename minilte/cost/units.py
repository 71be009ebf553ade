"""Bytes, counts of numbers and seconds as a person reads them."""


def human(count: float) -> str:
    """Bytes: 1234567 -> "1.2 MB"; powers of ten."""
    if count < 999.5:
        return f"{count:.0f} B"
    for unit in ("kB", "MB", "GB", "TB", "PB"):
        count /= 1000
        if count < 999.95:  # more would round to 1000.0
            break
    return f"{count:.1f} {unit}"


def short(count: float) -> str:
    """Numbers, as the paper writes them: 22320000000 -> "22.32G", 700000 -> "0.7M"."""
    for unit, name, least in ((1e9, "G", 1e9), (1e6, "M", 1e5)):
        if count >= least:
            return f"{count / unit:.5g}{name}"
    return f"{count:.5g}"


def brief(seconds: float) -> str:
    """Seconds: three digits, or whole seconds for a long wait: 0.304, 1,187."""
    return f"{seconds:,.0f}" if 999.5 <= seconds < 9_999_999.5 else f"{seconds:.3g}"
