"""Text for speech, sentence by sentence: the first can be heard while the next are made."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterator
from typing import TypeVar

T = TypeVar("T")

# Where a sentence may end. Western marks need space behind them, others do not, an empty line is one by itself.
# A run of marks is read once, from its start and whole, so that the time goes with the text's length.
_END = re.compile(
    r"""(?<! [.!?…] ) (?P<mark> [.!?…]++ ) ["'”’»)\]]*+ \s++
      | [。！？｡।؟۔]++ [”’」』）]*+ \s*+
      | \n \s* \n \s*+""",
    re.VERBOSE,
)
# A full stop behind these ends no sentence, behind the latter not if a number follows.
_ABBREVIATIONS = frozenset(
    (
        *("mr", "mrs", "ms", "mx", "messrs", "dr", "prof", "rev", "hon", "st", "gen", "col", "maj", "capt", "lt"),
        *("sgt", "gov", "sen", "rep", "vs", "cf", "e.g", "eg", "i.e", "ie", "approx"),
        *("z.b", "d.h", "u.a", "bzw", "hr", "fr", "mme", "mlle", "sr", "sra", "dott", "sig"),
    )
)
_NUMBERED = frozenset(("no", "nr", "fig", "vol", "ch", "pp", "p", "art", "sec"))
_INITIAL = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")
_CLAUSE = re.compile(r"(?<=[,;:—–])\s+|(?<=[、，；：])")


def sentences(text: str, longest: int | None = None) -> list[str]:
    """The sentences of a text, each on one line, as far as punctuation tells: no dictionary, nothing to download.

    A mark ends no sentence before a lower-case letter (Unicode Standard Annex #29, rule SB8), nor a full stop behind
    an initial or a common abbreviation. With longest, a sentence of more characters is cut where it pauses, or else
    between words.
    """
    found = []
    start = since = 0
    for end in _END.finditer(text):
        if end["mark"] is None or _ends(text, since, end):
            found.append(text[start : end.end()])
            start = end.end()
        since = end.end()
    found.append(text[start:])
    lines = [line for line in (" ".join(sentence.split()) for sentence in found) if any(map(str.isalnum, line))]
    if longest is None:
        return lines
    return [piece for line in lines for piece in _pieces(line, longest)]


def over_sentences(
    text: str, fn: Callable[[list[str]], T], batch_size: int = 1, longest: int | None = None
) -> Iterator[T]:
    """Yields what fn makes of each batch_size sentences, given as a list; the last batch may be smaller.

    Each is made when it is asked for. ValueError if batch_size is less than 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}: at least one sentence at a time")
    every = sentences(text, longest)
    for first in range(0, len(every), batch_size):
        yield fn(every[first : first + batch_size])


def _ends(text: str, since: int, end: re.Match[str]) -> bool:
    """Whether the mark ends a sentence; since is where the mark before it was passed, so behind a space."""
    following = text[end.end() : end.end() + 1]
    if following.islower():
        return False
    if end["mark"] != ".":
        return True
    word = text[since : end.start()].rpartition(" ")[2].rpartition("\n")[2].lstrip("\"'“‘«([")
    if word.lower() in _ABBREVIATIONS:
        return False
    if word.lower() in _NUMBERED and following.isdigit():
        return False
    return word == "I" or not (word.isupper() and _INITIAL.fullmatch(word))


def _pieces(sentence: str, longest: int) -> Iterator[str]:
    """Clauses together as long as they fit, and lines of words where a clause does not."""
    piece = ""
    for clause in _CLAUSE.split(sentence) if len(sentence) > longest else [sentence]:
        if len(f"{piece} {clause}") > longest and piece:
            yield from textwrap.wrap(piece, longest)
            piece = clause
        else:
            piece = f"{piece} {clause}".strip()
    yield from textwrap.wrap(piece, longest)
