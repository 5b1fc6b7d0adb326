"""The warm echo: every peer, at several numbers of connections, in turns."""

from dataclasses import dataclass
from statistics import median

import load
from peers import Server


@dataclass(frozen=True)
class Echoes:
    """What wrk saw: by peer and connections, the readings round by round."""

    readings: dict[str, dict[int, list[load.Echo]]]

    def median(self, peer: str, connections: int, what: str) -> float:
        """The median of one attribute of `load.Echo`."""
        values: list[float] = [getattr(reading, what) for reading in self.readings[peer][connections]]
        return median(values)

    def ratio(self, peer: str, other: str, connections: int) -> float:
        """CPU per call of one against another, each round by itself: what disturbs a round disturbs both."""
        pairs = zip(self.readings[peer][connections], self.readings[other][connections], strict=True)
        return median(mine.cpu_per_call / theirs.cpu_per_call for mine, theirs in pairs)


def take(servers: list[Server], connections: list[int], rounds: int, seconds: int, warm: int) -> Echoes:
    """Every round begins with another server, so that none always follows the same one."""
    for server in servers if warm else []:
        load.echo(server, max(connections), warm)
    readings: dict[str, dict[int, list[load.Echo]]] = {
        server.peer.name: {number: [] for number in connections} for server in servers
    }
    for turn in range(rounds):
        start = turn % len(servers)
        for number in connections:
            for server in servers[start:] + servers[:start]:
                readings[server.peer.name][number].append(load.echo(server, number, seconds))
    return Echoes(readings)
