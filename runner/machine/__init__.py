"""What happens to the machine underneath: faults and their end, clocks, processes, disks."""

from runner.machine.clocks import ClockWatch
from runner.machine.disk import forecast, parse_size, size_text
from runner.machine.faults import Probe, probe_descriptors, probe_disk, world_fault
from runner.machine.filesystem import filesystem, network_filesystem
from runner.machine.guard import Faults, Guard
from runner.machine.process import Identity, is_gone, memory_bytes, this_process

__all__ = [
    "ClockWatch",
    "Faults",
    "Guard",
    "Identity",
    "Probe",
    "filesystem",
    "forecast",
    "is_gone",
    "memory_bytes",
    "network_filesystem",
    "parse_size",
    "probe_descriptors",
    "probe_disk",
    "size_text",
    "this_process",
    "world_fault",
]
