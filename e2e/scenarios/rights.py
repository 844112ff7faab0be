"""The last scenario of a run: what the controller's account did in all of it is what the chart's role lets it do."""

from __future__ import annotations

import rights
from world import CONTROLLER_USER

from .registry import scenario


@scenario("no right is missing, and after a whole run none was granted for nothing; ConfigMaps are read by name", needs=("audit-log",), alone=True)
def least_privilege(world):
    granted = rights.granted(world.roles() + world.roles_for_a_while)
    events = world.lab.audit_events(user=CONTROLLER_USER)
    written = world.lab.audit_events(resource="upstreams", writes_only=True)
    wrong = rights.refusals(events, world.without_operator)
    wrong += rights.of_config_maps(events, rights.declared(written))
    if world.whole_run:
        wrong += rights.unused(events, granted, rights.EXCUSED)
    assert not wrong, "\n".join(["", *wrong])
    return f"{len(granted)} rights, {len(rights.EXCUSED)} excused; {len(events)} requests" + ("" if world.whole_run else "; not a whole run: unused ones not looked for")
