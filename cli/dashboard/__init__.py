"""The dashboard: a page that shows a cluster's nodes, pods, rollouts, messages and actors as they live.

`_stage` is what is looked at (a served cluster or a simulation that one may steer), `_server` the
small HTTP server, `page.html` all that the browser runs, `verb` the command line's `dashboard`.
"""

from cli.dashboard._server import Dashboard
from cli.dashboard._stage import LiveStage, SimulatedStage, Stage

__all__ = ["Dashboard", "LiveStage", "SimulatedStage", "Stage"]
