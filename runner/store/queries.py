"""The SQL of reading: each SELECT on a campaign database, by its name."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import sqlalchemy as sa

from runner.job import Status
from runner.store.schema import (
    artifact,
    attempt,
    campaign,
    checkpoint,
    event,
    folder,
    job,
    result,
    session,
    shard,
    worker,
)

_Query: TypeAlias = sa.Select[Any]
# Literals, because a bound status keeps the planner from the partial indexes.
_IS_FAILED = job.c.status == sa.literal_column("'failed'")
_IS_LIVE = worker.c.state == sa.literal_column("'live'")
_IS_DONE = job.c.status == Status.DONE.value
_IS_PENDING = job.c.status == sa.literal_column("'pending'")
_IS_READY = sa.and_(_IS_PENDING, job.c.not_before_ts.is_(None))
# A run writes less; a database from elsewhere may hold more than can be grouped in memory.
_MOST_OF_ERROR = 2_000
_PROCESS = (worker.c.host, worker.c.boot, worker.c.pid, worker.c.pid_start)

# -- campaigns -----------------------------------------------------------------------------------


def campaigns(campaign_id: int | None = None, name: str | None = None) -> _Query:
    """All of them, in the order they were made; or the one of that id or name."""
    query = sa.select(campaign).order_by(campaign.c.id)
    if campaign_id is not None:
        query = query.where(campaign.c.id == campaign_id)
    return query if name is None else query.where(campaign.c.name == name)


@cache
def progress() -> _Query:
    """The counts of :campaign; asked several times a second, and more costly to build than to run."""
    this: sa.BindParameter[int] = sa.bindparam("campaign")
    # Found through the live workers, who hold all of them, because only the index of running jobs helps.
    running = (
        sa.select(sa.func.count())
        .select_from(worker)
        .join(job, job.c.worker_id == worker.c.id)
        .where(worker.c.campaign_id == this, _IS_LIVE, job.c.status == sa.literal_column("'in_progress'"))
        .scalar_subquery()
    )
    counts = (campaign.c.total, campaign.c.done, campaign.c.failed, running.label("in_progress"))
    return sa.select(*counts).where(campaign.c.id == this)


def folders(campaign_id: int) -> _Query:
    """(id, place) of its results folders."""
    return sa.select(folder.c.id, folder.c.place).where(folder.c.campaign_id == campaign_id)


def log_cursor(campaign_id: int, folder_id: str) -> _Query:
    """The last result in the metrics log of that folder, and the log's length in bytes."""
    columns = (folder.c.logged_id, folder.c.logged_bytes)
    return sa.select(*columns).where(folder.c.campaign_id == campaign_id, folder.c.id == folder_id)


def events(campaign_id: int) -> _Query:
    """The events of its runs, oldest first, without the source files."""
    columns = (event.c.ts, event.c.kind, event.c.message, event.c.worker_id)
    query = sa.select(*columns).where(event.c.campaign_id == campaign_id, event.c.kind != "source")
    return query.order_by(event.c.id)


def sightings(campaign_id: int, worker_ids: Sequence[int]) -> _Query:
    """(id, kind, message) of tabs of those workers that went out of sight and came back, in no order."""
    query = sa.select(event.c.id, event.c.kind, event.c.message).where(event.c.campaign_id == campaign_id)
    return query.where(event.c.kind.in_(("hidden", "seen")), event.c.worker_id.in_(worker_ids))


def sources(campaign_id: int) -> _Query:
    """(ts, message) of the files that were used, oldest first."""
    query = sa.select(event.c.ts, event.c.message).where(event.c.campaign_id == campaign_id)
    return query.where(event.c.kind == "source").order_by(event.c.id)


# -- jobs ----------------------------------------------------------------------------------------


def jobs(campaign_id: int, status: Status | None = None) -> _Query:
    """Its jobs, in the order they were added."""
    query = sa.select(job).where(job.c.campaign_id == campaign_id).order_by(job.c.id)
    if status is not None:
        query = query.where(job.c.status == sa.literal_column(f"'{status.value}'"))
    return query


def job_of_key(campaign_id: int, key: str) -> _Query:
    """The job with that key."""
    return sa.select(job).where(job.c.campaign_id == campaign_id, job.c.key == key)


def keys_like(campaign_id: int, beginning: str, limit: int) -> _Query:
    """Keys that begin so; all keys are compared, because each database has its own order of text."""
    begins_so = sa.func.substr(job.c.key, 1, len(beginning)) == beginning
    return sa.select(job.c.key).where(job.c.campaign_id == campaign_id, begins_so).limit(limit)


