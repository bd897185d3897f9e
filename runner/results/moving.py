"""Moves shards to an object store: each is sent whole, checked there, recorded in its row, and only then removed here.

After a kill at any moment the next run goes on: it sends the shard unless it is there, writes its row unless it is
written, and removes what is left of it here.
"""

from __future__ import annotations

import contextlib
import os

from runner.errors import UsageError, WorldFault
from runner.results.folder import ResultsFolder
from runner.results.recovery import cut_tails
from runner.results.remote import address_of, object_size, send
from runner.results.shards import FOLDER, ended_shard
from runner.store import Store

__all__ = ["move_shards", "settle_moved"]


def move_shards(store: Store, campaign_id: int, results: ResultsFolder, url: str) -> int:
    """Move the campaign's shards that nobody writes to any more; returns how many.

    Raises WorldFault where the object store accepts nothing now; the remaining shards wait where they are.
    """
    moved = 0
    if not store.reader.progress(campaign_id).left:
        # Otherwise the next worker must first recover what is behind the last row.
        cut_tails(store.reader, campaign_id, results)
    for shard in store.reader.shards_here(campaign_id):
        with ended_shard(results.root / shard.path) as opened:
            # Bytes that no row knows yet: their rows are being written, or the next worker adopts them.
            if opened is None or os.fstat(opened.fileno()).st_size != shard.size:
                continue
            address = address_of(url, shard.path)
            try:
                send(results.root / shard.path, opened, address)
            except (OSError, UsageError) as error:
                raise WorldFault(f"{url} accepts no files now ({error})") from None
            if store.move_shard(campaign_id, shard, address):
                (results.root / shard.path).unlink(missing_ok=True)
                moved += 1
    return moved


def settle_moved(store: Store, campaign_id: int, results: ResultsFolder, url: str) -> None:
    """Finish the moves that a kill or a power cut has interrupted.

    The row of a moved and removed shard may have been lost; and a file may still be here although its row says that it
    was moved. Raises WorldFault where the object store cannot be asked now.
    """
    for shard in store.reader.shards_here(campaign_id):
        address = address_of(url, shard.path)
        if not (results.root / shard.path).exists() and _has(address, shard.size):
            store.move_shard(campaign_id, shard, address)
    addresses = store.reader.shard_addresses(campaign_id)
    for file in sorted((results.folder / FOLDER).glob("*.tar")):
        address = addresses.get(file.relative_to(results.root).as_posix(), "")
        # It may be the store of an earlier run, which this one does not use: then the file stays, too.
        with contextlib.suppress(WorldFault, FileNotFoundError):
            if address and _has(address, file.stat().st_size):
                store.database.make_durable()
                file.unlink()


def _has(address: str, size: int) -> bool:
    """Whether there is an object of that size. Raises WorldFault where that is unknown now."""
    try:
        return object_size(address) == size
    except (OSError, UsageError) as error:
        raise WorldFault(f"the object store cannot be read now ({error})") from None
