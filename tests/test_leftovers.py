"""What a job leaves behind in its process is told of, or put back."""

from __future__ import annotations

import os
import random
import threading

import numpy as np
import pytest

from runner.run import leftovers as module
from runner.run.leftovers import Leftovers


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """That of a new process."""
    monkeypatch.setattr(module, "_patience", 3)


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("random", lambda space: random.random()),
        ("random", lambda space: random.randbytes(1 << 20)),
        ("numpy.random", lambda space: np.random.uniform(size=3)),
        ("numpy.random", lambda space: np.random.normal(size=(240, 320, 3))),
        ("RNG", lambda space: space["RNG"].normal()),
        ("OLD", lambda space: space["OLD"].rand()),
        ("DICE", lambda space: space["DICE"].random()),
        ("", lambda space: np.random.default_rng(3).normal()),
        ("", lambda space: (random.seed(3), random.random(), np.random.seed(3), np.random.rand())),
        ("", lambda space: (np.random.seed(3), np.random.normal(size=(240, 320, 3)))),
        ("", lambda space: space["CRYPT"].random()),
    ],
)
def test_a_generator_that_jobs_share_is_named(name, draw):
    """Python's, NumPy's, or one of the module's; not one that the job has seeded or made."""
    space = {
        "RNG": np.random.default_rng(0),
        "OLD": np.random.RandomState(0),
        "DICE": random.Random(0),
        "CRYPT": random.SystemRandom(),
    }
    random.seed(1), np.random.seed(1)
    leftovers = Leftovers("cup", space, os.getcwd())
    draw(space)
    told = leftovers.told()
    assert f"share ({name})" in told["chance"] if name else not told


def test_a_generator_that_each_job_seeds_alike_is_not_named():
    """Its state looks as though numbers had been drawn since the last job."""
    random.seed(0), random.random()
    leftovers = Leftovers("cup", {}, os.getcwd())
    random.seed(0), random.random(), random.random()
    assert not leftovers.told({"random"})


def test_a_generator_that_a_campaign_exchanged_is_looked_at():
    """NumPy lets one exchange its own generator, which then keeps its state elsewhere, and otherwise."""
    exchange = getattr(np.random, "set_bit_generator", None)
    if exchange is None:
        pytest.skip("this NumPy cannot exchange it")
    usual = np.random.get_bit_generator()
    try:
        for other in (np.random.PCG64(1), np.random.MT19937(2)):
            exchange(other)
            leftovers = Leftovers("cup", {}, os.getcwd())
            assert not leftovers.told()
            np.random.rand()
            assert "share (numpy.random)" in leftovers.told()["chance"]
    finally:
        exchange(usual)


def test_a_count_and_a_list_that_jobs_share_are_named():
    """A picture made of them depends on which jobs came before; a cache in a dict does no harm."""
    space = {"COUNT": 1, "SEEN": [], "CACHE": {}, "SIZE": 2.0, "READY": False}
    leftovers = Leftovers("cup", space, os.getcwd())
    space["CACHE"]["cup"] = object()
    assert not leftovers.told()
    space["COUNT"] += 1
    space["SEEN"].append("cup")
    assert leftovers.told()["state"].startswith("render changes COUNT and SEEN of its module")


def test_threads_that_become_more_with_each_job_are_told_of():
    """They slow all jobs down; those that a library keeps stay as many."""
    end = threading.Event()
    leftovers = Leftovers("cup", {}, os.getcwd())
    try:
        for number in range(80):
            assert "threads" not in leftovers.told() or number > 20
            threading.Thread(target=end.wait, name="busy", daemon=True).start()
        assert "busy" in leftovers.told()["threads"]
        assert not Leftovers("cup", {}, os.getcwd()).told()
    finally:
        end.set()


def test_the_working_directory_is_put_back(tmp_path):
    """The next job opens its files where the run began."""
    home = os.getcwd()
    leftovers = Leftovers("cup", {}, home)
    os.chdir(tmp_path)
    assert (
        f"job cup has left the process in another working directory ({tmp_path})" in leftovers.told()["place"]
    )
    assert os.getcwd() == home and not leftovers.told()
