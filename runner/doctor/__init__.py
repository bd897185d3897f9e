"""What stands in the way of a night's rendering on this machine: looked for, tried, and told with the cure."""

from runner.doctor.check import Check, State, verdict
from runner.doctor.examine import Subject, examine
from runner.doctor.text import to_json, to_text

__all__ = ["Check", "State", "Subject", "examine", "to_json", "to_text", "verdict"]
