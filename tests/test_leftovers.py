"""What a job leaves behind in its process is told of, or put back."""

from __future__ import annotations

import os
import random

import numpy as np
import pytest

from runner.run.leftovers import Leftovers


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("random", lambda space: random.random()),
        ("numpy.random", lambda space: np.random.uniform(size=3)),
        ("RNG", lambda space: space["RNG"].normal()),
        ("OLD", lambda space: space["OLD"].rand()),
        ("DICE", lambda space: space["DICE"].random()),
        ("", lambda space: np.random.default_rng(3).normal()),
        ("", lambda space: (random.seed(3), random.random(), np.random.seed(3), np.random.rand())),
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
    for _ in range(2):
        # The first number after a seed is not told from the seed.
        leftovers = Leftovers("cup", space, os.getcwd())
        draw(space)
    told = leftovers.told()
    assert f"share ({name})" in told["chance"] if name else not told


def test_the_working_directory_is_put_back(tmp_path):
    """The next job opens its files where the run began."""
    home = os.getcwd()
    leftovers = Leftovers("cup", {}, home)
    os.chdir(tmp_path)
    assert (
        f"job cup has left the process in another working directory ({tmp_path})" in leftovers.told()["place"]
    )
    assert os.getcwd() == home and not leftovers.told()
