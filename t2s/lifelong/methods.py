"""The learner of every method: a dict literal picks one.

The workflow counts this file to no command's code (`code()` in workflow/rules/common.smk), nor t2s/params.py: a method
that is added relearns no other.
"""

from __future__ import annotations

from t2s.lifelong.er import ER
from t2s.lifelong.ewc import EWC
from t2s.lifelong.learner import Learner
from t2s.lifelong.multitask import Multitask
from t2s.lifelong.packnet import PackNet
from t2s.lifelong.sequential import Sequential
from t2s.lifelong.single_task import SingleTask
from t2s.lifelong.t2s import T2S
from t2s.lifelong.tail import TAIL

LEARNERS: dict[str, type[Learner]] = {
    "t2s": T2S,
    "sequential": Sequential,
    "er": ER,
    "ewc": EWC,
    "packnet": PackNet,
    "tail": TAIL,
    "single_task": SingleTask,
    "multitask": Multitask,
}
