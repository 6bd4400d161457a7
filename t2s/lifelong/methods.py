"""The learner class of every method.

The workflow ignores this file and t2s/params.py when it lists the code that a command depends on (`code()` in
t2s/workflow/sources.py). Adding a method therefore does not rerun the others.
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
