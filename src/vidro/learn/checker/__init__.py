"""A checker for anyone's PyTorch language model: it names the classic mistakes, where they are, and what to do.

checking     every probe on one model      building   a model from FILE.py:Class
faults       the catalogue and the report  subject    how any model is called
visits       what each module did          tracing    what attention computed inside
probes_*     the questions
"""

from __future__ import annotations

from vidro.learn.checker.checking import assert_sound, check_model
from vidro.learn.checker.faults import FAULTS, Finding, Report

__all__ = ["FAULTS", "Finding", "Report", "assert_sound", "check_model"]
