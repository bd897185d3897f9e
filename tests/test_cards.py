"""Cards and drivers: what is there, what browsers are pinned to, and what is said when a card does not draw."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from campaigns import write_colors
from processes import within

from runner.browsers import Launcher
from runner.browsers.cards import PIN, best_driver, chosen_drivers, find_cards, find_drivers, undrawn
from runner.errors import UsageError

H100 = "ANGLE (NVIDIA Corporation, NVIDIA H100 PCIe/PCIe/SSE2, OpenGL ES 3.2)"
LLVMPIPE = "ANGLE (Mesa, llvmpipe (LLVM 15.0.6, 256 bits), OpenGL 4.5)"
RADEON = "ANGLE (AMD, AMD Radeon RX 7900 XTX (radeonsi, navi31), OpenGL ES 3.2)"


def node(drm: Path, name: str, vendor: str) -> None:
    (drm / name / "device").mkdir(parents=True)
    (drm / name / "device" / "vendor").write_text(vendor + "\n")


def test_cards_are_told_by_nvidias_tool_and_by_their_render_nodes(tmp_path, smi):
    """Each card once, NVIDIA's first; what has a render node and is no card is left out."""
    smi("NVIDIA H100 80GB HBM3")
    for name, vendor in (("renderD128", "0x10de"), ("renderD129", "0x1002"), ("renderD130", "0x1af4")):
        node(tmp_path / "drm", name, vendor)
    found = find_cards(tmp_path / "drm")
    assert [(card.number, card.name, card.driver) for card in found] == [
        (0, "NVIDIA H100 80GB HBM3", "nvidia"),
        (1, "AMD card renderD129", "mesa"),
    ]


def test_an_nvidia_card_without_its_own_driver_is_mesas(tmp_path, smi):
    """A tool that fails tells of no card; the kernel's render node does."""
    smi()
    node(tmp_path / "drm", "renderD128", "0x10de")
    of_mesa = [("NVIDIA card renderD128", "mesa")]
    assert [(card.name, card.driver) for card in find_cards(tmp_path / "drm")] == of_mesa
    smi("No devices were found")
    assert [(card.name, card.driver) for card in find_cards(tmp_path / "drm")] == of_mesa


def test_the_cards_driver_is_pinned_where_there_are_several(tmp_path, smi, vendors, monkeypatch):
    """NVIDIA's for its card, Mesa's without one; none where the user has chosen, or nothing is to choose."""
    smi("NVIDIA L4")
    both = find_drivers()
    assert [driver.name for driver in both] == ["nvidia", "mesa"]
    l4 = find_cards(tmp_path / "none")
    assert best_driver(l4, both) == str(vendors / "10_nvidia.json")
    node(tmp_path / "drm", "renderD128", "0x1002")
    assert best_driver(find_cards(tmp_path / "drm")[1:], both) == str(vendors / "50_mesa.json")
    assert best_driver([], both) == best_driver(l4, both[:1]) == ""
    monkeypatch.setenv(PIN, "mine.json")
    assert best_driver(l4, both) == ""


def test_a_card_that_does_not_draw_is_named_with_the_cure(tmp_path, smi, vendors):
    """By the names that WebGL gives to what draws; silent where the card does."""
    smi("NVIDIA H100 PCIe")
    h100, both = find_cards(tmp_path / "none"), find_drivers()
    assert undrawn(h100, both, H100) == undrawn([], both, LLVMPIPE) == ""
    assert undrawn(h100, both, LLVMPIPE).startswith(f"NVIDIA H100 PCIe is here and does not draw: {LLVMPIPE}")
    assert "EGL driver is missing" in undrawn(h100, both[1:], LLVMPIPE)
    node(tmp_path / "drm", "renderD128", "0x1002")
    radeon = find_cards(tmp_path / "drm", tmp_path)[1:]
    assert undrawn(radeon, both, RADEON) == ""
    assert "may not open" in undrawn(radeon, both, LLVMPIPE)


def test_gpus_gives_what_can_be_had_and_refuses_the_rest(tmp_path, smi, vendors):
    """A card of each driver in turn; several of one driver, other numbers and no card at all by a sentence."""
    smi("NVIDIA RTX A4000")
    node(tmp_path / "drm", "renderD128", "0x8086")
    two, both = find_cards(tmp_path / "drm"), find_drivers()
    nvidia, mesa = (str(vendors / name) for name in ("10_nvidia.json", "50_mesa.json"))
    assert chosen_drivers("all", two, both) == chosen_drivers("1,0", two, both) == [nvidia, mesa]
    assert chosen_drivers("1", two, both) == [mesa]
    for wanted in ("2", "-1", "", "0,,1", "½", "none"):
        with pytest.raises(UsageError, match="write all, or numbers"):
            chosen_drivers(wanted, two, both)
    with pytest.raises(UsageError, match="no EGL driver for NVIDIA RTX A4000"):
        chosen_drivers("0", two, both[1:])
    with pytest.raises(UsageError, match="no graphics card was found"):
        chosen_drivers("all", [], both)
    smi("NVIDIA H100", "NVIDIA H100")
    with pytest.raises(UsageError, match="no reliable way chooses another"):
        chosen_drivers("1", find_cards(tmp_path / "none"), both)


def test_a_run_refuses_gpus_before_it_makes_anything(tmp_path, smi, vendors):
    """Exit 2 with one sentence, and no database."""
    smi("NVIDIA H100", "NVIDIA H100")
    file = write_colors(tmp_path, 1)
    end = within("run", file, "--gpus", "all")
    assert end.exit_code == 2 and "0: NVIDIA H100, 1: NVIDIA H100" in end.output
    assert "--rasterizer egl" in within("run", file, "--gpus", "0", "--rasterizer", "swiftshader").output
    assert not (tmp_path / "runner.db").exists()


@pytest.mark.usefixtures("browser_path")
def test_a_browser_that_cannot_be_pinned_falls_back_and_the_run_says_so(vendors, smi):
    """The card's driver is asked first; what else answers draws, and the card is named as idle."""
    smi("NVIDIA H100 PCIe")
    said: list[str] = []

    async def choose() -> tuple[str, list[str]]:
        launcher = Launcher()
        await launcher.start()
        pins: list[str] = []
        real_launch = launcher._launch

        async def launch(rasterizer, driver):
            pins.append(driver)
            return await real_launch(rasterizer, driver)

        launcher._launch = launch
        try:
            return await launcher.choose_rasterizer("auto", False, said.append), pins
        finally:
            await launcher.stop()

    rasterizer, pins = asyncio.run(choose())
    assert pins[:2] == [str(vendors / "10_nvidia.json"), ""]
    assert rasterizer in ("egl", "swiftshader") and said[0].startswith("rendering in software")
    assert said[1].startswith("warning: NVIDIA H100 PCIe is here and does not draw")


@pytest.mark.usefixtures("browser_path")
def test_each_browser_has_its_cards_driver_in_its_environment(vendors):
    """In turn, and only where the system's OpenGL draws; other browsers have none."""
    drivers = [str(vendors / name) for name in ("10_nvidia.json", "50_mesa.json")]

    async def pins() -> list[str | None]:
        launcher = Launcher(drivers)
        await launcher.start()
        try:
            browsers = [await launcher.launch("egl", number) for number in range(3)]
            browsers.append(await launcher.launch("swiftshader", 0))
            return [browser._process.environ().get(PIN) for browser in browsers]
        finally:
            await launcher.stop()

    assert asyncio.run(pins()) == [*drivers, drivers[0], None]
