"""Say it again."""


def run(text: str, times: int = 2, loud: bool = False) -> dict:
    """Repeats a text."""
    said = " ".join([text] * times)
    return {"said": said.upper() if loud else said}
