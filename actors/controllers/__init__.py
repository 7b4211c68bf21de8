"""The controller manager: one controller per file, each an actor on the reconcile base.

`_reconcile` is the base, `_registry` the table of all controllers, `_manager` the actor that
supervises them. Names without underscore are controllers.
"""

from actors.controllers._manager import ControllerManager
from actors.controllers._reconcile import Context, Controller, Options
from actors.controllers._registry import CONTROLLERS, selected

__all__ = ["CONTROLLERS", "Context", "Controller", "ControllerManager", "Options", "selected"]
