"""projections, projection show, run, rebuild and delete."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli

pytestmark = pytest.mark.backend("sqlite")

COUNTS, ORDER_COUNTS = "tests.cli.projections:COUNTS", "tests.cli.projections:ORDER_COUNTS"


def test_from_the_first_run_to_the_end(shop: Cli) -> None:
    assert shop("projections", "--json").out == ""
    ran = shop("projection", "run", COUNTS, "--once", "--json").json
    assert ran.pop("seconds") >= 0
    assert ran.pop("updated_at").endswith("Z")
    building = {"building": None, "building_version": None, "building_events": None}
    assert ran == {"name": "counts", "version": 1, "generation": 1, "events": 7, "behind": 0, **building}
    assert shop("projection", "show", "counts", "--json").lines == [
        {"id": "$deleted", "value": 1},
        {"id": "Paid", "value": 1},
        {"id": "Placed", "value": 2},
        {"id": "edited", "value": 1},
        {"id": "saved", "value": 2},
    ]
    assert shop("projection", "show", "counts", "--prefix", "P").out == "Paid  1\nPlaced  2\n"
    assert shop("projection", "run", ORDER_COUNTS, "--once", "--json", code=2).error["type"] == "ProjectionVersionError"
    text = shop("projection", "rebuild", ORDER_COUNTS).out
    assert text.startswith("projection 'counts', version 2: 3 events handled, 0 behind, in ")
    (listed,) = shop("projections", "--json").lines
    assert (listed["version"], listed["generation"], listed["events"]) == (2, 2, 3)
    assert "counts" in shop("projections").out
    shop("projection", "delete", "counts", "--yes")
    assert shop("projections", "--json").out == ""


def test_what_is_not_there(shop: Cli) -> None:
    for command in ("show", "delete"):
        failed = shop("projection", command, "none", "--json", code=3)
        assert failed.error["type"] == "ProjectionNotFoundError"
    assert "is no Projection" in shop("projection", "run", "tests.cli.projections:NO_PROJECTION", code=2).err
    assert "write package.module:name" in shop("projection", "rebuild", "counts", code=2).err
