"""The class of every learner, as `module:Class`. `methods.<name>.learner` in params.yaml names one.

The workflow reads this table to find the code of a learner (t2s/workflow/sources.py). Like t2s/params.py, it is itself
no part of that code, so adding a learner reruns no other.
"""

from __future__ import annotations

from typing import Final

LEARNERS: Final = {
    "t2s": "t2s.lifelong.t2s:T2S",
    "sequential": "t2s.lifelong.sequential:Sequential",
    "er": "t2s.lifelong.er:ER",
    "ewc": "t2s.lifelong.ewc:EWC",
    "packnet": "t2s.lifelong.packnet:PackNet",
    "tail": "t2s.lifelong.tail:TAIL",
    "single_task": "t2s.lifelong.single_task:SingleTask",
    "multitask": "t2s.lifelong.multitask:Multitask",
}
