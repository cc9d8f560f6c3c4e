"""Compare what a document shows with what its command prints. Pure: texts in, texts out."""

from __future__ import annotations

import difflib
import re

HOME = "/home/user"
RULES: tuple[tuple[str, str], ...] = (
    (r"\x1b\[[0-9;]*m", ""),  # colours
    (r"\r\n", "\n"),
    (r"^.*\r(?!$)", ""),  # text that the terminal overwrites
    (r"^(platform .*) -- /\S+$", r"\1"),
    (r"nbgroups-(\d+\.\d+)\.dev\S*(?<!,)", r"nbgroups-\1.0"),
    (r"(nbgroups-\d+\.\d+\.\d+)[\w.+]*", r"\1"),
    (r"[ \t]+$", ""),
)
PLUGINS = re.compile(r"plugins: (.+)")
DOTS = re.compile(r"[.sFxX]+ *\[ *\d+%\]")
NUMBER = re.compile(r"\d+(?:[.:]\d+)*(?:(?:a|b|rc|dev)\d+)?")
WORDS: tuple[tuple[str, str], ...] = (
    (r"#h(?:#m(?:in)?)?\b|#m(?:in)?(?:#s)?\b|#ms\b|#s\b", "TIME"),
    (r"<= *#|#(?= [KMGT]i?B)", "#"),
    (r"# ?(?:B|[kKMGT]i?B)\b", "SIZE"),
    (r"([=_ -])\1+", r"\1"),  # rules and columns are as wide as the numbers in them
)


def portable(printed: str, folder: str, shown: str) -> str:
    """Return the output without colours, and with paths and versions as a reader sees them.

    ``folder`` is the place where the command ran, ``shown`` the name that it has in the document.
    """
    text = printed.replace(folder, f"{HOME}/{shown}")
    for pattern, replacement in RULES:
        text = re.sub(pattern, replacement, text, flags=re.MULTILINE)
    return text


def difference(shown: str, printed: str) -> str:
    """Return a diff of everything but numbers; an empty text if there is no difference.

    The order of lines is free, because parallel runs and tables order them by time; the diff has
    them in alphabetical order.
    """
    was, now = _bare(shown), _bare(printed)
    return "\n".join(difflib.unified_diff(was, now, "the document", "the command", lineterm=""))


def excerpt(output: str, shown: str) -> str | None:
    """Return the part of an output from the first line of the excerpt to its last, else None."""
    lines, ends = output.splitlines(keepends=True), shown.splitlines(keepends=True)
    bare, wanted = [_words(line) for line in lines], [_words(line) for line in ends]
    try:
        first = bare.index(wanted[0])
        return "".join(lines[first : bare.index(wanted[-1], first) + 1])
    except (IndexError, ValueError):
        return None


def _bare(text: str) -> list[str]:
    return sorted(_words(line) for line in text.splitlines() if line.strip())


def _words(line: str) -> str:
    """Return the line without its numbers.

    Two lists are put in alphabetical order: the outcomes of a parallel run, and the plugins, which
    pytest finds in the order in which the file system lists them.
    """
    if DOTS.fullmatch(line):
        return "".join(sorted(line.partition(" ")[0]))
    bare = NUMBER.sub("#", line)
    if plugins := PLUGINS.fullmatch(bare):
        return f"plugins: {', '.join(sorted(plugins[1].split(', ')))}"
    for pattern, replacement in WORDS:
        bare = re.sub(pattern, replacement, bare)
    return bare.replace("TIME (#)", "TIME").strip()
