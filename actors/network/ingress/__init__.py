"""Ingress: requests from outside, led to Services by host and path.

`Routes` is the meaning of Ingress objects, `IngressController` keeps it in step with the API, `serve`
answers HTTP with aiohttp.
"""

from actors.network.ingress._actor import CLASS, IngressController, Route, Target
from actors.network.ingress._routes import Backend, Routes

__all__ = ["CLASS", "Backend", "IngressController", "Route", "Routes", "Target"]