def key_at(campaign_id: int, place: int) -> _Query:
    """The key of the job at that place in the order of adding, from 0."""
    query = sa.select(job.c.key).where(_is_of(campaign_id)).order_by(job.c.id)
    return query.limit(1).offset(place)


def count_before(campaign_id: int, job_id: int) -> _Query:
    """How many jobs were added before that one."""
    return sa.select(sa.func.count()).where(_is_of(campaign_id), job.c.id < job_id)


def count_ready_before(campaign_id: int, priority: int, crashes: int, job_id: int) -> _Query:
    """How many jobs that are ready are handed out before that one."""
    is_before = sa.or_(
        job.c.priority > priority,
        sa.and_(job.c.priority == priority, job.c.crashes < crashes),
        sa.and_(job.c.priority == priority, job.c.crashes == crashes, job.c.id < job_id),
    )
    return sa.select(sa.func.count()).where(job.c.campaign_id == campaign_id, _IS_READY, is_before)


def key_of(job_id: int) -> _Query:
    """The key of that id."""
    return sa.select(job.c.key).where(job.c.id == job_id)


def pending_attempts(job_ids: Sequence[int]) -> _Query:
    """(id, attempts so far) of those that are pending."""
    return sa.select(job.c.id, job.c.attempt).where(job.c.id.in_(job_ids), _IS_PENDING)


def next_ids(campaign_id: int, count: int) -> _Query:
    """Ids of the jobs that are ready, in the order in which they are handed out."""
    order = (job.c.priority.desc(), job.c.crashes, job.c.id)
    return (
        sa.select(job.c.id).where(job.c.campaign_id == campaign_id, _IS_READY).order_by(*order).limit(count)
    )


def waiting_ids(campaign_id: int, count: int) -> _Query:
    """Ids of the jobs that wait for a retry, those with the shortest wait first."""
    is_waiting = job.c.not_before_ts.is_not(None)
    query = sa.select(job.c.id).where(job.c.campaign_id == campaign_id, is_waiting)
    return query.order_by(job.c.not_before_ts).limit(count)


def spread_ids(campaign_id: int, ready: int, count: int) -> _Query:
    """Ids of so many of the campaign's ready jobs, in the order they were added: one from each equal stretch.

    ready: how many there are, no fewer than count. At one fixed distance, a campaign whose jobs take turns, such as
    three cameras, would be seen by one of them alone. So the places' remainders take turns, too.
    """
    place = (sa.func.row_number().over(order_by=job.c.id) - 1).label("place")
    jobs = sa.select(job.c.id, place).where(job.c.campaign_id == campaign_id, _IS_READY).subquery()
    width = ready // count
    turns = max(one for one in (1, 2, 6, 12, 60) if one <= width)
    stretch = jobs.c.place * count // ready
    begin = (stretch * ready + count - 1) // count + (width - turns) // 2
    # 37 has no divisor in common with any of them. (+ turns: a remainder of a negative number is negative here.)
    turn = ((37 * stretch - begin) % turns + turns) % turns
    return sa.select(jobs.c.id).where(jobs.c.place == begin + turn).order_by(jobs.c.id)


def count_ready(campaign_id: int) -> _Query:
    """How many jobs are ready."""
    return sa.select(sa.func.count()).where(job.c.campaign_id == campaign_id, _IS_READY)


def last_job_id(campaign_id: int) -> _Query:
    """The highest id."""
    return sa.select(sa.func.max(job.c.id)).where(job.c.campaign_id == campaign_id)


def first_job_id(campaign_id: int) -> _Query:
    """The lowest id."""
    return sa.select(sa.func.min(job.c.id)).where(job.c.campaign_id == campaign_id)


def unsettled_keys(campaign_id: int) -> _Query:
    """Keys of the jobs that are neither done nor failed, in the order they were added."""
    unsettled = job.c.status.in_([Status.PENDING.value, Status.IN_PROGRESS.value])
    return sa.select(job.c.key).where(job.c.campaign_id == campaign_id, unsettled).order_by(job.c.id)


def _is_of(campaign_id: int) -> sa.ColumnElement[bool]:
    """For conditions on ids: the + 0 keeps SQLite from finding the campaign's jobs by key and sorting them all."""
    return job.c.campaign_id + 0 == campaign_id


