"""Stages in the manner of KWOK: objects whose lives are told by YAML instead of by a kubelet."""

from actors.kubelet.stages._player import StagePlayer, load_stages
from actors.kubelet.stages._pretence import Scripts
from actors.kubelet.stages._stage import Stage, StageError

__all__ = ["Scripts", "Stage", "StageError", "StagePlayer", "load_stages"]
