"""The plugin classes that come with the scheduler."""

from __future__ import annotations

from actors.scheduler._framework import Plugin
from actors.scheduler.plugins.default_binder import DefaultBinder
from actors.scheduler.plugins.default_preemption import DefaultPreemption
from actors.scheduler.plugins.dynamic_resources import DynamicResources
from actors.scheduler.plugins.image_locality import ImageLocality
from actors.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from actors.scheduler.plugins.node_affinity import NodeAffinity
from actors.scheduler.plugins.node_basics import NodeName, NodeUnschedulable
from actors.scheduler.plugins.node_ports import NodePorts
from actors.scheduler.plugins.node_resources import NodeResourcesBalancedAllocation, NodeResourcesFit
from actors.scheduler.plugins.node_volume_limits import NodeVolumeLimits
from actors.scheduler.plugins.pod_topology_spread import PodTopologySpread
from actors.scheduler.plugins.queueing import PrioritySort, SchedulingGates
from actors.scheduler.plugins.taint_toleration import TaintToleration
from actors.scheduler.plugins.volume_binding import VolumeBinding
from actors.scheduler.plugins.volume_restrictions import VolumeRestrictions
from actors.scheduler.plugins.volume_zone import VolumeZone

__all__ = ["BUILTIN"]

BUILTIN: tuple[type[Plugin], ...] = (
    SchedulingGates,
    PrioritySort,
    NodeUnschedulable,
    NodeName,
    TaintToleration,
    NodeAffinity,
    NodePorts,
    NodeResourcesFit,
    VolumeRestrictions,
    NodeVolumeLimits,
    VolumeBinding,
    VolumeZone,
    PodTopologySpread,
    InterPodAffinity,
    DynamicResources,
    DefaultPreemption,
    NodeResourcesBalancedAllocation,
    ImageLocality,
    DefaultBinder,
)
