"""The `job` of a render function: its params, and the place for its files and metrics."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from enum import Enum
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from runner.errors import ArtifactError, UsageError
from runner.frame import Frame, FrameBytes
from runner.job import Artifact, Checkpoint, Lease, Outcome, seed_of
from runner.results.encode import encode
from runner.results.folder import ResultsFolder
from runner.results.names import Names, checked_name

if TYPE_CHECKING:
    import numpy as np

# At most this often a job of many steps records its progress.
RECORD_EVERY_S = 1.0
# Python refuses to read longer integers back from text.
_LARGEST_BITS = 14_000


class RenderJob:
    """The `job` of a render function: its params, and the place for its files and metrics.

    params: the job's params, a dict. key: its name. attempt: counts from 1. seed, rng: for what is random.

    steps_finished: by this attempt; None for a job without steps. scene: the scene that earlier attempts' steps have
    made, as a text; None: nothing.

    checkpoint: how far earlier attempts have come. persist: takes a function that returns a Checkpoint once its files
    are on disk, records it, and returns a future. scene: gives the present scene, for the checkpoint. can_show: whether
    the job can go on from a checkpoint's scene; if not, the steps begin again at the first. check: called before each
    use with its name; raises when it is too late.
    """

    def __init__(
        self,
        lease: Lease,
        results: ResultsFolder,
        writer: Executor,
        checkpoint: Checkpoint = Checkpoint(),
        persist: Callable[[Callable[[], Checkpoint]], Future[Any]] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
        check: Callable[[str], None] = lambda deed: None,
        scene: Callable[[], str | None] = lambda: None,
        can_show: Callable[[str | None], bool] = lambda scene: True,
    ):
        # A copy: changes that a render makes to it are not kept.
        self.params = copy.deepcopy(lease.params)
        self.key = lease.key
        self.attempt = lease.attempt
        self._lease, self._results, self._writer, self._check = lease, results, writer, check
        self._persist, self._monotonic = persist, monotonic
        self._recorded_before = checkpoint.artifacts
        is_usable = (
            checkpoint.step
            and can_show(checkpoint.scene)
            and all(map(results.is_whole, checkpoint.artifacts))
        )
        if not is_usable:
            # A kept file, or the scene, is gone or has changed: its steps must be rendered again.
            checkpoint = Checkpoint()
        self.scene, self._scene_now = checkpoint.scene, scene
        self._finished = checkpoint.step
        self.steps_finished: int | None = None
        self._step_count = 0
        self._kept = {artifact.name: artifact for artifact in checkpoint.artifacts}
        self._metrics: dict[str, Any] = dict(checkpoint.metrics)
        self._suspicions: list[str] = []
        self._written: dict[str, Future[Artifact]] = {}
        self._names = Names(self._kept)
        self._recorded = 0
        self._recording: Future[Any] | None = None
        self._next_record = 0.0

    @property
    def seed(self) -> int:
        """A 32-bit integer of this job's own, the same in each attempt and each run. Use it as a seed."""
        return seed_of(self._results.campaign_name, self.key)

    @cached_property
    def rng(self) -> np.random.Generator:
        """A NumPy generator that starts from the seed, anew in each attempt."""
        import numpy as np

        return np.random.default_rng(self.seed)

    def steps(self, steps: int | Iterable[Any]) -> Iterator[Any]:
        """The steps that are not finished yet: of range(steps), or of the items given.

            for step in job.steps(100): …

        A step is finished when the loop asks for the next one. Finished steps are recorded at most once a second, with
        the files and metrics so far. After a crash the next attempt begins at the first step that was not recorded, and
        keeps the files of the others, after comparing their hashes. A job has one such loop. Raises LeaseLost when the
        job was given to another meanwhile.
        """
        if self.steps_finished is not None:
            raise UsageError(
                f"job {self.key}: job.steps was called twice, and what is finished is counted once: make it one loop"
            )
        items = range(steps) if isinstance(steps, int) else list(steps)
        self.steps_finished, self._step_count = 0, len(items)
        for number in range(self._finished, len(items)):
            self._check("job.steps")
            yield items[number]
            self._check("job.steps")
            self._finished = number + 1
            self.steps_finished += 1
            self._record()

    @property
    def steps_of(self) -> tuple[int, int] | None:
        """How many steps are finished, including those of earlier attempts, and of how many; None: it has no steps."""
        return None if self.steps_finished is None else (self._finished, self._step_count)

    def _record(self) -> None:
        if self._recording is not None:
            if not self._recording.done():
                return
            self._recording.result()
        if self._persist is None or self._monotonic() < self._next_record:
            return
        self._next_record = self._monotonic() + RECORD_EVERY_S
        new = list(self._written.items())[self._recorded :]
        self._recorded = len(self._written)
        step, metrics, scene = self._finished, dict(self._metrics), self._scene_now()

        def make() -> Checkpoint:
            artifacts = tuple(future.result() for _, future in new)
            if new:
                artifacts = self._results.record(self._lease, artifacts)
            return Checkpoint(step, artifacts, metrics, scene)

        self._recording = self._persist(make)

    def save(self, name: str, content: Any) -> None:
        """Keep a file under this name: a Frame, bytes, text, a NumPy array, or a dict or list (as JSON).

        The name's ending decides about arrays: .npy takes any array; .png, .jpg, .webp uint8 images of shape
        (height, width) or (height, width, 3 or 4); .png also uint16 or bool of shape (height, width), and
        frame.depth, or Depth(metres) of an array: kept in millimetres, 16 bits, 0 where nothing is. Floats
        that are not marked as depth are refused, and so is depth beyond 65.535 m as .png. NaN and infinities in JSON
        become the texts "NaN", "Infinity" and "-Infinity". Bytes under a picture's name must be that one, and whole.
        The file counts once the job is done. Raises ArtifactError for a name that is taken (upper and
        lower case are one, as on some disks), leaves the folder, or belies the content.
        """
        self._check(f"job.save({name!r})")
        data, kind = encode(checked_name(name), content)
        # Encoding takes time, and a thread may still be at it when the render ends.
        self._check(f"job.save({name!r})")
        if name in self._kept and self.steps_finished is not None and name not in self._written:
            self._begin_steps_anew(name)
        if isinstance(content, (Frame, FrameBytes)):
            self._look_at(name, content)
        try:
            self._names.take(name)
        except ArtifactError as error:
            raise ArtifactError(f"job {self.key}: {error}; name one differently") from None
        has_steps = self.steps_finished is not None
        self._written[name] = self._results.save(self._lease, name, data, kind, self._writer, has_steps)

    def _look_at(self, name: str, picture: Frame | FrameBytes) -> None:
        if picture.suspicion:
            self._suspicions.append(f"{name}: {picture.suspicion}")
        if picture.job not in ("", self.key):
            self._suspicions.append(f"{name}: it was taken for job {picture.job}")

    def _begin_steps_anew(self, name: str) -> NoReturn:
        """Raises ArtifactError: a step takes the name of an earlier step's file, so its count is not that of job.steps.

        The next attempt begins at the first step, where any count is right.
        """
        if self._persist is not None:
            if self._recording is not None:
                self._recording.result()
            self._recording = self._persist(Checkpoint)
        raise ArtifactError(
            f"job {self.key}: {name!r} is the file of a step that an earlier attempt has finished, and this attempt "
            "begins behind it: name files by what job.steps gives, because enumerate(job.steps(…)) counts from 0. "
            "The next attempt begins at the first step"
        )

    @property
    def suspicion(self) -> str:
        """What may be wrong although all saved files are whole, and why; '' for most jobs."""
        return "; ".join(self._suspicions[:5])

    def expect_files(self) -> None:
        """The render has ended: mark a job without a file, because it may have taken a wrong turn."""
        if not (self._written or self._kept):
            self._suspicions.append("no file was saved")

    def log(self, **metrics: Any) -> None:
        """Keep metrics for this job's record: numbers, strings, booleans or None, by name.

        A metric with a param's name and value is that param. With another value it is found as metrics/NAME, and so is
        a metric with the name of a column (see `runner help results`). Raises ArtifactError for other values.
        """
        self._check("job.log")
        plain = {name: self._plain(name, value) for name, value in metrics.items()}
        self._metrics |= plain

    def _plain(self, name: str, value: Any) -> Any:
        if isinstance(value, Enum):
            value = value.value
        if type(value).__name__ == "MaskedConstant":  # NumPy's, which need not be there
            value = math.nan  # as float() makes of it; its item() is 0
        if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
            value = value.item()
        if isinstance(value, int) and value.bit_length() > _LARGEST_BITS:
            raise ArtifactError(
                f"job {self.key}: the metric {name!r} is an integer of {value.bit_length():,} bits: log it as text"
            )
        for kind in (bool, int, float, str):
            if isinstance(value, kind):
                # Not a derived class, which might be written differently elsewhere.
                return kind(value)
        if value is None:
            return None
        raise ArtifactError(
            f"job {self.key}: the metric {name!r} is a {type(value).__name__}; "
            "log numbers, strings, booleans or None, and save() what is larger"
        )

    @property
    def finishes_at_once(self) -> bool:
        """Whether finish waits for nothing: all is in memory, and there is nothing to be removed."""
        is_first = self.attempt == 1 and self._recording is None
        return is_first and self._results.seals_at_once and all(one.done() for one in self._written.values())

    def finish(self) -> Outcome:
        """The attempt has finished; returns what it hands over for the results. Raises what writing raised."""
        new = {name: future.result() for name, future in self._written.items()}
        if self._recording is not None:
            self._recording.result()
        outcome = Outcome(
            artifacts=tuple((self._kept | new).values()),
            metrics=self._metrics,
            has_checkpoint=bool(self._recording or self._finished),
            suspicion=self.suspicion,
        )
        if new:
            outcome = self._results.seal(self._lease, outcome, new)
        self._results.remove_earlier(self._lease, outcome.artifacts, with_finished=False)
        return outcome

    def abandon(self) -> None:
        """Remove the files that this or killed attempts have written, except those of recorded steps."""
        for future in self._written.values():
            future.cancel() or future.exception()
        if self._recording is not None:
            self._recording.exception()
        elif self._written:
            self._results.discard(self._lease)
        self._results.remove_earlier(self._lease, self._recorded_before, with_finished=False)
