"""One job's code cannot stop the others, whatever it does: it is charged with it by name, and nobody else is."""

from __future__ import annotations

import contextlib
import json
import signal
import time

import psutil
import pytest
from campaigns import assert_nobody_was_charged, assert_whole, write_colors
from clients import run_for_tabs
from processes import lines_of, start
from waiting import wait_until

from runner.errors import JobOver
from runner.job import Lease
from runner.run.blame import Fault, FaultKind, culprit, reason
from runner.run.board import Board, Running
from runner.run.life import Life
from runner.run.stacks import with_thread_last
from runner.run.watch import Settled, WorkerLife
from runner.store import Store

CAMPAIGN = """
import asyncio, ctypes, os, re, sys, threading, time
from vuer.schemas import CameraView, Scene, Sphere
from runner import Campaign

campaign = Campaign("faults", max_failures=1, max_crashes=1, timeout_s=4, backoff_s=0.1)
FAULTS, BESIDE = __FAULTS__, __BESIDE__

@campaign.jobs
def jobs():
    for number in range(8):
        yield f"plain-{number}", {"do": "plain"}
    for number, fault in enumerate(FAULTS):
        yield fault, {"do": fault}
        if BESIDE:
            yield f"busy-{number}", {"do": BESIDE}
            yield f"busy-more-{number}", {"do": BESIDE}
    for number in range(8):
        yield f"more-{number}", {"do": "plain"}

@campaign.scene
def scene():
    return Scene(Sphere(key="ball"), rawChildren=[CameraView(key="ego", width=64, height=48, position=[0, 0, 3])])

class Odd(BaseException):
    pass

def recurse(depth):
    return recurse(depth + 1)

async def stray():
    await asyncio.sleep(3600)

async def swallow():
    while True:
        try:
            await asyncio.sleep(3600)
        except:
            pass

def late(job):
    time.sleep(1)
    job.save("late.txt", "too late")

@campaign.render
async def render(session, job):
    frame = await session.grab("ego")
    match job.params["do"]:
        case "exit": sys.exit(1)
        case "exit in a task": await asyncio.create_task(leave())
        case "interrupt": raise KeyboardInterrupt
        case "base": raise Odd("odd")
        case "own cause":
            error = ValueError("mine")
            raise error from error
        case "recursion": recurse(0)
        case "stray": asyncio.create_task(stray())
        case "swallow": await swallow()
        case "cancel all":
            for task in asyncio.all_tasks():
                task.cancel()
            await asyncio.sleep(1)
        case "stop loop": asyncio.get_running_loop().stop()
        case "fork": os.fork()
        case "block": time.sleep(3600)
        case "block in a callback":
            asyncio.get_running_loop().call_soon(time.sleep, 3600)
            await asyncio.sleep(1)
        case "end": os._exit(3)
        case "segfault": ctypes.string_at(0)
        case "segfault in a thread": await asyncio.to_thread(ctypes.string_at, 0)
        case "end in a thread": await asyncio.to_thread(os._exit, 3)
        case "segfault in its own thread":
            threading.Thread(target=ctypes.string_at, args=(0,)).start()
        case "keep the interpreter": await asyncio.to_thread(re.match, "(a|a)*$", 40 * "a" + "b")
        case "busy":
            for _ in range(40):
                until = time.monotonic() + 0.02
                while time.monotonic() < until:
                    pass
                await asyncio.sleep(0)
        case "memory":
            kept = []
            while True:
                kept.append(bytearray(128 << 20))
                time.sleep(0.05)
        case "params":
            job.params["do"] = job.params["more"] = [object()]
        case "late":
            threading.Thread(target=late, args=(job,)).start()
    await asyncio.sleep(0.2)
    job.save("rgb.jpg", frame)

async def leave():
    sys.exit(2)
"""

# What each does, and what its row says of it; None where that harms nobody.
FAULTS = {
    "exit": "SystemExit: 1",
    "exit in a task": "SystemExit: 2",
    "interrupt": "KeyboardInterrupt",
    "base": "Odd: odd",
    "own cause": "ValueError: mine",
    "recursion": "RecursionError: maximum recursion depth exceeded",
    "stray": "StrayTask: render had ended and left running stray at {file}:",
    "swallow": "TimeoutError: no end after 4 s, at {file}:",
    "cancel all": "CancelledError: render was cancelled",
    "stop loop": "RuntimeError: a job may not stop the event loop that it runs in",
    "fork": "ForkError: a process that render forked went on in runner: end it with os._exit",
    "params": None,
    "late": None,
    "block": "blocked the event loop for 4 s at {file}:",
    "block in a callback": "blocked the event loop for 4 s",
    "end": "crash: it ended the worker process (exit status 3)",
    "segfault": "crash: it ended the worker process at {file}:",
    "segfault in a thread": "crash: it ended the worker process",
    "memory": "crash: it filled the memory at {file}:",
}
# Those of which it cannot be told at first who did it.
IN_THREADS = {
    "end in a thread": "crash: it ended the worker process (exit status 3)",
    "segfault in its own thread": "crash: 2 times a worker process ended while it alone was in flight; the last one "
    "ended the worker process (Segmentation fault)",
    "keep the interpreter": "blocked the event loop for 4 s",
}


