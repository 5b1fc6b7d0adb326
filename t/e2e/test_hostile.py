"""Hostile requests of every kind, some of each; `make drill` tries many more."""

from __future__ import annotations

from pathlib import Path

import pytest
from harness import Server
from hostile import CONF as HOSTILE_CONF
from hostile import KINDS, SPRUNG, Attempt, Chance, attack, is_held

CONF = HOSTILE_CONF


@pytest.mark.parametrize("kind", KINDS)
def test_what_must_not_run_does_not(server: Server, tmp_path: Path, kind: str) -> None:
    assert list(attack(server, tmp_path / "sprung", kind, 150)) == []


def test_what_is_tried_would_run_if_it_were_let_in(server: Server, tmp_path: Path) -> None:
    """So that a request that is held is held by the guard, and not by a mistake of its own."""
    from hostile import Asker

    trap = tmp_path / "sprung"
    chance = Chance(1, server, trap)
    asker = Asker(server)
    for _ in range(50):
        request = chance.request(("X-Forwarded-For", "127.0.0.1"), host=f"localhost:{server.port}")
        answer = asker.ask(Attempt(request))
        assert SPRUNG.encode() in answer, (request, answer)
        assert not is_held(Attempt(request), answer)
        assert trap.exists()
        trap.unlink()
    asker.close()
