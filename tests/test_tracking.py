"""The event loop of a worker process: whose code it runs, and what that code cannot do to it."""

from __future__ import annotations

import asyncio
import os
import random
import resource
import signal
import threading
from contextvars import copy_context

import numpy as np
import pytest

from runner.job import Lease
from runner.run.board import Board, Running
from runner.run.chance import notice_seeds
from runner.run.life import CURRENT, Life, place_of_task
from runner.run.tracking import TrackingLoop


def run_for_job(act):
    """Run the coroutine function act(life, board) as a job's code; what it returned or raised, in its task."""
    board = Board()
    loop = TrackingLoop(board)
    life = Life(Lease(7, 1, 1, 2, "cup", {}, 0, 0, 0.0, 0.0))
    own = copy_context()
    own.run(CURRENT.set, life)

    async def main():
        task = own.run(asyncio.create_task, act(life, board))
        await asyncio.wait({task})
        return task

    try:
        task = loop.run_until_complete(main())
        assert board.running() == [], "nobody's code runs now"
        return task
    finally:
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


def test_the_board_shows_whose_code_runs_wherever_it_was_handed_on():
    """In the render, in tasks and callbacks that it started, and in the loop's threads."""
    seen = []

    async def act(life, board):
        def look():
            seen.append(board.running())

        async def inner():
            await asyncio.sleep(0)
            look()

        look()
        await asyncio.gather(inner(), inner())
        asyncio.get_running_loop().call_later(0.0, look)
        await asyncio.sleep(0.02)
        await asyncio.to_thread(look)

    assert run_for_job(act).exception() is None
    here = threading.get_ident()
    assert seen[:4] == [[Running(here, 7, 2, True)]] * 4
    # The loop may not have come back yet from handing it on.
    (in_thread,) = [one for one in seen[4] if not one.is_loop]
    assert in_thread.job_id == 7 and in_thread.thread != here


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_what_ends_a_process_ends_the_jobs_task_alone(error):
    """sys.exit and the like, in the render or in a task that it waits for."""

    async def leave():
        raise error

    async def act(life, board):
        await asyncio.create_task(leave())

    assert run_for_job(act).exception() is error


def test_a_job_can_neither_stop_the_loop_nor_cancel_what_is_not_its_own():
    """The server's tasks and the other jobs' go on."""

    async def act(life, board):
        own = asyncio.create_task(asyncio.sleep(60))
        outcomes = [task.cancel() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait({own}, timeout=5)
        with pytest.raises(RuntimeError, match="may not stop the event loop"):
            asyncio.get_running_loop().stop()
        return sorted(outcomes), own.cancelled()

    assert run_for_job(act).result() == ([False, True], True)


def test_a_forked_process_ends_where_it_comes_back():
    """Its copy of the loop runs nothing more, and it is known whose it was."""

    async def act(life, board):
        child = os.fork()
        if child:
            _, status = os.waitpid(child, 0)
            return os.waitstatus_to_exitcode(status), board.take_fork(7)
        await asyncio.sleep(0)
        os._exit(9)

    assert run_for_job(act).result() == (0, True)


def test_a_buried_job_runs_no_step_more_and_its_strays_are_known_by_their_place():
    """A task that swallows its cancellation is let be, and named."""
    steps = []

    async def stubborn():
        while True:
            try:
                steps.append(len(steps))
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                pass

    async def act(life, board):
        left_running = asyncio.create_task(stubborn())
        await asyncio.sleep(0.05)
        assert left_running in life.tasks
        (stray,) = life.strays(asyncio.current_task())
        assert place_of_task(stray).startswith(f"{stubborn.__qualname__} at {__file__}:")
        stray.cancel()
        await asyncio.sleep(0.05)
        assert not stray.done()
        life.bury()
        return len(steps)

    count = run_for_job(act).result()
    assert count > 3 and len(steps) == count


@pytest.mark.parametrize("which", ["RLIMIT_NOFILE", "RLIMIT_AS", "RLIMIT_FSIZE"])
def test_a_limit_that_a_job_sets_holds_for_its_own_step_alone(which):
    """Runner's own code, and the jobs beside it, go on with the limits that were there before."""
    number = getattr(resource, which)
    before = resource.getrlimit(number)
    seen, told = [], []

    async def act(life, board):
        life.tell = lambda kind, what: told.append((kind, what))
        resource.setrlimit(number, (1 << 40 if which == "RLIMIT_AS" else 64, before[1]))
        seen.append(resource.getrlimit(number)[0])
        await asyncio.sleep(0)
        seen.append(resource.getrlimit(number)[0])

    assert run_for_job(act).exception() is None
    assert seen == [1 << 40 if which == "RLIMIT_AS" else 64, before[0]]
    assert resource.getrlimit(number) == before
    ((kind, what),) = told
    assert kind == "limit" and f"render has set {which}" in what


def test_a_umask_that_a_job_sets_holds_for_its_own_step_alone(tmp_path):
    """Runner writes the files of all jobs, which nobody could read otherwise."""
    told = []

    async def act(life, board):
        life.tell = lambda kind, what: told.append(kind)
        os.umask(0o777)
        (tmp_path / "own").touch()
        await asyncio.sleep(0)
        (tmp_path / "next").touch()

    before = os.umask(0o022)
    try:
        assert run_for_job(act).exception() is None
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("own", "next")] == [0, 0o644]
    assert told == ["umask"]


@pytest.mark.parametrize("module", [random, np.random])
def test_a_job_that_seeds_a_shared_generator_draws_its_own_numbers(module):
    """Whatever the jobs beside it seed and draw meanwhile; a normal number that the generator holds back, too."""

    async def draw(seed, drawn):
        module.seed(seed)
        for _ in range(3):
            drawn.append((module.gauss(0, 1) if module is random else module.normal(), module.random()))
            await asyncio.sleep(0)

    async def draw_beside(seeds):
        drawn = [[] for _ in seeds]
        tasks = []
        for seed, numbers in zip(seeds, drawn, strict=True):
            own = copy_context()
            own.run(CURRENT.set, Life(Lease(seed, 1, 1, 2, f"cup-{seed}", {}, 0, 0, 0.0, 0.0)))
            tasks.append(own.run(asyncio.create_task, draw(seed, numbers)))
        await asyncio.gather(*tasks)
        return drawn

    notice_seeds()
    loop = TrackingLoop(Board())
    try:
        alone = [loop.run_until_complete(draw_beside([seed]))[0] for seed in (1, 2)]
        assert alone[0] != alone[1]
        assert loop.run_until_complete(draw_beside([1, 2, 1])) == [*alone, alone[0]]
    finally:
        loop.close()


def test_an_alarm_goes_off_in_the_step_that_has_set_it_or_never():
    """A handler that raises would do so in runner's own code, which ended the worker process."""
    told = []

    def raise_it(*_):
        raise TimeoutError("too long")

    async def act(life, board):
        life.tell = lambda kind, what: told.append(kind)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with pytest.raises(TimeoutError):
            while True:
                pass
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        await asyncio.sleep(0.05)
        return signal.getitimer(signal.ITIMER_REAL)

    usual = signal.signal(signal.SIGALRM, raise_it)
    try:
        assert run_for_job(act).result() == (0.0, 0.0)
    finally:
        signal.signal(signal.SIGALRM, usual)
    assert told == ["alarm"]
