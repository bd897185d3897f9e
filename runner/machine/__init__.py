"""The machine underneath: faults and their end, clocks, processes, disks, folders."""

from runner.machine.address import is_loopback, no_such_address, reachable_host, refuse_address, tls_context
from runner.machine.certificate import Certificate
from runner.machine.clocks import ClockWatch
from runner.machine.disk import forecast, free_bytes, is_plenty, job_bytes, parse_size, size_text
from runner.machine.faults import Probe, probe_descriptors, probe_disk, world_fault
from runner.machine.filesystem import filesystem, network_filesystem
from runner.machine.folders import home_folder, own_folder
from runner.machine.guard import Faults, Guard
from runner.machine.memory import memory_bytes
from runner.machine.process import Identity, is_gone, this_process

__all__ = [
    "Certificate",
    "ClockWatch",
    "Faults",
    "Guard",
    "Identity",
    "Probe",
    "filesystem",
    "forecast",
    "free_bytes",
    "home_folder",
    "is_gone",
    "is_loopback",
    "is_plenty",
    "job_bytes",
    "memory_bytes",
    "network_filesystem",
    "no_such_address",
    "own_folder",
    "parse_size",
    "probe_descriptors",
    "probe_disk",
    "reachable_host",
    "refuse_address",
    "size_text",
    "this_process",
    "tls_context",
    "world_fault",
]