def processes_of(folder) -> list[psutil.Process]:
    """What runs with that folder in its command line."""
    found = []
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if str(folder) in " ".join(one.cmdline()):
                found.append(one)
    return found


@pytest.mark.long
@pytest.mark.slow
def test_each_fault_is_charged_to_its_job_and_the_others_go_on(tmp_path):
    """Nineteen kinds of misbehaviour in one night: each job says what it did, the others are done uncharged."""
    events = night_of(FAULTS, "", tmp_path)
    assert any("its code called job.save('late.txt') after its end" in event for event in events), events


@pytest.mark.long
@pytest.mark.slow
def test_what_a_thread_does_is_charged_to_nobody_beside_it(tmp_path):
    """Where it cannot be told which of two jobs ended or kept their process, each is rendered alone until it is."""
    events = night_of(IN_THREADS, "busy", tmp_path)
    assert any(event.startswith("the worker process was ended: it ended") for event in events), events


def night_of(faults: dict[str, str | None], beside: str, tmp_path) -> list[str]:
    """See that in a run with two tabs each job is charged with what it did; returns the events of the report."""
    file = tmp_path / "faults.py"
    file.write_text(
        CAMPAIGN.replace("__FAULTS__", json.dumps(list(faults))).replace("__BESIDE__", json.dumps(beside))
    )
    options = ("--halt", "never", "--worker-memory", "768M")
    end = run_for_tabs(file, *options, tabs=2, timeout_s=400, environment={"TMPDIR": str(tmp_path)})
    assert end.returncode == 1, end.stderr
    with Store(tmp_path / "runner.db") as store:
        jobs = {row["key"]: row for row in store.reader.jobs(1)}
        events = [event["message"] for event in store.reader.events(1)]
        results = [row["key"] for row in store.reader.results_after(1, 0, 1000)]
        attempts = store.reader.attempts(1)
    for key, row in jobs.items():
        wanted = faults.get(key)
        assert row["status"] == ("done" if wanted is None else "failed"), (key, row["error"])
        assert row["failures"] + row["crashes"] == (wanted is not None), key
        if wanted is not None:
            assert row["error"].startswith(wanted.format(file=file)), row["error"]
    assert sorted(results) == sorted(key for key in jobs if faults.get(key) is None)
    assert {row["outcome"] for row in attempts} <= {"failed", "crashed", "released"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith("runner-")]
    assert not processes_of(tmp_path)
    return events


@pytest.mark.usefixtures("browser_path")
@pytest.mark.parametrize("how", ["once", "twice"])
def test_a_signal_ends_the_run_in_the_middle_of_a_blocking_call(tmp_path, how):
    """Within seconds; nobody is charged, and no browser is left. A second signal does so at once."""
    begun = tmp_path / "begun"
    body = f"open({str(begun)!r}, 'w').close(); __import__('time').sleep(3600)"
    file = write_colors(tmp_path, count=2, body=body)
    process = start("run", file, "-n", "1")
    lines = lines_of(process)
    wait_until(begun.exists, "the blocking call")
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(signal.SIGTERM)
    if how == "twice":
        wait_until(lambda: "stopping: " in "".join(lines), "the first to be heard")
        process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert process.wait(timeout=30) == 143, "".join(lines)
    assert time.monotonic() - began < (15 if how == "once" else 3)
    assert not psutil.wait_procs(children, timeout=5)[1]
    if how == "once":
        with Store(tmp_path / "runner.db") as store:
            assert {row["status"] for row in store.reader.jobs(1)} == {"pending"}
            assert not any(row["failures"] or row["crashes"] for row in store.reader.jobs(1))


@pytest.mark.slow
def test_files_that_jobs_leave_open_stop_nothing(tmp_path):
    """The worker process that holds too many is replaced; no job is charged, and all are done."""
    file = write_colors(tmp_path, 40, "KEPT.extend(open(__file__) for _ in range(20))")
    limit = "resource.setrlimit(resource.RLIMIT_NOFILE, (400, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))"
    file.write_text(f"import resource\n{limit}\nKEPT = []\n{file.read_text()}")
    end = run_for_tabs(file)
    assert end.returncode == 0, end.stderr
    assert "files and sockets open: close in render what it opens" in end.stderr
    assert_whole(tmp_path, 40)
    assert_nobody_was_charged(tmp_path)


