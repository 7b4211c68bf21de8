"""The recorder: writes every revision of the store to a file, for time travel afterwards.

It watches etcd like anybody else and changes nothing. How recordings are read is
`protocol.recording`'s.
"""

from actors.recorder._recorder import FinishRecording, Recorder

__all__ = ["FinishRecording", "Recorder"]
