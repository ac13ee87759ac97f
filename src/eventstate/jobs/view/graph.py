"""The graph of an orchestration's units, and the payload that brings it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import orjson

_MOST: Final = 2**63


@dataclass(frozen=True, slots=True)
class GraphNode:
    """A unit in the graph, and the level at which it can run."""

    id: str
    level: int = 0


@dataclass(frozen=True, slots=True)
class GraphEdge:
    """One unit waits for another: ``source`` (``from`` in JSON) depends on ``target`` (``to``)."""

    source: str
    target: str


@dataclass(frozen=True, slots=True)
class GraphData:
    """The dependency graph of units.

    Attributes:
        levels: ids of units by level; those of one level may run beside each other.
    """

    nodes: tuple[GraphNode, ...] = ()
    edges: tuple[GraphEdge, ...] = ()
    levels: tuple[tuple[str, ...], ...] = ()

    def dependencies(self, unit: str) -> tuple[str, ...]:
        """What a unit depends on."""
        return tuple(edge.target for edge in self.edges if edge.source == unit)

    def dependents(self, unit: str) -> tuple[str, ...]:
        """What depends on a unit."""
        return tuple(edge.source for edge in self.edges if edge.target == unit)

    def to_json(self) -> dict[str, Any]:
        """A JSON object: ``nodes``, ``edges`` and ``levels``, each an array."""
        return {
            "nodes": [{"id": node.id, "level": node.level} for node in self.nodes],
            "edges": [{"from": edge.source, "to": edge.target} for edge in self.edges],
            "levels": [list(level) for level in self.levels],
        }


class Plan(NamedTuple):
    """What the payload of ``orch.started`` says."""

    parallelism: int
    graph: GraphData | None


class MalformedError(ValueError):
    """A payload is not what it should be; the text says in what. Stays inside the fold."""


def plan_of(payload: object) -> Plan:
    """Read the payload of ``orch.started``. Members that it does not know are passed over.

    Raises:
        MalformedError: it is no such payload.
    """
    members = _object(payload, "payload")
    _integer(members.get("unit_count"), "unit_count")
    graph = members.get("graph")
    return Plan(_integer(members.get("parallelism"), "parallelism"), None if graph is None else _graph(graph))


@functools.lru_cache(maxsize=16)
def graph_of(text: str) -> GraphData:
    """The graph of the text that the fold keeps; whoever asks again is given the same."""
    return _graph(orjson.loads(text))


def _graph(plain: object) -> GraphData:
    members = _object(plain, "graph")
    nodes = [_object(node, "a node") for node in _array(members.get("nodes"), "nodes")]
    edges = [_object(edge, "an edge") for edge in _array(members.get("edges"), "edges")]
    levels = [_array(level, "a level") for level in _array(members.get("levels"), "levels")]
    return GraphData(
        tuple(GraphNode(_text(node.get("id"), "id of a node"), _integer(node.get("level"), "level")) for node in nodes),
        tuple(
            GraphEdge(_text(edge.get("from"), "from of an edge"), _text(edge.get("to"), "to of an edge"))
            for edge in edges
        ),
        tuple(tuple(_text(id, "id in a level") for id in level) for level in levels),
    )


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise MalformedError(f"{what} is {'absent' if value is None else 'no object'}")
    return cast("Mapping[str, Any]", value)


def _array(value: object, what: str) -> list[Any]:
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise MalformedError(f"{what} is no array")
    return list(cast("list[Any]", value))


def _integer(value: object, what: str) -> int:
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not -_MOST <= value < _MOST:
        raise MalformedError(f"{what} is no integer")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value:
        raise MalformedError(f"{what} is no text")
    if not _is_text(value):
        raise MalformedError(f"{what} has a lone surrogate")
    return value


def _is_text(value: str) -> bool:
    """Whether it is Unicode text, which JSON can hold."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