@pytest.mark.slow
def test_a_process_that_a_job_has_harmed_is_replaced(tmp_path):
    """As one in which CUDA has failed, and all later jobs with it. The harmer fails for good, the others are done."""
    body = "HARMED.extend([job] * (job.params['number'] == 20))\n    assert not HARMED, 'device-side assert'"
    file = write_colors(tmp_path, 40, body, ", max_failures=2")
    file.write_text(f"HARMED = []\n{file.read_text()}")
    end = run_for_tabs(file)
    assert end.returncode == 1, end.stderr
    with Store(tmp_path / "runner.db") as store:
        failed = [row["params"]["number"] for row in store.reader.jobs(1) if row["status"] == "failed"]
        events = [event["message"] for event in store.reader.events(1) if event["kind"] == "worker"]
        assert failed == [20] and store.reader.progress(1).done == 39
    assert events and all(
        "failed one after the other, as if it had been harmed by job" in event for event in events
    )
    assert "halted" not in end.stderr


def test_a_process_is_harmed_by_what_was_claimed_after_its_last_done_job():
    """In the order of claims, for a job that was done is told of later; not one that never did any, nor by retries."""

    def life_after(*settled: tuple[float, str], is_first: bool = True) -> WorkerLife:
        life = WorkerLife(None, None, 0, 0, True)
        for number, (grab_ts, error) in enumerate(settled):
            life.settled(Settled(grab_ts, number, 1, is_first), error, harmers=())
        return life

    failed = [(float(grab_ts), "no") for grab_ts in (17, 12, 13, 14, 15, 16)]
    assert not life_after(*failed).is_harmed
    assert not life_after((10.0, ""), *failed, is_first=False).is_harmed
    assert not life_after((15.0, ""), *failed).is_harmed
    assert not life_after(*failed[:5], (10.0, "")).is_harmed
    life = life_after((10.0, ""), (9.0, "no"), *failed)
    assert life.is_harmed and [one.grab_ts for one in life.failing()] == [12.0, 13.0, 14.0, 15.0, 16.0, 17.0]


@pytest.mark.slow
def test_a_job_that_honestly_takes_longer_is_given_more_time(tmp_path):
    """Past a learnt limit: the row of its first attempt says where that came from, and its second one is done."""
    body = 'await asyncio.sleep(7.5 if job.params["number"] == 20 else 0)'
    file = write_colors(tmp_path, 21, body, ", max_failures=2, backoff_s=0.1")
    # In the process that renders nothing is learnt but the least that is given.
    file.write_text(
        f"from runner.run import limits\nlimits._LEAST_S, limits._TIMES = 5.0, 1.0\n{file.read_text()}"
    )
    end = run_for_tabs(file)
    assert end.returncode == 0, end.stderr
    assert_whole(tmp_path, 21)
    with Store(tmp_path / "runner.db") as store:
        (attempt,) = store.reader.attempts(1)
    assert attempt["error"].startswith(
        "TimeoutError: no end after 5 s (a limit learnt from 20 that ended well"
    )
    assert "Campaign(timeout_s=…) gives one" in attempt["error"]


# -- the parts that tell who did it, without browsers ------------------------------------------------

STACKS = """Fatal Python error: Segmentation fault

Thread 0x00000000000000aa (most recent call first):
  File "/usr/lib/python3.11/selectors.py", line 468 in select
  File "/usr/lib/python3.11/asyncio/base_events.py", line 1885 in _run_once

Current thread 0x00000000000000bb (most recent call first):
  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at
  File "/home/ada/shop/helper.py", line 7 in read
  File "/home/ada/shop/c.py", line 30 in render
"""
ON_LOOP, IN_THREAD = Running(0xAA, 1, 1, True), Running(0xBB, 2, 1, False)