def keys_after(campaign_id: int, after: int, count: int) -> _Query:
    """Id, key, params and status of the next jobs."""
    query = sa.select(job.c.id, job.c.key, job.c.params, job.c.status)
    return query.where(_is_of(campaign_id), job.c.id > after).order_by(job.c.id).limit(count)


def rows_after(campaign_id: int, after: int, count: int, status: Status | None) -> _Query:
    """The next jobs, with their metrics, and the browsers and renderers of their tabs."""
    # The failed ones have an index of their own.
    is_mine = job.c.campaign_id == campaign_id if status is Status.FAILED else _is_of(campaign_id)
    query = (
        sa.select(job, result.c.metrics, result.c.marks, session.c.browser, session.c.renderer)
        .outerjoin(result, result.c.job_id == job.c.id)
        .outerjoin(session, session.c.id == job.c.session_id)
        .where(is_mine, job.c.id > after)
        .order_by(job.c.id)
        .limit(count)
    )
    return query if status is None else query.where(job.c.status == sa.literal_column(f"'{status.value}'"))


def results_after(campaign_id: int, after: int, count: int) -> _Query:
    """The next results, in the order in which jobs were done."""
    of_job = (job.c.key, job.c.attempt, job.c.grab_ts, job.c.end_ts, job.c.params)
    return (
        sa.select(result.c.id, *of_job, result.c.metrics, result.c.marks)
        .join(job, job.c.id == result.c.job_id)
        .where(result.c.id > after, result.c.campaign_id == campaign_id)
        .order_by(result.c.id)
        .limit(count)
    )


def suspects(campaign_id: int) -> _Query:
    """(key, suspicion) of the done jobs with one."""
    return (
        sa.select(job.c.key, result.c.suspicion)
        .join(job, job.c.id == result.c.job_id)
        .where(result.c.campaign_id == campaign_id, result.c.suspicion.is_not(None))
        .order_by(job.c.id)
    )


def count_suspects(campaign_id: int) -> _Query:
    """How many of the done jobs have one."""
    query = sa.select(sa.func.count()).select_from(result)
    return query.where(result.c.campaign_id == campaign_id, result.c.suspicion.is_not(None))


def suspicion_of(job_id: int) -> _Query:
    """Why a picture of that job may be wrong."""
    return sa.select(result.c.suspicion).where(result.c.job_id == job_id)


def done_times(campaign_id: int) -> _Query:
    """(id, session_id, grab_ts, end_ts) of the done jobs, unsorted."""
    columns = (job.c.id, job.c.session_id, job.c.grab_ts, job.c.end_ts)
    return sa.select(*columns).where(_is_of(campaign_id), _IS_DONE)


def whole_jobs(ids: Sequence[int]) -> _Query:
    """The jobs with these ids, with their results, in the order they were added."""
    return (
        sa.select(
            job,
            result.c.metrics,
            result.c.marks,
            result.c.suspicion,
            result.c.phases,
            session.c.name.label("session"),
        )
        .outerjoin(result, result.c.job_id == job.c.id)
        .outerjoin(session, session.c.id == job.c.session_id)
        .where(job.c.id.in_(ids))
        .order_by(job.c.id)
    )


def files_of(ids: Sequence[int]) -> _Query:
    """(job_id, kind, path, start, size) of these jobs' files."""
    columns = (artifact.c.job_id, artifact.c.kind, artifact.c.path, artifact.c.start, artifact.c.size)
    return sa.select(*columns).where(artifact.c.job_id.in_(ids)).order_by(artifact.c.job_id, artifact.c.name)


def neighbour_of(campaign_id: int, job_id: int) -> _Query:
    """The id of the last job before that one that is done, and not suspect."""
    return (
        sa.select(job.c.id)
        .join(result, result.c.job_id == job.c.id)
        .where(_is_of(campaign_id), _IS_DONE, job.c.id < job_id, result.c.suspicion.is_(None))
        .order_by(job.c.id.desc())
        .limit(1)
    )


def checkpoint_of(job_id: int) -> _Query:
    """The job's checkpoint."""
    columns = (checkpoint.c.step, checkpoint.c.metrics, checkpoint.c.marks, checkpoint.c.scene)
    return sa.select(*columns).where(checkpoint.c.job_id == job_id)


# -- attempts ------------------------------------------------------------------------------------


def attempts(campaign_id: int) -> _Query:
    """Those that did not end well, in order of their end."""
    return (
        sa.select(attempt, job.c.key)
        .join(job, job.c.id == attempt.c.job_id)
        .where(job.c.campaign_id == campaign_id)
        .order_by(attempt.c.end_ts)
    )


