"""The answer is what run() returns. Its parameters are the fields below."""


def run(request, name: str = "owt"):
    return f"Hello, {name}!"
