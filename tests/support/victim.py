"""The real server in a process of its own, to be attacked, and what it comes to."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import psutil
from waiting import wait_until


class Victim:
    """A process that serves tabs, each of which grabs pictures without end.

    A tab's name tells its camera and format, as `64x48 png depth`. outcomes: what came of each grab, as dicts with
    tab, width (of a picture) and error. said: the lines that the server says to people. errors: its stderr.
    descriptors: how many it may have open.
    """

    def __init__(self, descriptors: int = 1024):
        program = Path(__file__).resolve()
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(descriptors)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        self.outcomes: list[dict] = []
        self.said: list[str] = []
        self.errors: list[str] = []
        self._begun: list[dict] = []
        self._threads = [threading.Thread(target=read) for read in (self._read_output, self._read_errors)]
        for thread in self._threads:
            thread.start()
        (begun,) = wait_until(lambda: self._begun, "the server to listen")
        self.port, self.token = begun["port"], begun["token"]

    def _read_output(self) -> None:
        for line in self.process.stdout:
            told = json.loads(line)
            kind = "said" if "said" in told else "outcomes" if "tab" in told else "_begun"
            getattr(self, kind).append(told.get("said", told))

    def _read_errors(self) -> None:
        self.errors.extend(self.process.stderr)

    def end(self) -> None:
        self.process.kill()
        for thread in self._threads:
            thread.join()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            stream.close()
        self.process.wait()

    def url(self, name: str = "64x48 jpeg") -> str:
        return f"ws://127.0.0.1:{self.port}/?token={self.token}&name={name.replace(' ', '%20')}"

    def reset_peak(self) -> None:
        """Begin to measure the memory anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most memory that it has held since."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) << 10

    def cpu_s(self) -> float:
        return sum(psutil.Process(self.process.pid).cpu_times()[:2])

    def descriptors(self) -> int:
        return psutil.Process(self.process.pid).num_fds()


async def serve(descriptors: int) -> None:
    """What the process does until its stdin is closed."""
    from vuer.schemas import CameraView, Scene

    from runner.errors import FrameError, SessionGone
    from runner.sessions import Server

    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))

    def tell(**what) -> None:
        print(json.dumps(what), flush=True)

    async def work(session) -> None:
        size, image_format, *depth = session.name.split()
        width, height = map(int, size.split("x"))
        camera = CameraView(key="ego", width=width, height=height, renderDepth=bool(depth))
        session.set @ Scene(rawChildren=[camera])
        while True:
            try:
                frame = await session.grab("ego", format=image_format)
                tell(tab=session.name, width=frame.width, error="")
            except FrameError as error:
                tell(tab=session.name, width=0, error=str(error))
            except SessionGone as error:
                tell(tab=session.name, width=0, error=f"gone: {error}")
                return

    server = Server(work, say=lambda line: tell(said=line))
    await server.start()
    tell(port=server.port, token=server.token)
    await asyncio.to_thread(sys.stdin.read)
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