def attempts_of(job_id: int) -> _Query:
    """That job's, in their order, with the names and renderers of their tabs."""
    return (
        sa.select(attempt, session.c.name.label("session"), session.c.renderer)
        .outerjoin(session, session.c.id == attempt.c.session_id)
        .where(attempt.c.job_id == job_id)
        .order_by(attempt.c.attempt)
    )


def attempt_outcome(job_id: int, number: int) -> _Query:
    """The outcome of that one."""
    return sa.select(attempt.c.outcome).where(attempt.c.job_id == job_id, attempt.c.attempt == number)


def attempts_in_short(campaign_id: int) -> _Query:
    """(job_id, session_id, grab_ts, end_ts, outcome, error) of its workers' attempts, unsorted."""
    # Found by their workers, who are few: looking up the job of each costs as much as reading it.
    workers = sa.select(worker.c.id).where(worker.c.campaign_id == campaign_id)
    of_attempt = (attempt.c.job_id, attempt.c.session_id, attempt.c.grab_ts, attempt.c.end_ts)
    columns = (*of_attempt, attempt.c.outcome, sa.func.substr(attempt.c.error, 1, _MOST_OF_ERROR))
    return sa.select(*columns).where(attempt.c.worker_id.in_(workers))


def traceback_of(job_id: int, number: int) -> _Query:
    """The traceback and evidence of that attempt."""
    return sa.select(attempt.c.traceback).where(attempt.c.job_id == job_id, attempt.c.attempt == number)


def failures(campaign_id: int) -> _Query:
    """Failed jobs, in short."""
    error = sa.func.substr(job.c.error, 1, _MOST_OF_ERROR).label("error")
    columns = (job.c.id, job.c.key, error, job.c.attempt)
    return sa.select(*columns).where(job.c.campaign_id == campaign_id, _IS_FAILED).order_by(job.c.id)


# -- files ---------------------------------------------------------------------------------------


def artifacts(campaign_id: int, limit: int | None = None) -> _Query:
    """Files of done jobs, each with its job's key, in the order of jobs and names."""
    return (
        sa.select(artifact, job.c.key, job.c.status, job.c.worker_id)
        .join(job, job.c.id == artifact.c.job_id)
        .where(job.c.campaign_id == campaign_id, _IS_DONE)
        .order_by(artifact.c.job_id, artifact.c.name)
        .limit(limit)
    )


def artifacts_of(job_id: int) -> _Query:
    """The fields of Artifact, for that job's files."""
    columns = (artifact.c.name, artifact.c.path, artifact.c.size, artifact.c.sha256, artifact.c.kind)
    return sa.select(*columns, artifact.c.start).where(artifact.c.job_id == job_id)


def artifacts_between(first_id: int, last_id: int) -> _Query:
    """Files of the jobs with these ids, of any campaign."""
    return sa.select(artifact).where(artifact.c.job_id.between(first_id, last_id))


def jobs_files_and_ends(campaign_id: int, first_id: int, last_id: int) -> Sequence[_Query]:
    """For these ids: the jobs in short, their files, and the attempts that did not end well."""
    mine = (_is_of(campaign_id), job.c.id >= first_id, job.c.id <= last_id)
    jobs = sa.select(job.c.id, job.c.key, job.c.status, job.c.attempt).where(*mine).order_by(job.c.id)
    files = (
        sa.select(artifact, job.c.key, job.c.status, job.c.worker_id)
        .join(job, job.c.id == artifact.c.job_id)
        .where(*mine, artifact.c.job_id >= first_id, artifact.c.job_id <= last_id)
        .order_by(artifact.c.job_id, artifact.c.name)
    )
    ended = (
        sa.select(attempt.c.job_id, attempt.c.attempt, attempt.c.outcome)
        .join(job, job.c.id == attempt.c.job_id)
        .where(*mine, attempt.c.job_id >= first_id, attempt.c.job_id <= last_id)
    )
    return jobs, files, ended


def shards(campaign_id: int) -> _Query:
    """The fields of ShardEnd, for its shards, by path."""
    query = sa.select(shard.c.path, shard.c.size, shard.c.jobs).where(shard.c.campaign_id == campaign_id)
    return query.order_by(shard.c.path)


def shards_here(campaign_id: int) -> _Query:
    """The same for those that are in no object store."""
    return shards(campaign_id).where(shard.c.address.is_(None))


