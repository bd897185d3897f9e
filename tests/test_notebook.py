"""Runs from Python: runner.run and runner.arun do what `runner run` does, in scripts, loops and notebooks."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import nbformat
import pytest
from campaigns import GOOD, PACED, assert_whole, done_count, write_colors
from nbclient import NotebookClient
from processes import within

import runner
from runner.errors import CampaignError, RunnerError


@pytest.mark.usefixtures("browser_path")
def test_the_notebook_among_the_examples_runs_from_top_to_bottom(tmp_path):
    """It renders in a kernel whose loop runs, shows the summary as a table, and finds pictures and metrics."""
    assert within("init", tmp_path / "orbit.py", "--example", "notebook").exit_code == 0
    again = within("init", tmp_path / "orbit.py", "--example", "notebook")
    assert again.exit_code == 2 and "exists already" in again.stderr
    notebook = nbformat.read(tmp_path / "orbit.ipynb", as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    shown = [[output.get("data", {}) for output in cell.outputs] for cell in cells]
    assert "<td>4 of 4</td>" in shown[0][-1]["text/html"]
    assert "azimuth_deg" in shown[1][-1]["text/html"] and "image/png" in shown[2][-1]
    assert "4 of 4 jobs are done" in shown[3][-1]["text/plain"]
    assert "4/4 done" in "".join(output.get("text", "") for output in cells[0].outputs)


@pytest.mark.usefixtures("browser_path")
def test_a_cancelled_arun_hands_back_what_is_in_flight_and_the_next_goes_on(tmp_path):
    """Nobody is charged; the loop goes on meanwhile, and the summary is that of the whole campaign."""
    file = write_colors(tmp_path, 30, PACED)

    async def cancelled() -> None:
        running = asyncio.create_task(runner.arun(file, sessions=1))
        while done_count(tmp_path) < 3 and not running.done():
            await asyncio.sleep(0.05)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    asyncio.run(cancelled())
    assert 3 <= done_count(tmp_path) < 30
    summary = runner.run(str(file), sessions=1)
    assert (summary.campaign, summary.done, summary.failed, summary.attempts.keys()) == (
        "colors",
        30,
        0,
        summary.attempts.keys() & {"released"},
    )
    assert_whole(tmp_path, 30)


def test_a_campaign_of_a_cell_is_refused_with_what_to_do(tmp_path):
    """The processes that render read a file; there is none."""
    names: dict[str, object] = {"__name__": "__main__"}
    exec(GOOD, names)
    with pytest.raises(CampaignError, match=r"%%writefile good\.py"):
        runner.run(names["campaign"])
    assert list(tmp_path.iterdir()) == []


def test_a_script_that_runs_itself_says_what_to_write(tmp_path):
    """Without the line that keeps it from it, each process would run it again."""
    file = tmp_path / "good.py"
    file.write_text(GOOD + "\nimport runner\nrunner.run(campaign)\n")
    end = subprocess.run([sys.executable, file], capture_output=True, text=True)
    assert end.returncode != 0 and "write 'if __name__ == \"__main__\":'" in end.stderr
    assert not (tmp_path / "runner.db").exists()


def test_a_mistake_is_raised_and_no_database_made(tmp_path):
    """What the command refuses with exit status 2 is a RunnerError here."""
    with pytest.raises(RunnerError, match="cannot read the campaign file"):
        runner.run(tmp_path / "none.py")
    file = tmp_path / "good.py"
    file.write_text(GOOD)
    with pytest.raises(RunnerError, match="no setting 'count'"):
        runner.run(file, settings={"count": 3})
    assert not (tmp_path / "runner.db").exists()


def test_a_notebook_shows_a_mistake_in_one_line(tmp_path):
    """Not the way through runner's threads, nor IPython's view of each file on it."""
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("import runner\nrunner.run('none.py')")]
    )
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=60, allow_errors=True, resources=resources).execute()
    (output,) = notebook.cells[0].outputs
    (line,) = output["traceback"]
    assert line.startswith("CampaignError: cannot read the campaign file") and "\n" not in line
