"""Rules for names, label keys and values, ports and addresses, for strategies.

They are `protocol.names`'; nothing else is here.
"""

from __future__ import annotations

from protocol.names import *  # noqa: F403
from protocol.names import OK, __all__  # noqa: F401
