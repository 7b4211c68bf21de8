"""The HTTP front: connections, TLS, requests and streams on the system's event loop.

Owns bytes on sockets. Every request becomes one message to the API server actor; what it means is
decided there. `start` opens a listening socket.
"""

from actors.apiserver.http._front import HttpFront, bind, start

__all__ = ["HttpFront", "bind", "start"]
