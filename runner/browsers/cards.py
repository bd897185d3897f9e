"""Which graphics cards and EGL drivers there are, which driver a browser is pinned to, and whether a card draws."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from runner.errors import UsageError

__all__ = [
    "PIN",
    "Card",
    "Driver",
    "best_driver",
    "chosen_drivers",
    "drivers_of",
    "find_cards",
    "find_drivers",
    "undrawn",
]

# libglvnd asks the drivers in the order of their files' names, and takes the first that answers. So a browser may get
# Mesa's software while a card is idle. The second variable names the only files to ask.
_FOLDERS, PIN = "__EGL_VENDOR_LIBRARY_DIRS", "__EGL_VENDOR_LIBRARY_FILENAMES"
_USUAL_FOLDERS = ("/etc/glvnd/egl_vendor.d", "/usr/share/glvnd/egl_vendor.d")
# Makers of cards by their PCI ids. Other things with a render node (virtio, vgem) are no cards.
_MAKERS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
# Words in the renderer's name by which a maker's card is known.
_NAMES = {"NVIDIA": ("nvidia", "nouveau", "geforce", "quadro"), "AMD": ("amd", "radeon"), "Intel": ("intel",)}
_ASK_S = 15.0


@dataclass(frozen=True)
class Card:
    """A graphics card. number: as --gpus takes it. node: its render node, '' where that is not known.

    driver: the EGL driver that draws with it, 'nvidia' or 'mesa'.
    """

    number: int
    maker: str
    name: str
    driver: str
    node: str = ""

    def draws_as(self, renderer: str) -> bool:
        """Whether a renderer of that name may be this card."""
        return any(name in renderer.lower() for name in _NAMES[self.maker])


@dataclass(frozen=True)
class Driver:
    """An EGL driver. name: 'nvidia', 'mesa', or as its file is called. file: what names it to libglvnd."""

    name: str
    file: Path


def find_drivers() -> list[Driver]:
    """The EGL drivers, in the order in which they are asked."""
    folders = os.environ.get(_FOLDERS, "").split(":") if os.environ.get(_FOLDERS) else list(_USUAL_FOLDERS)
    files = {path.name: path for folder in folders[::-1] for path in Path(folder).glob("*.json")}
    drivers = []
    for _, file in sorted(files.items()):
        try:
            library = str(json.loads(file.read_text())["ICD"]["library_path"]).lower()
        except (OSError, ValueError, KeyError, TypeError):
            continue  # libglvnd skips it, too
        name = next((name for name in ("nvidia", "mesa") if name in library), file.stem)
        drivers.append(Driver(name, file))
    return drivers


def find_cards(drm: Path = Path("/sys/class/drm"), nodes: Path = Path("/dev/dri")) -> list[Card]:
    """The cards: NVIDIA's as nvidia-smi tells them, others by their render nodes."""
    found = [("NVIDIA", name, "nvidia", "") for name in _nvidia_names()]
    for path in sorted(drm.glob("renderD*")):
        try:
            maker = _MAKERS.get((path / "device" / "vendor").read_text().strip(), "")
        except OSError:
            continue
        # With NVIDIA's own driver each of its cards has a render node as well.
        if maker and not (maker == "NVIDIA" and found and found[0][0] == "NVIDIA"):
            found.append((maker, f"{maker} card {path.name}", "mesa", str(nodes / path.name)))
    return [Card(number, *facts) for number, facts in enumerate(found)]


def _nvidia_names() -> list[str]:
    """The names of the cards that NVIDIA's driver drives; none where there is no such driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    try:
        told = subprocess.run(
            [program, "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=_ASK_S,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    # Without a card it prints a sentence.
    names = [line.strip() for line in told.stdout.splitlines()]
    return [name for name in names if name and name != "No devices were found"] if not told.returncode else []


def best_driver(cards: list[Card], drivers: list[Driver]) -> str:
    """The file of the driver to pin browsers to; '' where there is no choice, or the user has made it."""
    if sys.platform != "linux" or os.environ.get(PIN) or len(drivers) < 2:
        return ""
    files = {driver.name: str(driver.file) for driver in drivers}
    return next((files[card.driver] for card in cards if card.driver in files), "")


def chosen_drivers(wanted: str, cards: list[Card], drivers: list[Driver]) -> list[str]:
    """The driver's file for each card that --gpus names, 'all' or numbers. Raises UsageError where that is impossible.

    A browser is pinned to a driver, and draws with the first card that this driver lists. Nothing that can be relied
    on chooses another: not CUDA_VISIBLE_DEVICES, no switch of Chromium's, and DRI_PRIME with the newest Mesa only.
    """
    told = ", ".join(f"{card.number}: {card.name}" for card in cards) or "none"
    if not cards:
        raise UsageError("--gpus: no graphics card was found; 'runner doctor' lists what it looked for")
    numbers = [str(card.number) for card in cards] if wanted == "all" else wanted.split(",")
    if not all(number.isascii() and number.isdigit() and int(number) < len(cards) for number in numbers):
        raise UsageError(f"--gpus {wanted}: write all, or numbers such as 0,1 of the cards here ({told})")
    files = {driver.name: str(driver.file) for driver in drivers}
    chosen = []
    for card in (cards[number] for number in sorted({int(number) for number in numbers})):
        alike = [one for one in cards if one.driver == card.driver]
        if len(alike) > 1:
            raise UsageError(
                f"--gpus {wanted}: {len(alike)} cards here have the same driver ({told}), and a browser draws with the "
                "first that its driver lists; no reliable way chooses another. Give each run a card "
                "of its own: start it in a container that has one card (docker run --gpus device=1), each with the "
                "same --db postgresql://…"
            )
        if card.driver not in files:
            raise UsageError(
                f"--gpus {wanted}: there is no EGL driver for {card.name}: no file of it in {_folders_told()}"
            )
        chosen.append(files[card.driver])
    return chosen


def drivers_of(gpus: str | None, rasterizer: str) -> list[str]:
    """The EGL drivers' files of the cards that --gpus asks for; none where it does not. Raises UsageError."""
    if gpus is None:
        return []
    if rasterizer not in ("auto", "egl"):
        raise UsageError(f"--gpus needs --rasterizer egl, not {rasterizer}")
    return chosen_drivers(gpus, find_cards(), find_drivers())


def undrawn(cards: list[Card], drivers: list[Driver], renderer: str) -> str:
    """A line for people where a card is present but something else draws; '' where all is well.

    renderer: its name, as WebGL gives it.
    """
    if not cards or any(card.draws_as(renderer) for card in cards):
        return ""
    return (
        f"{cards[0].name} is here and does not draw: {renderer or 'nothing'} does; {_cure(cards[0], drivers)}"
    )


def _cure(card: Card, drivers: list[Driver]) -> str:
    """What may bring the card back."""
    if card.node and not os.access(card.node, os.R_OK | os.W_OK):
        return f"this user may not open {card.node}: 'sudo usermod -aG video,render $USER', and log in again"
    if card.driver not in {driver.name for driver in drivers}:
        package = "libnvidia-gl of the driver's version" if card.driver == "nvidia" else "libgl1-mesa-dri"
        return (
            f"its EGL driver is missing in {_folders_told()}: install {package}, or in a container of NVIDIA's "
            "set NVIDIA_DRIVER_CAPABILITIES=all"
        )
    return "its driver was asked and did not answer: 'eglinfo -B' tells why, and a reboot may help after an update"


def _folders_told() -> str:
    return os.environ.get(_FOLDERS) or " or ".join(_USUAL_FOLDERS)
