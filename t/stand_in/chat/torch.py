"""As much of torch as examples/chat uses, for the stand-in of transformers."""

bool = "bool"


class cuda:
    @staticmethod
    def is_available():
        return False


class Tokens:
    """Words, as a batch of one."""

    device = "cpu"

    def __init__(self, words):
        self.words = words

    @property
    def shape(self):
        return 1, len(self.words)

    def __getitem__(self, at):
        batch, part = at
        assert batch == slice(None)
        return Tokens(self.words[part])

    def to(self, device):
        assert device == self.device
        return self


def ones_like(tokens):
    return [1] * len(tokens.words)


def full(shape, value, *, dtype, device):
    assert (shape, dtype, device) == ((1,), "bool", "cpu")
    return [value]
