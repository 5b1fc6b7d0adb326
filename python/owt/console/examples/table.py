"""A list of objects is JSON, and a table on this page."""

from collections import Counter


def run(request, text: str = "the quick brown fox jumps over the lazy dog"):
    letters = Counter(letter for letter in text.lower() if letter.isalpha())
    total = letters.total()
    return [
        {"letter": letter, "count": count, "percent": round(100 * count / total, 1)}
        for letter, count in letters.most_common()
    ]
