"""A queue on a network file system: one machine at a time

SQLite's write-ahead log lies in memory that the processes of one machine share, so two machines that use one
queue over NFS or SMB damage it. On such a file system a file beside the queue, `machine`, says which machine
uses it; it is renewed every minute. Another machine is refused until the file is five minutes old, by the
clock of the file server.
"""

import json
import os
import re
import socket
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from ecg_audio_nb.batch.clock import boot_name
from ecg_audio_nb.core.files import write_atomic

__all__ = ["MachineMark", "OtherMachine", "network_file_system"]

MARK = "machine"
RENEW, STALE = 60.0, 300.0  # seconds
_NETWORK = frozenset(
    "9p afs beegfs ceph cifs coda davfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs pvfs2 smb2 "
    "smb3 smbfs vboxsf virtiofs fuse.ceph fuse.ceph-fuse fuse.davfs fuse.gcsfuse fuse.glusterfs fuse.goofys "
    "fuse.juicefs fuse.moosefs fuse.rclone fuse.s3fs fuse.smbnetfs fuse.sshfs".split()
)
_MOUNTS = Path("/proc/self/mountinfo")


class OtherMachine(OSError):
    "Another machine uses the queue"


def network_file_system(
    folder: str | os.PathLike,
) -> str | None:  # such as "nfs4"; None: the disk is this machine's, or the system does not tell
    "Name the network file system that a folder lies on"
    path, best, kind = os.path.realpath(folder), "", None
    try:
        lines = _MOUNTS.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        fields, _, rest = line.partition(" - ")
        point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), fields.split()[4])
        if f"{path}/".startswith(f"{point.rstrip('/')}/") and len(point) >= len(best):  # later ones lie above
            best, kind = point, rest.split()[0]
    return kind if kind in _NETWORK else None


class MachineMark:
    "The file that says which machine uses a queue"

    def __init__(self, folder: Path, kind: str):
        self.folder, self.kind, self.path = folder, kind, folder / MARK
        self.renewed = None  # monotonic time

    def keep(self) -> None:
        "Take or renew the mark; raises `OtherMachine`. Does nothing if it was renewed a moment ago"
        now = time.monotonic()
        if self.renewed is not None and now - self.renewed < RENEW:
            return
        other = self._other()
        if other is not None:
            raise OtherMachine(
                f"it lies on a network file system ({self.kind}), and the machine {other} uses it; a queue "
                "can't be shared between machines. Give each machine a folder of its own, or run one batch "
                f"on several machines with --cluster. If {other} has stopped, wait {STALE / 60:.0f} minutes, "
                f"or delete {self.path}"
            )
        write_atomic(self.path, json.dumps({"host": socket.gethostname(), "boot": boot_name()}))
        self.renewed = now

    def _other(self):
        "The name of another machine that holds the mark; None if none does"
        try:
            mark, renewed = json.loads(self.path.read_text()), self.path.stat().st_mtime
            host, boot = mark["host"], mark["boot"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        same_boot = boot is not None and boot == boot_name()
        same_host = host == socket.gethostname() and host not in ("", "localhost")
        if same_boot or same_host or self._server_time() - renewed > STALE:
            return None
        return host

    def _server_time(self):
        "The file server's clock"
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".clock-") as file:
            with suppress(OSError):
                return os.stat(file.name).st_mtime
        return time.time()