@pytest.mark.parametrize(
    ("fault", "in_company", "alone"),
    [
        # In company, and alone.
        (Fault(FaultKind.DIED, [ON_LOOP, IN_THREAD], STACKS), IN_THREAD, IN_THREAD),
        (Fault(FaultKind.DIED, [ON_LOOP], STACKS), None, None),
        (Fault(FaultKind.DIED, [ON_LOOP], status=3), None, ON_LOOP),
        (Fault(FaultKind.DIED, [IN_THREAD], status=3), None, IN_THREAD),
        (Fault(FaultKind.DIED, [ON_LOOP], status=-9), None, None),
        (Fault(FaultKind.DIED, [ON_LOOP, IN_THREAD], status=3), None, None),
        (Fault(FaultKind.DIED), None, None),
        (Fault(FaultKind.BLOCKED, [ON_LOOP, IN_THREAD], STACKS), ON_LOOP, ON_LOOP),
        (Fault(FaultKind.BLOCKED, [ON_LOOP, IN_THREAD], is_starved=True), None, None),
        (Fault(FaultKind.BLOCKED, [IN_THREAD], is_starved=True), None, IN_THREAD),
        (Fault(FaultKind.GREW, [ON_LOOP], grower=IN_THREAD), None, IN_THREAD),
        (Fault(FaultKind.GREW, [ON_LOOP]), None, None),
        (Fault(FaultKind.LEAKED, [ON_LOOP], open_files=800), None, None),
        (Fault(FaultKind.STOPPED, [ON_LOOP]), None, None),
    ],
)
def test_the_culprit_is_named_only_where_it_is_known(fault, in_company, alone):
    """Whose thread crashed, whose code kept the loop; what may have been another's, only where there is no other."""
    assert culprit(fault, is_alone=False) == in_company
    assert culprit(fault, is_alone=True) == alone


def test_the_place_is_the_innermost_line_of_the_users_own(tmp_path):
    """Not the library's line in which it ended, nor the loop's."""
    fault = Fault(FaultKind.DIED, [IN_THREAD], STACKS, status=-11)
    from pathlib import Path

    wanted = "ended the worker process at /home/ada/shop/helper.py:7 (Segmentation fault)"
    assert reason(fault, IN_THREAD, Path("/home/ada/shop")) == wanted
    assert with_thread_last(STACKS, 0xBB).splitlines()[-3:] == [
        '  File "/home/ada/shop/c.py", line 30 in render',
        '  File "/home/ada/shop/helper.py", line 7 in read',
        '  File "/usr/lib/python3.11/ctypes/__init__.py", line 519 in string_at',
    ]
    assert reason(Fault(FaultKind.DIED, status=-9), None, tmp_path) == "ended the worker process (SIGKILL)"


def test_a_board_is_read_by_another_process():
    """What one writes the other sees, also when the first is gone."""
    board = Board()
    other = Board(board.descriptor)
    board.beat()
    board.enter(3, 77, 12, 2)
    assert (other.beats, other.running()) == (1, [Running(77, 12, 2, False)])
    board.leave(3)
    assert other.running() == []
    board.note_fork(12)
    assert (other.take_fork(11), other.take_fork(12), other.take_fork(12)) == (False, True, False)


def test_what_a_job_was_given_raises_after_its_end():
    """It says to which job it belonged, and what came too late; the report hears of it once."""
    told = []
    life = Life(Lease(1, 1, 1, 2, "cup", {}, 0, 0, 0.0, 0.0), lambda kind, what: told.append(what))
    life.check("job.save('x')")
    life.is_over = True
    for _ in range(2):
        with pytest.raises(JobOver, match=r"job cup \(attempt 2\) has ended, and job\.log came too late"):
            life.check("job.log")
    assert told == ["job cup (attempt 2): its code called job.log after its end"]


SWALLOWS = """
import asyncio
from vuer.schemas import CameraView, Scene, Sphere
from runner import Campaign

campaign = Campaign("swallows", timeout_s=1, max_failures=2, backoff_s=0.1)

@campaign.jobs
def jobs():
    for number in range(4):
        yield f"j{number}", {"number": number}

@campaign.scene
def scene():
    camera = CameraView(key="ego", width=64, height=48, position=[0, 0, 4])
    return Scene(Sphere(key="ball"), rawChildren=[camera])

@campaign.render
async def render(session, job):
    while True:
        try:
            if job.params["number"] == 1:
                raise ValueError("the mesh is not ready")
            job.save("rgb.jpg", await session.grab("ego"))
            return
        except:
            try:
                await asyncio.sleep(0.2)
            except:
                pass
"""


@pytest.mark.slow
def test_code_that_swallows_all_that_is_thrown_into_it_fails_twice_and_the_run_ends(tmp_path):
    """Each attempt that did not end is laid aside for good: nothing of it runs again in another's thread."""
    file = tmp_path / "swallows.py"
    file.write_text(SWALLOWS)
    end = run_for_tabs(file, "--halt", "never")
    assert end.returncode == 1, end.stderr
    with Store(tmp_path / "runner.db") as store:
        jobs = {row["key"]: (row["status"], row["failures"]) for row in store.reader.jobs(1)}
    assert jobs == {"j0": ("done", 0), "j1": ("failed", 2), "j2": ("done", 0), "j3": ("done", 0)}
