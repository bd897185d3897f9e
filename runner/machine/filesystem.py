"""Finds the kind of filesystem that a path is on."""

from __future__ import annotations

from pathlib import Path

import psutil

# Their locks and shared memory do not work between machines, and SQLite's log needs both:
# sqlite.org/wal.html, sqlite.org/howtocorrupt.html section 2.
_NETWORK_FILESYSTEMS = {
    "9p", "afs", "beegfs", "ceph", "cifs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4",
    "smb2", "smb3", "smbfs", "vboxsf", "virtiofs", "webdav", "fuse.davfs2", "fuse.rclone", "fuse.s3fs",
}  # fmt: skip


def filesystem(path: Path) -> str:
    """The kind of filesystem that the path is on; '' where it is unknown."""
    path = path.resolve()
    best = max(
        (mount for mount in psutil.disk_partitions(all=True) if path.is_relative_to(mount.mountpoint)),
        key=lambda mount: len(mount.mountpoint),
        default=None,
    )
    return str(best.fstype) if best else ""


def network_filesystem(path: Path) -> str | None:
    """The kind of network filesystem that the path is on; None for a local one."""
    kind = filesystem(path)
    return kind if kind.lower() in _NETWORK_FILESYSTEMS else None
