"""The one Campaign that a Python file defines, loaded as a script would be."""

from __future__ import annotations

import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path

from runner.campaign.campaign import Campaign, current_folder, place_of
from runner.commands import typed
from runner.errors import CampaignError, RunnerError


def load_campaign(file: str | Path, settings: Mapping[str, str] | None = None) -> Campaign:
    """The one Campaign that a Python file defines, complete and with its settings filled in.

    Raises CampaignError, in one line with file and line number, for whatever is wrong with it.
    """
    path = Path(file).absolute()
    try:
        source = path.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CampaignError(
            f"cannot read the campaign file {file}: {reason}; to write one to start from: {typed('init', file)}"
        ) from None
    spec = importlib.util.spec_from_loader(f"campaign_{path.stem}", loader=None, origin=str(path))
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[module.__name__] = module
    # A campaign may import what lies beside it, as a script would.
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    folder = current_folder.set(path.parent)
    try:
        exec(compile(source, str(path), "exec"), vars(module))
    except SyntaxError as error:
        line = f":{error.lineno}" if error.lineno else ""
        raise CampaignError(f"{error.filename}{line}: syntax error: {error.msg}") from None
    except RunnerError:
        raise
    except (Exception, SystemExit) as error:
        raise CampaignError(f"{place_of(error, path)}") from error
    finally:
        current_folder.reset(folder)
    found = {id(value): value for value in vars(module).values() if isinstance(value, Campaign)}
    if len(found) != 1:
        count = "no Campaign" if not found else f"{len(found)} Campaigns"
        raise CampaignError(f"{file} defines {count}: write one 'campaign = Campaign(\"name\")'")
    (campaign,) = found.values()
    campaign.file = path
    campaign.file_sha256 = hashlib.sha256(source).hexdigest()
    campaign.settings = dict(settings or {})
    campaign.check()
    return campaign
