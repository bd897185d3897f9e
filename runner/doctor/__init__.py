"""Checks what stands in the way of a night's rendering on this machine, and says how to fix it."""

from runner.doctor.check import Check, State, verdict
from runner.doctor.examine import Subject, examine
from runner.doctor.text import to_json, to_text

__all__ = ["Check", "State", "Subject", "examine", "to_json", "to_text", "verdict"]
