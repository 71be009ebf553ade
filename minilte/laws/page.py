"""The reference section of docs/laws.md, written from the laws: python -m minilte.laws.page docs/laws.md."""

import sys
from pathlib import Path

from minilte.laws import LAWS

MARK = "<!-- from here on written by python -m minilte.laws.page docs/laws.md -->"


def reference() -> str:
    """Every law as a section: statement, proof, tolerance and its reason."""
    lines = [MARK, "", "## As the code has them", ""]
    for law in LAWS.values():
        proof = " ".join(law.proof.split())
        lines += [
            f"### {law.name}: {law.title}",
            "",
            f"{law.statement}.",
            "",
            f"*Proof.* {proof}",
            "",
            f"*Held to* {law.tolerance:g}: {law.because}.",
            "",
        ]
    return escaped("\n".join(lines))


def escaped(text: str) -> str:
    """Plain formulas in Markdown, where their stars and brackets are no markup."""
    keep = {"*Proof.*": "\0", "*Held to*": "\1"}
    for words, sign in keep.items():
        text = text.replace(words, sign)
    for letter in "*[]<>|":
        text = text.replace(letter, "\\" + letter)
    for words, sign in keep.items():
        text = text.replace(sign, words)
    return text.replace("\\<!--", "<!--").replace("--\\>", "-->")


def page(path: Path) -> str:
    """The page with its reference section written anew."""
    return path.read_text(encoding="utf-8").split(MARK)[0].rstrip() + "\n\n" + reference()


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(Path(sys.argv[1])), encoding="utf-8")
