"""What calls may want for themselves, and others at the same time."""

import types

import pytest
from owt.process import borrowed


@pytest.fixture
def setting(monkeypatch):
    """A setting of the whole process, which is "usual"; what lies in meanwhile happens in the middle of a change."""
    module = types.ModuleType("settings")
    module.value, module.meanwhile = "usual", []

    def change(value):
        if value == "bad":
            raise ValueError(value)
        if module.meanwhile:
            module.meanwhile.pop()()
        module.value = value

    module.change, module.look = change, lambda: module.value
    made = borrowed._Setting(module, "change", "look")
    made.usual = "usual"
    made.install()
    monkeypatch.setattr(borrowed, "_settled", True)
    monkeypatch.setattr(borrowed, "_settings", [made])
    return module


def test_who_comes_while_another_ends_has_what_he_wants(setting, monkeypatch):
    first, second = borrowed.Changes(0), borrowed.Changes(0)
    running = [first]
    monkeypatch.setattr(borrowed, "_changes", lambda make: running[-1])

    def comes():
        running.append(second)
        setting.change("the second's")

    setting.change("the first's")
    assert setting.value == "the first's"
    setting.meanwhile.append(comes)
    first.end()
    assert setting.value == "the second's"
    second.end()
    assert setting.value == "usual"


def test_what_is_refused_is_not_wanted(setting, monkeypatch):
    mine = borrowed.Changes(0)
    monkeypatch.setattr(borrowed, "_changes", lambda make: mine)
    setting.change("mine")
    with pytest.raises(ValueError, match="bad"):
        setting.change("bad")
    assert borrowed._settings[0].wanted == {id(mine): "mine"}
    mine.end()
    assert setting.value == "usual"