def shard_addresses(campaign_id: int, path: str | None = None) -> _Query:
    """Paths and addresses of the shards in an object store, or of that one."""
    query = sa.select(shard.c.path, shard.c.address)
    query = query.where(shard.c.campaign_id == campaign_id, shard.c.address.is_not(None))
    return query if path is None else query.where(shard.c.path == path)


def stored_bytes(campaign_id: int) -> _Query:
    """The fields of StoredBytes."""
    is_here = shard.c.address.is_(None)
    moved = sa.func.sum(sa.case((is_here, 0), else_=shard.c.size))
    waiting = sa.func.sum(sa.case((is_here, shard.c.size), else_=0))
    query = sa.select(
        sa.func.count(shard.c.address), sa.func.coalesce(moved, 0), sa.func.coalesce(waiting, 0)
    )
    return query.where(shard.c.campaign_id == campaign_id)


def recent_files_blocks(campaign_id: int, sample: int) -> _Query:
    """The number of jobs done last, and the blocks of 4 KiB that their files take."""
    recent = (
        sa.select(result.c.job_id)
        .where(result.c.campaign_id == campaign_id)
        .order_by(result.c.id.desc())
        .limit(sample)
        .subquery()
    )
    blocks = sa.func.sum((artifact.c.size + 4095) // 4096)
    counts = sa.select(sa.func.count(recent.c.job_id.distinct()), sa.func.coalesce(blocks, 0))
    return counts.select_from(recent.outerjoin(artifact, artifact.c.job_id == recent.c.job_id))


def sample_pictures(campaign_id: int, every: int, limit: int) -> _Query:
    """(key, suspicion, path, start, size) of pictures, the first of each of every so many done jobs."""
    is_shown = (_IS_DONE, job.c.id % every == 0, artifact.c.kind.like("image/%"))
    first = (
        sa.select(job.c.id, job.c.key, sa.func.min(artifact.c.name).label("name"))
        .join(artifact, artifact.c.job_id == job.c.id)
        .where(job.c.campaign_id == campaign_id, *is_shown)
        .group_by(job.c.id)
        .order_by(job.c.id)
        .limit(limit)
        .subquery()
    )
    where = (artifact.c.path, artifact.c.start, artifact.c.size)
    is_first = sa.and_(artifact.c.job_id == first.c.id, artifact.c.name == first.c.name)
    return (
        sa.select(first.c.key, result.c.suspicion, *where)
        .select_from(first)
        .join(artifact, is_first)
        .outerjoin(result, result.c.job_id == first.c.id)
        .order_by(first.c.id)
    )


# -- workers and browser tabs --------------------------------------------------------------------


def workers(campaign_id: int) -> _Query:
    """Its workers, oldest first."""
    return sa.select(worker).where(worker.c.campaign_id == campaign_id).order_by(worker.c.started_ts)


def worker_of(worker_id: int) -> _Query:
    """The one of that id."""
    return sa.select(worker).where(worker.c.id == worker_id)


def worker_state(worker_id: int) -> _Query:
    """Its state alone."""
    return sa.select(worker.c.state).where(worker.c.id == worker_id)


def live_workers(campaign_id: int) -> _Query:
    """Id, beat and process of those that have neither ended nor been declared lost."""
    return sa.select(worker.c.id, worker.c.beat, *_PROCESS).where(
        worker.c.campaign_id == campaign_id, _IS_LIVE
    )


def live_processes() -> _Query:
    """The processes that are at work, or are gone without having signed off."""
    return sa.select(*_PROCESS).where(_IS_LIVE)


def sessions(campaign_id: int) -> _Query:
    """Its browser tabs, oldest first."""
    return sa.select(session).where(session.c.campaign_id == campaign_id).order_by(session.c.started_ts)


def session_of(session_id: int) -> _Query:
    """The one of that id."""
    return sa.select(session.c.name, session.c.renderer).where(session.c.id == session_id)


def done_by_folder(campaign_id: int) -> _Query:
    """(folder, count) of the done jobs, by their workers' folders."""
    query = sa.select(worker.c.folder, sa.func.count()).join(job, job.c.worker_id == worker.c.id)
    return query.where(job.c.campaign_id == campaign_id, _IS_DONE).group_by(worker.c.folder)


def done_by_session(campaign_id: int) -> _Query:
    """(session_id, count) of the done jobs."""
    query = sa.select(job.c.session_id, sa.func.count()).group_by(job.c.session_id)
    return query.where(job.c.campaign_id == campaign_id, _IS_DONE)
